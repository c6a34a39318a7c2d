"""IIC's segmentation: the published settings, what a step does, and textures that no method of single pixels can tell apart."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from clusterbench.datasets.base import Images
from clusterbench.datasets.catalogue import load
from clusterbench.datasets.masks import UnreadMasks
from clusterbench.methods.base import Diverged, MethodError
from clusterbench.methods.iic_segmentation import IICSegmentation
from clusterbench.methods.kit.randomness import generator
from clusterbench.methods.kmeans_segmentation import KMeansSegmentation
from clusterbench.methods.registry import methods
from clusterbench.results.metrics import confusion, scores

TINY: dict[str, Any] = {
    "epochs": 1,
    "batch_pairs": 4,
    "reach": 2,
    "auxiliary_clusters": 6,
    "network": {"widths": (4, 4, 6, 6, 8, 8)},
}
PAPER = methods.card("iic-segmentation")["presets"]["paper"]["datasets"]


@cache
def textures(count: int = 16, side: int = 40) -> tuple[Images, np.ndarray]:
    """Stripes across on one side of each image and stripes down on the other, in the same two shades of grey."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side]
    stripes = np.stack([rows % 4 < 2, columns % 4 < 2])
    turns = random.uniform(0, 2 * np.pi, (count, 1, 1))
    place = np.cos(turns) * (rows - side / 2) + np.sin(turns) * (columns - side / 2)
    labels = (place > random.uniform(-8, 8, (count, 1, 1))).astype(np.int64)
    shades = 60.0 + 120 * np.where(labels == 0, stripes[0], stripes[1])
    pixels = shades[:, None] + random.normal(0, 10, (count, 3, side, side))
    return Images(torch.from_numpy(pixels.clip(0, 255).astype(np.uint8))), labels


def noise(count: int = 6, channels: int = 3, side: int = 20) -> Images:
    return Images(
        torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    )


def acc(predicted: np.ndarray, labels: np.ndarray) -> float:
    return scores(confusion(predicted, labels))["acc"]


@pytest.mark.parametrize("seed", [0, 1])
def test_it_tells_textures_apart_where_kmeans_guesses(seed: int) -> None:
    images, labels = textures()
    settings = {
        **TINY,
        "epochs": 4,
        "steps": 12,
        "lr": 5e-3,
        "auxiliary_clusters": 8,
        "network": {"widths": (8, 8, 12, 12, 16, 16)},
    }
    assert acc(IICSegmentation(2, seed=seed, **settings).fit(images).labels_, labels) > 0.88
    assert acc(KMeansSegmentation(2, seed=seed).fit(images).labels_, labels) < 0.55


@pytest.mark.parametrize(
    ("dataset", "classes", "images", "batches", "channels", "auxiliary", "lr", "weight", "reach"),
    [
        ("coco-stuff-3", 3, 36_660, 306, 5, 15, 1e-4, 1.5, 10),
        ("coco-stuff", 15, 51_804, 864, 5, 45, 1e-4, 1.0, 10),
        ("potsdam-3", 3, 8_550, 114, 4, 24, 1e-5, 1.5, 10),
        ("potsdam", 6, 8_550, 143, 4, 36, 1e-6, 1.0, 5),
    ],
)
def test_the_paper_presets_are_the_published_runs(
    dataset: str, classes: int, images: int, batches: int, channels: int, auxiliary: int, lr: float, weight: float, reach: int
) -> None:
    method = IICSegmentation(classes, **PAPER[dataset])
    config = method.config
    assert (config.lr, config.entropy_weight, config.auxiliary_entropy_weight, config.reach) == (lr, weight, 1.0, reach)
    assert (
        config.passes == ("auxiliary", "main")
        and config.sub_heads == config.auxiliary_sub_heads == 1
        and config.idle_head_updates
    )
    assert (
        not config.collapsed
        and not config.views.moves
        and config.views.flip_probability == 0.5
        and config.lr_schedule == "constant"
    )
    pixels = Images(torch.empty(images, 1, 1, 1, dtype=torch.uint8))
    order = method._order(pixels, "main", generator("cpu", 0))
    assert len(order) == batches
    assert torch.equal(torch.cat(order).sort().values, torch.arange(images))
    shape, size = ((3, 212, 212), (128, 128)) if dataset.startswith("coco") else ((4, 200, 200), (200, 200))
    method.device = "meta"
    method.build(shape, size)
    assert method.views.channels == channels and method.views.size == size
    count = sum(parameter.numel() for parameter in method.network.parameters())
    assert count == (4_503_744 if channels == 5 else 4_503_168) + 512 * (classes + auxiliary)


