"""Context prediction and co-occurrence: their losses against plain ones, the authors' oddities, and what they learn."""

from __future__ import annotations

import copy
import math
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from clusterbench.datasets.base import Images
from clusterbench.datasets.catalogue import load
from clusterbench.datasets.masks import UnreadMasks
from clusterbench.methods.base import MethodError
from clusterbench.methods.doersch import Doersch, colour_statistics, drop_colours
from clusterbench.methods.isola import Isola, co_occurrence_losses
from clusterbench.methods.kit.patch_method import PatchMethod
from clusterbench.methods.kit.patch_pairs import PatchPairs
from clusterbench.methods.kit.randomness import generator
from clusterbench.methods.kit.segmentation_views import JitteredView, JitterSettings, largest_crop
from clusterbench.methods.registry import methods

TINY: dict[str, Any] = {
    "epochs": 1, "batch": 4, "patch": 5, "branch": 4, "hidden": 6, "dropout": 0.0, "kmeans": {"pixels": 500, "restarts": 1},
    "network": {"widths": (4, 4, 6, 6, 8, 8)},
}  # fmt: skip


def noise(count: int = 6, channels: int = 3, side: int = 32, **about: Any) -> Images:
    random = torch.Generator().manual_seed(0)
    return Images(torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8, generator=random), **about)


def built(method: PatchMethod, images: Images) -> PatchMethod:
    method.build_for(images.shape, largest_crop(images))
    method.network.train()
    method.before_epoch(images, 1)
    return method


def plain_outputs(method: PatchMethod, shown: torch.Tensor, pairs: PatchPairs) -> torch.Tensor:
    """As the authors: whole maps enlarged, one patch of each image after the other cut out of them."""
    size, reach = method.views.size, method.config.patch // 2
    enlarged = functional.interpolate(method.network.trunk(shown), size, mode="bilinear", align_corners=False)
    cut = [
        torch.stack([
            enlarged[image, :, row - reach : row + reach + 1, column - reach : column + reach + 1]
            for image, places in enumerate(centres.tolist()) for row, column in places
        ])
        for centres in (pairs.first, pairs.second)
    ]  # fmt: skip
    return method.network.head(*cut)


def plain_cross_entropy(outputs: torch.Tensor, target: int) -> float:
    return -math.log(math.exp(outputs[target]) / sum(math.exp(each) for each in outputs))


def plain_log_loss(outputs: torch.Tensor, target: int) -> float:
    chance = 1 / (1 + math.exp(-outputs[0]))
    return -math.log(chance if target else 1 - chance)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("kind", "plain_loss"), [(Doersch, plain_cross_entropy), (Isola, plain_log_loss)])
def test_a_steps_loss_is_that_of_its_definition(kind: type[PatchMethod], plain_loss: Any, shared: bool) -> None:
    labels = np.where(np.arange(32 * 32).reshape(32, 32) % 3 == 0, 0, -1)
    images = noise(4, masks=UnreadMasks(np.stack([labels] * 3 + [np.full((32, 32), -1)])))  # nothing of the last one counts
    method = built(kind(2, **TINY, pairs=3, shared_places=shared), images)
    untouched = copy.deepcopy(method.network)
    found = method.train_step(images, images.pixels, torch.arange(4), generator("cpu", 7))
    method.network, random = untouched, generator("cpu", 7)
    crops, mask = method.views.jittered(images, images.pixels, torch.arange(4), random, masked=True)
    shown = method.shown(crops, random)
    pairs = method.draw_pairs(3 if shared else 12, random).for_images(4, 3)
    outputs = plain_outputs(method, shown, pairs).detach()
    losses, wrong = [], []
    assert mask is not None
    for image in range(4):
        for pair in range(3):
            (a, b), (c, d) = pairs.first[image, pair].tolist(), pairs.second[image, pair].tolist()
            if mask[image, a, b] or mask[image, c, d]:
                each, target = outputs[3 * image + pair], int(pairs.target[image, pair])
                losses.append(plain_loss(each, target))
                answer = int(each.argmax()) if len(each) > 1 else int(each[0] > 0)
                wrong.append(answer != target)
    assert 0 < len(losses) < 12
    assert found["loss"].item() == pytest.approx(np.mean(losses), abs=1e-5)
    assert found["errors"].item() == pytest.approx(np.mean(wrong))


