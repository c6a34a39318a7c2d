"""Autoencoder: a network learns to give an image back from a short code, and k-means clusters the codes.

Bengio, Lamblin, Popovici, Larochelle: Greedy Layer-Wise Training of Deep Networks, NIPS 2006; here all layers are trained
together. The row of the IIC paper's Table 1 goes back to the DAC paper (Chang et al., ICCV 2017), which documents neither network
nor code. The defaults are a small network for CPUs; the card has the presets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from .kit.conv_autoencoder import half_squared_distance
from .kit.reconstruction import ReconstructionConfig, ReconstructionMethod
from .registry import register


class AutoencoderConfig(ReconstructionConfig):
    """Settings of the autoencoder."""


@register("ae")
class Autoencoder(ReconstructionMethod):
    """K-means on the codes of an autoencoder.

    >>> from sklearn.datasets import load_digits
    >>> images = (load_digits().images * 255 / 16).round().astype("uint8")
    >>> Autoencoder(n_clusters=10, epochs=1).fit(images).labels_.shape
    (1797,)
    """

    name: ClassVar[str] = "ae"
    Config = AutoencoderConfig
    config: AutoencoderConfig

    def losses(self, images: torch.Tensor, random: torch.Generator) -> Mapping[str, torch.Tensor]:
        """`loss`: half the squared distance of image and reconstruction, pixels in [0, 1], averaged over the images."""
        return {"loss": half_squared_distance(self.arithmetic(self.network, images), images)}
