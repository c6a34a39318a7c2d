"""What DAC's network sees: centred pixels, slightly turned, shifted, zoomed and shaded, as Keras' image generator did it."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch.nn import functional

from ...datasets.base import Images
from . import augment, stages

Share = Annotated[float, Field(ge=0, le=1)]
CHUNK = 1024  # images that the mean is taken over at a time


class DACViewSettings(BaseModel):
    """The transformations. Pixels are between 0 and 1 before the mean is subtracted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: PositiveInt | None = Field(default=None, description="side that images are resized to; none: as they are")
    rotation: Annotated[float, Field(ge=0, le=45)] = Field(default=10.0, description="largest rotation, degrees either way")
    shift: Share = Field(default=0.1, description="largest shift either way along each axis, as a share of the side")
    zoom: tuple[PositiveFloat, PositiveFloat] = Field(
        default=(0.95, 1.05), description="step between the pixels that are read, drawn for each axis; above 1 shrinks the image"
    )
    channel_shift: NonNegativeFloat = Field(
        default=0.05, description="largest amount added to a channel, either way, within the image's own range"
    )
    flip_probability: Share = Field(default=0.0, description="share of views that are mirrored left to right")
    rescale: PositiveFloat = Field(default=0.975, description="factor of the centred pixels of views, not of images at test time")
    interpolation: Literal["nearest", "bilinear"] = Field(default="nearest", description="nearest as Keras, or bilinear")

    @model_validator(mode="after")
    def _zoom_rises(self) -> DACViewSettings:
        if self.zoom[0] > self.zoom[1]:
            raise ValueError(f"zoom must rise, got {self.zoom}")
        return self


class DACViews:
    """Makes the views of uint8 batches (N, C, H, W) of one image shape, all of them (N, C, size, size).

    Args:
        settings: see `DACViewSettings`.
        shape: (C, H, W) of the images; other than square ones are resized.
        device: where the views are.

    Attributes:
        size: side of every view.
        mean: float32 (C,), of the pixels in [0, 1] that `fit` saw.
    """

    def __init__(self, settings: DACViewSettings, shape: tuple[int, int, int], device: str) -> None:
        self.settings, self.shape = settings, shape
        self.size = settings.size or min(shape[1:])
        self.mean = torch.zeros(shape[0], device=device)
        turn = math.radians(settings.rotation)
        reach = (self.size / 2 * settings.zoom[1] + settings.shift * self.size) * (math.cos(turn) + math.sin(turn))
        self.margin = max(math.ceil(reach - self.size / 2), 0) + 1

    def fit(self, images: Images, indices: torch.Tensor) -> None:
        """Take the mean of each channel over the images at `indices`."""
        total = torch.zeros(self.shape[0], dtype=torch.float64, device=self.mean.device)
        for batch in images.batches(indices.split(CHUNK)):
            total += batch.double().mean((2, 3)).sum(0)
        self.mean = (total / (255 * len(indices))).float()

    @stages.augmentation
    def test(self, batch: torch.Tensor) -> torch.Tensor:
        """Centred pixels: float32 (N, C, size, size)."""
        images = augment.to_float(batch)
        if images.shape[-2:] != (self.size, self.size):
            images = functional.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        return images - self.mean.view(1, -1, 1, 1)

    @stages.augmentation
    def training(self, batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """One random view of each image: float32 (N, C, size, size). Beyond its rim an image goes on as its rim."""
        settings = self.settings
        images = functional.pad(self.test(batch), [self.margin] * 4, mode="replicate")
        window = (self.size, self.size)
        views = augment.resample(images, self._maps(len(batch), random), interpolation=settings.interpolation, size=window)
        if settings.channel_shift:
            views = self._shaded(views, random)
        if settings.flip_probability:
            views = augment.horizontal_flip(views, augment.bernoulli(len(batch), settings.flip_probability, random))
        return views * settings.rescale

    def _maps(self, n: int, random: torch.Generator) -> torch.Tensor:
        """(n, 2, 3), from coordinates in the view to those in the image: rotation after shift after zoom."""
        settings, reach = self.settings, self.settings.shift * self.size
        turn = augment.uniform(n, -math.radians(settings.rotation), math.radians(settings.rotation), random)
        shift = torch.stack([augment.uniform(n, -reach, reach, random) for _ in range(2)], dim=1)  # (n, 2)
        zoom = torch.stack([augment.uniform(n, *settings.zoom, random) for _ in range(2)], dim=1)
        cos, sin = turn.cos(), turn.sin()
        rotation = torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)
        return torch.cat([rotation * zoom.unsqueeze(1), rotation @ shift.unsqueeze(2)], dim=2)

    def _shaded(self, views: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        n, channels = views.shape[:2]
        reach = self.settings.channel_shift
        amount = augment.uniform(n * channels, -reach, reach, random).view(n, channels, 1, 1)
        least, largest = views.amin((1, 2, 3), keepdim=True), views.amax((1, 2, 3), keepdim=True)
        return torch.clamp(views + amount, least, largest)
