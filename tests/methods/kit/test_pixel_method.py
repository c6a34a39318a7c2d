"""The base of the methods that learn features of pixels, by a small method whose task is to tell where it is bright."""

from __future__ import annotations

import io
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from clusterbench.datasets.base import Images
from clusterbench.datasets.masks import UnreadMasks
from clusterbench.methods.base import Diverged, Epoch, MethodError
from clusterbench.methods.kit.pixel_method import PixelMethod

NETWORK = {"widths": [4, 4, 6, 6, 8, 8], "head_padding": 0, "dilation_padding": 2}
SETTINGS: dict[str, Any] = {
    "epochs": 3, "batch": 4, "lr_decay": "cosine", "network": NETWORK, "views": {"crop": 16}, "kmeans": {"pixels": 900},
}  # fmt: skip


class Brightness(PixelMethod):
    name: ClassVar[str] = "brightness"

    def build_head(self, features: int) -> nn.Module:
        return nn.Sequential(nn.Dropout(0.2), nn.Conv2d(features, 1, 1))

    def before_epoch(self, images: Images, number: int) -> int:
        self.seen: list[Any] = []
        return 2

    def train_step(
        self, images: Images, batch: torch.Tensor, indices: torch.Tensor, random: torch.Generator
    ) -> Mapping[str, torch.Tensor]:
        crops, mask = self.views.jittered(images, batch, indices, random, masked=self.config.use_masks)
        self.seen.append((indices, mask, self.optimisers["network"].param_groups[0]["lr"]))
        assert torch.equal(batch, images.batch(indices)) and self.network.training
        views = self.views.for_network(crops)
        maps = self.network.head(self.arithmetic(self.network.trunk, views))
        wanted = functional.adaptive_avg_pool2d(views.mean(1, keepdim=True), maps.shape[-2:])
        return {"loss": self.descend((maps - wanted).square().mean())}


def lit(count: int = 10, side: int = 20, **about: Any) -> Images:
    """Images that are bright on one side."""
    generator = np.random.default_rng(0)
    side_of = np.arange(side) < generator.integers(6, 14, (count, 1, 1))
    pixels = 40 + 150 * side_of + generator.normal(0, 10, (count, side, side))
    return Images(torch.from_numpy(pixels.clip(0, 255).astype(np.uint8)).unsqueeze(1).expand(-1, 3, -1, -1).contiguous(), **about)


def trained(data: Images, **settings: Any) -> tuple[Brightness, list[Epoch]]:
    method = Brightness(2, **{**SETTINGS, **settings})
    return method, list(method.train(data))


def test_it_learns_and_its_features_tell_bright_from_dark() -> None:
    images = lit()
    method, epochs = trained(images, epochs=20, lr=1e-2, lr_decay="none")
    assert epochs[-1].losses["loss"] < 0.3 * epochs[0].losses["loss"]  # type: ignore[operator]
    found = method.predict_heads(images)[0]
    agreement = (found == (images.pixels[:, 0].numpy() > 115)).mean()
    assert max(agreement, 1 - agreement) > 0.85


def test_an_epoch_passes_once_over_the_images_or_takes_the_steps_that_are_set() -> None:
    method, epochs = trained(lit(9), epochs=1)
    assert sorted(torch.cat([indices for indices, *_ in method.seen]).tolist()) == list(range(9))
    assert [len(indices) for indices, *_ in method.seen] == [4, 5]  # no lone image at the end
    assert epochs[0].images == 9 + 2 + 9  # trained on, those of before_epoch, clustered
    method, _ = trained(lit(9), epochs=1, steps=5)
    counts = torch.cat([indices for indices, *_ in method.seen]).bincount(minlength=9)
    assert [len(indices) for indices, *_ in method.seen] == [4] * 5 and set(counts.tolist()) == {2, 3}


def test_the_learning_rate_falls_over_all_epochs() -> None:
    method, _ = trained(lit(8), epochs=2, steps=2, lr=1e-3)
    rates = [rate for _, _, rate in method.seen]
    assert rates == pytest.approx([0.5e-3, 1e-3 * (1 + np.cos(0.75 * np.pi)) / 2])


def test_masks_are_handed_on_unless_they_are_not_wanted() -> None:
    images = lit(masks=UnreadMasks(np.where(np.arange(20) < 9, 0, -1) * np.ones((10, 20, 1), np.int16)))
    assert trained(images, epochs=1)[0].seen[0][1] is not None
    assert trained(images, epochs=1, use_masks=False)[0].seen[0][1] is None


def test_it_clusters_the_first_epoch_the_last_and_every_nth() -> None:
    method = Brightness(2, **{**SETTINGS, "epochs": 5, "cluster_every": 3})
    centres, criteria = [], []
    for epoch in method.train(lit()):
        centres.append(method.clusters.centres)
        criteria.append(epoch.criterion)
    assert [one is other for one, other in pairwise(centres)] == [True, False, True, False]
    assert [criterion is None for criterion in criteria] == [False, True, False, True, False]


def test_it_clusters_the_images_that_are_judged_and_learns_from_those_that_are_set() -> None:
    images = lit(roles={"main": torch.arange(4)})
    method, epochs = trained(images, epochs=1)
    assert len(torch.cat([indices for indices, *_ in method.seen])) == 10 and epochs[0].images == 10 + 2 + 4
    method, _ = trained(images, epochs=1, images="main")
    assert sorted(torch.cat([indices for indices, *_ in method.seen]).tolist()) == [0, 1, 2, 3]
    assert method.predict_heads(images).shape == (1, 10, 20, 20)


def test_it_goes_on_from_a_saved_state_to_the_same_bits() -> None:
    images = lit()
    whole, epochs = trained(images)
    broken, onward = Brightness(2, **SETTINGS), Brightness(2, **SETTINGS)
    training, stored = broken.train(images), io.BytesIO()
    before = [next(training), next(training)]
    torch.save(broken.state_dict(), stored)
    onward.load_state_dict(torch.load(io.BytesIO(stored.getvalue()), weights_only=True))
    assert np.array_equal(onward.predict_heads(images), broken.predict_heads(images))
    assert before + list(onward.train(images)) == epochs
    assert all(torch.equal(tensor, whole.network.state_dict()[name]) for name, tensor in onward.network.state_dict().items())
    assert np.array_equal(onward.predict_heads(images), whole.predict_heads(images))


def test_what_breaks_is_said_in_one_line() -> None:
    with pytest.raises(Diverged, match="loss is not finite in epoch"):
        trained(lit(), lr=1e30, epochs=4)
    with pytest.raises(MethodError, match="too small"):
        trained(lit(side=3), views={})
