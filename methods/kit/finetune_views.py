"""The views of a classifier that is trained on labelled images: varied ones to learn from, several crops to be judged by.

They follow the authors' code for Table 3 of the IIC paper: the transformed view of the clustering, with a random affine map
and cutout between its crop and its resizing, and ten crops of every test image.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, model_validator

from . import augment, stages
from .views import CentralView, Share, TestViewSettings

TestCrops = Literal[1, 5, 10]


class AugmentationSettings(BaseModel):
    """How labelled images are varied, after a random crop of the view's side. The defaults are the authors' for STL-10."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    affine_probability: Share = Field(default=0.5, description="share of images that a random affine map is applied to")
    rotation: NonNegativeFloat = Field(default=18.0, description="largest rotation, degrees either way")
    translation: Share = Field(default=0.1, description="largest shift either way, as a share of the crop's side")
    scale: tuple[float, float] = Field(default=(0.9, 1.1), description="range of the magnification")
    shear: Annotated[float, Field(ge=0, lt=90)] = Field(default=10.0, description="largest shear along x, degrees either way")
    cutout_probability: Share = Field(default=0.5, description="share of images that a square is erased from")
    cutout: tuple[Share, Share] = Field(default=(0.2, 0.7), description="range of the square's side, as a share of the crop's")
    flip_probability: Share = Field(default=0.5, description="share of images that are mirrored left to right")
    brightness: Share = Field(default=0.4, description="factor drawn from 1 - b to 1 + b")
    contrast: Share = Field(default=0.4, description="factor drawn from 1 - c to 1 + c")
    saturation: Share = Field(default=0.4, description="factor drawn from 1 - s to 1 + s; nothing on grey images")
    hue: Annotated[float, Field(ge=0, le=0.5)] = Field(
        default=0.125, description="shift drawn from -h to h; nothing on grey images"
    )

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> AugmentationSettings:
        for name, (low, high) in (("scale", self.scale), ("cutout", self.cutout)):
            if low > high:
                raise ValueError(f"{name} must name the smaller number first, got {low} and {high}")
        if self.scale[0] <= 0:
            raise ValueError(f"scale must be above 0, got {self.scale[0]}")
        return self


class LabelledViews(CentralView):
    """Views of uint8 batches (N, C, H, W) of one image shape, as the network of `settings` wants to see them.

    Raises:
        MethodError: a crop that does not fit the images.
    """

    def __init__(self, settings: TestViewSettings, augmentation: AugmentationSettings, shape: tuple[int, int, int]) -> None:
        super().__init__(settings, shape)
        self.augmentation = augmentation

    @stages.augmentation
    def varied(self, batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """A random crop, moved, partly erased, resized, mirrored and jittered: float32 (N, channels, size, size)."""
        settings, count, (height, width) = self.augmentation, len(batch), self.shape[1:]
        side = torch.full((count,), self.crop, device=batch.device)
        top, left = augment.crop_positions(height, width, side, side, random)
        images = augment.crop(augment.to_float(batch), top, left, self.crop)
        images = self._moved(images, random) if settings.affine_probability else images
        images = self._cut_out(images, random) if settings.cutout_probability else images
        images = self._resized(images, augment.bernoulli(count, settings.flip_probability, random))
        reach = (settings.brightness, settings.contrast, settings.saturation, settings.hue)
        return self.for_network(augment.color_jitter(images, *augment.jitter(count, *reach, random)))

    @stages.augmentation
    def crops(self, batch: torch.Tensor, count: TestCrops) -> torch.Tensor:
        """The centre, or corners and centre, or these and their mirror images: float32 (N, count, channels, size, size)."""
        if count == 1:
            return self.test(batch)[:, None]
        images = augment.to_float(batch)
        crops = augment.ten_crop(images, self.crop) if count == 10 else augment.five_crop(images, self.crop)
        views = self.for_network(self._resized(crops.flatten(0, 1)))  # (N * count, channels, size, size)
        return views.unflatten(0, (len(batch), count))

    def _moved(self, images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """Rotation, shift by whole pixels, magnification and shear about the crop's centre, zeros around it."""
        settings, count = self.augmentation, len(images)
        moved = augment.bernoulli(count, settings.affine_probability, random)
        degrees = augment.uniform(count, -settings.rotation, settings.rotation, random) * moved
        reach = settings.translation * self.crop
        shift = torch.stack([augment.uniform(count, -reach, reach, random).round() for _ in range(2)], dim=1) * moved[:, None]
        scale = augment.uniform(count, *settings.scale, random).where(moved, torch.ones_like(degrees))
        lean = augment.uniform(count, -settings.shear, settings.shear, random) * moved
        return augment.affine(images, degrees, shift, scale, torch.stack([lean, torch.zeros_like(lean)], dim=1))

    def _cut_out(self, images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """A square of zeros inside the crop, every place equally likely."""
        count, (smallest, largest) = len(images), (int(share * self.crop) for share in self.augmentation.cutout)
        side = smallest + augment.integers(count, largest - smallest + 1, random)
        top, left = augment.crop_positions(self.crop, self.crop, side, side, random)
        return augment.cutout(images, top, left, side * augment.bernoulli(count, self.augmentation.cutout_probability, random))

    def _resized(self, crops: torch.Tensor, mirrored: torch.Tensor | None = None) -> torch.Tensor:
        """Crops (N, C, crop, crop) at the network's size, some of them mirrored."""
        if self.crop == self.settings.size:
            return crops if mirrored is None else augment.horizontal_flip(crops, mirrored)
        side = torch.full((len(crops),), self.crop, device=crops.device)
        start = torch.zeros_like(side)
        return augment.crop_and_resize(crops, start, start, side, side, self.settings.size, flip=mirrored)
