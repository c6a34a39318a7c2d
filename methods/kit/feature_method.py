"""The base of methods that learn features and no clusters: one training loop, one evaluation head.

THE shared evaluation head of the rows that Table 1 of the IIC paper marks with a double dagger: after the training (and after
epochs before, so that it can be watched) the features of the main images are optionally PCA-whitened (`whiten`), then normalised
and optionally projected (`kmeans.normalise`, `kmeans.pca`), and clustered by k-means of `kmeans.restarts` starts; any image
belongs to the nearest centre. Results move by tens of points with these settings, and how the published rows were made is not
documented, so each of them stands in the record, and all methods share them.

A method is its network and one training step::

    @register("my-features")
    class MyFeatures(FeatureMethod):
        name: ClassVar[str] = "my-features"
        Config = MyFeaturesConfig  # a FeatureMethodConfig
        config: MyFeaturesConfig

        def build(self, shape): return MyNetwork(shape, self.config.widths)
        def train_step(self, batch, random): return {"loss": self.descend(my_loss(self.network, to_float(batch)))}
        def features(self, batch): return self.arithmetic(self.network.encode, to_float(batch))
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import nn

from ...datasets.base import Images
from ..base import Diverged, Epoch, State
from .arithmetic import Arithmetic, Precision, without_lone_last
from .clusterers import KMeansSettings
from .descent import Descent, DescentConfig, MeanLosses
from .feature_clusters import FeatureClusters
from .randomness import generator, seeded


class FeatureMethodConfig(DescentConfig):
    """Settings that all methods with learned features share; a method's own config adds its own."""

    epochs: PositiveInt = Field(default=20, description="epochs, each of as many images as there are")
    images: Literal["all", "main"] = Field(
        default="all", description="images that are learned from: with the unlabelled ones of STL-10, or without"
    )
    batch: Annotated[int, Field(ge=2)] = Field(default=128, description="images in a batch")
    cluster_every: PositiveInt = Field(
        default=1,
        description="epochs between two k-means on the features (the first and the last epoch have one in any case); in between "
        "images go to the centres of the last one, and such an epoch is not chosen by its loss",
    )
    whiten: PositiveInt | None = Field(
        default=None, description="axes of a PCA-whitening of the features before the k-means that is scored; none: no whitening"
    )
    kmeans: KMeansSettings = Field(default_factory=KMeansSettings, description="the k-means that is scored")
    evaluation_batch: PositiveInt = Field(default=1000, description="images in a batch at test time")
    precision: Precision = "float32"


