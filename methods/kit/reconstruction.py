"""What the autoencoders of Table 1 share: features are codes, learned by giving the image back from them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import nn

from . import augment
from .conv_autoencoder import AutoencoderSettings, ImageAutoencoder, Shape
from .feature_method import FeatureMethod, FeatureMethodConfig


class ReconstructionConfig(FeatureMethodConfig):
    """Settings of an autoencoder."""

    network: AutoencoderSettings = Field(default_factory=AutoencoderSettings, description="layers of encoder and decoder")
    code: PositiveInt = Field(default=10, description="numbers in the code that is clustered")


class ReconstructionMethod(FeatureMethod):
    """A method whose features are the codes of an `ImageAutoencoder`; `losses` says what is minimised."""

    Config = ReconstructionConfig
    config: ReconstructionConfig
    network: ImageAutoencoder  # pyright: ignore[reportIncompatibleVariableOverride]
    judged_by: ClassVar[str | None] = "loss"

    def build(self, shape: Shape) -> nn.Module:
        """The autoencoder, untrained."""
        return ImageAutoencoder(self.config.network, shape, self.config.code)

    @abstractmethod
    def losses(self, images: torch.Tensor, random: torch.Generator) -> Mapping[str, torch.Tensor]:
        """Scalars by name for float images (M, C, H, W) in [0, 1]; `loss` is what is minimised, the others are its parts."""

    def train_step(self, batch: torch.Tensor, random: torch.Generator) -> Mapping[str, torch.Tensor]:
        """One step down `losses(...)["loss"]`."""
        losses = self.losses(augment.to_float(batch), random)
        self.descend(losses["loss"])
        return {name: loss.detach() for name, loss in losses.items()}

    def features(self, batch: torch.Tensor) -> torch.Tensor:
        """The codes of uint8 images (M, C, H, W): float32 (M, code)."""
        return self.arithmetic(self.network.encoder, augment.to_float(batch))

    @property
    def loss_floors(self) -> dict[str, float]:
        """Distances and divergences are at least 0."""
        return {"loss": 0.0, "criterion": 0.0}
