"""Deep InfoMax: one step against plain PyTorch, its views and batches, its variants, its presets, and that it learns digits."""

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
from clusterbench.methods.dim import DIM
from clusterbench.methods.kit.infomax import jensen_shannon
from clusterbench.methods.kit.randomness import generator

TINY: dict[str, Any] = {
    "widths": (4, 8),
    "dense": (16,),
    "code": 6,
    "units": 12,
    "batch": 16,
    "kmeans": {"restarts": 1, "iterations": 10},
    "views": {"size": 8, "crop": 8},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "local with a prior": {},
    "global": {"local_weight": 0.0, "global_weight": 1.0, "prior_weight": 0.0, "clustered": "dense"},
    "all of it": {
        "global_weight": 0.5, "estimator": "infonce", "clustered": "conv", "whiten": 6, "images": "main", "lr_decay": "cosine",
        "views": {"size": 8, "crop": 6, "random_crop": True, "flip_probability": 0.5},
    },
    "donsker-varadhan": {"estimator": "dv", "prior_penalty": 0.0, "lr": 1e-4},
}  # fmt: skip
SHAPES = {"cifar10": (3, 32, 32), "cifar100-20": (3, 32, 32), "mnist": (1, 28, 28), "stl10": (3, 96, 96)}


def some_digits(count: int = 80) -> Images:
    pixels = (load_digits().images[:count] * 255 / 16).round().astype(np.uint8)
    return Images(torch.from_numpy(pixels[:, None]), {"main": torch.arange(0, count, 2)})


def made(epochs: int = 1, **settings: Any) -> DIM:
    return DIM(10, epochs=epochs, **{**TINY, **settings})


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


def test_a_step_is_the_one_written_out() -> None:
    method, images = made(lr=1e-3, global_weight=0.5, prior_weight=0.3, prior_penalty=2.0), some_digits(12)
    method.build_for(images.shape)
    method.network.train()
    twin = copy.deepcopy(method.network)
    told = method.train_step(images.pixels, generator("cpu", 5))
    random = generator("cpu", 5)
    scored = twin.encoder(method.varied(images.pixels, random))
    codes = scored.codes.sigmoid()
    prior = torch.rand(12, 6, generator=random).requires_grad_()
    discriminator, seen = twin.discriminator, codes.detach().requires_grad_()
    assert discriminator is not None
    chances = discriminator(prior).sigmoid(), discriminator(seen).sigmoid()
    slopes = [torch.autograd.grad(discriminator(at).sum(), at, create_graph=True)[0] for at in (prior, seen)]
    penalty = sum(slope.square().sum(1).mean() for slope in slopes) / 2
    against = -(chances[0].log().mean() + (1 - chances[1]).log().mean()) + 2.0 * penalty
    passing = -discriminator(codes).sigmoid().log().mean()
    loss = jensen_shannon(scored.local) + 0.5 * jensen_shannon(scored.whole)
    encoder_parts, other_parts = list(twin.encoder.parameters()), list(discriminator.parameters())
    gradients = torch.autograd.grad(loss + 0.3 * passing, encoder_parts, retain_graph=True)
    others = torch.autograd.grad(against, other_parts)
    for parts, found in ((encoder_parts, gradients), (other_parts, others)):
        optimiser = torch.optim.Adam(parts, lr=1e-3)
        for part, gradient in zip(parts, found, strict=True):
            part.grad = gradient
        optimiser.step()
    assert told["loss"].item() == pytest.approx(loss.item(), rel=1e-5)
    assert told["discriminator"].item() == pytest.approx(against.item(), rel=1e-5)
    assert told["prior"].item() == pytest.approx(passing.item(), rel=1e-5)
    gaps = {
        name: (part - other).abs().max().item()
        for (name, part), (_, other) in zip(method.network.named_parameters(), twin.named_parameters(), strict=True)
    }
    # Adam's first step is the gradient's sign: where that is a rounding error, nothing can be compared.
    assert sum(gap < 1e-5 for gap in gaps.values()) >= 0.8 * len(gaps), gaps
    for name in ("discriminator.0.weight", "encoder.code.weight", "encoder.local.of_code.straight.weight"):
        assert gaps[name] < 1e-5


def test_an_epoch_reads_whole_batches_of_different_images() -> None:
    images = some_digits(70)
    parts = made().order(images, generator("cpu", 1))
    assert [len(part) for part in parts] == [16] * 4 and len(torch.cat(parts).unique()) == 64
    assert parts[0].tolist() != made().order(images, generator("cpu", 2))[0].tolist()
    main = torch.cat(made(images="main").order(images, generator("cpu", 1)))
    assert len(main) == 32 and not bool((main % 2).any())
    assert [len(part) for part in made().order(some_digits(9), generator("cpu", 1))] == [9]


def test_a_view_in_training_is_the_test_view_until_it_is_varied() -> None:
    images, crop = some_digits(60), {"size": 6, "crop": 6}
    still, random = made(views=crop), generator("cpu", 4)
    still.build_for(images.shape)
    assert torch.equal(still.varied(images.pixels, random), still.views.test(images.pixels))
    moved = made(views={**crop, "random_crop": True, "flip_probability": 0.5})
    moved.build_for(images.shape)
    whole = images.pixels.float() / 255
    corners, mirrored = set(), 0
    for image, view in zip(whole, moved.varied(images.pixels, random), strict=True):
        windows = {
            (top, left, flip): (image.flip(-1) if flip else image)[:, top : top + 6, left : left + 6]
            for top in range(3) for left in range(3) for flip in (False, True)
        }  # fmt: skip
        found = [key for key, window in windows.items() if torch.allclose(window, view, atol=1e-6)]
        assert found, "a view is a window of its own image, mirrored or not"
        corners.add(found[0][:2])
        mirrored += found[0][2]
    assert len(corners) == 9 and 15 < mirrored < 45


