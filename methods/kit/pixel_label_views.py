"""The views that DeepCluster learns pixels from: a crop as it is, which is given labels, and a changed copy to learn them on."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...datasets.base import Images
from . import augment, stages
from .segmentation_views import JitteredView


@dataclass(frozen=True)
class LabelledCrops:
    """Crops before and after the change of a batch.

    Attributes:
        plain: float32 (n, C', h, w), what the network sees of the crops as they are.
        changed: the same of the jittered copies, some of them mirrored.
        mask: bool (n, h, w) in the geometry of `plain`, the pixels that count; None for all.
        flipped: bool (n,), the mirrored copies.
    """

    plain: torch.Tensor
    changed: torch.Tensor
    mask: torch.Tensor | None
    flipped: torch.Tensor

    def carried(self, labels: torch.Tensor) -> torch.Tensor:
        """Labels (n, h, w) of the crops as they are, in the geometry of the copies, -1 where pixels do not count."""
        known = labels if self.mask is None else labels.masked_fill(~self.mask, -1)
        return known.flip(-1).where(self.flipped.view(-1, 1, 1), known)


class PixelLabelViews(JitteredView):
    """Makes them. Edges are those of the mean of the colours, as DeepCluster's first layer takes them."""

    @stages.augmentation
    def labelled(
        self, images: Images, batch: torch.Tensor, indices: torch.Tensor, random: torch.Generator, *, masked: bool
    ) -> LabelledCrops:
        """One random crop of each image, twice; the arguments are those of `crops`."""
        crops, mask = self.crops(images, batch, indices, random, masked=masked)
        changed, flipped = self._jittered(crops, random)
        changed = augment.horizontal_flip(changed, flipped)
        return LabelledCrops(self.for_network(crops), self.for_network(changed), mask, flipped)

    def edges(self, colours: torch.Tensor) -> torch.Tensor:
        """Sobel edges (n, 2, h, w) across and down of the mean of float colours (n, 1 or 3, h, w)."""
        return augment.sobel(colours.mean(1, keepdim=True))