def authors_loss(logits: torch.Tensor, near: bool) -> torch.Tensor:
    """Their `isola_loss` for one pair of places shared by a batch, all of which counts."""
    chance, epsilon = torch.sigmoid(logits), sys.float_info.epsilon
    right = chance if near else 1.0 - chance
    small = (right < epsilon).to(torch.float32)
    guarded = torch.where(right < epsilon, torch.full_like(right, epsilon), right)
    return -((1.0 - small) * torch.log(guarded)).sum() / len(logits)


@pytest.mark.parametrize("near", [False, True])
def test_the_guarded_log_loss_is_that_of_the_authors_code(near: bool) -> None:
    target = torch.full((6,), int(near))
    results = []
    for loss_of in (lambda z: authors_loss(z, near), lambda z: co_occurrence_losses(z, target, False).mean()):
        logits = torch.tensor([-40.0, -5.0, -0.3, 0.0, 2.0, 40.0], requires_grad=True)
        loss = loss_of(logits)
        results.append((loss.detach(), torch.autograd.grad(loss, logits)[0]))
    torch.testing.assert_close(*results)
    certain = co_occurrence_losses(torch.tensor([-40.0, 40.0]), target[:2], True)
    assert certain.max() == 40, "without the guard an error that is certain costs the most"


def test_one_colour_stays_and_noise_around_its_mean_replaces_the_others() -> None:
    views = torch.rand(40, 6, 20, 20, generator=torch.Generator().manual_seed(0))
    mean, deviation = torch.tensor([0.2, 0.5, 0.7]), torch.tensor([5.0, 10.0, 20.0])
    found = drop_colours(views, mean, deviation, 1.0, generator("cpu", 0))
    kept = (found == views).flatten(2).all(2)  # (40, 6)
    assert kept[:, 3:].all() and (kept[:, :3].sum(1) == 1).all() and kept[:, :3].any(0).all()
    for image in range(40):
        stays = int(kept[image, :3].int().argmax())
        replaced = found[image, :3][~kept[image, :3]]
        spread = float(deviation[stays]) / 100
        assert replaced.mean().item() == pytest.approx(float(mean[stays]), abs=5 * spread / math.sqrt(800))
        assert replaced.std().item() == pytest.approx(spread, rel=0.15)
        assert not torch.equal(replaced[0], replaced[1])
    some = (drop_colours(views, mean, deviation, 0.25, generator("cpu", 0)) == views).flatten(1).all(1)
    assert 20 < some.sum() < 40


def test_colour_statistics_are_those_of_the_pixels_that_count() -> None:
    labels = np.random.default_rng(0).integers(-1, 1, (7, 20, 20))
    images = noise(7, channels=4, side=20, masks=UnreadMasks(labels))
    calm = JitterSettings(brightness=0, contrast=0, saturation=0, hue=0)
    views = JitteredView(calm, images.shape, (20, 20))
    found = colour_statistics(images, views, "all", 3, generator("cpu", 0), masked=True)
    pixels = images.pixels[:, :3].permute(0, 2, 3, 1)[torch.from_numpy(labels >= 0)].double() / 255
    torch.testing.assert_close(found[0], pixels.mean(0).float())
    torch.testing.assert_close(found[1], pixels.std(0, correction=0).float())


def test_edges_are_those_of_all_colours_and_grey_images_lose_none() -> None:
    images = noise(4)
    method = built(Doersch(2, **TINY, views={"channels": ["colours", "sobel"]}), images)
    crops = images.pixels.float() / 255
    shown, whole = method.shown(crops, generator("cpu", 0)), method.views.for_network(crops)
    assert torch.equal(shown[:, 3:], whole[:, 3:]) and not torch.equal(shown[:, :3], whole[:, :3])
    grey = noise(4, channels=1)
    method = built(Doersch(2, **TINY), grey)
    assert torch.equal(method.shown(grey.pixels.float() / 255, generator("cpu", 0)), grey.pixels.float() / 255)


