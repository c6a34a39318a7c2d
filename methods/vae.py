"""Variational autoencoder: the code of an image is a normal distribution; k-means clusters the means.

Kingma, Welling: Auto-Encoding Variational Bayes, ICLR 2014: one sample a step through the reparameterisation of section 2.4, and
the divergence in the closed form of appendix B. Pixels are Bernoulli variables, whose grey values stand for their probabilities,
or normal ones of a fixed deviation. The row of the IIC paper's Table 1 goes back to the DAC paper, which documents no settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import nn
from torch.nn import functional

from .kit import augment
from .kit.conv_autoencoder import ImageAutoencoder, Shape, half_squared_distance
from .kit.reconstruction import ReconstructionConfig, ReconstructionMethod
from .registry import register


class VariationalAutoencoderConfig(ReconstructionConfig):
    """Settings of the variational autoencoder."""

    likelihood: Literal["bernoulli", "gaussian"] = Field(default="bernoulli", description="distribution of a pixel in [0, 1]")
    deviation: PositiveFloat = Field(default=0.3, description="standard deviation of a pixel, gaussian only")
    beta: NonNegativeFloat = Field(default=1.0, description="weight of the divergence; 1 gives the bound on the likelihood")


@register("vae")
class VariationalAutoencoder(ReconstructionMethod):
    """K-means on the mean codes of a variational autoencoder (Kingma, Welling, ICLR 2014).

    >>> from sklearn.datasets import load_digits
    >>> images = (load_digits().images * 255 / 16).round().astype("uint8")
    >>> VariationalAutoencoder(n_clusters=10, epochs=1).fit(images).labels_.shape
    (1797,)
    """

    name: ClassVar[str] = "vae"
    Config = VariationalAutoencoderConfig
    config: VariationalAutoencoderConfig

    def build(self, shape: Shape) -> nn.Module:
        """The autoencoder, untrained; its encoder gives mean and log-variance of each number of the code."""
        return ImageAutoencoder(self.config.network, shape, self.config.code, outputs=2 * self.config.code)

    def losses(self, images: torch.Tensor, random: torch.Generator) -> Mapping[str, torch.Tensor]:
        """`reconstruction` and `divergence` in nats an image, the former up to a constant if Gaussian; `loss`, their sum."""
        mean, log_variance = self.arithmetic(self.network.encoder, images).chunk(2, dim=1)  # (M, code) each
        decoded = self.arithmetic(self.network.decoder, sample(mean, log_variance, random))
        reconstruction, divergence = self._reconstruction(decoded, images), gaussian_divergence(mean, log_variance)
        return {
            "loss": reconstruction + self.config.beta * divergence,
            "reconstruction": reconstruction,
            "divergence": divergence,
        }

    def _reconstruction(self, decoded: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Negative log-likelihood of an image (M, C, H, W), the mean over the images."""
        if self.config.likelihood == "bernoulli":
            return functional.binary_cross_entropy_with_logits(decoded, images, reduction="sum") / len(images)
        return half_squared_distance(decoded, images) / self.config.deviation**2

    def features(self, batch: torch.Tensor) -> torch.Tensor:
        """The means of uint8 images (M, C, H, W): float32 (M, code)."""
        return self.arithmetic(self.network.encoder, augment.to_float(batch))[:, : self.config.code]

    @property
    def loss_floors(self) -> dict[str, float]:
        """Cross-entropies, distances and divergences are at least 0."""
        return {"reconstruction": 0.0, "divergence": 0.0, **super().loss_floors}


def sample(mean: torch.Tensor, log_variance: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """One draw from each of the normal distributions (N, D), differentiable in both arguments."""
    noise = torch.empty_like(mean).normal_(generator=random)
    return mean + noise * (0.5 * log_variance).exp()


def gaussian_divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """KL(N(mean, variance) || N(0, 1)) in nats, the sum over the D numbers of a code, the mean over N: (N, D) to a scalar."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
