"""The GAN: one step against plain PyTorch, what an epoch tells, its features, its presets, and that it learns real digits."""

from __future__ import annotations

import copy
import io
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import normalized_mutual_info_score
from state_tools import same
from torch.nn import functional

from clusterbench.bench.config import resolve
from clusterbench.datasets.base import Images
from clusterbench.methods.base import Diverged, Epoch, MethodError
from clusterbench.methods.gan import GAN
from clusterbench.methods.kit.randomness import generator

TINY: dict[str, Any] = {
    "side": 8,
    "width": 4,
    "noise": 6,
    "lr": 2e-4,
    "batch": 16,
    "whiten": 6,
    "kmeans": {"restarts": 1, "iterations": 10},
}
PUBLISHED = ("mnist", "cifar10", "cifar100-20", "stl10")


def some_digits(count: int = 80) -> Images:
    pixels = (load_digits().images[:count] * 255 / 16).round().astype(np.uint8)
    return Images(torch.from_numpy(pixels[:, None]), {"main": torch.arange(0, count, 2)})


def made(epochs: int = 1, **settings: Any) -> GAN:
    return GAN(10, epochs=epochs, **{**TINY, **settings})


@pytest.mark.parametrize("settings", [{}, {"side": 16, "whiten": None, "lr_decay": "cosine", "images": "main"}])
def test_it_goes_on_from_a_saved_state_as_if_nothing_had_happened(settings: dict[str, Any]) -> None:
    images, undisturbed = some_digits(), made(3, **settings)
    epochs = list(undisturbed.train(images))
    broken, onward = made(3, **settings), made(3, **settings)
    training = broken.train(images)
    before: list[Epoch] = [next(training) for _ in range(2)]
    stored = io.BytesIO()
    torch.save(broken.state_dict(), stored)
    onward.load_state_dict(torch.load(io.BytesIO(stored.getvalue()), weights_only=True))
    np.testing.assert_array_equal(onward.predict_heads(images), broken.predict_heads(images))
    assert before + list(onward.train(images)) == epochs
    assert same(onward.state_dict(), undisturbed.state_dict())


def test_a_step_is_that_of_the_example_written_out() -> None:
    method, images = made(lr=1e-3), some_digits(12)
    method.build_for(images.shape)
    reference = copy.deepcopy(method.network).train()
    grower, judge = reference.generator, reference.discriminator
    solvers = [torch.optim.Adam(part.parameters(), lr=1e-3, betas=(0.5, 0.999)) for part in (judge, grower)]

    real = images.pixels.float() / 127.5 - 1
    fake = grower(torch.randn(12, 6, generator=generator("cpu", 5)))
    ones, zeros = torch.ones(12), torch.zeros(12)
    score = functional.binary_cross_entropy_with_logits
    loss = score(judge(real), ones) + score(judge(fake.detach()), zeros)
    loss.backward()
    solvers[0].step()
    other = score(judge(fake), ones)
    grower.zero_grad()
    other.backward()
    solvers[1].step()

    method.network.train()
    told = method.train_step(images.pixels, generator("cpu", 5))
    assert told["discriminator"].item() == pytest.approx(loss.item(), rel=1e-4)
    assert told["generator"].item() == pytest.approx(other.item(), rel=1e-4)
    wanted = reference.state_dict()
    for name, tensor in method.network.state_dict().items():
        torch.testing.assert_close(tensor, wanted[name], rtol=1e-3, atol=2e-5, msg=name)
    assert all(parameter.requires_grad for parameter in method.network.parameters())


def test_an_epoch_tells_of_both_losses_scores_and_variety_and_has_no_criterion() -> None:
    method, images = made(), some_digits()
    (epoch,) = method.train(images)
    assert epoch.losses.keys() == {"discriminator", "generator", "real_score", "made_score", "variety"}
    assert epoch.criterion is None and epoch.images == 80 + 40  # all are learned from, the main ones clustered
    assert all(0 < float(epoch.losses[name]) < 1 for name in ("real_score", "made_score", "variety"))
    assert method.loss_floors.keys() <= epoch.losses.keys()


