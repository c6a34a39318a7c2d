"""SWWAE: an autoencoder whose poolings tell their mirror images where the maxima were; k-means clusters what is on top.

Zhao, Mathieu, Goroshin, LeCun: Stacked What-Where Auto-encoders, ICLR 2016 workshop (arXiv 1506.02351), the unsupervised case:
their loss without the classifier's term. The image and every pooled map have to come back on the way down. The row
of the IIC paper's Table 1 goes back to the DAC paper, which documents no settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import nn

from .kit import augment
from .kit.feature_method import FeatureMethod, FeatureMethodConfig
from .kit.what_where import WhatWhereNetwork, stage_losses
from .registry import register

Widths = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]


class SWWAEConfig(FeatureMethodConfig):
    """Settings of the stacked what-where autoencoder."""

    widths: tuple[Widths, ...] = Field(
        default=((16,), (32,), (64,)), min_length=1, description="for each stage the channels of its 3x3 convolutions"
    )
    pools: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        default=(2, 2, 2), min_length=1, description="for each stage the side of its max-pooling"
    )
    code: PositiveInt | None = Field(
        default=10, description="numbers in a linear bottleneck on top, which are clustered; none: the topmost pooled maps are"
    )
    hidden_weight: NonNegativeFloat = Field(
        default=0.1, description="weight of each pooled map's reconstruction, where the image's is 1"
    )


@register("swwae")
class SWWAE(FeatureMethod):
    """K-means on the top of a stacked what-where autoencoder (Zhao, Mathieu, Goroshin, LeCun, ICLR 2016 workshop).

    >>> from sklearn.datasets import load_digits
    >>> images = (load_digits().images * 255 / 16).round().astype("uint8")
    >>> SWWAE(n_clusters=10, epochs=1).fit(images).labels_.shape
    (1797,)
    """

    name: ClassVar[str] = "swwae"
    Config = SWWAEConfig
    config: SWWAEConfig
    network: WhatWhereNetwork  # pyright: ignore[reportIncompatibleVariableOverride]

    def build(self, shape: tuple[int, int, int]) -> nn.Module:
        """The network, untrained."""
        return WhatWhereNetwork(shape, self.config.widths, self.config.pools, self.config.code)

    def train_step(self, batch: torch.Tensor, random: torch.Generator) -> Mapping[str, torch.Tensor]:
        """One step: `reconstruction` of the image, `stage 1` and so on of the pooled maps, `loss` with their weights.

        Each is half a squared distance, summed over the values of an image and averaged over the images.
        """
        images = augment.to_float(batch).contiguous(memory_format=torch.channels_last)
        with self.arithmetic.autocast():
            passes = self.network(images)
        image, *stages = stage_losses(passes)
        loss = image + self.config.hidden_weight * sum(stages, torch.zeros_like(image))
        self.descend(loss)
        told = {f"stage {number}": stage for number, stage in enumerate(stages, start=1)}
        return {name: part.detach() for name, part in {"loss": loss, "reconstruction": image, **told}.items()}

    def features(self, batch: torch.Tensor) -> torch.Tensor:
        """The code, or the topmost pooled maps, of uint8 images (M, C, H, W): float32 (M, D)."""
        return self.arithmetic(self.network.encode, augment.to_float(batch))

    @property
    def loss_floors(self) -> dict[str, float]:
        """All are distances, at least 0."""
        stages = len(self.config.pools) - (self.config.code is None)
        names = ("loss", "criterion", "reconstruction", *(f"stage {number}" for number in range(1, stages + 1)))
        return dict.fromkeys(names, 0.0)
