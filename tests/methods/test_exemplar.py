"""Exemplar-CNN: its classes and epochs, one step against plain PyTorch, its variants, its presets, and that it learns digits."""

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
from clusterbench.methods.exemplar import Exemplar
from clusterbench.methods.kit.exemplar_views import DRAWS, transform
from clusterbench.methods.kit.randomness import generator

TINY: dict[str, Any] = {
    "seeds": 30,
    "passes": 2,
    "size": 8,
    "sides": (75, 100),
    "widths": (4, 6),
    "kernel": 3,
    "dense": 10,
    "batch": 16,
    "kmeans": {"restarts": 1, "iterations": 10},
    "views": {"size": 8, "crop": 8},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "new transformations": {},
    "as the authors": {"transformations": 3, "batch_norm": False, "optimiser": "sgd", "lr": 0.01, "lr_drops": (0.3, 0.7)},
    "dense": {"clustered": "dense", "images": "main", "whiten": 4, "lr_decay": "cosine", "seed_sampling": "threshold"},
}
SHAPES = {"stl10": (3, 96, 96), "cifar10": (3, 32, 32), "mnist": (1, 28, 28)}


def some_digits(count: int = 50) -> Images:
    pixels = (load_digits().images[:count] * 255 / 16).round().astype(np.uint8)
    return Images(torch.from_numpy(pixels[:, None]), {"main": torch.arange(0, count, 2)})


def made(epochs: int = 1, **settings: Any) -> Exemplar:
    return Exemplar(10, epochs=epochs, **{**TINY, **settings})


def ready(images: Images, **settings: Any) -> Exemplar:
    method = made(**settings)
    method.build_for(images.shape)
    method.learned(images)
    return method


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_goes_on_from_a_saved_state_as_if_nothing_had_happened(variant: str) -> None:
    images, undisturbed = some_digits(), made(3, **VARIANTS[variant])
    epochs = list(undisturbed.train(images))
    broken, onward = (made(3, **VARIANTS[variant]) for _ in range(2))
    training = broken.train(images)
    before: list[Epoch] = [next(training) for _ in range(2)]
    stored = io.BytesIO()
    torch.save(broken.state_dict(), stored)
    onward.load_state_dict(torch.load(io.BytesIO(stored.getvalue()), weights_only=True))
    np.testing.assert_array_equal(onward.predict_heads(images), broken.predict_heads(images))
    assert before + list(onward.train(images)) == epochs
    assert same(onward.state_dict(), undisturbed.state_dict())


def test_an_epoch_sees_every_seed_as_often_as_asked_for_whatever_the_number_of_images() -> None:
    images, method = some_digits(), made(passes=3)
    (epoch,) = method.train(images)
    assert epoch.images == 3 * 30 + 25
    order = torch.cat(method.order(method.learned(images), generator("cpu", 1)))
    assert torch.bincount(order).tolist() == [3] * 30


def test_the_seeds_are_drawn_once_and_by_the_seed_of_the_method() -> None:
    images, method = some_digits(), ready(some_digits())
    seeds = method.learned(images)
    assert method.learned(images) is seeds and len(seeds) == 30
    assert torch.equal(ready(images).learned(images).pixels, seeds.pixels)
    other = Exemplar(10, seed=1, **TINY)
    other.build_for(images.shape)
    assert not torch.equal(other.learned(images).pixels, seeds.pixels)


def test_a_step_is_the_cross_entropy_of_each_patchs_own_seed() -> None:
    images = some_digits()
    method = ready(images, lr=0.05, optimiser="sgd", momentum=0.5, weight_decay=0.01, dropout=0.0)
    method.network.train()
    twin = copy.deepcopy(method.network)
    places = torch.tensor([4, 0, 29, 4, 7])
    batch, method.places = method.learned(images).batch(places), places
    told = method.train_step(batch, generator("cpu", 6))
    draws = torch.rand(5, DRAWS, generator=generator("cpu", 6))
    patches = transform(batch, draws, 8, method.config.transformation, method.components)
    logits = twin(patches)
    loss = -torch.stack([logits[row].softmax(0)[place].log() for row, place in enumerate(places)]).mean()
    parts = list(twin.parameters())
    for part, gradient in zip(parts, torch.autograd.grad(loss, parts), strict=True):
        part.data -= 0.05 * (gradient + 0.01 * part.data)
    assert told["loss"].item() == pytest.approx(loss.item(), rel=1e-5)
    assert told["told apart"].item() == pytest.approx((logits.argmax(1) == places).float().mean().item())
    for part, other in zip(method.network.parameters(), parts, strict=True):
        assert torch.allclose(part, other, atol=1e-5)


def test_kept_transformations_are_the_same_few_in_every_epoch_and_new_ones_are_not() -> None:
    images = some_digits()
    places = torch.zeros(60, dtype=torch.int64)
    for kept, expected in ((4, 4), (None, 60)):
        method = ready(images, transformations=kept)
        batch = method.learned(images).batch(places)
        patches = torch.cat([method.transformed(batch, places, generator("cpu", epoch)) for epoch in range(2)])
        assert len(patches.flatten(1).unique(dim=0)) == (expected if kept else 2 * expected)
    others = method.transformed(batch, places, generator("cpu", 0))
    assert others.min() >= 0 and others.max() <= 1


