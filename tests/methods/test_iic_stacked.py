"""Several seeds of IIC at once: each of them is trained as it would be alone, up to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from clusterbench.datasets.base import Images
from clusterbench.methods.ae import Autoencoder
from clusterbench.methods.base import Diverged, Epoch, MethodError
from clusterbench.methods.iic import IIC
from clusterbench.methods.iic_stacked import StackedEpoch
from clusterbench.methods.kit.randomness import generator

SEEDS = (3, 4)
SETTINGS: dict[str, Any] = {
    "epochs": 2, "passes": ("auxiliary", "main"), "auxiliary_clusters": 12, "auxiliary_sub_heads": 2, "sub_heads": 3,
    "widths": (8, 12), "batch_pairs": 120, "repeats": 3, "lr": 1e-4, "lr_schedule": "cosine",
    "views": {"size": 12, "crop": 8, "crops_transformed": [6, 7, 8], "rotation": 15, "flip_probability": 0.5},
}  # fmt: skip


def digits(count: int = 250) -> Images:
    return Images.of((load_digits().images[:count] * 255 / 16).round().astype("uint8"))


def methods(**settings: Any) -> list[IIC]:
    made = [IIC(10, seed=seed, **(SETTINGS | settings)) for seed in SEEDS]
    for method in made:
        method.build((1, 8, 8))
    return made


def epochs_of(found: list[Epoch | MethodError]) -> list[Epoch]:
    assert all(isinstance(epoch, Epoch) for epoch in found)
    return [epoch for epoch in found if isinstance(epoch, Epoch)]


@pytest.mark.parametrize("resampling", ["pillow", "once"])
def test_the_losses_of_the_first_steps_are_those_of_every_seed_alone(resampling: str) -> None:
    images, alone = digits(), methods(views=SETTINGS["views"] | {"resampling": resampling})
    together = StackedEpoch(methods(views=SETTINGS["views"] | {"resampling": resampling}), images)
    orders = [together._orders(group) for group in ("auxiliary", "main")]
    random = [generator("cpu", seed, "epoch", 1) for seed in SEEDS]
    pairs = list(zip(alone, random, strict=True))
    own = [[method._order(images, group, each) for group in ("auxiliary", "main")] for method, each in pairs]
    for index, group in enumerate(("auxiliary", "main", "auxiliary", "main")):
        step, batch = divmod(index, 2)
        found = together.train_step(images.batch(orders[batch][step]), group)
        for place, (method, each) in enumerate(pairs):
            expected = method.train_step(images.batch(own[place][batch][step]), group, each)
            torch.testing.assert_close(found[place], expected, rtol=0, atol=1e-6 if index == 0 else 2e-4)


@pytest.mark.parametrize("settings", [{}, {"sub_head_loss": "pass", "refresh_statistics": True, "idle_head_updates": True}])
def test_epochs_and_labels_are_those_of_every_seed_alone(settings: dict[str, Any]) -> None:
    images, alone, together = digits(), methods(**settings), methods(**settings)
    expected = [list(method.train(images)) for method in alone]
    found = [epochs_of(IIC.train_stacked(together, images)) for _ in range(2)]
    for place, (method, other) in enumerate(zip(alone, together, strict=True)):
        for number in (0, 1):
            one, same = expected[place][number], found[number][place]
            assert (same.number, same.images) == (one.number, one.images)
            for group, losses in one.losses.items():
                np.testing.assert_allclose(same.losses[group], losses, rtol=0, atol=2e-3)
        assert (method.predict_heads(images) == other.predict_heads(images)).mean() > 0.98
        assert (other.epochs_done, other.chosen_head) == (method.epochs_done, method.chosen_head)
    assert (alone[0].predict_heads(images) == alone[1].predict_heads(images)).mean() < 0.5  # seeds do differ


def test_a_member_goes_on_alone_from_what_the_stack_gave_it() -> None:
    images, together = digits(), methods()
    IIC.train_stacked(together, images)
    alone = IIC(10, seed=SEEDS[1], **SETTINGS)
    alone.load_state_dict(together[1].state_dict())
    (epoch,) = alone.train(images)
    (_, other) = epochs_of(IIC.train_stacked(together, images))
    np.testing.assert_allclose(epoch.losses["main"], other.losses["main"], rtol=0, atol=2e-3)


def test_a_seed_that_diverges_tells_it_and_the_others_do_not_notice() -> None:
    images, whole, hurt = digits(), methods(), methods()
    with torch.no_grad():
        next(hurt[0].network.trunk.parameters()).fill_(torch.nan)
    broken, found = IIC.train_stacked(hurt, images)
    assert isinstance(broken, Diverged)
    assert isinstance(found, Epoch)
    assert found.losses == epochs_of(IIC.train_stacked(whole, images))[1].losses


def test_all_seeds_report_the_same_progress() -> None:
    images, together = digits(60), methods()
    told: dict[int, list[tuple[int, int, int]]] = {seed: [] for seed in SEEDS}
    for method in together:
        method.on_step = lambda done, total, seen, seed=method.seed: told[seed].append((done, total, seen))
    IIC.train_stacked(together, images)
    assert told[SEEDS[0]] == told[SEEDS[1]]
    assert told[SEEDS[0]][-1] == (4, 4, 2 * 60 * 4)  # two passes of 60 images, each with three copies


def test_a_method_without_a_stack_says_so() -> None:
    with pytest.raises(MethodError, match="ae trains one seed at a time"):
        Autoencoder.train_stacked([Autoencoder(10)], digits())
