"""What must be known beside a published number: the remarks in `published.csv`, and `caveats.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from ..published import Published

# Columns of published.csv that go by another name in `Published`.
_FIELDS: dict[str, str] = {"value": "text", "std": "std_text"}


@dataclass(frozen=True)
class Caveat:
    """A remark, and the numbers it belongs to.

    Attributes:
        text: one or two sentences.
        of: by field of `Published`, the values of which one must be there.
    """

    text: str
    of: Mapping[str, tuple[str, ...]]

    def belongs_to(self, number: Published) -> bool:
        """Whether every field that it names has one of its values."""
        return all(getattr(number, field) in values for field, values in self.of.items())


@cache
def caveats(number: Published) -> tuple[str, ...]:
    """Everything known about one number, as sentences: the remarks of `published.csv` first."""
    return (*map(sentence, number.notes), *(caveat.text for caveat in every_caveat() if caveat.belongs_to(number)))


def sentence(note: str) -> str:
    """`needs k-means` as `Needs k-means.`; the name of a data set keeps its small letter."""
    begins_with_name = any(character.isdigit() for character in note.split()[0])
    return f"{note[0] if begins_with_name else note[0].upper()}{note[1:].rstrip('.')}."


@cache
def every_caveat() -> tuple[Caveat, ...]:
    """The content of `caveats.yaml`. Raises `ValueError` for one that names no column of `published.csv`."""
    import yaml

    path = Path(__file__).with_name("caveats.yaml")
    return tuple(_caveat(entry) for entry in yaml.safe_load(path.read_text(encoding="utf-8")))


def _caveat(entry: dict[str, Any]) -> Caveat:
    known = {field.name for field in fields(Published)}
    of = {_FIELDS.get(str(name), str(name)): _values(value) for name, value in entry["of"].items()}
    unknown = sorted(of.keys() - known)
    if unknown or not of:
        raise ValueError(f"caveats.yaml: {entry['text']!r} names {unknown or 'nothing'}; known: {sorted(known)}")
    return Caveat(entry["text"], of)


def _values(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)