def test_the_published_network_takes_a_step() -> None:
    method = IICSegmentation(3, **{**PAPER["potsdam-3"], "reach": 2})
    images = noise(2, channels=4, side=32)
    method.build(images.shape, (32, 32))
    before = {name: weight.detach().clone() for name, weight in method.network.named_parameters()}
    loss = method.train_step(images, images.pixels, torch.arange(2), "main", generator("cpu", 0))
    changed = {name for name, weight in method.network.named_parameters() if not torch.equal(weight, before[name])}
    assert torch.isfinite(loss).all() and changed == set(before) - {"heads.auxiliary.convolution.weight"}


def test_steps_count_optimiser_steps_whatever_the_number_of_images() -> None:
    method = IICSegmentation(2, **{**TINY, "steps": 5})
    order = method._order(noise(6), "main", generator("cpu", 0))
    assert [len(indices) for indices in order] == [4] * 5
    visits = torch.cat(order).bincount(minlength=6)
    assert visits.min() >= 3 and visits.max() <= 4, "all images come before one comes again"
    order = method._order(noise(100, side=12), "main", generator("cpu", 0))
    assert torch.cat(order).bincount().max() == 1 and sum(map(len, order)) == 20


def test_an_epoch_reports_both_heads_and_counts_both_views() -> None:
    method = IICSegmentation(2, **TINY, sub_heads=3, auxiliary_sub_heads=2)
    seen: list[tuple[int, int, int]] = []
    method.on_step = lambda *progress: seen.append(progress)
    epoch = next(method.train(noise()))
    assert {name: len(losses) for name, losses in epoch.losses.items() if isinstance(losses, list)} == {"auxiliary": 2, "main": 3}
    assert epoch.images == 2 * 2 * 6 and seen == [(1, 4, 8), (2, 4, 12), (3, 4, 20), (4, 4, 24)]
    main = epoch.losses["main"]
    assert isinstance(main, list) and epoch.criterion == min(main) and method.chosen_head == int(np.argmin(main))


def test_losses_are_between_nothing_and_their_floor() -> None:
    epoch = next(IICSegmentation(3, **TINY, entropy_weight=1.5).train(noise()))
    assert -math.log(6) <= np.min(epoch.losses["auxiliary"]) < 0
    assert -2 * math.log(3) <= np.min(epoch.losses["main"]) < 0


@pytest.mark.parametrize("moved", [False, True])
def test_loss_of_a_pair_is_that_of_its_definition(moved: bool) -> None:
    """Both maps by hand: the second read back pixel by pixel where its image was mirrored, and conv2d over displacements."""
    views = {"rotation": 20, "scale": (0.9, 1.1)} if moved else {}
    method = IICSegmentation(3, **TINY, entropy_weight=1.5, views=views)
    images = noise(4)
    method.build(images.shape, (20, 20))
    method.network.double().eval()
    pair = method.views.pair(images, images.pixels, torch.arange(4), generator("cpu", 3), masked=True)
    p, q = (method.network(view.double(), "main")[0].double() for view in (pair.first, pair.second))
    if pair.inverse is None:
        q = torch.stack([each.flip(-1) if flipped else each for each, flipped in zip(q, pair.flipped, strict=True)])
    else:
        grid = functional.affine_grid(pair.inverse.double(), [4, 3, 20, 20], align_corners=True)
        q = functional.grid_sample(q, grid, align_corners=True)
    joints = functional.conv2d(p.transpose(0, 1), q.transpose(0, 1), padding=2).flatten(2)  # (K, K, T * T)
    losses = []
    for joint in joints.unbind(-1):
        even = (joint + joint.T) / 2 / joint.sum()
        row = even.sum(1, keepdim=True)
        losses.append(-(even * (even.log() - 1.5 * row.log() - 1.5 * row.T.log())).sum())
    method.probabilities = lambda views, group: method.network(views.double(), group)  # type: ignore[method-assign]
    found = method.pair_losses(images, images.pixels, torch.arange(4), "main", generator("cpu", 3))
    assert found.item() == pytest.approx(torch.stack(losses).mean().item(), abs=1e-6)


