"""How networks are executed changes what they compute by rounding only, and says so where it cannot be."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch._dynamo import utils as dynamo
from torch.optim import SGD, Adam

from clusterbench.datasets.base import Images
from clusterbench.methods.base import MethodError
from clusterbench.methods.iic import IIC
from clusterbench.methods.kit import execution
from clusterbench.methods.kit.arithmetic import Arithmetic
from clusterbench.methods.kit.execution import Execution, using
from clusterbench.methods.kit.randomness import generator

SETTINGS: dict[str, Any] = {
    "epochs": 2, "passes": ("auxiliary", "main"), "sub_heads": 2, "widths": (8, 12), "batch_pairs": 120, "repeats": 3, "lr": 1e-4,
    "views": {"size": 12, "crop": 8, "crops_transformed": [6, 7, 8], "rotation": 15, "resampling": "once"},
}  # fmt: skip


def digits(device: str = "cpu") -> Images:
    return Images.of((load_digits().images[:130] * 255 / 16).round().astype("uint8")).to(device)


def trained(switches: Execution, device: str = "cpu") -> tuple[list[list[float]], np.ndarray, list[str]]:
    """Losses by epoch, labels, and the names of what is saved."""
    with using(switches):
        method = IIC(10, seed=5, device=device, **SETTINGS)
        images = digits(device)
        losses = [list(np.ravel([*epoch.losses.values()])) for epoch in method.train(images)]
        return losses, method.predict_heads(images), [*method.state_dict()["model"]]


@pytest.fixture(scope="module")
def usual() -> tuple[list[list[float]], np.ndarray, list[str]]:
    return trained(Execution())


@pytest.mark.parametrize("switches", [Execution(channels_last=False), Execution(fused=True)], ids=["layout", "fused"])
def test_losses_and_labels_are_those_without_the_switch(
    switches: Execution, usual: tuple[list[list[float]], np.ndarray, list[str]]
) -> None:
    losses, labels, _ = trained(switches)
    np.testing.assert_allclose(losses, usual[0], rtol=0, atol=1e-4)
    assert (labels == usual[1]).mean() > 0.99


def test_compiled_epochs_of_both_heads_are_the_usual_ones_and_compile_nothing_after_the_first(
    usual: tuple[list[list[float]], np.ndarray, list[str]],
) -> None:
    torch.compiler.reset()
    counted: Counter[str] = dynamo.counters["stats"]
    with using(Execution(compile=True, backend="eager")):
        method, images = IIC(10, seed=5, **SETTINGS), digits()
        before, graphs, losses = counted["unique_graphs"], [], []
        for epoch in method.train(images):
            labels = method.predict_heads(images)
            graphs.append(counted["unique_graphs"] - before)
            losses.append(list(np.ravel([*epoch.losses.values()])))
    assert graphs[0] >= 2  # one of each head at least
    assert graphs[1] == graphs[0]
    np.testing.assert_allclose(losses, usual[0], rtol=0, atol=1e-4)
    assert (labels == usual[1]).mean() > 0.99
    assert [*method.state_dict()["model"]] == usual[2]  # a record does not tell a compiled network by its weights


def test_functions_are_called_as_they_are_and_a_network_is_compiled_once() -> None:
    network = nn.Linear(3, 2)
    with using(Execution(compile=True, backend="eager")):
        assert execution.runner(network.forward) == network.forward
        assert execution.runner(network) is network
        first = network._compiled_call_impl
        assert execution.runner(network)._compiled_call_impl is first is not None
    plain = nn.Linear(3, 2)
    assert execution.runner(plain)._compiled_call_impl is None


@pytest.mark.parametrize("kind", [Adam, lambda parameters: SGD(parameters, lr=0.1, momentum=0.9)])
@pytest.mark.parametrize("order", [(False, True), (True, False)])
def test_optimisers_go_on_where_the_other_kind_of_step_left_off(kind: Any, order: tuple[bool, bool]) -> None:
    weights = [nn.Parameter(torch.linspace(-1, 1, 7, dtype=torch.float64)) for _ in range(2)]
    optimisers = [kind([weight]) for weight in weights]
    for number in range(4):
        for place, (weight, optimiser) in enumerate(zip(weights, optimisers, strict=True)):
            weight.grad = torch.linspace(-2, 1, 7, dtype=torch.float64) * (number + 1)
            with using(Execution(fused=order[number // 2] if place else None)):
                optimiser.step()
    assert optimisers[1].param_groups[0]["fused"] is order[1]
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-9, atol=1e-12)


def fail_while_switched() -> None:
    with using(Execution(channels_last=False, fused=True)):
        assert not execution.current().channels_last
        raise RuntimeError("broken")


def test_the_switches_are_as_before_afterwards_also_after_an_error() -> None:
    with pytest.raises(RuntimeError, match="broken"):
        fail_while_switched()
    assert execution.current() == Execution()
    weight = nn.Parameter(torch.ones(2))
    optimiser, weight.grad = Adam([weight]), torch.ones(2)
    optimiser.step()
    assert not optimiser.param_groups[0]["fused"]


def test_layouts_are_what_is_asked_for() -> None:
    for channels_last in (True, False):
        with using(Execution(channels_last=channels_last)):
            weight = Arithmetic("cpu").ready(nn.Conv2d(3, 4, 3)).weight
        assert weight.is_contiguous(memory_format=torch.channels_last) is channels_last


def test_what_cannot_be_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MethodError, match="CUDA graphs need a GPU, and the device is cpu"):
        Execution(compile=True, cuda_graphs=True).check("cpu")
    with pytest.raises(MethodError, match="give --compile too"):
        Execution(cuda_graphs=True).check("cuda:0")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MethodError, match="a C\\+\\+ compiler, which is not here"):
        Execution(compile=True).check("cpu")
    Execution(fused=True, channels_last=False).check("cpu")


def test_a_record_names_the_switches_and_the_backend_only_of_what_is_compiled() -> None:
    assert Execution(fused=True).as_dict() == {"channels_last": True, "fused": True, "compile": False, "cuda_graphs": False}
    assert Execution(compile=True).as_dict()["backend"] == "inductor"


@pytest.mark.gpu
@pytest.mark.parametrize("switches", [Execution(fused=True), Execution(compile=True), Execution(compile=True, cuda_graphs=True)])
def test_switches_of_a_gpu_keep_losses_and_labels(switches: Execution) -> None:
    losses, labels, _ = trained(Execution(), "cuda:0")
    found, same, _ = trained(switches, "cuda:0")
    np.testing.assert_allclose(found, losses, rtol=0, atol=2e-2)
    assert (labels == same).mean() > 0.9


@pytest.mark.gpu
def test_no_step_waits_for_the_device() -> None:
    method, images = IIC(10, seed=5, device="cuda:0", **SETTINGS), digits("cuda:0")
    method.build(images.shape)
    random = generator("cuda:0", 0)
    (*_, order) = [method._order(images, group, random) for group in ("auxiliary", "main")]
    batches = list(images.batches(order))
    method.train_step(batches[0], "main", random)  # libraries wait when they are loaded
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches:
            method._set_learning_rate(0.5, "main")
            method.train_step(batch, "main", random)
    finally:
        torch.cuda.set_sync_debug_mode("default")
