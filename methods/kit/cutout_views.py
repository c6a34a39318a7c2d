"""What a network learns from under Cutout: padded crops, mirrored, with a square left out (DeVries and Taylor, 2017)."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, NonNegativeInt, PositiveInt

from . import augment, stages
from .contrastive_views import NormalisedViews, NormaliseSettings

Share = Annotated[float, Field(ge=0, le=1)]


class CutoutViewSettings(NormaliseSettings):
    """The transformations. Lengths are in pixels of the stored image."""

    size: PositiveInt | None = Field(default=None, description="side that views are resized to; the images' shorter side if null")
    padding: NonNegativeInt = Field(default=4, description="zeros around the image before the random crop of its own side")
    flip_probability: Share = Field(default=0.5, description="share of views that are mirrored left to right")
    cutout: NonNegativeInt = Field(
        default=16, description="side of the square that is set to the mean; its centre is anywhere in the view; 0: none"
    )


class CutoutViews(NormalisedViews):
    """Makes views of uint8 batches (N, C, H, W) of one image shape: float32 (N, C, size, size).

    Attributes:
        size: side of every view.
        side: of the square that is cut out of the image for it, its shorter side.
    """

    def __init__(self, settings: CutoutViewSettings, shape: tuple[int, int, int]) -> None:
        super().__init__(settings, shape)
        self.settings, self.side = settings, min(shape[1:])
        self.size = settings.size or self.side

    @stages.augmentation
    def varied(self, batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """A random crop of each padded image, some mirrored, normalised, and a square of each set to 0, the mean.

        The square's centre is drawn from all pixels, so that part of it may lie outside, as in the authors' code.
        """
        settings, count = self.settings, len(batch)
        images = torch.nn.functional.pad(augment.to_float(batch), [settings.padding] * 4)
        side = torch.full((count,), self.side, device=batch.device)
        height, width = images.shape[-2:]
        top, left = augment.crop_positions(height, width, side, side, random)
        mirrored = augment.bernoulli(count, settings.flip_probability, random)
        views = self.normalised(augment.crop_and_resize(images, top, left, side, side, self.size, flip=mirrored))
        return self._cut_out(views, random) if settings.cutout else views

    def test(self, batch: torch.Tensor) -> torch.Tensor:
        """The central square, resized and normalised: float32 (N, C, size, size)."""
        if self.size == self.side:
            return self.central(batch, self.side)
        middle = augment.to_float(augment.centre_crop(batch, self.side))
        side = torch.full((len(batch),), self.side, device=batch.device)
        start = torch.zeros_like(side)
        return self.normalised(augment.crop_and_resize(middle, start, start, side, side, self.size))

    def _cut_out(self, views: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        count, length = len(views), self.settings.cutout
        top, left = (augment.integers(count, self.size, random) - length // 2 for _ in range(2))
        return augment.cutout(views, top, left, torch.full_like(top, length))
