"""The base of methods for segmentation that learn features and no clusters: IIC's trunk, one training loop, one evaluation head.

The rows "Doersch", "Isola" and "DeepCluster" of Ji, Henriques, Vedaldi (ICCV 2019), Table 4: all train the trunk of IIC's
segmentation network, whose feature maps are then enlarged to the size of the image and clustered pixel by pixel
(`kit.pixel_clusters`), after the training and after epochs before, so that it can be watched.

A method is what it trains beside the trunk, and one training step::

    @register("my-pixels")
    class MyPixels(PixelMethod):
        name: ClassVar[str] = "my-pixels"
        Config = MyPixelsConfig  # a PixelMethodConfig
        config: MyPixelsConfig

        def build_head(self, features): return MyHead(features)
        def train_step(self, images, batch, indices, random):
            crops, mask = self.views.jittered(images, batch, indices, random, masked=self.config.use_masks)
            maps = self.arithmetic(self.network.trunk, self.views.for_network(crops))
            return {"loss": self.descend(my_loss(self.network.head(maps), mask))}
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import nn

from ...datasets.base import Images
from ..base import Epoch, State, Task
from .arithmetic import Arithmetic, Precision, without_lone_last
from .descent import Descent, DescentConfig, MeanLosses
from .networks import initialise
from .pixel_clusters import PixelClusters, PixelKMeansSettings
from .randomness import generator, seeded
from .segmentation_network import SegmentationNetworkSettings, build_trunk
from .segmentation_views import JitteredView, JitterSettings, largest_crop


class PixelMethodConfig(DescentConfig):
    """Settings that all methods with learned features of pixels share; a method's own config adds its own."""

    epochs: PositiveInt = Field(default=20, description="epochs, one pass over the images each, or `steps`")
    steps: PositiveInt | None = Field(
        default=None,
        description="optimiser steps of one epoch, again and again through the images; none: once through them",
    )
    images: Literal["all", "main"] = Field(
        default="all", description="images that are learned from: with those that are not judged, or without"
    )
    batch: PositiveInt = Field(default=8, description="images in a batch")
    use_masks: bool = Field(
        default=True, description="learn from those pixels only that the data set's masks name (COCO-Stuff), as the authors"
    )
    cluster_every: PositiveInt = Field(
        default=1,
        description="epochs between two k-means on the features (the first and the last epoch have one in any case); in between "
        "pixels go to the centres of the last one, and such an epoch is not chosen by its loss",
    )
    kmeans: PixelKMeansSettings = Field(default_factory=PixelKMeansSettings, description="the k-means that is scored")
    precision: Precision = "float32"
    network: SegmentationNetworkSettings = Field(default_factory=SegmentationNetworkSettings, description="the trunk's layers")
    views: JitterSettings = Field(default_factory=JitterSettings, description="the transformations")


