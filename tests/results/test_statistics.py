"""What is claimed of groups of runs, and what is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from scipy import stats

from clusterbench.results.groups import Group, group_records
from clusterbench.results.record import Record
from clusterbench.results.statistics import (
    best_of,
    compare_all,
    compare_groups,
    mean_interval,
    more_seeds,
)

MakeRecord = Callable[..., Record]
MakeGroup = Callable[..., Group]
HIGH, LOW = (0.81, 0.84, 0.79, 0.88), (0.72, 0.71, 0.70, 0.77)


@pytest.fixture
def group(make_record: MakeRecord) -> MakeGroup:
    """`group("iic", [0.9, 0.8], first_seed=3)`: a group with these accuracies."""

    def make(method: str, accs: Sequence[float | None], first_seed: int = 0, **given: object) -> Group:
        (made,) = group_records([make_record(method, acc=acc, seed=first_seed + i, **given) for i, acc in enumerate(accs)])
        return made

    return make


def test_the_same_seeds_are_compared_in_pairs(group: MakeGroup) -> None:
    found = compare_groups(group("iic", HIGH), group("kmeans", LOW))
    assert (found.paired, found.test, found.n_a, found.n_b, found.why_not) == (True, "paired t", 4, 4, "")
    assert found.difference == pytest.approx(0.105)
    assert found.p == pytest.approx(stats.ttest_rel(HIGH, LOW).pvalue)
    assert found.significant and found.p_holm is None
    assert found.interval is not None and found.interval.low == pytest.approx(0.09)  # the range of the four differences
    assert found.interval.high == pytest.approx(0.13)
    assert (found.p_exact, found.p_least) == (pytest.approx(2 / 16), pytest.approx(2 / 16))
    assert (found.a, found.b) == ("iic (paper, full, n=4)", "kmeans (paper, full, n=4)")


def test_other_seeds_are_compared_by_welchs_test(group: MakeGroup) -> None:
    found = compare_groups(group("iic", HIGH), group("kmeans", LOW, first_seed=1))
    assert (found.paired, found.test) == (False, "Welch t")
    assert found.p == pytest.approx(stats.ttest_ind(HIGH, LOW, equal_var=False).pvalue)
    assert found.p_exact == pytest.approx(2 / 70)
    fewer = compare_groups(group("iic", HIGH), group("kmeans", LOW[:3]))
    assert (fewer.paired, fewer.p) == (False, pytest.approx(stats.ttest_ind(HIGH, LOW[:3], equal_var=False).pvalue))


def test_the_selection_is_the_methods_own_whatever_the_oracle_says(group: MakeGroup) -> None:
    found = compare_groups(group("iic", HIGH), group("kmeans", LOW, oracle=0.99))
    assert found.difference == pytest.approx(0.105)


def test_of_two_seeds_nothing_is_claimed(group: MakeGroup) -> None:
    two, many = group("iic", [0.9, 0.91]), group("kmeans", LOW)
    found = compare_groups(two, many)
    assert found.why_not == "2 seeds: too few for a claim"
    assert (found.p, found.interval, found.p_exact, found.p_least, found.significant) == (None, None, None, None, False)
    assert found.difference == pytest.approx(0.18)
    assert compare_groups(group("scan", [0.9]), many).why_not == "1 seed: too few for a claim"
    assert mean_interval([0.9, 0.91]) is None
    assert best_of([two, many]) is None
    assert more_seeds(two, many) is None


def test_a_seed_without_the_metric_is_not_passed_over(group: MakeGroup) -> None:
    found = compare_groups(group("iic", [*HIGH, 0.9]), group("kmeans", [*LOW, 0.8]), metric="ami")
    assert (found.difference, found.why_not) == (None, "not measured for every seed")
    unlabelled = compare_groups(group("iic", [None] * 3), group("kmeans", [None] * 3))
    assert unlabelled.why_not == "not measured for every seed"


@pytest.mark.parametrize("other", [{"protocol": "split"}, {"dataset": "usps"}, {"data_fingerprint": "e" * 64}])
def test_different_data_or_protocols_are_not_tested_against_each_other(group: MakeGroup, other: dict[str, str]) -> None:
    found = compare_groups(group("iic", HIGH), group("kmeans", LOW, **other))
    assert (found.p, found.why_not) == (None, "not the same images, labels and protocol")


def test_repeating_one_number_is_no_proof(group: MakeGroup) -> None:
    constant, lower = group("spectral", [0.9] * 3), group("kmeans", [0.2] * 3)
    found = compare_groups(constant, lower)
    assert (found.test, found.p, found.significant) == ("exact sign flip", 0.25, False)
    assert found.interval == pytest.approx((0.7, 0.7))
    assert best_of([constant, lower]) is None
    assert more_seeds(constant, lower) == 3
    same = compare_groups(constant, group("iic", [0.9] * 3))
    assert (same.p, same.difference) == (1.0, 0.0)
    assert mean_interval([0.9] * 3) == (0.9, 0.9)


def test_all_pairs_are_corrected_together(group: MakeGroup) -> None:
    groups = [group("iic", HIGH), group("kmeans", LOW), group("scan", [0.82, 0.81, 0.83, 0.86]), group("dec", [0.8, 0.9])]
    found = compare_all(groups)
    assert [(each.a.split()[0], each.b.split()[0]) for each in found] == [
        ("iic", "kmeans"), ("iic", "scan"), ("iic", "dec"), ("kmeans", "scan"), ("kmeans", "dec"), ("scan", "dec")
    ]  # fmt: skip
    assert [each.p is None for each in found] == [False, False, True, False, True, True]
    claimed = [each for each in found if each.p is not None]
    single = [compare_groups(groups[i], groups[j]).p for i, j in ((0, 1), (0, 2), (1, 2))]
    assert [each.p for each in claimed] == pytest.approx(single)
    smallest, middle, largest = sorted(single)
    by_hand = {smallest: 3 * smallest, middle: max(3 * smallest, 2 * middle), largest: max(3 * smallest, 2 * middle, largest)}
    assert [each.p_holm for each in claimed] == pytest.approx([min(1, by_hand[p]) for p in single])


def test_the_correction_can_take_a_significance_away(group: MakeGroup) -> None:
    better = group("iic", [0.80, 0.83, 0.82, 0.86])
    rivals = [group(f"rival-{i}", [0.77 + 0.01 * (i % 2), 0.81, 0.76, 0.82]) for i in range(12)]
    assert all(compare_groups(better, rival).significant for rival in rivals)
    assert not any(each.significant for each in compare_all([better, *rivals]))
    assert best_of([better, *rivals]) is None
    assert best_of([better, rivals[0]]) is better


def test_the_best_is_better_than_every_other(group: MakeGroup) -> None:
    best, second, last = group("iic", HIGH), group("kmeans", LOW), group("random", [0.1, 0.12, 0.11, 0.09])
    assert best_of([last, best, second]) is best
    assert best_of([second, last, best, group("scan", [0.82, 0.82, 0.81, 0.86])]) is None
    assert best_of([best]) is None and best_of([]) is None
    assert best_of([best, second, group("dec", [0.1])]) is None  # one seed might be anything


def test_more_seeds_are_fewer_for_larger_differences(group: MakeGroup) -> None:
    base = group("kmeans", [0.70, 0.74, 0.66, 0.71])
    near, far = group("iic", [0.74, 0.70, 0.73, 0.69]), group("scan", [0.75, 0.72, 0.79, 0.73])
    for_near, for_far = more_seeds(near, base), more_seeds(far, base)
    assert for_near is not None and for_far is not None and for_near > for_far > 0
    assert more_seeds(group("iic", HIGH), group("kmeans", LOW)) == 0
    stricter = more_seeds(far, base, alpha=0.001)
    assert stricter is not None and stricter > for_far


def test_pairs_tested_together_give_what_each_gives_alone(group: MakeGroup) -> None:
    groups = [group(f"m{i}", [0.5 + 0.001 * ((i * 7 + s * 13) % 29) for s in range(3 + i % 2)]) for i in range(9)]
    together = compare_all(groups)
    alone = [compare_groups(a, b) for i, a in enumerate(groups) for b in groups[i + 1 :]]
    assert [each.p for each in together] == pytest.approx([each.p for each in alone])
    assert [each.test for each in together] == [each.test for each in alone]