@pytest.mark.parametrize(("clustered", "size"), [("code", 6), ("dense", 16), ("conv", 8 * 2 * 2)])
def test_k_means_sees_what_is_asked_for(clustered: str, size: int) -> None:
    method, images = made(clustered=clustered), some_digits()
    (epoch,) = method.train(images)
    features = method.features_of(images)
    views = images.pixels.float() / 255
    trunk = method.network.encoder.trunk
    dense = trunk.dense(trunk.maps(views)[-1])
    wanted = {"conv": trunk.maps(views)[-1].flatten(1), "dense": dense, "code": method.network.encoder.code(dense)}
    assert features.shape == (80, size) and torch.allclose(features, wanted[clustered], atol=1e-5)
    assert epoch.images == 80 + 40 and epoch.criterion == epoch.losses["loss"]


def test_the_losses_are_told_by_name_and_the_prior_only_where_there_is_one() -> None:
    (epoch,) = made(global_weight=0.5).train(some_digits())
    assert epoch.losses.keys() == {"loss", "local", "global", "prior", "discriminator"}
    parts = {name: float(epoch.losses[name]) for name in ("loss", "local", "global")}  # pyright: ignore[reportArgumentType]
    assert parts["loss"] == pytest.approx(parts["local"] + 0.5 * parts["global"], rel=1e-5)
    bare = made(prior_weight=0.0)
    (epoch,) = bare.train(some_digits())
    assert epoch.losses.keys() == {"loss", "local"} and bare.optimisers.keys() == {"network"}


def test_bounds_are_told_where_the_estimate_has_one() -> None:
    floors = made(global_weight=0.5).loss_floors
    assert floors["loss"] == floors["criterion"] == pytest.approx(-3 * np.log(2))
    assert floors["local"] == floors["global"] == pytest.approx(-2 * np.log(2)) and floors["prior"] == 0
    assert made(estimator="dv").loss_floors.keys() == {"prior", "discriminator"}
    assert made(estimator="infonce", prior_weight=0.0).loss_floors == {"local": 0.0, "loss": 0.0, "criterion": 0.0}


def test_an_infinite_loss_stops_training_with_one_clear_line() -> None:
    method, images = made(), some_digits()
    method.build_for(images.shape)
    torch.nn.init.constant_(method.network.encoder.code.bias, torch.nan)
    with pytest.raises(Diverged, match=r"dim: the loss is not finite in epoch 1\. Lower the learning rate"):
        next(method.train(images))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"estimators": "jsd"}, r"unknown setting 'estimators'\. Did you mean 'estimator'\?"),
        ({"estimator": "mine"}, "setting 'estimator'"),
        ({"local_weight": 0.0}, "local_weight and global_weight are both 0"),
        ({"views": {"flips": 1}}, r"unknown setting 'views\.flips'"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(MethodError, match=message):
        DIM(10, **settings)


def test_images_that_are_too_small_are_refused_before_training() -> None:
    with pytest.raises(MethodError, match="4 convolutions are too many for 8x8 pixels"):
        next(made(widths=(4, 4, 4, 4)).train(some_digits()))


@pytest.mark.parametrize("dataset", SHAPES)
def test_paper_is_the_authors_network_and_schedule(dataset: str) -> None:
    config = resolve("dim", dataset, "paper").config
    wanted = {"batch": 64, "lr": 1e-4, "units": 2048, "code": 64, "estimator": "jsd", "global_weight": 0.0, "prior_weight": 0.1}
    assert {name: config[name] for name in wanted} == wanted
    with torch.device("meta"):
        encoder = DIM(10, device="meta", **config).build(SHAPES[dataset]).encoder
    shape = encoder.trunk.shapes[encoder.place - 1]
    expected = {"mnist": ((128, 7), 1024), "stl10": ((384, 15), 4096)}.get(dataset, ((128, 8), 1024))
    assert (shape, encoder.trunk.features) == expected and encoder.whole is None


def test_it_learns_real_digits_without_labels() -> None:
    data = load_digits()
    images = Images.of((data.images * 255 / 16).round().astype(np.uint8))
    method = DIM(10, epochs=3, widths=(16, 32), dense=(64,), units=64, clustered="dense", whiten=20, cluster_every=9,
                 lr=2e-3, batch=64, views={"size": 8, "crop": 8}, kmeans={"restarts": 3, "normalise": "l2"})  # fmt: skip
    epochs = list(method.train(images))
    assert float(epochs[-1].losses["loss"]) < float(epochs[0].losses["loss"])  # pyright: ignore[reportArgumentType]
    assert normalized_mutual_info_score(data.target, method.predict(images)) > 0.6  # chance has about 0.01

    right = functional.cross_entropy  # information, not only clusters: a code finds its own image among 64
    with torch.no_grad():
        scores = method.network.eval().encoder(method.views.test(images.pixels[:64])).local.mean(2)
    assert right(scores, torch.arange(64)).item() < 0.5 * np.log(64)
