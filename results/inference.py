"""What samples of numbers allow to be said: intervals, tests, and how large a sample would have to be. Knows nothing of runs."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from statistics import fmean, stdev
from typing import Literal, NamedTuple

import numpy as np

from .collector import uncollected

Sample = tuple[float, ...]
Test = Literal["paired t", "Welch t", "exact sign flip", "exact permutation"]

LEVEL = 0.95
ALPHA = 0.05
MOST = 1000  # more values than this are out of reach
SAME = 1e-12  # metrics are counts over at most some billions of pixels: what is nearer than this differs by rounding only
RESAMPLES = 9999
RELABELLINGS = 19_999  # where there are more ways than this to deal the values, the exact test draws so many


class Interval(NamedTuple):
    """Both ends, in the unit of the values."""

    low: float
    high: float


@lru_cache(maxsize=4096)
def bootstrap_interval(samples: tuple[Sample, ...], level: float = LEVEL) -> Interval:
    """Of the mean of one sample, or of the difference of the means of two; `statistics.mean_interval` says how and how good."""
    from scipy import stats

    if all(map(is_constant, samples)):
        value = samples[0][0] - (samples[1][0] if len(samples) > 1 else 0.0)
        return Interval(value, value)
    few = min(map(len, samples))
    reach = stats.t.ppf((1 + level) / 2, few - 1) * math.sqrt(few / (few - 1))
    found = stats.bootstrap(
        samples,
        _difference_of_means if len(samples) > 1 else np.mean,
        n_resamples=RESAMPLES,
        confidence_level=1 - 2 * stats.norm.sf(reach),
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return Interval(float(found.low), float(found.high))


def fitting_test(a: Sample, b: Sample, paired: bool) -> Test:
    """A t-test wherever something varies, else the exact one, which needs no variance."""
    if paired:
        return "exact sign flip" if is_constant(differences(a, b)) else "paired t"
    return "exact permutation" if is_constant(a) and is_constant(b) else "Welch t"


def p_values(test: Test, pairs: Sequence[tuple[Sample, Sample]]) -> list[float]:
    """Two-sided p of each pair; all first samples have one size, and all second ones."""
    from scipy import stats

    if test.startswith("exact"):
        return [_p_of_constants(a, b, paired=test == "exact sign flip") for a, b in pairs]
    a, b = (np.array([pair[side] for pair in pairs]) for side in (0, 1))  # (pairs, size) each
    if test == "paired t":
        return stats.ttest_rel(a, b, axis=1).pvalue.tolist()
    moments = (moment for sample in (a, b) for moment in (sample.mean(axis=1), sample.std(axis=1, ddof=1), sample.shape[1]))
    return stats.ttest_ind_from_stats(*moments, equal_var=False).pvalue.tolist()  # ttest_ind warns where one side is constant


def exact_p(a: Sample, b: Sample, paired: bool) -> float:
    """Two-sided p of the difference of the means that assumes no distribution.

    Paired: over all 2^n ways to swap the two values of each pair; else over all ways to deal the values into samples of these
    sizes. Above 19,999 ways, over that many random ones.
    """
    from scipy import stats

    return float(
        stats.permutation_test(
            (a, b),
            _difference_of_means,
            permutation_type="samples" if paired else "independent",
            vectorized=True,
            n_resamples=RELABELLINGS,
            random_state=np.random.default_rng(0),
        ).pvalue
    )


def _p_of_constants(a: Sample, b: Sample, paired: bool) -> float:
    """`exact_p` where nothing varies: no other labelling but the mirror image is as far apart, or all are alike."""
    return 1.0 if abs(fmean(a) - fmean(b)) < SAME else least_exact_p(len(a), len(b), paired)


def least_exact_p(n_a: int, n_b: int, paired: bool) -> float:
    """The smallest `exact_p` that samples of these sizes can have: 0.25 for three pairs."""
    return 2 / min(_ways(n_a, n_b, paired), RELABELLINGS + 1)


def holm(ps: Sequence[float]) -> list[float]:
    """Values of p, corrected for their number by Holm (1979), in the order given."""
    if len(ps) < 2:
        return list(ps)
    from statsmodels.stats.multitest import multipletests

    with uncollected():  # it asks for a collection, which would walk through all records
        return multipletests(ps, method="holm")[1].tolist()


def values_lacking(test: Test, a: Sample, b: Sample, power: float, alpha: float) -> int | None:
    """How many more values of each (at least 1) would let `test` find the difference with probability `power`.

    The difference and the deviations of the samples are taken for the true ones. None where more than 1000 are needed.
    """
    if abs(fmean(a) - fmean(b)) < SAME:
        return None
    reached = _exact_reaches if test.startswith("exact") else _t_reaches
    more = bisect_left(range(1, MOST + 1), True, key=lambda extra: reached(test, a, b, extra, power, alpha)) + 1
    return more if more <= MOST else None


def differences(a: Sequence[float], b: Sequence[float]) -> Sample:
    """Value by value, `a` minus `b`."""
    return tuple(left - right for left, right in zip(a, b, strict=True))


def is_constant(values: Sequence[float]) -> bool:
    """Whether they differ by no more than rounding."""
    return max(values) - min(values) < SAME


def _exact_reaches(test: Test, a: Sample, b: Sample, more: int, power: float, alpha: float) -> bool:
    """Where nothing varies, the difference is found for certain as soon as there are ways enough."""
    return 2 / _ways(len(a) + more, len(b) + more, test == "exact sign flip") < alpha


def _t_reaches(test: Test, a: Sample, b: Sample, more: int, power: float, alpha: float) -> bool:
    from statsmodels.stats.power import TTestPower

    n_a, n_b = len(a) + more, len(b) + more
    if test == "paired t":
        error, freedom = stdev(differences(a, b)) / math.sqrt(n_a), n_a - 1
    else:
        parts = _variance(a) / n_a, _variance(b) / n_b
        error = math.sqrt(sum(parts))
        freedom = error**4 / (parts[0] ** 2 / (n_a - 1) + parts[1] ** 2 / (n_b - 1))  # Welch, Biometrika 34, 1947
    distance = abs(fmean(a) - fmean(b)) / error
    found = TTestPower().power(distance, 1, alpha / 2, df=freedom, alternative="larger")  # in the direction that was seen
    return math.isnan(found) or found >= power  # the non-central t is lost where the power is 1 but for rounding


def _variance(values: Sample) -> float:
    return 0.0 if is_constant(values) else stdev(values) ** 2


def _ways(n_a: int, n_b: int, paired: bool) -> int:
    return 2**n_a if paired else math.comb(n_a + n_b, n_a)


def _difference_of_means(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
    return a.mean(axis=axis) - b.mean(axis=axis)
