"""Which numbers of a table may stand in bold: those that the seeds prove to be better than every other of their column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..groups import ENOUGH_SEEDS, Group

Place = tuple[int, str]  # row and column


def winners(chosen: Mapping[Place, Group], measures: Sequence[str]) -> set[Place]:
    """The cells whose group is significantly better than every other of its column.

    Groups compete where data set, protocol, copy of the data and metric agree.

    Args:
        chosen: the group in each cell.
        measures: the metric of each row, as records name it.
    """
    contests: dict[Any, dict[int, Group]] = {}
    for (row, column), group in chosen.items():
        spec = group.spec
        key = (measures[row], column, spec["protocol"], spec.get("data_fingerprint"))
        contests.setdefault(key, {})[id(group)] = group
    best = {(measure, id(group)) for (measure, *_), groups in contests.items() if (group := _best([*groups.values()], measure))}
    return {place for place, group in chosen.items() if (measures[place[0]], id(group)) in best}


def _best(groups: Sequence[Group], measure: str) -> Group | None:
    if sum(group.n >= ENOUGH_SEEDS for group in groups) < 2:
        return None
    from ..statistics import best_of  # loads scipy.stats and statsmodels: not for tables without enough seeds

    return best_of(groups, measure)
