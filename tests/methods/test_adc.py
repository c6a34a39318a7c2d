"""ADC: its losses and schedules, k-means on the way, its presets, and that it learns real digits."""

from __future__ import annotations

import io
import math
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
from clusterbench.methods.adc import ADC, LOSSES, envelope
from clusterbench.methods.base import Diverged, MethodError
from clusterbench.methods.kit.association import association_losses
from clusterbench.methods.kit.randomness import generator

TINY: dict[str, Any] = {
    "epoch_steps": 4,
    "batch": 20,
    "copies": 2,
    "embedding": 8,
    "widths": (4, 8),
    "depth": 1,
    "views": {"size": 8},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "k-means after the first epoch": {"kmeans_after": 1, "transformation_weight": 0.1},
    "residual": {"network": "resnet", "dropout": 0.5, "warm_up": 5, "cluster_warm_up": 9},
}


def some_digits(count: int = 90) -> Images:
    pixels = (load_digits().images[:count] * 255 / 16).round().astype(np.uint8)
    return Images(torch.from_numpy(pixels[:, None]))


def made(epochs: int = 1, **settings: Any) -> ADC:
    return ADC(10, epochs=epochs, **{**TINY, **settings})


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_goes_on_from_a_saved_state_as_if_nothing_had_happened(variant: str) -> None:
    images, undisturbed = some_digits(), made(3, **VARIANTS[variant])
    epochs = list(undisturbed.train(images))
    for cut in (1, 2):
        broken, onward = (made(3, **VARIANTS[variant]) for _ in range(2))
        training = broken.train(images)
        before = [next(training) for _ in range(cut)]
        stored = io.BytesIO()
        torch.save(broken.state_dict(), stored)
        onward.load_state_dict(torch.load(io.BytesIO(stored.getvalue()), weights_only=True))
        np.testing.assert_array_equal(onward.predict_heads(images), broken.predict_heads(images))
        assert before + list(onward.train(images)) == epochs
        assert same(onward.state_dict(), undisturbed.state_dict())


def test_the_losses_are_those_of_the_authors_each_alone() -> None:
    method = made(transformation_weight=1.0)
    method.build((1, 8, 8))
    random = torch.Generator().manual_seed(0)
    plain, copied = torch.randn(5, 8, generator=random), torch.randn(10, 8, generator=random)
    found = dict(zip(LOSSES, method.losses(plain, copied).tolist(), strict=True))
    network, owners = method.network, torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    clusters = torch.arange(10).repeat_interleave(4)
    assert [found["walker"], found["visit"]] == pytest.approx(
        [loss.item() for loss in association_losses(network.centroids, plain, clusters)]
    )
    assert [found["copy_walker"], found["copy_visit"]] == pytest.approx(
        [loss.item() for loss in association_losses(copied, plain, owners)]
    )
    assert found["logit"] == pytest.approx(functional.cross_entropy(network.classifier(network.centroids), clusters).item())
    every = torch.cat([plain, copied, network.centroids]).detach().double().numpy()
    assert found["absolute"] == pytest.approx(np.abs(every).sum(), rel=1e-5)
    assert found["norm"] == pytest.approx(((np.linalg.norm(every, axis=1) - 1) ** 2).sum(), rel=1e-5)
    assert found["transformation"] > 0
    without = made()
    without.build((1, 8, 8))
    assert without.losses(plain, copied)[LOSSES.index("transformation")] == 0


def test_a_step_follows_the_gradient_of_the_weighted_sum() -> None:
    method = made(
        walker_weight=0.0, visit_weight=0.0, copy_walker_weight=0.0, copy_visit_weight=0.0, logit_weight=0.0, weight_decay=0.0
    )
    method.build((1, 8, 8))
    before = method.network.centroids.detach().clone()
    method.network.train()
    method.train_step(some_digits(20).pixels, 10**6, generator("cpu", 0))
    moved = method.network.centroids.detach() - before
    slope = 2e-4 * before.sign() + 2e-4 * 2 * (1 - 1 / before.norm(dim=1, keepdim=True)) * before
    sure = slope.abs() > 1e-5
    assert torch.equal(moved.sign()[sure], -slope.sign()[sure]), "the first step of Adam goes along the sign of the gradient"


def test_the_envelope_is_the_authors_sigmoid() -> None:
    for step in (1, 250, 500, 999, 3000):
        expected = np.clip((np.tanh(5 / 1000 * (step - 500)) + 1) / 2, 0, 1)
        assert envelope(step, 1000) == pytest.approx(expected)
    assert envelope(0, 1000) == 0


