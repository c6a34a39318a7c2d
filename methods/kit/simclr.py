"""SimCLR as SCAN trains it: a network whose features of two views of an image are alike, and unlike those of other images.

Chen et al., A Simple Framework for Contrastive Learning of Visual Representations (ICML 2020), in the version of SCAN's authors
(Van Gansbeke et al., ECCV 2020; released code): first views are the only anchors of the loss, no blur, gradient descent with
a learning rate that falls by a cosine from epoch to epoch. The trained network is a `pretext` that other methods may start from.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import nn
from torch.nn import functional

from ...datasets.base import Images
from .arithmetic import Arithmetic, OptimiserSettings, build_optimiser, cosine_decay, whole_batches
from .backbones import Backbone, BackboneSettings, build_backbone
from .contrastive_views import SimCLRViews, SimCLRViewSettings
from .randomness import generator, seeded

VERSION = 1  # raised with every change that changes what is learned; part of an artefact's key
Layer = Literal["projection", "backbone"]
Progress = Callable[[int, int, int], None]


class PretextSettings(BaseModel):
    """How the contrastive network is trained. The defaults are SCAN's for CIFAR and STL-10."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: PositiveInt = Field(default=500, description="epochs of contrastive training")
    batch: Annotated[int, Field(ge=2)] = Field(
        default=512, description="images in a batch, two views of each; the last short one is left out"
    )
    lr: PositiveFloat = Field(default=0.4, description="learning rate of the first epoch")
    lr_floor: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1e-3, description="share of it that the cosine falls to; 0.1 cubed for the authors"
    )
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.9, description="of gradient descent")
    weight_decay: NonNegativeFloat = Field(default=1e-4, description="on all parameters")
    temperature: PositiveFloat = Field(default=0.1, description="T that cosines are divided by")
    anchors: Literal["first", "both"] = Field(
        default="first", description="views that the loss is the mean over: first as the authors' code, both as SimCLR's paper"
    )
    dimensions: PositiveInt = Field(default=128, description="length of the projection")
    seed: int | None = Field(
        default=0, description="of this stage: one network then serves all trials; null for a network of every trial's own"
    )


def contrastive_loss(first: torch.Tensor, second: torch.Tensor, temperature: float, *, both: bool = False) -> torch.Tensor:
    """Cross-entropy of picking, among the other 2B - 1 views, the one of the same image; the mean over the anchors.

    Args:
        first, second: float (B, D) of unit length, two views of each image.
        temperature: T that cosines are divided by.
        both: anchors are both views; otherwise the first ones alone.
    """
    count, everything = len(first), torch.cat([first, second])  # (2B, D)
    anchors = everything if both else first
    own = torch.arange(len(anchors), device=first.device)
    similar = (anchors @ everything.T / temperature).scatter(1, own.unsqueeze(1), -math.inf)  # (B or 2B, 2B)
    return functional.cross_entropy(similar, (own + count) % (2 * count))


class ContrastiveNetwork(nn.Module):
    """A backbone and a projection with one hidden layer, without batch norm: (N, dimensions), float32 of unit length."""

    def __init__(self, trunk: Backbone, dimensions: int) -> None:
        super().__init__()
        self.trunk = trunk
        width = trunk.features
        self.projection = nn.Sequential(nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, dimensions))

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        return functional.normalize(self.projection(self.trunk(views)).float(), dim=1)


class Pretext:
    """A contrastive network in training.

    Args:
        settings: of the training.
        network: of the backbone.
        views: the two views.
        shape: (C, H, W) of the images.
        seed: used if the settings name none.
        arithmetic: where and how precisely it computes.

    Attributes:
        network: the `ContrastiveNetwork`.
        views: makes the views.
        epochs_done: epochs so far.
    """

    def __init__(
        self,
        settings: PretextSettings,
        network: BackboneSettings,
        views: SimCLRViewSettings,
        shape: tuple[int, int, int],
        seed: int,
        arithmetic: Arithmetic,
    ) -> None:
        self.settings, self.arithmetic, self.epochs_done = settings, arithmetic, 0
        self.seed = seed if settings.seed is None else settings.seed
        self.views = SimCLRViews(views, shape)
        self.recipe = {
            "settings": settings,
            "network": network,
            "views": views,
            "seed": self.seed,
            "precision": arithmetic.precision,
        }
        trunk = build_backbone(network, self.views.channels, self.views.size, self.seed)
        with seeded(self.seed, "projection"):
            self.network = ContrastiveNetwork(trunk, settings.dimensions)
        arithmetic.ready(self.network)
        as_sgd = {"name": "sgd", "lr": settings.lr, "momentum": settings.momentum, "weight_decay": settings.weight_decay}
        self.optimiser = build_optimiser(OptimiserSettings.model_validate(as_sgd), self.network.parameters())

    def train_epoch(self, images: Images, indices: torch.Tensor, progress: Progress) -> tuple[torch.Tensor, int]:
        """One pass over the images at `indices`: the mean loss (), and how many views went through the network."""
        random = generator(self.arithmetic.device, self.seed, "pretext", self.epochs_done + 1)
        shuffled = indices[torch.randperm(len(indices), generator=random, device=indices.device)]
        order, seen = whole_batches(shuffled, self.settings.batch), 0
        total = torch.zeros((), device=self.arithmetic.device)
        self._set_learning_rate()
        self.network.train()
        for done, batch in enumerate(images.batches(order), 1):
            total += self.train_step(batch, random)
            seen += 2 * len(batch)
            progress(done, len(order), seen)
        self.epochs_done += 1
        return total / len(order), seen

    def train_step(self, batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """One optimiser step on a batch, uint8 (B, C, H, W): the loss (), detached."""
        views = torch.cat([self.views.view(batch, random), self.views.view(batch, random)])  # (2B, C, S, S)
        return self.step_on(views)

    def step_on(self, views: torch.Tensor) -> torch.Tensor:
        """The optimiser step on prepared views (2B, C, S, S), the first views first: the loss (), detached."""
        first, second = self.arithmetic(self.network, views).chunk(2)
        loss = contrastive_loss(first, second, self.settings.temperature, both=self.settings.anchors == "both")
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    @torch.no_grad()
    def features(self, images: Images, indices: torch.Tensor, layer: Layer, batch: int) -> torch.Tensor:
        """Features of unit length of the images at `indices` in their test view, the network at rest: float32 (N, D)."""
        self.network.eval()
        network = self.network if layer == "projection" else self.network.trunk
        parts = [self.arithmetic(network, self.views.test(each)) for each in images.batches(indices.split(batch))]
        return functional.normalize(torch.cat(parts), dim=1)

    def _set_learning_rate(self) -> None:
        settings = self.settings
        floor = settings.lr * settings.lr_floor
        height = cosine_decay(self.epochs_done, settings.epochs)
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = floor + (settings.lr - floor) * height

    def state_dict(self) -> dict[str, Any]:
        """Network, optimiser and position."""
        return {"model": self.network.state_dict(), "optimiser": self.optimiser.state_dict(), "epochs_done": self.epochs_done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.network.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.epochs_done = state["epochs_done"]
