"""Intervals, tests and sample sizes, against closed forms, enumeration and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from clusterbench.results.inference import (
    bootstrap_interval,
    exact_p,
    fitting_test,
    holm,
    least_exact_p,
    p_values,
    values_lacking,
)

A, B = (0.81, 0.84, 0.79, 0.88, 0.83), (0.80, 0.79, 0.78, 0.85, 0.84)
NORMAL = np.random.default_rng(7).normal(size=(400, 10))


def covered(n: int) -> float:
    """In how many of 400 samples of `n` normal numbers the interval holds their mean, 0."""
    intervals = [bootstrap_interval((tuple(values[:n]),)) for values in NORMAL]
    return float(np.mean([low <= 0 <= high for low, high in intervals]))


def test_of_three_values_the_interval_is_their_range() -> None:
    interval = bootstrap_interval(((0.7, 0.9, 0.75),))
    assert interval == pytest.approx((0.7, 0.9))


@pytest.mark.parametrize(("n", "expected"), [(3, 1 - 2 / 2**3), (10, 0.95)])
def test_the_interval_holds_the_mean_of_normal_numbers_as_often_as_is_said(n: int, expected: float) -> None:
    error = math.sqrt(expected * (1 - expected) / len(NORMAL))  # of the share of 400 samples
    assert covered(n) == pytest.approx(expected, abs=3 * error)


def test_the_interval_of_many_values_is_students() -> None:
    values = tuple(np.random.default_rng(3).normal(size=200))
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert bootstrap_interval((values,)) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_the_interval_of_a_difference_of_many_values_is_welchs() -> None:
    rng = np.random.default_rng(5)
    a, b = tuple(rng.normal(1, 1, 150)), tuple(rng.normal(0, 2, 200))
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert bootstrap_interval((a, b)) == pytest.approx((expected.low, expected.high), abs=0.03)


def test_the_interval_of_constants_is_a_point() -> None:
    assert bootstrap_interval(((0.4,) * 5,)) == (0.4, 0.4)
    assert bootstrap_interval(((0.75,) * 3, (0.5,) * 4)) == (0.25, 0.25)


def test_the_paired_exact_p_is_the_share_of_all_sign_flips() -> None:
    differences = np.subtract(A, B)
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((1, -1), repeat=5)]
    expected = np.mean([each >= abs(differences.sum()) - 1e-12 for each in sums])
    assert exact_p(A, B, paired=True) == pytest.approx(expected)


def test_the_unpaired_exact_p_is_the_share_of_all_ways_to_deal() -> None:
    everything, seen = np.array(A + B[:4]), np.mean(A) - np.mean(B[:4])
    dealt = []
    for taken in itertools.combinations(range(9), 5):
        rest = np.setdiff1d(range(9), taken)
        dealt.append(everything[list(taken)].mean() - everything[rest].mean())
    tails = [np.mean(np.array(dealt) >= seen - 1e-12), np.mean(np.array(dealt) <= seen + 1e-12)]
    assert exact_p(A, B[:4], paired=False) == pytest.approx(min(1, 2 * min(tails)))


@pytest.mark.parametrize(("paired", "expected"), [(True, 2 / 2**4), (False, 2 / math.comb(8, 4))])
def test_the_least_exact_p_is_that_of_samples_that_do_not_overlap(paired: bool, expected: float) -> None:
    low, high = (0.1, 0.2, 0.15, 0.12), (0.8, 0.9, 0.7, 0.85)
    assert least_exact_p(4, 4, paired) == pytest.approx(expected)
    assert exact_p(high, low, paired) == pytest.approx(expected)


def test_of_many_ways_random_ones_stand_for_all() -> None:
    rng = np.random.default_rng(11)
    a, b = tuple(rng.normal(0.6, 1, 40)), tuple(rng.normal(0, 1, 40))
    assert exact_p(a, b, paired=False) == pytest.approx(stats.ttest_ind(a, b).pvalue, rel=0.5)
    assert least_exact_p(40, 40, paired=False) == 2 / 20_000


@pytest.mark.parametrize("n", [5, 4])
def test_t_tests_are_scipys(n: int) -> None:
    pairs = [(A, B[:n]), (B, A[:n])]
    if n == 5:
        assert p_values("paired t", pairs) == pytest.approx([stats.ttest_rel(A, B).pvalue] * 2)
    assert p_values("Welch t", pairs) == pytest.approx([stats.ttest_ind(*pair, equal_var=False).pvalue for pair in pairs])


def test_welchs_test_against_a_constant_is_that_of_one_sample() -> None:
    assert p_values("Welch t", [(A, (0.8,) * 4)]) == pytest.approx([stats.ttest_1samp(A, 0.8).pvalue])


@pytest.mark.parametrize(("high", "low"), [(3, 3), (3, 5), (6, 4), (40, 40)])
@pytest.mark.parametrize("difference", [0.4, 0.0])
def test_the_p_of_constants_is_that_of_trying_all_labellings(high: int, low: int, difference: float) -> None:
    a, b = (0.5 + difference,) * high, (0.5,) * low
    assert p_values("exact permutation", [(a, b)]) == pytest.approx([exact_p(a, b, paired=False)])
    if high == low:
        assert p_values("exact sign flip", [(a, b)]) == pytest.approx([exact_p(a, b, paired=True)])


def test_where_nothing_varies_the_exact_test_decides() -> None:
    shifted = tuple(value + 0.3 for value in A)
    assert fitting_test(shifted, A, paired=True) == "exact sign flip"
    assert fitting_test((0.9,) * 3, (0.2,) * 3, paired=False) == "exact permutation"
    assert fitting_test((0.9,) * 3, (0.2,) * 3, paired=True) == "exact sign flip"
    assert fitting_test(A, (0.2,) * 3, paired=False) == "Welch t"
    assert p_values("exact sign flip", [(shifted, A)]) == pytest.approx([2 / 2**5])
    assert p_values("exact sign flip", [(A, A)]) == [1.0]


def test_holms_correction_is_that_of_the_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1 is 0.02, 0.03, 0.06, 0.04; the last is no smaller than what stands before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([0.04]) == [0.04] and holm([]) == []


def test_the_missing_pairs_are_found_by_simulated_experiments() -> None:
    a, b = (0.62, 0.5, 0.61, 0.57, 0.6), (0.55, 0.51, 0.56, 0.55, 0.53)
    found = np.subtract(a, b)
    more = values_lacking("paired t", a, b, 0.8, 0.05)
    assert more is not None and more > 1

    def power(n: int) -> float:
        experiments = np.random.default_rng(n).normal(found.mean(), found.std(ddof=1), (20_000, n))
        return float(np.mean(stats.ttest_1samp(experiments, 0, axis=1).pvalue < 0.05))

    assert power(5 + more - 1) < 0.81 and power(5 + more) > 0.79


def test_the_missing_values_of_unequal_samples_are_found_by_simulated_experiments() -> None:
    a, b = (0.7, 0.62, 0.75, 0.66), (0.64, 0.6, 0.66, 0.63, 0.65, 0.62)
    more = values_lacking("Welch t", a, b, 0.9, 0.01)
    assert more is not None and more > 1

    def power(extra: int) -> float:
        rng = np.random.default_rng(extra)
        sides = [rng.normal(np.mean(side), np.std(side, ddof=1), (20_000, len(side) + extra)) for side in (a, b)]
        return float(np.mean(stats.ttest_ind(*sides, axis=1, equal_var=False).pvalue < 0.01))

    assert power(more - 1) < 0.91 and power(more) > 0.89


def test_a_difference_far_beyond_the_deviations_takes_one_value_more() -> None:
    assert values_lacking("Welch t", (0.9, 0.9001, 0.9002), (0.1, 0.1001, 0.1002), 0.8, 1e-9) == 1


def test_what_never_varies_takes_as_many_pairs_as_there_must_be_ways() -> None:
    assert values_lacking("exact sign flip", (0.9,) * 3, (0.5,) * 3, 0.8, 0.05) == 3  # 2 / 2^6 = 0.031
    assert values_lacking("exact permutation", (0.9,) * 3, (0.5,) * 3, 0.8, 0.05) == 1  # 2 / 70 = 0.029


def test_equal_means_and_tiny_differences_are_hopeless() -> None:
    assert values_lacking("paired t", (0.5, 0.6, 0.7), (0.7, 0.5, 0.6), 0.8, 0.05) is None
    assert values_lacking("Welch t", (0.5, 0.6, 0.7), (0.5, 0.6, 0.7001), 0.8, 0.05) is None
