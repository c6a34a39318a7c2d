"""Sparse autoencoder: each number of the code is to be near 0 for most images; k-means clusters the codes.

Ng: Sparse Autoencoder, CS294A lecture notes, Stanford 2011: sigmoid codes, and a penalty beta * sum_j KL(rho || rho_j) where
rho_j is the mean of number j over the images. The notes take the mean over all images; here it is that of the batch. The row of
the IIC paper's Table 1 goes back to the DAC paper, which documents no settings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field, NonNegativeFloat
from torch.nn import functional

from .kit import augment
from .kit.conv_autoencoder import half_squared_distance
from .kit.reconstruction import ReconstructionConfig, ReconstructionMethod
from .registry import register


class SparseAutoencoderConfig(ReconstructionConfig):
    """Settings of the sparse autoencoder."""

    rho: Annotated[float, Field(gt=0, lt=1)] = Field(default=0.05, description="mean that each number of the code should have")
    beta: NonNegativeFloat = Field(default=3.0, description="weight of the penalty for another mean")
    weight_decay: NonNegativeFloat = Field(default=1e-4, description="times the weights, added to their gradient")


@register("sparse-ae")
class SparseAutoencoder(ReconstructionMethod):
    """K-means on the codes of a sparse autoencoder.

    >>> from sklearn.datasets import load_digits
    >>> images = (load_digits().images * 255 / 16).round().astype("uint8")
    >>> SparseAutoencoder(n_clusters=10, epochs=1).fit(images).labels_.shape
    (1797,)
    """

    name: ClassVar[str] = "sparse-ae"
    Config = SparseAutoencoderConfig
    config: SparseAutoencoderConfig

    def losses(self, images: torch.Tensor, random: torch.Generator) -> Mapping[str, torch.Tensor]:
        """`reconstruction`, half the squared distance averaged over the images; `sparsity`, the divergence in nats; `loss`."""
        logits = self.arithmetic(self.network.encoder, images)
        reconstruction = half_squared_distance(self.arithmetic(self.network.decoder, logits.sigmoid()), images)
        sparsity = sparsity_divergence(logits, self.config.rho)
        return {"loss": reconstruction + self.config.beta * sparsity, "reconstruction": reconstruction, "sparsity": sparsity}

    def features(self, batch: torch.Tensor) -> torch.Tensor:
        """The codes of uint8 images (M, C, H, W): float32 (M, code) in [0, 1]."""
        return self.arithmetic(self.network.encoder, augment.to_float(batch)).sigmoid()

    @property
    def loss_floors(self) -> dict[str, float]:
        """Distances and divergences are at least 0."""
        return {"reconstruction": 0.0, "sparsity": 0.0, **super().loss_floors}


def sparsity_divergence(logits: torch.Tensor, rho: float) -> torch.Tensor:
    """Sum over j of KL(rho || mean of sigmoid(logits[:, j])), in nats, for float logits (N, D).

    In logarithms throughout: a mean that rounds to 0 or 1 has a finite loss and a gradient that leads back.
    """
    log_n = math.log(len(logits))
    log_mean = functional.logsigmoid(logits).logsumexp(0) - log_n  # (D,)
    log_rest = functional.logsigmoid(-logits).logsumexp(0) - log_n
    return (rho * (math.log(rho) - log_mean) + (1 - rho) * (math.log1p(-rho) - log_rest)).sum()
