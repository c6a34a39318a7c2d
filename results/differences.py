"""Nested mappings of plain values by dotted names: what differs between two of them, and what is left without some."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

ABSENT = "not there"
LONGEST_VALUE = 60  # characters of a value that is shown


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`nested` with dotted names, as `--set` takes them: {"views": {"crop": 20}} is {"views.crop": 20}."""
    found: dict[str, Any] = {}
    for name, value in nested.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) and value else {f"{prefix}{name}": value}
    return found


def without(nested: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """A copy of `nested` that lacks what is there under some dotted names."""
    left = dict(nested)
    for name in names:
        first, _, rest = name.partition(".")
        if rest and isinstance(left.get(first), Mapping):
            left[first] = without(left[first], [rest])
        else:
            left.pop(name, None)
    return left


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(dotted name, value in `one`, value in `other`) as texts, of every name whose values differ; in the order of `one`."""
    here, there = flat(one), flat(other)
    for name in dict.fromkeys([*here, *there]):
        values = here.get(name, ABSENT), there.get(name, ABSENT)
        if values[0] != values[1]:
            yield name, shown(values[0]), shown(values[1])


def shown(value: Any) -> str:
    """A value in one short line: texts as they are, all else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."