def test_the_learning_rate_falls_to_a_tenth_at_the_shares_that_are_set() -> None:
    images, method = some_digits(), made(5, lr=0.01, lr_drops=(0.4, 0.8))
    rates = [method.optimisers["network"].param_groups[0]["lr"] for _ in method.train(images)]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001])


@pytest.mark.parametrize(("clustered", "size"), [("all", 4 * (4 + 6) + 10), ("dense", 10)])
def test_k_means_sees_what_is_asked_for(clustered: str, size: int) -> None:
    method, images = made(clustered=clustered), some_digits()
    (epoch,) = method.train(images)
    features, views = method.features_of(images), images.pixels.float() / 255
    assert features.shape == (50, size) and epoch.criterion == epoch.losses["loss"]
    expected = method.network.trunk(views)[:, -size:]  # the dense layer's come last
    assert torch.allclose(features, expected, atol=1e-5)


def test_the_mean_colour_of_the_seeds_is_taken_off() -> None:
    images = some_digits()
    method = ready(images)
    expected = method.learned(images).pixels.double().mean() / 255
    assert method.network.trunk.mean.item() == pytest.approx(expected.item(), rel=1e-5)


def test_images_with_infrared_keep_it_as_it_is() -> None:
    pixels = torch.randint(0, 256, (40, 4, 8, 8), generator=generator("cpu", 3), dtype=torch.uint8)
    assert made().fit(Images(pixels)).labels_.shape == (40,)


def test_an_infinite_loss_stops_training_with_one_clear_line() -> None:
    method, images = made(), some_digits()
    method.build_for(images.shape)
    torch.nn.init.constant_(method.network.classes.bias, torch.nan)
    with pytest.raises(Diverged, match=r"exemplar: the loss is not finite in epoch 1\. Lower the learning rate"):
        next(method.train(images))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed_patches": 9}, r"unknown setting 'seed_patches'"),
        ({"transformation": {"rotations": 9}}, r"unknown setting 'transformation\.rotations'"),
        ({"transformation": {"scale": (1.4, 0.7)}}, "the first number must not be above the second"),
        ({"lr_drops": (0.5,), "lr_decay": "cosine"}, "lr_drops and lr_decay both change the learning rate"),
        ({"views": {"sobel": True}}, "the network has to see colours"),
        ({"seeds": 1}, "setting 'seeds'"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(MethodError, match=message):
        Exemplar(10, **settings)


def test_patches_that_do_not_fit_the_images_are_refused_before_training() -> None:
    with pytest.raises(MethodError, match="sides: a crop of 9 pixels does not fit images of 8x8"):
        next(made(sides=(9,), sides_unit="pixels").train(some_digits()))


@pytest.mark.parametrize("dataset", SHAPES)
def test_paper_is_the_authors_largest_network_with_all_their_transformations(dataset: str) -> None:
    config = resolve("exemplar", dataset, "paper").config
    wanted = {
        "seeds": 16000, "transformations": 150, "size": 32, "widths": [92, 256, 512], "kernel": 5, "dense": 1024,
        "batch_norm": False, "dropout": 0.5, "optimiser": "sgd", "momentum": 0.9, "lr": 0.01, "clustered": "all",
    }  # fmt: skip
    assert {name: config[name] for name in wanted} == wanted
    assert config["transformation"] == {
        "translation": 0.2, "scale": [0.7, 1.4], "rotation": 20.0, "component_factors": [0.5, 2.0], "powers": [0.25, 4.0],
        "factors": [0.7, 1.4], "offset": 0.1, "hue": 0.1,
    }  # fmt: skip
    with torch.device("meta"):
        network = Exemplar(10, device="meta", **config).build(SHAPES[dataset])
    assert network.classes.out_features == 16000 and network.classes.in_features == 1024


def test_it_learns_real_digits_without_labels() -> None:
    data = load_digits()
    images = Images.of((data.images * 255 / 16).round().astype(np.uint8))
    mild = {"translation": 0.1, "scale": (0.8, 1.25), "rotation": 10, "powers": (0.5, 2.0)}
    method = Exemplar(10, epochs=4, seeds=200, passes=8, size=8, sides=(100,), widths=(16, 32), kernel=3, dense=64, batch=64,
                      dropout=0.2, lr=3e-3, cluster_every=9, whiten=20, transformation=mild, views={"size": 8, "crop": 8},
                      kmeans={"restarts": 3, "normalise": "l2"})  # fmt: skip
    epochs = list(method.train(images))
    assert float(epochs[-1].losses["loss"]) < 0.9 * np.log(200)  # pyright: ignore[reportArgumentType]
    assert normalized_mutual_info_score(data.target, method.predict(images)) > 0.6  # chance has about 0.01

    seeds = method.learned(images).batch(torch.arange(200))  # patches that it has not seen so are told apart
    with torch.no_grad():
        unseen = method.transformed(seeds, torch.arange(200), generator("cpu", 99))
        loss = functional.cross_entropy(method.network.eval()(unseen), torch.arange(200))
    assert loss.item() < 0.9 * np.log(200)