@pytest.mark.parametrize("name", ["doersch", "isola"])
@pytest.mark.parametrize(
    ("dataset", "batch", "channels"), [("coco-stuff-3", 120, 5), ("coco-stuff", 60, 5), ("potsdam-3", 75, 4), ("potsdam", 60, 4)]
)
def test_the_paper_presets_are_the_authors_code(name: str, dataset: str, batch: int, channels: int) -> None:
    settings = methods.card(name)["presets"]["paper"]["datasets"][dataset]
    method: Any = methods.get(name)(3, **settings)
    config = method.config
    assert (config.batch, config.lr, config.epochs, config.patch, config.pairs) == (batch, 0.01, 3200, 11, 1)
    assert config.shared_places and config.dropout == 0.5 and (config.branch, config.hidden) == (1024, 1024)
    assert (config.kmeans.sampling, config.kmeans.batch) == ("one-pixel-per-batch", batch)
    assert config.directions == 9 if name == "doersch" else (config.neighbours == "diagonal" and not config.certain_errors_count)
    shape, size = ((3, 212, 212), (128, 128)) if dataset.startswith("coco") else ((4, 200, 200), (200, 200))
    method.device = "meta"
    with torch.device("meta"):
        method.build_for(shape, size)
    outputs = 9 if name == "doersch" else 1
    trunk = 4_503_744 if channels == 5 else 4_503_168
    head = 512 * 1024 * 9 + 2 * 1024 + 247_808 * 1024 + 1024 + 1025 * outputs
    assert sum(weight.numel() for weight in method.network.parameters()) == trunk + head


@pytest.mark.parametrize("kind", [Doersch, Isola])
def test_a_part_of_each_crop_is_learned_from_and_its_mask_goes_with_it(kind: type[PatchMethod]) -> None:
    rows, columns = torch.meshgrid(torch.arange(40), torch.arange(40), indexing="ij")
    images = Images(torch.stack([rows, columns, rows]).expand(6, -1, -1, -1).to(torch.uint8).contiguous())
    method = built(kind(2, **TINY, part=24), images)
    mask = (rows + columns < 40).expand(6, -1, -1)
    crops, cut = method.parts_of(images.pixels.float(), mask, generator("cpu", 0))
    assert crops.shape == (6, 3, 24, 24) and cut is not None and torch.equal(cut, crops[:, 0] + crops[:, 1] < 40)
    corners = crops[:, :2, 0, 0]
    assert len(corners.unique(dim=0)) > 3 and corners.max() <= 16
    pairs = method.draw_pairs(200, generator("cpu", 0))
    assert pairs.first.max() < 24 and pairs.second.max() < 22
    assert method.train_step(images, images.pixels, torch.arange(6), generator("cpu", 0))["loss"] > 0


@pytest.mark.parametrize(("name", "chance"), [("doersch", 7 / 8), ("isola", 1 / 2)])
def test_it_learns_to_answer(name: str, chance: float) -> None:
    """Images that show the same: everything about two places can be read off their patches."""
    rows, columns = np.mgrid[:40, :40] / 40
    pixels = np.stack([rows, columns, 1 - rows * columns])[None] * 220 + np.random.default_rng(0).uniform(0, 20, (8, 3, 40, 40))
    images = Images(torch.from_numpy(pixels.astype(np.uint8)))
    settings = {**TINY, "epochs": 3, "steps": 25, "pairs": 16, "lr": 1e-2, "branch": 8, "hidden": 32, "cluster_every": 3}
    calm = {"flip_probability": 0, "brightness": 0, "contrast": 0, "saturation": 0, "hue": 0}
    extra = {"colour_drop": 0} if name == "doersch" else {}
    *_, last = methods.get(name)(2, **settings, views=calm, **extra).train(images)
    errors = last.losses["errors"]
    assert isinstance(errors, float) and errors < 0.6 * chance


@pytest.mark.parametrize("kind", [Doersch, Isola])
def test_what_cannot_work_is_refused(kind: type[PatchMethod]) -> None:
    with pytest.raises(MethodError, match="patch must be odd"):
        kind(2, patch=4)
    with pytest.raises(MethodError, match="part: 48 pixels do not fit into crops of 32x32; choose at most 32"):
        next(kind(2, part=48).train(noise(4)))
    with pytest.raises(MethodError, match="32x32 pixels have no room for pairs of patches of 11 pixels: they need at least 44"):
        next(kind(2).train(noise(4)))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "most"), [("doersch", 0.8), ("isola", 0.4)])  # chance: 7 in 8, and 1 in 2
def test_the_short_preset_learns_to_answer_on_aerial_photographs(name: str, most: float, shared_data: Any) -> None:
    images = load("potsdam-3@sample", root=shared_data).under("full").to("cpu").train
    settings = methods.card(name)["presets"]["short"]["datasets"]["potsdam-3"]
    *_, last = methods.get(name)(3, **{**settings, "cluster_every": 1000}).train(images)
    errors = last.losses["errors"]
    assert isinstance(errors, float) and errors < most
