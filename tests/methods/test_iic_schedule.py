"""What IIC trains when: the auxiliary head alone at first, then both in turn, and at which learning rates."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from state_tools import same

from clusterbench.datasets.base import Images
from clusterbench.methods.base import MethodError
from clusterbench.methods.iic import IIC, IICConfig

VIEWS = {"crop": 8, "crops_transformed": [7, 8], "size": 8, "resampling": "once"}
SETTINGS: dict[str, Any] = {
    "passes": ["auxiliary", "main"], "auxiliary_epochs": 2, "epochs": 4, "widths": [8, 16], "batch_pairs": 50, "repeats": 2,
    "sub_heads": 6, "auxiliary_sub_heads": 2, "auxiliary_clusters": 15, "views": VIEWS,
}  # fmt: skip


def digits(count: int = 100) -> Images:
    return Images.of((load_digits().images[:count] * 255 / 16).round().astype("uint8"))


def weights(method: IIC, part: str) -> torch.Tensor:
    return torch.cat([tensor.detach().flatten().clone() for tensor in method.network.get_submodule(part).parameters()])


def test_the_auxiliary_head_trains_alone_at_first() -> None:
    method = IIC(10, **SETTINGS)
    method.build((1, 8, 8))
    untrained = weights(method, "heads.main")
    for epoch in method.train(digits()):
        alone = epoch.number <= 2
        assert set(epoch.losses) == ({"auxiliary"} if alone else {"auxiliary", "main"})
        assert (epoch.criterion is None) == alone
        assert torch.equal(weights(method, "heads.main"), untrained) == alone
        assert epoch.images == (1 if alone else 2) * 100 * (1 + 2)
    assert method.predict_heads(digits()).shape == (6, 100)


def test_the_auxiliary_head_has_its_own_number_of_sub_heads() -> None:
    method = IIC(10, **SETTINGS)
    first = next(method.train(digits()))
    losses = first.losses["auxiliary"]
    assert isinstance(losses, list) and len(losses) == 2
    same = IICConfig(sub_heads=7)
    assert (same.sub_heads_of("main"), same.sub_heads_of("auxiliary")) == (7, 7)


def test_an_auxiliary_head_that_only_comes_first_needs_no_pass_of_its_own_later() -> None:
    method = IIC(10, **{**SETTINGS, "passes": ["main"]})
    assert [sorted(epoch.losses) for epoch in method.train(digits())] == [["auxiliary"]] * 2 + [["main"]] * 2
    assert set(method.loss_floors) == {"auxiliary", "main", "criterion"}


@pytest.mark.parametrize(("share", "moves"), [(0.0, False), (0.2, True)])
def test_the_trunk_follows_the_main_head_at_its_share_of_the_rate(share: float, moves: bool) -> None:
    method = IIC(10, **{**SETTINGS, "passes": ["main"], "auxiliary_epochs": 0, "epochs": 1, "main_trunk_lr": share})
    method.build((1, 8, 8))
    before = weights(method, "trunk")
    list(method.train(digits()))
    assert torch.equal(weights(method, "trunk"), before) != moves


def test_the_share_holds_for_passes_of_the_main_head_only() -> None:
    method = IIC(10, **SETTINGS, lr=1e-3, main_trunk_lr=0.2)
    method.build((1, 8, 8))
    rates = {}
    for group in ("main", "auxiliary"):
        method._set_learning_rate(0.0, group)
        rates[group] = [parameters["lr"] for parameters in method.optimiser.param_groups]
    assert rates == {"main": pytest.approx([2e-4, 1e-3]), "auxiliary": pytest.approx([1e-3, 1e-3])}


def test_the_cosine_begins_after_the_epochs_of_the_auxiliary_head_alone() -> None:
    method = IIC(10, **SETTINGS, lr=1e-3, lr_schedule="cosine")
    method.build((1, 8, 8))
    rates = []
    for passed in (0.0, 1.5, 2.0, 3.0, 4.0):
        method._set_learning_rate(passed, "auxiliary")
        rates.append(method.optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3, 5e-4, 0.0])


def test_an_idle_head_that_moves_goes_on_moving_after_an_interruption() -> None:
    settings = SETTINGS | {"passes": ["auxiliary", "main"], "auxiliary_epochs": 0, "epochs": 2, "idle_head_updates": True}
    undisturbed = IIC(10, **settings)
    saved = [deepcopy(undisturbed.state_dict()) for _ in undisturbed.train(digits())]
    resumed = IIC(10, **settings)
    resumed.load_state_dict(saved[0])
    list(resumed.train(digits()))
    assert same(resumed.state_dict(), saved[1])


@pytest.mark.parametrize("stop", [1, 3])
def test_a_run_that_was_interrupted_in_either_part_ends_as_an_undisturbed_one(stop: int) -> None:
    undisturbed = IIC(10, **SETTINGS, lr_schedule="cosine", main_trunk_lr=0.2)
    list(undisturbed.train(digits()))
    first = IIC(10, **SETTINGS, lr_schedule="cosine", main_trunk_lr=0.2)
    for epoch in first.train(digits()):
        if epoch.number == stop:
            break
    second = IIC(10, **SETTINGS, lr_schedule="cosine", main_trunk_lr=0.2)
    second.load_state_dict(first.state_dict())
    assert [epoch.number for epoch in second.train(digits())] == list(range(stop + 1, 5))
    for name, tensor in undisturbed.network.state_dict().items():
        assert torch.equal(second.network.state_dict()[name], tensor), name


def test_epochs_that_leave_the_main_head_none_are_refused() -> None:
    with pytest.raises(MethodError, match="leave the main head no epoch: 4 of 4"):
        IIC(10, **{**SETTINGS, "auxiliary_epochs": 4})
