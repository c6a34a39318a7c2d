from __future__ import annotations

import numpy as np
import pytest

from clusterbench.bench.selection import Tracker, smallest


def followed(criteria: list[float | None], accs: list[list[float | None]], heads: list[int]) -> Tracker:
    """A tracker that saw these epochs; the predictions of epoch e are full of e."""
    tracker = Tracker()
    for epoch, (criterion, acc, head) in enumerate(zip(criteria, accs, heads, strict=True), start=1):
        tracker.update(epoch, np.full((len(acc), 4), epoch, np.int8), chosen_head=head, criterion=criterion, acc=acc)
    return tracker


def chosen(tracker: Tracker) -> dict[str, tuple[int, int]]:
    assert all((choice.predictions == choice.epoch).all() for choice in tracker.choices.values())
    return {name: (choice.epoch, choice.head) for name, choice in tracker.choices.items()}


def test_each_selection_keeps_its_own_epoch_and_head() -> None:
    accs: list[list[float | None]] = [[0.2, 0.9], [0.3, 0.4], [0.5, 0.1]]
    assert chosen(followed([-1.0, -3.0, -2.0], accs, [0, 1, 0])) == {"last": (3, 0), "own-loss": (2, 1), "oracle": (1, 1)}


def test_among_equals_the_first_counts() -> None:
    accs: list[list[float | None]] = [[0.4, 0.7], [0.7, 0.7], [0.1, 0.7]]
    assert chosen(followed([1.0, 1.0, 1.0], accs, [0, 1, 0])) == {"last": (3, 0), "own-loss": (1, 0), "oracle": (1, 1)}


def test_a_method_without_a_criterion_is_judged_by_its_last_epoch() -> None:
    assert chosen(followed([None, None], [[0.9], [0.1]], [0, 0])) == {"last": (2, 0), "own-loss": (2, 0), "oracle": (1, 0)}


def test_epochs_without_a_criterion_give_way_to_those_with_one() -> None:
    accs: list[list[float | None]] = [[0.1]] * 4
    assert chosen(followed([None, 5.0, 7.0, None], accs, [0] * 4))["own-loss"] == (2, 0)


def test_without_labels_the_oracle_knows_no_more_than_the_last_epoch() -> None:
    accs: list[list[float | None]] = [[None, None], [None, None]]
    assert chosen(followed([2.0, 3.0], accs, [0, 1])) == {"last": (2, 1), "own-loss": (1, 0), "oracle": (2, 1)}


@pytest.mark.parametrize("cut", range(1, 6))
def test_going_on_from_a_saved_state_chooses_as_without_a_break(cut: int) -> None:
    generator = np.random.default_rng(cut)
    criteria: list[float | None] = [float(value) for value in generator.normal(size=6)]
    accs: list[list[float | None]] = generator.random((6, 3)).tolist()
    whole, broken = followed(criteria, accs, [0, 1, 2, 0, 1, 2]), Tracker()
    broken.load_state_dict(followed(criteria[:cut], accs[:cut], [0, 1, 2, 0, 1, 2][:cut]).state_dict())
    for epoch in range(cut + 1, 7):
        predictions = np.full((3, 4), epoch, np.int8)
        broken.update(epoch, predictions, chosen_head=(epoch - 1) % 3, criterion=criteria[epoch - 1], acc=accs[epoch - 1])
    assert chosen(broken) == chosen(whole)


@pytest.mark.parametrize(("clusters", "kind"), [(2, "i1"), (128, "i1"), (129, "i2"), (32768, "i2"), (32769, "i4")])
def test_clusters_are_kept_in_the_smallest_type_that_holds_them_and_the_unknown_label(clusters: int, kind: str) -> None:
    kept = smallest(np.array([[0, clusters - 1]]), clusters)
    assert kept.dtype == np.dtype(kind) and kept.tolist() == [[0, clusters - 1]]