def test_the_learning_rate_warms_up_and_drops_as_in_the_authors_loop() -> None:
    config = resolve("adc", "mnist", "paper").config
    method, rate = ADC(10, **config), 2e-4
    checked = {0, 1, 500, 1000, 4999, 5000, 5001, 9999, 10_000, 10_001, 15_001}
    for step in range(15_002):  # their loop: the rate of a step is read before it drops
        if step in checked:
            grown = np.clip((np.tanh(5 / 1000 * (step - 500)) + 1) / 2, 0, 1) if step > 0 else 0
            assert method.learning_rate(step) == pytest.approx(1e-6 + rate * grown, rel=1e-9), step
        if step % 5000 == 0 and step > 0:
            rate *= 0.33


def test_centroids_wait_for_k_means_and_copies_weigh_less_afterwards() -> None:
    method = made(4, kmeans_after=2)
    before, after = method.weights(7), method.weights(8)
    assert [before[name] for name in ("walker", "visit", "logit")] == [0, 0, 0] and before["copy_walker"] == 1
    assert [after[name] for name in ("walker", "visit", "logit")] == [1, 0.5, 0.5]
    assert after["copy_walker"] == after["copy_visit"] == 0.2
    assert made().weights(0)["walker"] == 0 and made().weights(1)["walker"] == pytest.approx(0.9933, abs=1e-4)


def test_k_means_places_the_centroids_and_adam_starts_anew() -> None:
    method, images = made(2, kmeans_after=1), some_digits()
    training = method.train(images)
    epoch = next(training)
    assert epoch.images == 4 * 20 * 3 + 90 and not method.optimiser.state_dict()["state"]
    embedded = method._at_rest(method.network.trunk, images.pixels)
    middles = method.network.centroids.detach().view(10, 4, 8).mean(1)
    nearest = torch.cdist(embedded, middles).argmin(1)
    for cluster in range(10):
        torch.testing.assert_close(embedded[nearest == cluster].mean(0), middles[cluster], rtol=0, atol=1e-2)
    next(training)
    assert method.optimiser.state_dict()["state"]


def test_only_weights_of_layers_decay_and_everything_is_learned() -> None:
    for network in ("conv", "resnet"):
        method = made(network=network)
        method.build((1, 8, 8))
        groups = method.optimiser.param_groups
        assert [group["weight_decay"] for group in groups] == [1e-3, 1e-4, 0]
        assert all(parameter.ndim > 1 for parameter in groups[0]["params"])
        assert {p.shape for p in groups[2]["params"]} >= {method.network.centroids.shape}
        learned = [id(parameter) for group in groups for parameter in group["params"]]
        assert sorted(learned) == sorted(id(parameter) for parameter in method.network.parameters())


def test_the_criterion_weighs_all_epochs_alike_and_its_floor_is_below_it() -> None:
    method = made(3, cluster_warm_up=12)
    weights, floors = method.last_weights, method.loss_floors
    for epoch in method.train(some_digits()):
        told = {name: float(value) for name, value in epoch.losses.items() if not isinstance(value, list)}
        assert epoch.criterion == pytest.approx(sum(weights[name] * value for name, value in told.items()))
        assert epoch.criterion is not None and epoch.criterion > floors["criterion"] > 0
        assert all(told[name] >= floors[name] for name in told)
        assert "transformation" not in told


def test_progress_is_told_in_steps_and_images() -> None:
    method, told = made(), []
    method.on_step = lambda done, total, images: told.append((done, total, images))
    (epoch,) = method.train(some_digits())
    assert told == [(1, 4, 60), (2, 4, 120), (3, 4, 180), (4, 4, 240)] and epoch.images == 240


def test_only_the_main_images_are_learned_from() -> None:
    pixels, seen = some_digits().pixels, []
    method = made()
    method.build((1, 8, 8))
    step = method.train_step

    def recorded(batch: torch.Tensor, number: int, random: torch.Generator) -> torch.Tensor:
        seen.append(batch)
        return step(batch, number, random)

    method.train_step = recorded  # pyright: ignore[reportAttributeAccessIssue]
    next(method.train(Images(pixels, {"main": torch.arange(40)})))
    assert {image.numpy().tobytes() for image in torch.cat(seen)} == {image.numpy().tobytes() for image in pixels[:40]}


def test_probabilities_agree_with_predictions_whatever_the_company() -> None:
    method, images = made(), some_digits()
    next(method.train(images))
    chances = method.predict_proba(images)
    np.testing.assert_array_equal(chances.argmax(1), method.predict(images))
    alone = np.concatenate([method.predict_proba(Images(images.pixels[i : i + 1])) for i in range(5)])
    np.testing.assert_allclose(alone, chances[:5], atol=1e-5)


