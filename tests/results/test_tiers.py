"""Tiers and the intervals of ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from clusterbench.results.groups import Group, group_records
from clusterbench.results.record import Record
from clusterbench.results.statistics import ALPHA, compare_all, more_seeds
from clusterbench.results.tiers import Placed, rank_intervals, tiers

MakeRecord = Callable[..., Record]
MakeGroups = Callable[..., list[Group]]


@pytest.fixture
def groups(make_record: MakeRecord) -> MakeGroups:
    """`groups(iic=[0.9, 0.8], ...)`: a group for each method."""

    def make(**accs: Sequence[float | None]) -> list[Group]:
        return group_records([make_record(name, acc=acc, seed=i) for name, each in accs.items() for i, acc in enumerate(each)])

    return make


def told(placed: Sequence[Placed]) -> list[tuple[str, int | None]]:
    return [(each.group.spec["method"], each.tier) for each in placed]


def test_what_seeds_cannot_tell_apart_shares_a_tier(groups: MakeGroups) -> None:
    near, nearer = [0.90, 0.92, 0.91, 0.93, 0.90], [0.91, 0.93, 0.90, 0.92, 0.92]
    placed = tiers(groups(kmeans=[0.50, 0.51, 0.52, 0.50, 0.51], iic=near, scan=nearer))
    assert told(placed) == [("scan", 1), ("iic", 1), ("kmeans", 2)]
    assert [(each.rank_low, each.rank_high) for each in placed] == [(1, 2), (1, 2), (3, 3)]


def test_no_two_of_a_tier_are_told_apart_and_each_new_tier_has_a_reason(groups: MakeGroups) -> None:
    rng = np.random.default_rng(2)
    made = groups(**{f"m{i}": list(rng.normal(0.5 + 0.02 * i, 0.02, 6)) for i in range(10)})
    placed = tiers(made)
    apart = {frozenset((each.a, each.b)) for each in compare_all(made) if each.significant}
    numbers = [each.tier for each in placed]
    assert 1 < len(set(numbers)) < 10 and numbers == sorted(numbers, key=lambda tier: tier or 0)

    def are_apart(one: Placed, other: Placed) -> bool:
        return frozenset(f"{each.group.spec['method']} ({each.group.name})" for each in (one, other)) in apart

    for i, each in enumerate(placed):
        tier = [other for other in placed[:i] if other.tier == each.tier]
        assert not any(are_apart(each, other) for other in tier)
        if i and not tier:
            assert any(are_apart(each, other) for other in placed if other.tier == (each.tier or 0) - 1)


def test_a_group_of_few_seeds_has_no_tier_and_does_not_disturb_the_others(groups: MakeGroups) -> None:
    with_few = groups(iic=[0.9, 0.91, 0.92], scan=[0.99, 0.98], kmeans=[0.5, 0.51, 0.53], dec=[0.7])
    placed = tiers(with_few)
    assert told(placed) == [("iic", 1), ("kmeans", 2), ("scan", None), ("dec", None)]
    assert [each.why_not for each in placed] == ["", "", "2 seeds: too few for a claim", "1 seed: too few for a claim"]
    assert [(each.rank_low, each.rank_high, each.more_seeds) for each in placed[2:]] == [(None, None, None)] * 2


def test_what_is_not_measured_is_not_placed(groups: MakeGroups) -> None:
    (placed,) = tiers(groups(iic=[None, None, None]))
    assert (placed.tier, placed.why_not) == (None, "not measured for every seed")
    assert tiers([]) == []


def test_groups_that_always_give_one_number_share_tier_and_rank_if_it_is_the_same(groups: MakeGroups) -> None:
    placed = tiers(groups(ae=[0.5] * 3, vae=[0.5] * 3, gan=[0.4] * 3))
    assert [(each.rank_low, each.rank_high) for each in placed] == [(1, 2), (1, 2), (3, 3)]
    assert [each.tier for each in placed] == [1, 1, 1]  # three repetitions of a number are no proof


def test_lacking_seeds_are_counted_from_the_neighbour_at_the_corrected_level(groups: MakeGroups) -> None:
    made = groups(iic=[0.9, 0.88, 0.92, 0.87], scan=[0.86, 0.9, 0.89, 0.85], kmeans=[0.5, 0.51, 0.49, 0.52])
    first, second, last = tiers(made)
    assert (first.more_seeds, last.more_seeds) == (None, 0)
    level = ALPHA / (3 - 2)  # both are told from k-means: Holm asks the full level of the third pair
    expected = more_seeds(first.group, second.group, alpha=level)
    assert second.more_seeds == expected and expected is not None and expected > 0
    alone = tiers(made[:2])
    assert alone[1].more_seeds == expected


def test_another_metric_may_give_another_order(groups: MakeGroups) -> None:
    made = groups(iic=[0.9, 0.91, 0.92], kmeans=[0.5, 0.51, 0.53])
    for record in made[1].records:
        record.metrics["own-loss"]["nmi"] = 0.99
    assert told(tiers(made, "nmi"))[0] == ("kmeans", 1)


def test_several_contests_are_refused(make_record: MakeRecord) -> None:
    made = group_records([make_record(dataset=name) for name in ("mnist", "usps")])
    with pytest.raises(ValueError, match="rank each for itself"):
        tiers(made)


def test_rank_intervals_follow_the_chance_of_each_rank() -> None:
    # Two normal groups a distance apart: the second is first with a known probability.
    rng = np.random.default_rng(4)
    base = rng.normal(0, 1, 50)
    low, high = rank_intervals([base + 1, base, base[::-1]])
    assert (low.tolist(), high.tolist()) == ([1, 2, 2], [1, 3, 3])
    low, high = rank_intervals([[0.5, 0.7, 0.6], [0.55, 0.65, 0.62], [0.1, 0.9, 0.5]])
    assert (low.tolist(), high.tolist()) == ([1, 1, 1], [3, 3, 3])


def test_the_deviation_of_resampled_means_is_that_of_the_mean() -> None:
    """Two groups 1.5 standard errors of their difference apart swap ranks in one of fifteen resamples: more than 2.5 %."""
    values = np.array([-1.0, 0.0, 1.0, -0.5, 0.5])
    error = values.std(ddof=1) * np.sqrt(2 / 5)
    for distance, expected in ((1.5, [2, 2]), (2.6, [1, 2])):
        _, high = rank_intervals([list(values + distance * error), list(values)])
        assert high.tolist() == expected


def test_tiers_end_with_the_best_where_settings_are_too_many(groups: MakeGroups, monkeypatch: pytest.MonkeyPatch) -> None:
    made = groups(**{f"m{i}": [0.5 + 0.1 * i, 0.51 + 0.1 * i, 0.52 + 0.1 * i] for i in range(4)}, few=[0.9])
    monkeypatch.setattr("clusterbench.results.tiers.MOST", 2)
    placed = tiers(made)
    assert [each.group.spec["method"] for each in placed] == ["m3", "m2", "m1", "m0", "few"]
    assert [each.why_not for each in placed] == [
        "",
        "",
        "tiers end with the best 2",
        "tiers end with the best 2",
        "1 seed: too few for a claim",
    ]
    assert told(placed[:2]) == told(tiers([each.group for each in placed[:2]]))
