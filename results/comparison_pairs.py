"""Which runs of a comparison belong together: two runs, two folders setting by setting, or two methods data set by data set."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from .differences import shown
from .groups import Group, lab_suffix, preferred
from .record import Record

Kind = Literal["run", "method", "folder"]
NAMED_SETTINGS = 3


@dataclass(frozen=True)
class Side:
    """What one of the two words of a comparison named.

    Attributes:
        name: the word.
        kind: a single run, all runs of a method, or all runs in a folder.
        records: those runs.
    """

    name: str
    kind: Kind
    records: tuple[Record, ...]


class Pair(NamedTuple):
    """Two groups that are compared."""

    a: Group
    b: Group

    @property
    def heading(self) -> str:
        """What they are: `digits, protocol full: iic (short, n=5) and kmeans (short, n=5)`."""
        one, other = where(self.a), where(self.b)
        there = "" if one == other else f"{other}: "
        return f"{one}: {what(self.a)} and {there}{what(self.b)}"


def pair_up(kinds: tuple[Kind, Kind], of_a: Sequence[Group], of_b: Sequence[Group]) -> tuple[list[Pair], tuple[str, ...]]:
    """Put the groups of two sides together.

    Two runs are one pair. Two folders are paired by method, data set, protocol, budget, number of clusters and changed settings.
    Anything else is paired by data set and protocol, each side by the group that would fill a table's cell (`groups.preferred`).

    Returns:
        The pairs, and a line for each group that is in none.
    """
    key = _key_for(*kinds)
    in_a, in_b = _by_key(of_a, key), _by_key(of_b, key)
    pairs = [Pair(in_a[each][0], in_b[each][0]) for each in in_a if each in in_b]
    paired = {id(group) for pair in pairs for group in pair}
    sides = (("A", of_a), ("B", of_b))
    return pairs, tuple(
        f"{side}: {where(group)}: {what(group)}" for side, groups in sides for group in groups if id(group) not in paired
    )


def where(group: Group) -> str:
    """`digits, protocol full`."""
    return f"{group.spec['dataset']}, protocol {group.spec['protocol']}"


def what(group: Group) -> str:
    """`iic (short, n=5, lr=0.1)`."""
    changed = group.spec.get("overrides") or {}
    seeds = f"seed {group.records[0].spec.get('seed')}" if group.n == 1 else f"n={group.n}"
    told = "".join(f", {name}={shown(value)}" for name, value in changed.items())
    if len(changed) > NAMED_SETTINGS:
        told = f", {len(changed)} settings changed"
    return f"{group.spec['method']} ({group.spec.get('preset')}, {seeds}{told}){lab_suffix(group.lab)}"


def _key_for(a: Kind, b: Kind) -> Callable[[Group], Hashable]:
    if a == b == "run":
        return lambda group: ""
    return _setting if a == b == "folder" else where


def _setting(group: Group) -> Hashable:
    spec = group.spec
    changed = json.dumps(spec.get("overrides") or {}, sort_keys=True, default=str)
    return where(group), spec["method"], spec.get("preset"), spec.get("n_clusters"), changed


def _by_key(groups: Iterable[Group], key: Callable[[Group], Hashable]) -> dict[Hashable, list[Group]]:
    found: dict[Hashable, list[Group]] = {}
    for group in groups:
        found.setdefault(key(group), []).append(group)
    return {each: preferred(members, members[0].spec["protocol"]) for each, members in found.items()}
