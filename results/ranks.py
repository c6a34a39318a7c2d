"""Ranks of methods over several data sets: Friedman's test, Nemenyi's after it, intervals over data sets and seeds.

After Demšar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7 (2006), section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .groups import ENOUGH_SEEDS, Group, contest, lab_suffix, preferred
from .inference import ALPHA, LEVEL, Interval
from .record import Selection
from .tiers import RESAMPLES, rank_resamples

if TYPE_CHECKING:
    from pandas import DataFrame

Cells = Mapping[str, Mapping[str, Group]]  # by data set, by name of the method


@dataclass(frozen=True, eq=False)
class AverageRanks:
    """Methods that all ran on the same data sets at one budget and protocol, best average rank first.

    Attributes:
        datasets, names: of the data sets (D,) and the methods (M,).
        ranks: float (D, M), from 1 (best mean over the seeds); equal ones share the average of their places.
        intervals: of each average rank, 95 % bootstrap over data sets and over the seeds of each.
        p: of Friedman's test that all methods rank alike.
        groups: what stands behind the ranks, data set by data set.
    """

    datasets: tuple[str, ...]
    names: tuple[str, ...]
    ranks: np.ndarray
    intervals: tuple[Interval, ...]
    p: float
    groups: tuple[Group, ...]

    @property
    def averages(self) -> np.ndarray:
        """Average rank of each method, float (M,)."""
        return self.ranks.mean(axis=0)

    @property
    def critical_difference(self) -> float:
        """Average ranks that differ by less are not told apart at 5 % by Nemenyi's test."""
        from scipy.stats import studentized_range

        d, m = self.ranks.shape
        return float(studentized_range.ppf(1 - ALPHA, m, np.inf) / math.sqrt(2) * math.sqrt(m * (m + 1) / (6 * d)))

    @property
    def pairs(self) -> DataFrame:
        """p of each pair of methods by Nemenyi's test (M, M), by name; all 1 where Friedman's finds no difference at all."""
        from pandas import DataFrame
        from scikit_posthocs import posthoc_nemenyi_friedman

        if self.p >= ALPHA:
            return DataFrame(np.ones((len(self.names), len(self.names))), self.names, self.names)
        found = posthoc_nemenyi_friedman(self.ranks)
        return DataFrame(found.to_numpy(), self.names, self.names)


def average_ranks(groups: Iterable[Group], metric: str = "acc", selection: Selection = "own-loss") -> AverageRanks | None:
    """Ranks over the data sets that most methods share.

    Of each method and data set the group with unchanged settings counts, with at least 3 seeds. As every method must be on
    every data set, those data sets are taken that give the most cells: of the ones with the most methods, so many that
    their number times the number of methods on all of them is largest.

    Args:
        groups: of one task, protocol and budget.
        metric: what ranks; more is better.
        selection: whose; choices that labels made (`oracle`) rank nothing, so they raise `ValueError`.

    Returns None where fewer than 3 methods share 3 data sets: nothing is claimed of fewer.
    """
    if selection == "oracle":
        raise ValueError("The oracle choice saw the labels: it ranks nothing. Choose own-loss or last.")
    measured = [group for group in groups if group.n >= ENOUGH_SEEDS and group.spread(metric, selection) is not None]
    cells = _shared(_cells(measured))
    if not cells:
        return None
    names = sorted(set.intersection(*(set(row) for row in cells.values())))
    scores = [[_scores(row[name], metric, selection) for name in names] for row in cells.values()]
    return _ranked(tuple(cells), names, scores, tuple(row[name] for row in cells.values() for name in names))


def _cells(groups: Iterable[Group]) -> dict[str, dict[str, Group]]:
    """The group of each method on each data set; of several copies of a data set the one with the most methods."""
    contests: dict[tuple[Any, ...], dict[str, list[Group]]] = {}
    for group in groups:
        if not group.spec.get("overrides"):
            names = contests.setdefault(contest(group), {})
            names.setdefault(group.spec["method"] + lab_suffix(group.lab), []).append(group)
    found: dict[str, dict[str, Group]] = {}
    for (dataset, protocol, *_), names in sorted(contests.items(), key=lambda each: (-len(each[1]), str(each[0]))):
        found.setdefault(dataset, {name: preferred(each, protocol)[0] for name, each in names.items()})
    return found


def _shared(cells: Cells) -> Cells:
    """The data sets to rank over, those with the most methods first; {} if three methods do not share three of them."""
    ordered = sorted(cells, key=lambda dataset: (-len(cells[dataset]), dataset))
    best, most = 0, 0
    for size in range(ENOUGH_SEEDS, len(ordered) + 1):
        shared = len(set.intersection(*(set(cells[dataset]) for dataset in ordered[:size])))
        if shared >= ENOUGH_SEEDS and size * shared >= most:
            best, most = size, size * shared
    return {dataset: cells[dataset] for dataset in ordered[:best]}


def _ranked(
    datasets: tuple[str, ...], names: Sequence[str], scores: Sequence[Sequence[Sequence[float]]], groups: tuple[Group, ...]
) -> AverageRanks:
    from scipy.stats import friedmanchisquare, rankdata

    means = np.array([[np.mean(seeds) for seeds in row] for row in scores]).round(12)  # (D, M)
    ranks = rankdata(-means, axis=1)
    order = np.argsort(ranks.mean(axis=0), kind="stable")
    same = np.ptp(ranks) == 0  # all methods alike on all data sets: the test would divide by zero
    p = 1.0 if same else float(friedmanchisquare(*ranks.T).pvalue)
    low, high = _intervals(scores)
    intervals = tuple(Interval(float(low[i]), float(high[i])) for i in order)
    ordered = tuple(str(names[i]) for i in order)
    return AverageRanks(datasets, ordered, ranks[:, order], intervals, p, groups)


def _intervals(scores: Sequence[Sequence[Sequence[float]]]) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the bootstrap interval of each average rank, twice (M,): resampled data sets, in each resampled seeds."""
    rng = np.random.default_rng(0)
    ranks = np.stack([np.mean(rank_resamples(row, rng), axis=0) for row in scores], axis=1)  # (RESAMPLES, D, M)
    drawn = rng.integers(len(scores), size=(RESAMPLES, len(scores), 1))
    averages = np.take_along_axis(ranks, drawn, axis=1).mean(axis=1)  # (RESAMPLES, M)
    tail = (1 - LEVEL) / 2
    return np.quantile(averages, tail, axis=0), np.quantile(averages, 1 - tail, axis=0)


def _scores(group: Group, metric: str, selection: Selection) -> list[float]:
    return [score for record in group.records if (score := record.score(metric, selection)) is not None]