class FeatureMethod(Descent):
    """A method that learns features; k-means on them gives the clusters. See the module for what a method has to define.

    Class attributes:
        judged_by: the loss that is the method's own criterion, lower is better; None if no loss of its tells.
        copies: how often each image of a batch goes through the network in a training step, for the count of images.

    Attributes, from the beginning of `build_for` on:
        shape: (C, H, W) of the images.
        arithmetic: runs networks in the precision that is set; `self.arithmetic(module_or_function, images)` is float32.
        network: all that is trained, on the device, in the layout for speed.
        optimisers: by name.
        epochs_done: epochs that were yielded.
        places: in a training step, where the images of its batch are in what `learned` gave: int64 (M,).
    """

    Config = FeatureMethodConfig
    config: FeatureMethodConfig
    judged_by: ClassVar[str | None] = "loss"
    copies: ClassVar[int] = 1
    network: nn.Module

    @abstractmethod
    def build(self, shape: tuple[int, int, int]) -> nn.Module:
        """The untrained network for images of `shape` (C, H, W): one module that holds all that is trained.

        Called with PyTorch's global generator at the seed's weights; it must not move anything to a device.

        Raises:
            MethodError: images that the network cannot take.
        """

    @abstractmethod
    def train_step(self, batch: torch.Tensor, random: torch.Generator) -> Mapping[str, torch.Tensor]:
        """One step of the optimisers (see `descend`); the network is in training mode.

        Args:
            batch: uint8 (M, C, H, W) on the device, the images of one part of `order`.
            random: generator on the device, the only source of random numbers (dropout layers are seeded too).

        Returns:
            Detached float32 scalars by name, the same names in each step; the epoch reports their means over its steps.
        """

    @abstractmethod
    def features(self, batch: torch.Tensor) -> torch.Tensor:
        """Features of uint8 images (M, C, H, W): float32 (M, D). Called at rest (eval mode) and without gradients."""

    def build_optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Optimisers of `self.network` by name; all their parameter groups follow `lr_decay` from the rate they start with."""
        return {"network": self.adam(self.network)}

    def learned(self, images: Images) -> Images:
        """What `order` and the steps of an epoch read: the images, or what an override makes of them, the same each time."""
        return images

    def order(self, images: Images, random: torch.Generator) -> tuple[torch.Tensor, ...]:
        """Places in `images` that the steps of an epoch read, int64 (M,) each: by default all in a random order, in batches.

        An override may read as stored, or put several images for one place into a batch (pairs: first the ones, then the others).
        """
        return without_lone_last(images.order(self.config.images, self.config.batch, random))

    def train(self, images: Images) -> Iterator[Epoch]:
        """Yield after every epoch. `losses` are the means of what `train_step` returns; `criterion` is the one `judged_by`."""
        if not hasattr(self, "network"):
            self.build_for(images.shape)
        for number in range(self.epochs_done + 1, self.config.epochs + 1):
            losses, passed = self._epoch(images, number)
            clustered = self._is_clustered(number)
            if clustered:
                passed += self._fit_clusters(images, number)
            self.known = self.known if clustered else None
            self.epochs_done = number
            criterion = losses[self.judged_by] if self.judged_by and clustered else None
            yield Epoch(number, losses, criterion, passed)

    def build_for(self, shape: tuple[int, int, int]) -> None:
        """Network and optimisers for images of `shape` (C, H, W), before the first epoch."""
        self.shape, self.epochs_done = shape, 0
        self.arithmetic = Arithmetic(self.device, self.config.precision)
        with seeded(self.seed, "weights"):
            network = self.build(shape)
        self.network = self.arithmetic.ready(network)
        self.optimisers = self.build_optimisers()
        self.keep_first_rates()
        self.feature_clusters = self._unfitted_clusters()
        self.known: tuple[Images, np.ndarray] | None = None

    def features_of(self, images: Images, role: str = "all") -> torch.Tensor:
        """Features of the images of `role` in their stored order, at rest: float32 (n, D) on the device."""
        self.network.eval()
        features, done = torch.empty(0), 0
        with torch.inference_mode():
            for batch in images.batches(images.order(role, self.config.evaluation_batch)):
                found = self.features(batch)
                if not done:
                    features = torch.empty(len(images.role(role)), found.shape[1], device=found.device)
                features[done : done + len(batch)] = found
                done += len(batch)
        return features

    def _epoch(self, images: Images, number: int) -> tuple[dict[str, float], int]:
        """Train for one epoch: mean losses by name, and images through the network."""
        random = generator(self.device, self.seed, "epoch", number)
        learned = self.learned(images)
        order, losses, seen = self.order(learned, random), MeanLosses(), 0
        self.network.train()
        with seeded(self.seed, "layers", number):
            for step, (self.places, batch) in enumerate(zip(order, learned.batches(order), strict=True), start=1):
                self.set_rates((number - 1 + (step - 1) / len(order)) / self.config.epochs)
                losses.add(self.train_step(batch, random))
                seen += len(batch) * self.copies
                self.on_step(step, len(order), seen)
        return losses.means(len(order), number, self.name), seen

    def _is_clustered(self, number: int) -> bool:
        """Whether epoch `number` has a k-means of its own."""
        return number in (1, self.config.epochs) or number % self.config.cluster_every == 0

    def _fit_clusters(self, images: Images, number: int) -> int:
        """The k-means that is scored, on the main images at the end of epoch `number`; returns how many they are."""
        features = self.features_of(images, "main")
        if not bool(torch.isfinite(features).all()):
            raise Diverged(f"{self.name}: the features are not finite in epoch {number}. Lower the learning rate (--set lr=...).")
        self.feature_clusters = self._unfitted_clusters().fit(features)
        self.known = None if "main" in images.roles else (images, self.feature_clusters.predict(features))
        return len(features)

    def _unfitted_clusters(self) -> FeatureClusters:
        return FeatureClusters(self.n_clusters, self.config.kmeans, self.config.whiten, self.seed)

    def predict_heads(self, images: Images) -> np.ndarray:
        """Nearest centre of each image's features: int64 (1, len(images))."""
        if self.known is not None and self.known[0] is images:  # the images that the centres were fitted on
            return self.known[1][None]
        return self.feature_clusters.predict(self.features_of(images))[None]

    def state_dict(self) -> State:
        """Network, optimisers, clusters and position after the last yielded epoch."""
        return {
            "model": self.network.state_dict(),
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "clusters": self.feature_clusters.state_dict(),
            "epochs_done": self.epochs_done,
            "shape": list(self.shape),
        }

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned."""
        channels, height, width = state["shape"]
        self.build_for((channels, height, width))
        self.network.load_state_dict(state["model"])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        self.epochs_done = state["epochs_done"]
        self.feature_clusters.load_state_dict(state["clusters"], self.device)