class PixelNetwork(nn.Module):
    """The trunk, whose maps are features, and what a method trains beside it."""

    def __init__(self, trunk: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head


class PixelMethod(Descent):
    """A method that learns features of pixels; k-means on them gives the clusters. See the module for what a method defines.

    Class attributes:
        judged_by: the loss that is the method's own criterion, lower is better; None if no loss of its tells.
        Views: class of `views`.

    Attributes, from the beginning of `build_for` on:
        shape: (C, H, W) of the images.
        extent: height and width that all training images have.
        views: makes the crops, see `JitteredView`.
        arithmetic: runs networks in the precision that is set; `self.arithmetic(module, views)` is float32.
        network: `trunk` and `head`, on the device, in the layout for speed.
        optimisers: by name.
        epochs_done: epochs that were yielded.
    """

    task: ClassVar[Task] = "segmentation"
    Config = PixelMethodConfig
    config: PixelMethodConfig
    judged_by: ClassVar[str | None] = "loss"
    Views: ClassVar[type[JitteredView]] = JitteredView
    network: PixelNetwork

    @abstractmethod
    def build_head(self, features: int) -> nn.Module:
        """What is trained beside the trunk, whose maps have `features` channels; untrained, on the CPU.

        Called with PyTorch's global generator at the seed's weights; convolutions and batch norms are initialised as IIC's
        afterwards (`initialise`). `self.views.size` is the size of a crop.

        Raises:
            MethodError: crops that it cannot take.
        """

    @abstractmethod
    def train_step(
        self, images: Images, batch: torch.Tensor, indices: torch.Tensor, random: torch.Generator
    ) -> Mapping[str, torch.Tensor]:
        """One step of the optimisers (see `descend`); the network is in training mode.

        Args:
            images: the set that the batch is of.
            batch: uint8 (n, C, H, W) on the device, the images at `indices`.
            indices: int64 (n,).
            random: generator on the device, the only source of random numbers (dropout layers are seeded too).

        Returns:
            Detached float32 scalars by name, the same names in each step; the epoch reports their means over its steps.
        """

    def before_epoch(self, images: Images, number: int) -> int:
        """Whatever has to be done before the steps of epoch `number`; returns how many images went through the network."""
        return 0

    def features(self, views: torch.Tensor) -> torch.Tensor:
        """Feature maps (n, D, h, w), float32, that are clustered, of prepared views (n, channels, H, W); the network at rest."""
        return self.arithmetic(self.network.trunk, views)

    def build_optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Optimisers of `self.network` by name; all their parameter groups follow `lr_decay` from the rate they start with."""
        return {"network": self.adam(self.network)}

    def train(self, images: Images) -> Iterator[Epoch]:
        """Yield after every epoch. `losses` are the means of what `train_step` returns; `criterion` is the one `judged_by`."""
        if not hasattr(self, "network"):
            self.build_for(images.shape, largest_crop(images))
        for number in range(self.epochs_done + 1, self.config.epochs + 1):
            passed = self.before_epoch(images, number)
            losses, seen = self._epoch(images, number)
            clustered = number in (1, self.config.epochs) or number % self.config.cluster_every == 0
            if clustered:
                passed += self._fit_clusters(images)
            self.epochs_done = number
            criterion = losses[self.judged_by] if self.judged_by and clustered else None
            yield Epoch(number, losses, criterion, seen + passed)

    def build_for(self, shape: tuple[int, int, int], extent: tuple[int, int]) -> None:
        """Network and optimisers for images of `shape` (C, H, W) that all hold pixels in (height, width) `extent` at least."""
        self.shape, self.extent, self.epochs_done = shape, extent, 0
        self.views = self.Views(self.config.views, shape, extent)
        self.arithmetic = Arithmetic(self.device, self.config.precision)
        with seeded(self.seed, "weights"):
            trunk = build_trunk(self.views.channels, self.views.size, self.config.network)
            network = PixelNetwork(trunk, self.build_head(trunk.features))
            initialise(network)
        self.network = self.arithmetic.ready(network)
        self.optimisers = self.build_optimisers()
        self.keep_first_rates()
        self.clusters = PixelClusters(self.n_clusters, self.config.kmeans, self.seed)

    def _epoch(self, images: Images, number: int) -> tuple[dict[str, float], int]:
        """Train for one epoch: mean losses by name, and images through the network."""
        random = generator(self.device, self.seed, "epoch", number)
        order, losses, seen = self._order(images, random), MeanLosses(), 0
        self.network.train()
        with seeded(self.seed, "layers", number):
            for step, (indices, batch) in enumerate(zip(order, images.batches(order), strict=True), start=1):
                self.set_rates((number - 1 + (step - 1) / len(order)) / self.config.epochs)
                losses.add(self.train_step(images, batch, indices, random))
                seen += len(batch)
                self.on_step(step, len(order), seen)
        return losses.means(len(order), number, self.name), seen

    def _order(self, images: Images, random: torch.Generator) -> tuple[torch.Tensor, ...]:
        """Index tensors of one epoch, shuffled; without `steps` the last one may be shorter."""
        role, size, steps = self.config.images, self.config.batch, self.config.steps
        if steps is None:
            return without_lone_last(images.order(role, size, random))
        rounds = -(-steps * size // len(images.role(role)))
        indices = torch.cat([every for _ in range(rounds) for every in images.order(role, size, random)])
        return indices[: steps * size].split(size)

    def _fit_clusters(self, images: Images) -> int:
        """The k-means that is scored, on pixels of the main images; returns how many images they are."""
        self.network.eval()
        self.clusters.fit(self.features, self.views, images)
        return len(images.role("main"))

    def predict_batches(self, images: Images) -> Iterator[np.ndarray]:
        """Nearest centre of each pixel's features: int64 (1, n, H, W), a batch of images at a time."""
        self.network.eval()
        return self.clusters.assign(self.features, self.views, images)

    def predict_heads(self, images: Images) -> np.ndarray:
        """All of `predict_batches`: int64 (1, len(images), H, W)."""
        return np.concatenate(list(self.predict_batches(images)), axis=1)

    def state_dict(self) -> State:
        """Network, optimisers, clusters and position after the last yielded epoch."""
        return {
            "model": self.network.state_dict(),
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "clusters": self.clusters.state_dict(),
            "epochs_done": self.epochs_done,
            "shape": list(self.shape),
            "extent": list(self.extent),
        }

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned."""
        (channels, height, width), (rows, columns) = state["shape"], state["extent"]
        self.build_for((channels, height, width), (rows, columns))
        self.network.load_state_dict(state["model"])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        self.clusters.load_state_dict(state["clusters"], self.device)
        self.epochs_done = state["epochs_done"]
