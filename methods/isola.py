"""Co-occurrence: features of pixels that tell whether two patches of an image are neighbours or far apart.

Isola, Zoran, Krishnan, Adelson: Learning visual groups from co-occurrences in space and time, ICLR 2016 (workshop); here as the
row "Isola 2016" of Ji, Henriques, Vedaldi (ICCV 2019), Table 4, whose authors put its question to the trunk of IIC's segmentation
network: two patches of its feature maps, neighbours with even chances or at least two sides apart, binary cross-entropy. K-means
on the trunk's features of pixels gives the clusters.
"""

from __future__ import annotations

import sys
from typing import ClassVar

import torch
from pydantic import Field
from torch.nn import functional

from .kit.patch_method import PatchMethod, PatchMethodConfig
from .kit.patch_pairs import Neighbours, PatchPairs, near_and_far_pairs
from .registry import register


class IsolaConfig(PatchMethodConfig):
    """Settings of co-occurrence."""

    neighbours: Neighbours = Field(
        default="all", description="the eight patches that touch, or the four diagonal ones, as the authors"
    )
    certain_errors_count: bool = Field(
        default=True,
        description="count a pair to whose right answer the network gives no chance (below 2.2e-16); the authors leave it out",
    )


def co_occurrence_losses(logits: torch.Tensor, near: torch.Tensor, certain_errors_count: bool) -> torch.Tensor:
    """Minus the logarithm of the chance that the network gives to the right answer, in nats.

    Args:
        logits: float32 (m,), of being neighbours.
        near: int64 (m,), 1 for neighbours and 0 for a far pair.
        certain_errors_count: if not, pairs whose chance is below the smallest step from 1 (2.2e-16) have no loss and no
            gradient, as the authors' guard against infinity has it.

    Returns:
        Float32 (m,).
    """
    losses = functional.binary_cross_entropy_with_logits(logits, near.to(logits.dtype), reduction="none")
    if certain_errors_count:
        return losses
    chance = logits.detach().sigmoid()
    right = chance.where(near.bool(), 1 - chance)
    return losses.where(right >= sys.float_info.epsilon, 0)


@register("isola")
class Isola(PatchMethod):
    """Co-occurrence (Isola, Zoran, Krishnan, Adelson, 2016) on IIC's segmentation network, and k-means on features of pixels.

    >>> from sklearn.datasets import load_sample_images
    >>> import numpy as np
    >>> photographs = np.stack(load_sample_images().images)[:, ::8, ::8]  # uint8 (2, 54, 80, 3)
    >>> Isola(n_clusters=3, epochs=1).fit(photographs).labels_.shape
    (2, 54, 80)
    """

    name: ClassVar[str] = "isola"
    Config = IsolaConfig
    config: IsolaConfig

    def draw_pairs(self, count: int, random: torch.Generator) -> PatchPairs:
        """Pairs of places, and 1 for neighbours."""
        return near_and_far_pairs(count, self.size, self.config.patch, self.config.neighbours, random)

    def answer_losses(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """See `co_occurrence_losses`."""
        return co_occurrence_losses(outputs[:, 0], target, self.config.certain_errors_count)

    def answers(self, outputs: torch.Tensor) -> torch.Tensor:
        """1 where being neighbours is likelier."""
        return (outputs[:, 0] > 0).long()
