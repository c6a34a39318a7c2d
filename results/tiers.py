"""Tiers instead of places: groups of runs that their seeds cannot tell apart stand together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations

import numpy as np

from .groups import Group, contest
from .statistics import ALPHA, ENOUGH, LEVEL, compare_all, more_seeds

RESAMPLES = 2000
MOST = 300
"""Groups of a contest that get a tier, from the best mean down: pairs grow with the square of the groups."""


@dataclass(frozen=True)
class Placed:
    """A group with its place in a contest: one data set, protocol and copy of the data.

    Attributes:
        group: the seeds of one setting.
        tier: from 1; None where no claim is made.
        rank_low, rank_high: from 1, 95 % bootstrap interval of the rank over the seeds, among the groups that have a tier. It is
            of this group alone: not corrected for the number of groups, as the tiers are. None without a tier.
        why_not: why it has no tier, e.g. `2 seeds: too few for a claim`, else "".
    """

    group: Group
    tier: int | None = None
    rank_low: int | None = None
    rank_high: int | None = None
    why_not: str = ""
    before: Group | None = field(default=None, repr=False)
    metric: str = field(default="acc", repr=False)
    alpha: float = field(default=ALPHA, repr=False)

    @cached_property
    def more_seeds(self) -> int | None:
        """How many more seeds of each would likely tell it from the group before it in the order of the means.

        At the level that Holm's correction would ask of it next, with a probability of 80 %. 0 where they are told apart; None
        for the first, without a tier, and where more than 1000 would be needed.
        """
        return None if self.before is None else more_seeds(self.before, self.group, self.metric, alpha=self.alpha)


def tiers(groups: Sequence[Group], metric: str = "acc") -> list[Placed]:
    """The groups of one contest, best mean of the own-loss selection first, those without a tier last in the order given.

    From the top, a tier ends before the first group that is significantly worse than any group in it: no two of a tier are told
    apart. All pairs are compared (`statistics.compare_all`) and corrected by Holm together, so that with a probability of
    95 % no two groups that are equally good are told apart anywhere in the contest. After the `MOST` best means no more tiers
    are given.

    Raises `ValueError` for groups of several contests.
    """
    if len({contest(group) for group in groups}) > 1:
        raise ValueError("These groups are of several data sets, protocols or copies of the data: rank each for itself.")
    means = {id(group): spread.mean for group in groups if (spread := group.spread(metric)) is not None}
    claimed = sorted((group for group in groups if id(group) in means and group.n >= ENOUGH), key=lambda group: -means[id(group)])
    claimed, beyond = claimed[:MOST], claimed[MOST:]
    told_apart, alpha = _told_apart(claimed, metric)
    low, high = rank_intervals([_scores(group, metric) for group in claimed])
    placed = [
        Placed(group, tier, int(low[i]), int(high[i]), "", claimed[i - 1] if i else None, metric, alpha)
        for i, (group, tier) in enumerate(zip(claimed, _tier_of_each(len(claimed), told_apart), strict=True))
    ]
    placed += [Placed(group, why_not=f"tiers end with the best {MOST}") for group in beyond]
    ranked = {id(group) for group in (*claimed, *beyond)}
    return placed + [Placed(group, why_not=_why_not(group, id(group) in means)) for group in groups if id(group) not in ranked]


def rank_resamples(scores: Sequence[Sequence[float]], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of the means of resampled seeds, twice float (RESAMPLES, groups): best and worst of those that share a place.

    Args:
        scores: of each group, of each seed; more is better. Resampled means are spread by sqrt(n / (n - 1)), as those of n
            values deviate by that much too little.
        rng: what draws the seeds.
    """
    from scipy.stats import rankdata

    columns = []
    for known in map(np.asarray, scores):
        drawn = known[rng.integers(len(known), size=(RESAMPLES, len(known)))].mean(axis=1)
        columns.append(known.mean() + (drawn - known.mean()) * np.sqrt(len(known) / max(1, len(known) - 1)))
    means = -np.column_stack(columns).round(12)  # (RESAMPLES, groups)
    return rankdata(means, "min", axis=1), rankdata(means, "max", axis=1)


def rank_intervals(scores: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % bootstrap interval of each group's rank, from 1, twice (groups,); equal groups share their places."""
    if not scores:
        return np.empty(0), np.empty(0)
    best, worst = rank_resamples(scores, np.random.default_rng(0))
    tail = (1 - LEVEL) / 2
    return np.quantile(best, tail, axis=0, method="inverted_cdf"), np.quantile(worst, 1 - tail, axis=0, method="inverted_cdf")


def _told_apart(groups: Sequence[Group], metric: str) -> tuple[set[tuple[int, int]], float]:
    """Places of the pairs that are told apart, and the level that Holm's correction asks of the next pair."""
    pairs = list(combinations(range(len(groups)), 2))
    found = {pair for pair, each in zip(pairs, compare_all(groups, metric), strict=True) if each.significant}
    return found, ALPHA / max(1, len(pairs) - len(found))


def _tier_of_each(n: int, told_apart: set[tuple[int, int]]) -> list[int]:
    """The tier of each of `n` groups in the order of their means."""
    numbers: list[int] = []
    first = 0  # of the present tier
    for place in range(n):
        if any((above, place) in told_apart for above in range(first, place)):
            first = place
        numbers.append(numbers[-1] + (first == place) if numbers else 1)
    return numbers


def _scores(group: Group, metric: str) -> list[float]:
    return [score for record in group.records if (score := record.score(metric)) is not None]


def _why_not(group: Group, is_measured: bool) -> str:
    if not is_measured:
        return "not measured for every seed"
    return f"{group.n} seed{'s' if group.n > 1 else ''}: too few for a claim"
