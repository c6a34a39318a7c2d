"""What the seeds allow to be said: intervals, tests between two groups of runs, and how many seeds are lacking.

All of it is under the selection `own-loss`, which no label chose. Nothing is claimed of fewer than three seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from statistics import fmean
from typing import Any

from .groups import ENOUGH_SEEDS, Group, contest
from .inference import (
    ALPHA,
    LEVEL,
    Interval,
    Sample,
    Test,
    bootstrap_interval,
    differences,
    exact_p,
    fitting_test,
    holm,
    least_exact_p,
    p_values,
    values_lacking,
)

ENOUGH = ENOUGH_SEEDS


@dataclass(frozen=True)
class Comparison:
    """Two groups of runs under one metric.

    Attributes:
        a, b: names of the groups: method, budget, protocol, number of seeds, changed settings, laboratory.
        n_a, n_b: numbers of seeds.
        paired: whether each seed was compared with the same seed, as both groups have the same ones.
        difference: mean of `a` minus mean of `b`; None where a seed lacks the metric.
        p: two-sided p of `test`; None where no claim is made.
        p_holm: the same, corrected by Holm for all comparisons of the call that made it; None for a single one.
        test: `paired t`, `Welch t`, or, where nothing varies, `exact sign flip` or `exact permutation`; "" without a p.
        why_not: why there is no p, e.g. `2 seeds: too few for a claim`, else "".
        values: the scores of both in the order of the seeds; None where no claim is made.
    """

    a: str
    b: str
    n_a: int
    n_b: int
    paired: bool
    difference: float | None
    p: float | None = None
    p_holm: float | None = None
    test: Test | str = ""
    why_not: str = ""
    values: tuple[Sample, Sample] | None = field(default=None, repr=False)

    @property
    def significant(self) -> bool:
        """Whether p, corrected by Holm where it was, is below 0.05."""
        p = self.p if self.p_holm is None else self.p_holm
        return p is not None and p < ALPHA

    @cached_property
    def interval(self) -> Interval | None:
        """Bootstrap interval of the difference, made as `mean_interval` makes its own; None where no claim is made."""
        if self.values is None:
            return None
        return bootstrap_interval((differences(*self.values),) if self.paired else self.values)

    @cached_property
    def p_exact(self) -> float | None:
        """Two-sided p that assumes no distribution; None where no claim is made.

        Paired: the share of all 2^n ways to swap the two scores of each seed whose mean difference is as large. Else: of all
        ways to deal the scores into groups of these sizes. Above 19,999 ways, of that many random ones.
        """
        return None if self.values is None else exact_p(*self.values, self.paired)

    @property
    def p_least(self) -> float | None:
        """The smallest `p_exact` that these numbers of seeds can give at all: 0.25 for three pairs. None without a claim."""
        return None if self.values is None else least_exact_p(self.n_a, self.n_b, self.paired)


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Bootstrap interval of the mean over the seeds.

    The percentile interval is too narrow for few values, so its percentiles are moved outwards until it is as wide as
    Student's would be for normal ones (the expanded percentile interval of Hesterberg, The American Statistician 69(4), 2015,
    section 3). Yet no resample leaves the range of the values: of 3, 4 or 5 it is about that range, which holds the mean of a
    normal distribution in 75 %, 87.5 % and 93.8 % of all cases; from 6 on about `level`.

    Args:
        values: one for each seed.
        level: share of the cases that should hold the mean, in (0, 1).

    Returns:
        None below 3 values, of which nothing is claimed; (v, v) where all values are v. The same values give the same interval.
    """
    return None if len(values) < ENOUGH else bootstrap_interval((tuple(values),), level)


def compare_groups(a: Group, b: Group, metric: str = "acc") -> Comparison:
    """`a` against `b`: a paired t-test over the seeds where both have the same ones, else Welch's t-test.

    Where nothing varies (the differences of all pairs are one number, or each group repeats one value) a t-test would divide
    by zero. Then the exact test decides: with few seeds it finds no significance, however large the difference.
    """
    return _compared([(a, b)], metric)[0]


def compare_all(groups: Sequence[Group], metric: str = "acc") -> list[Comparison]:
    """All pairs, in the order of `groups`, with p corrected by Holm for all pairs of which something is claimed."""
    return _corrected(_compared(combinations(groups, 2), metric))


