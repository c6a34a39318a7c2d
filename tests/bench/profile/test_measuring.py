"""Steps of real and of made-up methods are told apart into their parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from clusterbench.bench.profile.bare import Captured
from clusterbench.bench.profile.measuring import measure
from clusterbench.datasets.base import Images
from clusterbench.datasets.catalogue import load
from clusterbench.methods.base import Epoch, Method, MethodError
from clusterbench.methods.iic import IIC
from clusterbench.methods.kit import stages
from clusterbench.methods.kmeans import KMeans


class Clock:
    """Shows a time that passes only where something is said to take long, so that a busy machine changes nothing."""

    now = 0

    def __call__(self) -> float:
        return float(self.now)

    def takes(self, naps: int) -> None:
        self.now += naps


CLOCK = Clock()


class Slow(nn.Module):
    """A linear layer that takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        CLOCK.takes(3)
        return self.layer(values)


@stages.augmentation
def prepared(batch: torch.Tensor) -> torch.Tensor:
    CLOCK.takes(2)
    return batch.flatten(1).float() / 255


class Timed(Method):
    """Each part of its steps takes a time of its own."""

    name = "timed"
    steps, epochs = 5, 20

    def train(self, images: Images) -> Iterator[Epoch]:
        self.network, self.grown = Slow(), []
        optimiser = torch.optim.SGD(self.network.parameters(), lr=0.0)
        for number in range(1, self.epochs + 1):
            for step, batch in enumerate(images.batches([torch.arange(8)] * self.steps), start=1):
                outputs = self.network(prepared(batch))
                CLOCK.takes(1)  # the loss
                loss = outputs.square().mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                CLOCK.takes(4)  # nothing that has a name
                self.on_step(step, self.steps, step * 8)
            CLOCK.takes(20)  # evaluation, between two epochs
            yield Epoch(number, {"loss": loss.item()}, loss.item(), 8 * self.steps)

    def predict_heads(self, images: Images) -> np.ndarray:
        return np.zeros((1, len(images)), dtype=np.int64)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


@pytest.fixture
def digits() -> Any:
    return load("digits").under("full")


@pytest.fixture
def made_up_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clusterbench.bench.profile.measuring.clock_for", lambda device: CLOCK)


@pytest.mark.usefixtures("made_up_clock")
def test_each_stage_gets_its_own_time(digits: Any) -> None:
    found = measure(Timed(10), digits, steps=4)
    wanted = {"data": 0, "augmentation": 2, "forward": 3, "loss": 1, "backward": 0, "optimiser": 0, "other": 4}
    assert [{name: step.get(name) for name in wanted} for step in found.stages] == [wanted] * 4


@pytest.mark.usefixtures("made_up_clock")
def test_what_happens_between_two_epochs_is_no_part_of_a_step(digits: Any) -> None:
    found = measure(Timed(10), digits, steps=9)
    assert found.whole == [2 + 3 + 1 + 4] * 9  # four steps in each epoch of five are measured, none takes the 20 between
    assert all(step["other"] == 4 for step in found.stages) and len(found.stages) == 9
    assert found.images == [8] * 9


@pytest.mark.usefixtures("made_up_clock")
def test_bare_step_is_the_network_alone(digits: Any) -> None:
    assert measure(Timed(10), digits, steps=4).bare == [3] * 4


def test_operations_are_those_of_the_formula(digits: Any) -> None:
    found = measure(Timed(10), digits, steps=3)
    assert found.flops == 2 * (2 * 8 * 64 * 10)  # a product forward, one for the weights backward, none for the pixels


def test_gradient_of_a_gradient_is_counted_too(digits: Any) -> None:
    class Penalised(Timed):
        def train(self, images: Images) -> Iterator[Epoch]:
            self.network = Slow()
            for step in range(1, 30):
                inputs = torch.ones(8, 64, requires_grad=True)
                (slope,) = torch.autograd.grad(self.network(inputs).square().sum(), inputs, create_graph=True)
                slope.square().sum().backward()
                self.on_step(step, 30, step * 8)
            yield Epoch(1, {}, None, 8)

    found = measure(Penalised(10), digits, steps=3)
    assert found.flops % (2 * 8 * 64 * 10) == 0 and found.flops > 2 * (2 * 8 * 64 * 10)


def test_hooks_are_gone_afterwards(digits: Any) -> None:
    kept = (Images.batch, Images.batches, torch.autograd.backward, torch.optim.Optimizer.zero_grad)
    measure(Timed(10), digits, steps=3)
    assert kept == (Images.batch, Images.batches, torch.autograd.backward, torch.optim.Optimizer.zero_grad)
    assert not stages._listeners
    assert not torch.nn.modules.module._global_forward_pre_hooks


def test_epochs_before_the_measured_ones_are_those_of_an_undisturbed_training(digits: Any) -> None:
    settings = {
        "widths": (8, 16),
        "sub_heads": 2,
        "batch_pairs": 200,
        "epochs": 3,
        "views": {"size": 16, "crop": 8, "crops_transformed": [7, 8]},
    }
    alone = [epoch.losses["main"] for epoch in IIC(10, **settings).train(digits.train)]
    heard: list[Any] = []
    method = IIC(10, **settings)
    train = method.train

    def kept(images: Images) -> Iterator[Epoch]:
        for epoch in train(images):
            heard.append(epoch.losses["main"])
            yield epoch

    method.train = kept  # type: ignore[method-assign]
    measure(method, digits, steps=3, after_epoch=2)
    assert heard[:2] == alone[:2]


def test_method_without_steps_is_refused(digits: Any) -> None:
    with pytest.raises(MethodError, match="kmeans: the training ended before a step was measured"):
        measure(KMeans(10), digits, steps=3)


def test_trace_is_written(digits: Any, tmp_path: Path) -> None:
    measure(Timed(10), digits, steps=3, trace=tmp_path / "trace.json")
    assert "aten::linear" in (tmp_path / "trace.json").read_text(encoding="utf-8")


def test_bare_step_changes_no_weight_that_has_no_momentum() -> None:
    layer = nn.Linear(3, 2)
    optimiser = torch.optim.SGD(layer.parameters(), lr=1.0)
    captured = Captured("cpu")
    captured.call(layer, (torch.randn(4, 3),))
    captured.stepped(optimiser)
    captured.stepped(optimiser)
    before = layer.weight.clone()
    captured.bare_step()
    assert len(captured.optimisers) == 1
    assert torch.equal(layer.weight, before)
    assert layer.weight.grad is not None and not layer.weight.grad.any()
