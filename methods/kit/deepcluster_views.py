"""The views that DeepCluster trains on and takes features of; the Sobel filter is its network's first layer."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from ..base import MethodError
from . import augment, stages
from .views import RGB, PairedViews, ViewSettings

Area = Annotated[float, Field(gt=0, le=1)]


class DeepClusterViewSettings(ViewSettings):
    """The transformations of one experiment. Lengths are in pixels of the stored image."""

    central_share: ClassVar[float] = 0.0  # a matter of pairs of views
    crops_transformed: tuple[PositiveInt, ...] = Field(
        default=(20,), min_length=1, description="sides of the random crop in training, one drawn per image"
    )
    area: tuple[Area, Area] | None = Field(
        default=None,
        description="share of the image that a random crop in training covers, sides 3:4 to 4:3; replaces crops_transformed",
    )
    rotation: float = Field(default=0.0, ge=0, description="largest rotation in training, degrees either way; not with area")
    mean: tuple[float, ...] = Field(default=(), description="subtracted from each channel in [0, 1] before the Sobel filter")
    std: tuple[PositiveFloat, ...] = Field(default=(), description="by which each channel is divided after that")

    @model_validator(mode="after")
    def _fits_together(self) -> DeepClusterViewSettings:
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean and std must have as many values, got {len(self.mean)} and {len(self.std)}")
        if self.area is not None and (self.area[0] > self.area[1] or self.rotation or self.padding):
            raise ValueError("area must rise, and goes without rotation and padding")
        return self


class DeepClusterViews(PairedViews):
    """Makes views of uint8 batches (N, C, H, W) of one image shape, as float32 (N, C, size, size) in [0, 1].

    Attributes:
        channels: that the network's trunk sees behind the Sobel filter.

    Raises:
        MethodError: a crop that does not fit the images, or normalisation for another number of channels.
    """

    settings: DeepClusterViewSettings

    def __init__(self, settings: DeepClusterViewSettings, shape: tuple[int, int, int]) -> None:
        super().__init__(settings, shape)
        colours = min(shape[0], RGB)
        if len(settings.mean) not in (0, colours):
            raise MethodError(f"views.mean and views.std need a value for each of {colours} channels, got {len(settings.mean)}.")

    @stages.augmentation
    def training(self, batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """Crop, resize, mirror and jitter each image."""
        if self.settings.area is None:
            return self.transformed(batch, random)
        settings, count = self.settings, len(batch)
        boxes = augment.resized_crop_boxes(count, batch.shape[2], batch.shape[3], random, scale=self.settings.area)
        mirrored = augment.bernoulli(count, settings.flip_probability, random)
        images = augment.crop_and_resize(augment.to_float(batch), *boxes, settings.size, flip=mirrored)
        if not any(reach := (settings.brightness, settings.contrast, settings.saturation, settings.hue)):
            return images
        jittered = augment.color_jitter(images[:, :RGB], *augment.jitter(count, *reach, random))
        return torch.cat([jittered, images[:, RGB:]], dim=1)

    def for_network(self, images: torch.Tensor) -> torch.Tensor:
        """The images as they are: the network filters them itself."""
        return images