def test_bfloat16_gives_about_the_chances_of_float32() -> None:
    method, near, images = made(), made(precision="bfloat16"), some_digits()
    next(method.train(images))
    near.load_state_dict(method.state_dict())
    assert np.abs(near.predict_proba(images) - method.predict_proba(images)).max() < 0.1
    next(made(precision="bfloat16").train(images))


def test_a_nan_loss_stops_training_with_one_clear_line() -> None:
    method = made()
    method.build((1, 8, 8))
    torch.nn.init.constant_(method.network.centroids, math.nan)
    with pytest.raises(Diverged, match=r"adc: the loss is not finite in epoch 1\."):
        next(method.train(some_digits()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"walker_wieght": 1}, r"unknown setting 'walker_wieght'\. Did you mean 'walker_weight'\?"),
        ({"copies": 0}, "setting 'copies'"),
        ({"decay_factor": 1.5}, "setting 'decay_factor'"),
        ({"views": {"largest_cut": 1.0}}, r"setting 'views\.largest_cut'"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(MethodError, match=message):
        ADC(10, **settings)


def test_fewer_images_than_clusters_have_no_k_means() -> None:
    with pytest.raises(MethodError, match="at least as many images as clusters, got 6 for 10"):
        next(made(kmeans_after=1).train(some_digits(6)))


def test_the_published_settings_are_those_of_the_authors_script() -> None:
    expected = {
        "batch": 100, "copies": 3, "centroids": 4, "embedding": 128, "centroid_deviation": 0.3, "walker_weight": 1,
        "visit_weight": 0.5, "cluster_warm_up": 1, "copy_walker_weight": 1, "copy_visit_weight": 1, "logit_weight": 0.5,
        "transformation_weight": 0, "absolute_weight": 2e-4, "norm_weight": 2e-4, "norm_target": 1, "classifier_decay": 1e-4,
        "kmeans_after": 0, "copy_decay": 0.2, "lr": 2e-4, "warm_up": 1000, "decay_steps": 5000, "decay_factor": 0.33,
        "betas": [0.8, 0.9], "dropout": 0.2,
    }  # fmt: skip
    augmentation = {
        "mnist": {"rotation": 15, "largest_cut": 0.2, "brightness": 0.5, "flip_probability": 0, "noise": 0.05, "size": 28},
        "cifar10": {"rotation": 10, "largest_cut": 0.2, "flip_probability": 0.5, "saturation": [0.7, 1.3], "brightness": 0.5,
                    "contrast": [0.4, 1.8], "hue": 0.2, "noise": 0.05, "size": 32},
        "stl10": {"rotation": 15, "largest_cut": 0.33, "brightness": 1.3, "contrast": [0.2, 1.8], "hue": 0.1, "size": 64},
    }  # fmt: skip
    for dataset in ("mnist", "cifar10", "cifar100-20", "stl10"):
        config = resolve("adc", dataset, "paper").config
        assert {name: config[name] for name in expected} == expected
        assert config["epochs"] * config["epoch_steps"] == 200_000
        views = augmentation["cifar10" if dataset == "cifar100-20" else dataset]
        assert {name: config["views"][name] for name in views} == views
    assert resolve("adc", "mnist", "paper").config["weight_decay"] == 1e-3


@pytest.mark.parametrize("preset", ["paper", "short"])
@pytest.mark.parametrize(
    ("dataset", "shape"),
    [("digits", (1, 8, 8)), ("usps", (1, 16, 16)), ("mnist", (1, 28, 28)), ("cifar10", (3, 32, 32)), ("stl10", (3, 96, 96))],
)
def test_every_preset_fits_the_images_of_its_data_set(preset: str, dataset: str, shape: tuple[int, int, int]) -> None:
    method = ADC(10, **resolve("adc", dataset, preset).config)
    method.build(shape)
    losses = method.train_step(torch.randint(0, 256, (3, *shape), dtype=torch.uint8), 5, generator("cpu", 0))
    assert torch.isfinite(losses).all()


def test_it_learns_real_digits_without_labels() -> None:
    data = load_digits()
    images = (data.images * 255 / 16).round().astype(np.uint8)
    small = {
        "widths": (8, 16),
        "depth": 1,
        "dropout": 0.0,
        "copies": 2,
        "lr": 2e-3,
        "warm_up": 20,
        "views": {"size": 16, "rim": 0.0},
    }
    predicted = ADC(10, epochs=3, epoch_steps=50, **small).fit_predict(images)
    assert normalized_mutual_info_score(data.target, predicted) > 0.4  # chance has about 0.01