def best_of(groups: Sequence[Group], metric: str = "acc") -> Group | None:
    """The group that is significantly better than every other, with p corrected by Holm for all its comparisons.

    None where there is no such claim: where it has no rival, or one of them has fewer than 3 seeds or lacks the metric.
    """
    ranked = [(spread.mean, group) for group in groups if (spread := group.spread(metric)) is not None]
    if len(ranked) < max(2, len(groups)):
        return None
    _, best = max(ranked, key=lambda each: each[0])
    found = _compared([(best, other) for other in groups if other is not best], metric)
    if not all(each.significant for each in found):  # the correction could only raise p
        return None
    return best if all(each.significant for each in _corrected(found)) else None


def more_seeds(a: Group, b: Group, metric: str = "acc", power: float = 0.8, alpha: float = ALPHA) -> int | None:
    """How many more seeds of each would tell the two apart with probability `power`.

    It takes the difference and the spread seen so far for the true ones, so from three seeds it is a rough guide.

    Args:
        a, b: groups of at least 3 seeds.
        metric: which score.
        power: wanted probability, in (0, 1).
        alpha: level of the test; a smaller one where there are many comparisons.

    Returns:
        0 where they are told apart at `alpha` already; None where more than 1000 would be needed, or nothing is claimed.
    """
    (found,) = _compared([(a, b)], metric)
    if found.p is None or found.values is None:
        return None
    return 0 if found.p < alpha else values_lacking(fitting_test(*found.values, found.paired), *found.values, power, alpha)


@dataclass(frozen=True)
class _Side:
    """What a comparison needs of a group, gathered once for all its comparisons."""

    name: str
    contest: tuple[Any, ...]
    seeds: tuple[Any, ...]
    scores: Sample | None  # in the order of the seeds

    @classmethod
    def of(cls, group: Group, metric: str) -> _Side:
        seeds = tuple(record.spec.get("seed") for record in group.records)
        scores = tuple(score for record in group.records if (score := record.score(metric)) is not None)
        return cls(f"{group.spec['method']} ({group.name})", contest(group), seeds, scores if len(scores) == group.n else None)


def _compared(pairs: Iterable[tuple[Group, Group]], metric: str) -> list[Comparison]:
    """A comparison for each pair, p not corrected yet. All tests of one kind and size are one call: thousands take no longer."""
    listed = list(pairs)
    sides = {key: _Side.of(group, metric) for key, group in {id(group): group for pair in listed for group in pair}.items()}
    found = [_untested(sides[id(a)], sides[id(b)]) for a, b in listed]
    alike: dict[tuple[Test, int, int], list[int]] = {}
    for place, each in enumerate(found):
        if each.values is not None:
            alike.setdefault((fitting_test(*each.values, each.paired), each.n_a, each.n_b), []).append(place)
    for (test, *_), places in alike.items():
        samples = [values for place in places if (values := found[place].values) is not None]
        for place, p in zip(places, p_values(test, samples), strict=True):
            found[place] = replace(found[place], test=test, p=p)
    return found


def _untested(a: _Side, b: _Side) -> Comparison:
    n_a, n_b, paired = len(a.seeds), len(b.seeds), a.seeds == b.seeds
    if a.scores is None or b.scores is None:
        return Comparison(a.name, b.name, n_a, n_b, paired, None, why_not="not measured for every seed")
    why_not = _why_not(a, b)
    values = None if why_not else (a.scores, b.scores)
    difference = fmean(a.scores) - fmean(b.scores)
    return Comparison(a.name, b.name, n_a, n_b, paired, difference, why_not=why_not, values=values)


def _why_not(a: _Side, b: _Side) -> str:
    if a.contest != b.contest:
        return "not the same images, labels and protocol"
    few = min(len(a.seeds), len(b.seeds))
    return "" if few >= ENOUGH else f"{few} seed{'s' if few > 1 else ''}: too few for a claim"


def _corrected(found: Sequence[Comparison]) -> list[Comparison]:
    corrected = iter(holm([each.p for each in found if each.p is not None]))
    return [each if each.p is None else replace(each, p_holm=next(corrected)) for each in found]
