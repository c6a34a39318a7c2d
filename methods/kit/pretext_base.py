"""SCAN's contrastive network as a base that something else stands on: its training and nothing after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from ...datasets.base import Images
from ..base import Epoch, Method, MethodConfig, MethodError, State, check_finite
from .arithmetic import Arithmetic, Precision
from .backbones import BackboneSettings
from .contrastive_views import NormalisedViews, SimCLRViewSettings
from .simclr import Pretext, PretextSettings

ROLE = "auxiliary"  # as SCAN: STL-10's network also learns from its unlabelled images


class ContrastiveConfig(MethodConfig):
    """Settings of the contrastive network, by the names that they have in SCAN's."""

    network: BackboneSettings = Field(default_factory=BackboneSettings, description="the network that gives features")
    pretext: PretextSettings = Field(default_factory=PretextSettings, description="its training")
    views: SimCLRViewSettings = Field(default_factory=SimCLRViewSettings, description="the two views")
    precision: Precision = "float32"


class Normalise(nn.Module):
    """Pixels in [0, 1] less the mean, over the standard deviation, as `views` have them."""

    def __init__(self, views: NormalisedViews) -> None:
        super().__init__()
        self.views = views

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.views.normalised(images)


class Contrastive(Method):
    """The training of a `Pretext`; it has no clusters."""

    name: ClassVar[str] = "simclr"
    Config = ContrastiveConfig
    config: ContrastiveConfig

    def build(self, shape: tuple[int, int, int]) -> None:
        """The network, untrained, for images of `shape` (C, H, W)."""
        config, self.shape = self.config, shape
        arithmetic = Arithmetic(self.device, config.precision)
        self.pretext = Pretext(config.pretext, config.network, config.views, shape, self.seed, arithmetic)

    def train(self, images: Images) -> Iterator[Epoch]:
        """Yield after every epoch; the loss is called `contrastive`."""
        if not hasattr(self, "pretext"):
            self.build(images.shape)
        while self.pretext.epochs_done < self.config.pretext.epochs:
            loss, seen = self.pretext.train_epoch(images, images.role(ROLE), self.on_step)
            check_finite(loss, self.pretext.epochs_done, self.name)
            yield Epoch(self.pretext.epochs_done, {"contrastive": loss.item()}, images=seen)

    def predict_heads(self, images: Images) -> np.ndarray:
        """Raises `MethodError`."""
        raise MethodError(f"{self.name} gives features and no clusters: stand a method on them.")

    def state_dict(self) -> State:
        """Network, optimiser and position after the last yielded epoch."""
        return {"pretext": self.pretext.state_dict(), "shape": list(self.shape)}

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned."""
        channels, height, width = state["shape"]
        self.build((channels, height, width))
        self.pretext.load_state_dict(state["pretext"])
