"""The authors' curves against what their paper prints of the same runs, and against the marks that ours must reach."""

import pytest

from clusterbench.results.authors_curves import authors_curves
from clusterbench.results.published import published

TABLE1 = {"stl10": 569, "cifar10": 640, "cifar100-20": 579, "mnist": 685}


@pytest.mark.parametrize(("dataset", "run"), TABLE1.items())
def test_the_mean_at_the_best_epoch_is_the_one_that_table_1_prints(dataset: str, run: int) -> None:
    curve = authors_curves(dataset)[run]
    best = max(curve, key=lambda point: point.best)
    average = next(row for row in published(table=1, system="IIC", dataset=dataset) if row.aggregate == "average of sub-heads")
    assert best.mean == average.value
    chosen = max(row.value for row in published(table=1, system="IIC", dataset=dataset) if row is not average)
    assert best.best >= chosen  # the table's sub-head is chosen by its loss, this one by labels


def test_the_marks_that_a_reproduction_is_held_to_are_in_the_curves() -> None:
    cifar = {point.epoch: point.best for point in authors_curves("cifar10")[640]}
    assert [round(cifar[epoch]) for epoch in (10, 50, 100, 200)] == [33, 50, 56, 59]
    mnist = {point.epoch: point for point in authors_curves("mnist")[685]}
    assert (mnist[5].best, round(mnist[20].mean or 0, 1)) == (99.0, 96.5)


def test_points_stand_in_the_order_of_their_epochs_and_losses_fall_towards_their_bounds() -> None:
    for run, curve in authors_curves().items():
        epochs = [point.epoch for point in curve]
        assert epochs == sorted(set(epochs)), run
        known = [point.loss_main for point in curve if point.loss_main is not None]
        assert known == sorted(known, reverse=True) and min(known) > -2.9958  # ln 20


def test_an_unknown_data_set_has_no_curve() -> None:
    assert authors_curves("digits") == {}
