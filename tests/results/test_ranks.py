"""Ranks over data sets."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from scipy import stats

from clusterbench.results.groups import Group, group_records
from clusterbench.results.ranks import AverageRanks, average_ranks
from clusterbench.results.record import Record

MakeRecord = Callable[..., Record]
Board = Mapping[str, Sequence[float]]  # accuracies on each data set, by method
BOARD = {
    "iic": [0.9, 0.8, 0.7, 0.6],
    "scan": [0.85, 0.9, 0.6, 0.4],
    "kmeans": [0.5, 0.6, 0.5, 0.4],
    "random": [0.1, 0.2, 0.1, 0.2],
}


@pytest.fixture
def groups(make_record: MakeRecord) -> Callable[..., list[Group]]:
    """`groups(BOARD)`: a group of three seeds 0.001 apart for every method on the data sets d0, d1, ..."""

    def make(board: Board, seeds: int = 3, **given: object) -> list[Group]:
        return group_records([
            make_record(method, f"d{i}", acc=acc + 0.001 * seed, seed=seed, **given)
            for method, accs in board.items() for i, acc in enumerate(accs) if not math.isnan(acc) for seed in range(seeds)
        ])  # fmt: skip

    return make


def found(groups: Sequence[Group]) -> AverageRanks:
    ranks = average_ranks(groups)
    assert ranks is not None
    return ranks


def test_ranks_are_counted_and_ties_shared(groups: Callable[..., list[Group]]) -> None:
    ranks = found(groups(BOARD))
    assert (ranks.datasets, ranks.names) == (("d0", "d1", "d2", "d3"), ("iic", "scan", "kmeans", "random"))
    assert ranks.ranks.tolist() == [[1, 2, 3, 4], [2, 1, 3, 4], [1, 2, 3, 4], [1, 2.5, 2.5, 4]]
    assert ranks.averages.tolist() == [1.25, 1.875, 2.875, 4]
    assert ranks.intervals[3] == (4, 4) and ranks.intervals[0].low <= 1.25 <= ranks.intervals[0].high


def test_friedmans_p_is_that_of_its_formula(groups: Callable[..., list[Group]]) -> None:
    ranks = found(groups({**BOARD, "scan": [0.85, 0.9, 0.6, 0.5]}))  # no ties: the formula has no correction for them
    d, m = ranks.ranks.shape
    statistic = 12 * d / (m * (m + 1)) * (np.sum(ranks.averages**2) - m * (m + 1) ** 2 / 4)  # Demšar 2006, section 3.2.2
    assert ranks.p == pytest.approx(stats.chi2.sf(statistic, m - 1))


@pytest.mark.parametrize(("m", "q"), [(3, 2.343), (4, 2.569), (5, 2.728), (8, 3.031), (10, 3.164)])
def test_critical_differences_are_those_of_demsars_table_5(m: int, q: float) -> None:
    ranks = AverageRanks(tuple("abcdefg"), tuple(map(str, range(m))), np.ones((7, m)), (), 0.01, ())
    assert ranks.critical_difference == pytest.approx(q * math.sqrt(m * (m + 1) / (6 * 7)), abs=1e-3)


def test_pairs_are_told_apart_from_the_critical_difference_on(groups: Callable[..., list[Group]]) -> None:
    rng = np.random.default_rng(0)
    ranks = found(groups({f"m{i}": list(0.3 + 0.05 * i + rng.normal(0, 0.05, 8)) for i in range(6)}))
    gaps = np.abs(ranks.averages[:, None] - ranks.averages)
    assert ranks.p < 0.05
    assert ((ranks.pairs.to_numpy() < 0.05) == (gaps >= ranks.critical_difference)).all()
    assert ranks.pairs.to_numpy().min() < 0.05 and list(ranks.pairs.index) == list(ranks.names)


def test_without_a_difference_by_friedman_no_pair_is_looked_at(groups: Callable[..., list[Group]]) -> None:
    ranks = found(groups({"ae": [0.5, 0.6, 0.7], "vae": [0.6, 0.7, 0.5], "gan": [0.7, 0.5, 0.6]}))
    assert ranks.averages.tolist() == [2, 2, 2] and ranks.p > 0.9
    assert (ranks.pairs.to_numpy() == 1).all()
    same = found(groups({name: [0.5, 0.6, 0.7] for name in ("ae", "vae", "gan")}))
    assert same.p == 1 and same.ranks.tolist() == [[2, 2, 2]] * 3


def test_the_interval_holds_what_other_data_sets_would_give(groups: Callable[..., list[Group]]) -> None:
    rng = np.random.default_rng(1)
    wins = rng.random(40) < 0.7  # a is first on 70 % of the data sets, b on the others; c is always last
    accs = np.where(wins, 0.9, 0.7)
    ranks = found(groups({"a": list(accs), "b": [0.8] * 40, "c": [0.1] * 40}))
    error = wins.std() / math.sqrt(40)
    first = ranks.intervals[ranks.names.index("a")]
    assert first == pytest.approx((2 - wins.mean() - 1.96 * error, 2 - wins.mean() + 1.96 * error), abs=0.03)


def test_only_complete_rows_of_enough_seeds_at_unchanged_settings_take_part(groups: Callable[..., list[Group]]) -> None:
    lacking = {**BOARD, "dec": [0.99, 0.99, float("nan"), 0.99]}
    assert found(groups(lacking)).names == ("iic", "scan", "kmeans", "random")
    few = groups({"dec": [0.99] * 4}, seeds=2)
    changed = groups({"dec": [0.99] * 4}, overrides={"lr": 1})
    assert found([*groups(BOARD), *few, *changed]).names == ("iic", "scan", "kmeans", "random")


def test_a_data_set_that_few_methods_share_is_left_out(groups: Callable[..., list[Group]]) -> None:
    nan = float("nan")
    board = {name: [*accs, nan] for name, accs in BOARD.items()} | {"dec": [0.5, 0.4, 0.3, 0.1, 0.9]}
    ranks = found(groups(board))
    assert (ranks.datasets, len(ranks.names)) == (("d0", "d1", "d2", "d3"), 5)


def test_of_two_copies_of_a_data_set_the_one_with_more_methods_counts(groups: Callable[..., list[Group]]) -> None:
    other_copy = groups({"iic": [0.1, 0.1, 0.1, 0.1]}, data_fingerprint="0" * 64)
    assert found([*other_copy, *groups(BOARD)]).averages.tolist() == [1.25, 1.875, 2.875, 4]


def test_too_few_methods_or_data_sets_give_no_ranks(groups: Callable[..., list[Group]]) -> None:
    assert average_ranks(groups({name: BOARD[name] for name in ("iic", "scan")})) is None
    assert average_ranks(groups({name: accs[:2] for name, accs in BOARD.items()})) is None
    assert average_ranks([]) is None


def test_what_labels_chose_is_never_ranked(groups: Callable[..., list[Group]]) -> None:
    with pytest.raises(ValueError, match="oracle"):
        average_ranks(groups(BOARD), selection="oracle")
