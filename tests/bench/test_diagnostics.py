"""Collapse, lagging sub-heads and bounds: worked out by hand, and noticed in real trials of a method that is made to collapse."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import entropy
from trial_fakes import Drift, drift_spec, registered, run, tiny_data

from clusterbench.bench import card, diagnostics, display
from clusterbench.bench.observer import Observer
from clusterbench.datasets.base import Images
from clusterbench.methods.base import Epoch
from clusterbench.methods.iic import IIC


class Collapsing(Drift):
    """Puts every image into one cluster in the epochs 3 to 6 of 8; knows the bound of its loss."""

    name = "collapsing"

    @property
    def loss_floors(self) -> dict[str, float]:
        return {"criterion": -2.0}

    def predict_heads(self, images: Images) -> np.ndarray:
        found = super().predict_heads(images)
        return np.zeros_like(found) if 3 <= self.epoch <= 6 else found


@pytest.fixture
def collapsing() -> Iterator[None]:
    with registered(Collapsing):
        yield


def row(epoch: int, effective: float, **given: Any) -> dict[str, Any]:
    return {"epoch": epoch, "effective_clusters": [effective], "clusters_used": [4], "chosen_head": 0, **given}


def test_effective_clusters_are_the_exponential_of_the_entropy_of_the_sizes() -> None:
    sizes = np.array([[25, 25, 25, 25], [100, 0, 0, 0], [50, 50, 0, 0], [70, 20, 9, 1]])
    found = diagnostics.effective_clusters(sizes)
    assert found[:3] == pytest.approx([4.0, 1.0, 2.0])
    assert found == pytest.approx(np.exp(entropy(sizes, axis=1)))
    assert diagnostics.effective_clusters(np.zeros((1, 4), int)) == [1.0]


def test_a_collapse_is_told_once_when_it_has_lasted_and_once_when_it_is_over() -> None:
    watch, told = diagnostics.Watch(10), {}
    everything_in_one, spread = np.array([[90, 10] + [0] * 8]), np.full((1, 10), 10)
    for epoch in range(1, 13):
        sizes = everything_in_one if epoch in (1, 2, 4, 5, 6, 7, 8) else spread
        used = [int((sizes > 0).sum())]
        told[epoch] = watch.examine({"epoch": epoch, "chosen_head": 0, "clusters_used": used}, sizes, {})["notices"]
    assert {epoch for epoch, notices in told.items() if notices} == {6, 9}
    assert told[6][0].startswith("collapse in the last 3 epochs: the chosen sub-head uses 2 of 10 clusters, 1.4 effectively.")
    assert told[9] == ["the collapse is over: the chosen sub-head uses 10 of 10 clusters, 10.0 effectively"]


def test_a_watch_that_is_taken_up_again_tells_what_an_undisturbed_one_tells() -> None:
    sizes = np.array([[1, 0, 0, 0]])
    for saved_after in range(5):
        before = [row(epoch, 1.0) for epoch in range(1, saved_after + 1)]
        watch = diagnostics.Watch(4, before)
        told = [bool(watch.examine(row(epoch, 1.0), sizes, {})["notices"]) for epoch in range(saved_after + 1, 7)]
        assert told == [epoch == 3 for epoch in range(saved_after + 1, 7)]


def test_unequal_classes_are_no_collapse_but_one_cluster_of_two_is() -> None:
    assert not diagnostics.is_collapsed(diagnostics.effective_clusters(np.array([[90, 10]]))[0], 2)
    assert diagnostics.is_collapsed(1.0, 2)
    assert not diagnostics.is_collapsed(6.0, 10)


def test_sub_heads_that_lag_are_named_by_their_distance_to_the_best_in_shares_of_the_bound() -> None:
    losses = {"main": [-2.20, -2.17, -2.00], "auxiliary": [-1.0, -3.0, -2.0]}
    given = row(5, 3.0, losses=losses, loss_floors={"criterion": -math.log(10)}, criterion=-2.2)
    assert diagnostics.sub_head_gap(given) == pytest.approx(0.2)
    assert diagnostics.lagging(given) == [2]  # 0.03 is 1.3 % of ln 10, 0.2 is 8.7 %
    found = diagnostics.summary([row(4, 9.0), given], 5, 4)
    assert (found["criterion"], found["loss_floor"], found["collapsed"]) == (-2.2, pytest.approx(-2.3026, abs=1e-4), False)
    assert diagnostics.told({**found, "sub_head_gap": 0.2}, 4) == ["sub-head 2 lags behind: loss up to 0.200 above the best"]


def test_methods_without_losses_or_bounds_have_no_gap_and_nobody_lags() -> None:
    assert diagnostics.sub_head_gap({"losses": {}}) is None
    assert diagnostics.sub_head_gap({"losses": {"inertia": 3.0}}) is None
    assert diagnostics.lagging({"losses": {"main": [1.0, 9.0]}}) == []
    assert diagnostics.summary([], None, 4) == {}


def test_the_bounds_of_iic_follow_from_clusters_and_entropy_weights() -> None:
    method = IIC(10, passes=["auxiliary", "main"], auxiliary_clusters=70, entropy_weight=1.5)
    floor = -2 * math.log(10)
    assert method.loss_floors == pytest.approx({"auxiliary": -math.log(70), "main": floor, "criterion": floor})
    assert IIC(20).loss_floors == pytest.approx({"main": -math.log(20), "criterion": -math.log(20)})


def test_a_trial_that_collapses_says_so_in_its_log_its_rows_its_record_and_on_its_card(
    tmp_path: Path, collapsing: None, caplog: pytest.LogCaptureFixture
) -> None:
    data = tiny_data()
    record = run(drift_spec(data, epochs=8).model_copy(update={"method": "collapsing"}), data, out=tmp_path)
    rows = record.epochs()
    assert [each["effective_clusters"][0] == 1.0 for each in rows] == [3 <= epoch <= 6 for epoch in range(1, 9)]
    assert [bool(each["notices"]) for each in rows] == [epoch in (5, 7) for epoch in range(1, 9)]
    assert [line.split(":")[0] for line in caplog.messages] == ["epoch 5", "epoch 7"]
    assert [each["epoch"] for each in record.diagnostics["notices"]] == [5, 7]
    screen = io.StringIO()
    card.show(Console(file=screen, width=120), record)
    assert "(bound -2.000)" in screen.getvalue()


def test_a_card_names_the_collapse_of_the_epoch_that_is_reported() -> None:
    found = diagnostics.summary([row(3, 1.25, criterion=-0.1)], 3, 10)
    assert found["collapsed"] is True
    (line,) = diagnostics.told(found, 10)
    assert line.startswith("collapse in epoch 3: the chosen sub-head uses 4 of 10 clusters, 1.2 effectively. A lower learning")


def test_lines_tell_a_notice_at_once_and_the_loss_beside_its_bound() -> None:
    screen = io.StringIO()
    watcher = display.Lines(Console(file=screen, width=200))
    watcher.on_notice(5, "collapse in the last 3 epochs")
    assert screen.getvalue() == "  epoch 5: collapse in the last 3 epochs\n"
    told = {"losses": {"main": [-2.1, -2.0], "auxiliary": [-3.0, -3.1]}, "chosen_head": 0, "loss_floors": {"main": -2.303}}
    assert display.losses(told) == {"main": "-2.100*  -2.000 (bound -2.303)", "auxiliary": "-3.000  -3.100"}
    given = {**told, "acc": [0.5, 0.4], "clusters_used": [9, 9], "effective_clusters": [7.25, 3.0]}
    assert display.standing(given) == "ACC 50.0 %, 9 clusters used (7.2 effectively)"


def test_an_observer_that_shows_nothing_still_leaves_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    Observer().on_notice(4, "collapse")
    assert caplog.messages == ["epoch 4: collapse"]


def test_losses_of_an_epoch_are_never_below_their_bound() -> None:
    from sklearn.datasets import load_digits

    images = (load_digits().images[:200] * 255 / 16).round().astype("uint8")
    settings = {"widths": (8, 16), "sub_heads": 2, "batch_pairs": 40, "repeats": 4, "passes": ["auxiliary", "main"]}
    method = IIC(10, **settings, epochs=2, lr=3e-3, views={"size": 12, "crop": 8, "crops_transformed": [7, 8]})
    epochs: list[Epoch] = list(method.train(Images.of(images)))
    for name, floor in method.loss_floors.items():
        for epoch in epochs:
            values = [epoch.criterion] if name == "criterion" else epoch.losses[name]
            assert all(floor < value < 0 for value in values)
