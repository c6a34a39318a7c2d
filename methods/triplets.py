"""Triplets: a transformed copy of an image is pulled to it and another image is pushed away, in terms of class probabilities.

The baseline of Ji, Henriques, Vedaldi: Invariant Information Clustering, ICCV 2019, Table 1, as its authors' code runs it: the
network of IIC with one linear head, and no more than a difference of two divergences as its loss. It differs from the triplets
of Schultz and Joachims (NIPS 2003), whom the table cites, in having no margin, so that the loss has no lower bound; and the
authors read the images in stored order. Both are settings here (`margin`, `shuffle`), and the defaults, those of a small
network for CPUs, have a margin and shuffle. K-means on the network's outputs gives the clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import nn

from ..datasets.base import Images
from .kit.arithmetic import without_lone_last
from .kit.feature_method import FeatureMethod, FeatureMethodConfig
from .kit.networks import Trunk, build_trunk, initialise
from .kit.views import PairedViews, ViewSettings
from .registry import register


class TripletsConfig(FeatureMethodConfig):
    """Settings of triplets. The defaults are the small network of the `short` presets."""

    margin: PositiveFloat | None = Field(
        default=1.0,
        description="nats by which another image must be further away than the copy; none: never far enough, as the authors",
    )
    shuffle: bool = Field(default=True, description="read the images in a random order; the authors read them as stored")
    negatives: Literal["other", "any"] = Field(
        default="other",
        description="the third image of a triplet: another one, or, as the authors, one of all, which may be the image itself",
    )
    outputs: PositiveInt | None = Field(default=None, description="outputs of the linear head; none: as many as clusters")
    clustered: Literal["probabilities", "logits", "trunk"] = Field(
        default="probabilities", description="what k-means sees: the outputs after or before the softmax, or the layer below"
    )
    network: Literal["small", "vgg", "resnet"] = Field(
        default="small", description="small, vgg (ClusterNet6c) or resnet (ClusterNet5g)"
    )
    widths: tuple[PositiveInt, ...] = Field(
        default=(16, 32, 64, 128), min_length=1, description="channels per layer of the small network"
    )
    kernel: Literal[1, 3, 5, 7] = Field(default=3, description="side of the small network's convolutions")
    views: ViewSettings = Field(default_factory=ViewSettings, description="the transformations, those of IIC")


class HeadedTrunk(nn.Module):
    """A trunk and a linear head: views (N, C, S, S) to logits (N, K)."""

    def __init__(self, trunk: Trunk, outputs: int) -> None:
        super().__init__()
        self.trunk, self.head = trunk, nn.Linear(trunk.features, outputs)
        initialise(self.head)

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        return self.head(self.trunk(views))


def divergence(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """KL(p || q) of the distributions with logits `p` and `q` (N, K): (N,) in nats, at least 0, without an upper bound."""
    log_p, log_q = p.log_softmax(1), q.log_softmax(1)
    return (log_p.exp() * (log_p - log_q)).sum(1)


def triplet_loss(closer: torch.Tensor, further: torch.Tensor, outputs: int, margin: float | None) -> torch.Tensor:
    """The mean over triplets of `closer - further`, or of how much it lacks to -`margin`; divided by the outputs.

    The division is that of the authors' code, whose mean goes over all elements, images times outputs.

    Args:
        closer: (N,), KL(copy || image).
        further: (N,), KL(other image || image).
        outputs: of the network.
        margin: above 0; the loss is at least 0 with it, and unbounded without.
    """
    gap = closer - further
    return (gap if margin is None else (gap + margin).relu()).mean() / outputs


@register("triplets")
class Triplets(FeatureMethod):
    """The triplet baseline of IIC's authors (Ji, Henriques, Vedaldi, ICCV 2019, Table 1), and k-means on its outputs.

    >>> from sklearn.datasets import load_digits
    >>> images = (load_digits().images * 255 / 16).round().astype("uint8")
    >>> views = {"crop": 8, "crops_transformed": [7, 8], "size": 16}
    >>> Triplets(n_clusters=10, epochs=1, views=views).fit(images).labels_.shape
    (1797,)
    """

    name: ClassVar[str] = "triplets"
    Config = TripletsConfig
    config: TripletsConfig
    network: HeadedTrunk

    def build(self, shape: tuple[int, int, int]) -> HeadedTrunk:
        """The network for images of `shape` (C, H, W)."""
        config = self.config
        self.views = PairedViews(config.views, shape)
        trunk = build_trunk(config.network, self.views.channels, self.views.size, widths=config.widths, kernel=config.kernel)
        return HeadedTrunk(trunk, config.outputs or self.n_clusters)

    def order(self, images: Images, random: torch.Generator) -> tuple[torch.Tensor, ...]:
        """Three places in `images` for each triplet of a batch: all images, the same again for their copies, all others."""
        learned = images.role(self.config.images)
        count, device = len(learned), learned.device
        first = (
            torch.randperm(count, generator=random, device=device) if self.config.shuffle else torch.arange(count, device=device)
        )
        other = torch.randperm(count, generator=random, device=device)
        if self.config.negatives == "other":
            other = elsewhere(first, other)
        triplets = torch.stack([learned[first], learned[first], learned[other]])  # (3, n)
        parts = without_lone_last(torch.arange(count, device=device).split(self.config.batch))
        return tuple(triplets[:, part].flatten() for part in parts)

    def train_step(self, batch: torch.Tensor, random: torch.Generator) -> Mapping[str, torch.Tensor]:
        """One step on a batch of triplets, uint8 (3 * M, C, H, W).

        Returns:
            `loss`; `copy_distance` and `other_distance`: the mean divergences in nats, of which the second grows without end
            if there is no margin.
        """
        images, same, others = batch.chunk(3)
        original = self._logits(self.views.original(images, random))
        copy = self._logits(self.views.transformed(same, random))
        other = self._logits(self.views.original(others, random))
        closer, further = divergence(copy, original), divergence(other, original)
        loss = self.descend(triplet_loss(closer, further, original.shape[1], self.config.margin))
        return {"loss": loss, "copy_distance": closer.detach().mean(), "other_distance": further.detach().mean()}

    def _logits(self, views: torch.Tensor) -> torch.Tensor:
        """Of prepared views (M, C', S, S): float32 (M, K)."""
        return self.arithmetic(self.network, views)

    def features(self, batch: torch.Tensor) -> torch.Tensor:
        """What k-means sees of uint8 images (M, C, H, W), see the setting `clustered`: float32 (M, D)."""
        views = self.views.test(batch)
        if self.config.clustered == "trunk":
            return self.arithmetic(self.network.trunk, views)
        logits = self._logits(views)
        return logits.softmax(1) if self.config.clustered == "probabilities" else logits

    @property
    def other_predictions(self) -> Mapping[str, Callable[[Images], np.ndarray]]:
        """`argmax`, if there are as many outputs as clusters: then the authors' code takes the largest, without k-means."""
        return {"argmax": self._largest_outputs} if self.config.outputs in (None, self.n_clusters) else {}

    @torch.inference_mode()
    def _largest_outputs(self, images: Images) -> np.ndarray:
        """The largest output of each image: int64 (1, len(images))."""
        self.network.eval()
        order = images.order("all", self.config.evaluation_batch)
        found = [self._logits(self.views.test(batch)).argmax(1) for batch in images.batches(order)]
        return torch.cat(found).cpu().numpy()[None]

    @property
    def loss_floors(self) -> dict[str, float]:
        """0 with a margin; nothing without."""
        distances = {"copy_distance": 0.0, "other_distance": 0.0}
        return distances if self.config.margin is None else {**distances, "loss": 0.0, "criterion": 0.0}


def elsewhere(places: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """`drawn` without the elements that are equal to those of `places` at the same position, which go around in a circle.

    Args:
        places: a permutation, int64 (n,).
        drawn: another one, at random.

    Returns:
        A permutation that agrees with `places` nowhere, if n is at least 2.
    """
    agree = (places == drawn).nonzero()[:, 0]
    if len(agree) == 1:  # it changes places with a neighbour
        agree = torch.stack([agree[0], (agree[0] + 1) % len(drawn)])
    drawn = drawn.clone()
    drawn[agree] = drawn[agree.roll(1)]
    return drawn