def test_only_pixels_that_count_train_the_network() -> None:
    images = noise(4)
    nothing = Images(images.pixels, masks=UnreadMasks(np.full((4, 20, 20), -1)))
    method = IICSegmentation(2, **TINY)
    method.build(images.shape, (20, 20))
    before = [weight.detach().clone() for weight in method.network.parameters()]
    assert method.train_step(nothing, images.pixels, torch.arange(4), "main", generator("cpu", 0)).tolist() == [0]
    assert all(torch.equal(*both) for both in zip(before, method.network.parameters(), strict=True))
    unmasked = IICSegmentation(2, **TINY, use_masks=False)
    unmasked.build(images.shape, (20, 20))
    assert unmasked.train_step(nothing, images.pixels, torch.arange(4), "main", generator("cpu", 0)).item() < 0


@pytest.mark.parametrize("idle_updates", [False, True])
def test_the_idle_head_drifts_only_where_that_is_asked_for(idle_updates: bool) -> None:
    method, images = IICSegmentation(2, **TINY, idle_head_updates=idle_updates), noise(4)
    method.build(images.shape, (20, 20))
    step = [images, images.pixels, torch.arange(4)]
    method.train_step(*step, "auxiliary", generator("cpu", 0))
    before = method.network.heads["auxiliary"].convolution.weight.detach().clone()
    method.train_step(*step, "main", generator("cpu", 1))
    assert torch.equal(before, method.network.heads["auxiliary"].convolution.weight) is not idle_updates


def test_options_change_the_loss() -> None:
    images, losses = noise(4), []
    for settings in ({}, {"collapsed": True}, {"sparse_reach": (3, 5)}, {"entropy_weight": 2.0}, {"precision": "bfloat16"}):
        method = IICSegmentation(2, **TINY, **settings)
        method.build(images.shape, (20, 20))
        losses.append(method.train_step(images, images.pixels, torch.arange(4), "main", generator("cpu", 0)).item())
    assert len(set(losses)) == 5 and np.isfinite(losses).all()
    assert losses[4] == pytest.approx(losses[0], rel=0.1), "half precision is an approximation"


def test_crops_are_as_large_as_the_smallest_image_allows() -> None:
    images = Images(noise(3, side=40).pixels, extents=torch.tensor([[40, 22], [24, 40], [33, 33]]))
    method = IICSegmentation(2, **TINY)
    next(method.train(images))
    assert method.views.size == (24, 22)
    assert method.predict_heads(images).shape == (1, 3, 40, 40)


def test_probabilities_belong_to_the_predicted_clusters() -> None:
    method, images = IICSegmentation(3, **TINY), noise()
    next(method.train(images))
    chances = method.predict_proba(images)
    assert chances.shape == (6, 3, 20, 20) and chances.dtype == np.float32
    np.testing.assert_allclose(chances.sum(1), 1, atol=1e-5)
    assert np.array_equal(chances.argmax(1), method.predict(images))


def test_a_broken_loss_is_reported() -> None:
    method, images = IICSegmentation(2, **TINY), noise()
    method.build(images.shape, (20, 20))
    method.network.trunk[0].weight.data.fill_(math.nan)
    with pytest.raises(Diverged, match="iic-segmentation: the loss is not finite in epoch 1"):
        next(method.train(images))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"passes": ["auxiliary"]}, "passes must name 'main'"),
        ({"sparse_reach": [4, 2]}, "ascending order"),
        ({"views": {"scale": [1.2, 0.8]}}, "ascending order"),
        ({"views": {"rotaton": 3}}, "'views.rotaton'. Did you mean 'views.rotation'"),
        ({"network": {"widths": [8, 8]}}, "network.widths"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(MethodError, match=complaint):
        IICSegmentation(2, **settings)


@pytest.mark.slow
def test_short_preset_beats_kmeans_on_real_photographs(shared_data: Any) -> None:
    data = load("coco-stuff-3@sample", root=shared_data).under("full").to("cpu")
    labels, found = np.asarray(data.labels), {}
    for name in ("iic-segmentation", "kmeans-segmentation"):
        settings = methods.card(name)["presets"]["short"]["datasets"]["coco-stuff-3"]
        method = methods.get(name)(3, seed=0, **settings)
        list(method.train(data.train))
        found[name] = acc(method.predict(data.score), labels)
    assert found["iic-segmentation"] > found["kmeans-segmentation"] + 0.02