def test_a_collapsed_generator_shows_in_the_variety() -> None:
    method, images = made(), some_digits(16)
    method.build_for(images.shape)
    torch.nn.init.zeros_(method.network.generator[1].weight)  # the noise no longer matters
    method.network.train()
    told = method.train_step(images.pixels, generator("cpu", 0))
    assert told["variety"].item() == pytest.approx(0, abs=1e-6)


def test_an_exploded_loss_stops_training_with_one_clear_line() -> None:
    method, images = made(), some_digits()
    method.build_for(images.shape)
    torch.nn.init.constant_(method.network.discriminator.score.weight, torch.inf)
    with pytest.raises(Diverged, match=r"gan: the loss is not finite in epoch 1\. Lower the learning rate"):
        next(method.train(images))


def test_images_are_seen_from_minus_one_to_one_as_central_squares_of_the_side() -> None:
    wide = torch.zeros(1, 3, 8, 12, dtype=torch.uint8)
    wide[..., 2:10] = 255  # the central square
    for side in (8, 16):
        method = made(side=side)
        seen = method.prepared(wide)
        assert seen.shape == (1, 3, side, side) and bool((seen == 1).all())
    assert bool((made().prepared(wide * 0) == -1).all())


def test_features_do_not_depend_on_the_other_images_of_a_batch() -> None:
    method, images = made(), some_digits()
    next(method.train(images))
    together = method.features_of(images)
    alone = method.features_of(Images(images.pixels[3:4]))
    torch.testing.assert_close(alone[0], together[3])
    assert together.shape == (80, 4 * 16)


def test_bfloat16_gives_about_the_features_of_float32() -> None:
    method, images = made(), some_digits()
    next(method.train(images))
    near = made(precision="bfloat16")
    near.load_state_dict(method.state_dict())
    assert functional.cosine_similarity(method.features_of(images), near.features_of(images)).min() > 0.999
    next(made(precision="bfloat16").train(images))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"side": 28}, r"setting 'side': side must be 8, 16, 32, 64 or a higher power of two, got 28"),
        ({"noises": 5}, r"unknown setting 'noises'\. Did you mean 'noise'\?"),
        ({"beta1": 1.0}, "setting 'beta1'"),
        ({"grid": 0}, "setting 'grid'"),
        ({"batch": 1}, "setting 'batch'"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(MethodError, match=message):
        GAN(10, **settings)


@pytest.mark.parametrize("dataset", [*PUBLISHED, "default"])
def test_paper_is_pytorchs_example(dataset: str) -> None:
    config = resolve("gan", dataset, "paper").config
    example = {"noise": 100, "width": 64, "side": 64, "lr": 2e-4, "beta1": 0.5, "batch": 64, "epochs": 25, "weight_decay": 0.0}
    paper = {"grid": 4, "lr_decay": "none", "images": "all"}
    wanted = {**example, **paper}
    assert {name: config[name] for name in wanted} == wanted
    assert config["kmeans"]["normalise"] == "l2" or config["whiten"]


def test_the_generator_comes_nearer_to_real_digits_and_the_features_tell_them_apart() -> None:
    data = load_digits()
    images = Images.of((data.images * 255 / 16).round().astype(np.uint8))
    method = GAN(10, epochs=4, side=8, width=16, lr=1e-3, batch=64, cluster_every=9, whiten=20, kmeans={"normalise": "l2"})
    method.build_for(images.shape)
    noise = torch.randn(200, 100, generator=generator("cpu", 1))
    average = method.prepared(images.pixels).mean(0)

    def distance() -> float:
        method.network.eval()
        with torch.no_grad():
            return (method.network.generator(noise).mean(0) - average).square().mean().sqrt().item()

    untrained = distance()
    epochs = list(method.train(images))
    assert distance() < untrained / 2
    assert float(epochs[-1].losses["variety"]) > 0.3
    assert normalized_mutual_info_score(data.target, method.predict(images)) > 0.6  # chance has about 0.01
