"""Denoising autoencoder: the clean image has to come back from the code of a corrupted one; k-means clusters the codes.

Vincent, Larochelle, Lajoie, Bengio, Manzagol: Stacked Denoising Autoencoders, JMLR 11, 2010, with two
of their corruptions: masking noise (a share of the values is set to 0) and Gaussian noise. They train layer by layer; here all
layers are trained together. The row of the IIC paper's Table 1 goes back to the DAC paper, which documents no settings. The codes
that are clustered are those of clean images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator

from .kit.conv_autoencoder import half_squared_distance
from .kit.reconstruction import ReconstructionConfig, ReconstructionMethod
from .registry import register

Noise = Literal["masking", "gaussian"]


class DenoisingAutoencoderConfig(ReconstructionConfig):
    """Settings of the denoising autoencoder."""

    noise: Noise = Field(default="masking", description="values set to 0, or normal noise added to all")
    amount: Annotated[float, Field(gt=0)] = Field(
        default=0.2, description="share of the values that are masked, or standard deviation of the noise on values in [0, 1]"
    )

    @model_validator(mode="after")
    def _leaves_something(self) -> DenoisingAutoencoderConfig:
        if self.noise == "masking" and self.amount >= 1:
            raise ValueError(f"amount is the share of values that are masked, below 1, got {self.amount}")
        return self


@register("denoising-ae")
class DenoisingAutoencoder(ReconstructionMethod):
    """K-means on the codes of a denoising autoencoder.

    >>> from sklearn.datasets import load_digits
    >>> images = (load_digits().images * 255 / 16).round().astype("uint8")
    >>> DenoisingAutoencoder(n_clusters=10, epochs=1).fit(images).labels_.shape
    (1797,)
    """

    name: ClassVar[str] = "denoising-ae"
    Config = DenoisingAutoencoderConfig
    config: DenoisingAutoencoderConfig

    def losses(self, images: torch.Tensor, random: torch.Generator) -> Mapping[str, torch.Tensor]:
        """`loss`: half the squared distance of clean image and what comes back from the corrupted one, the mean over images."""
        noisy = corrupted(images, self.config.noise, self.config.amount, random)
        return {"loss": half_squared_distance(self.arithmetic(self.network, noisy), images)}


def corrupted(images: torch.Tensor, noise: Noise, amount: float, random: torch.Generator) -> torch.Tensor:
    """Float images (N, C, H, W) with noise on each value by itself; Gaussian noise may lead out of [0, 1].

    Args:
        images: are not changed.
        noise: `masking` sets a value to 0 with probability `amount`, `gaussian` adds normal noise of deviation `amount`.
        amount: see `noise`.
        random: generator on the images' device.
    """
    if noise == "masking":
        return images * torch.empty_like(images).bernoulli_(1 - amount, generator=random)
    return images + amount * torch.empty_like(images).normal_(generator=random)
