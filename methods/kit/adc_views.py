"""What ADC compares: an image, and copies of it that are turned, cropped, mirrored, shaded and noisy.

The order and the ranges are those of the authors' code (`semisup/augment.py`). Its inputs reach from -1 to 1, and so do the
amounts of brightness and noise here.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt, model_validator

from . import augment, stages

Share = Annotated[float, Field(ge=0, le=1)]
RGB = 3


class ADCViewSettings(BaseModel):
    """The transformations."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: PositiveInt = Field(default=28, description="side that every view is resized to, the network's input")
    crop: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0,
        description="side of the square cut out of the image itself, of its shorter side; central at test time",
    )
    rotation: NonNegativeFloat = Field(default=15.0, description="largest rotation of a copy, degrees either way")
    largest_cut: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.2, description="largest share of the shorter side that the crop of a copy leaves out"
    )
    flip_probability: Share = Field(default=0.0, description="share of copies that are mirrored left to right")
    saturation: tuple[NonNegativeFloat, NonNegativeFloat] = Field(default=(1.0, 1.0), description="least and largest factor")
    hue: Annotated[float, Field(ge=0, le=0.5)] = Field(default=0.0, description="largest shift either way, in turns")
    brightness: NonNegativeFloat = Field(default=0.5, description="largest amount added, either way, to pixels in -1..1")
    contrast: tuple[NonNegativeFloat, NonNegativeFloat] = Field(
        default=(1.0, 1.0), description="least and largest factor of the distance to the channel's mean"
    )
    noise: NonNegativeFloat = Field(default=0.05, description="standard deviation of Gaussian noise on pixels in -1..1")
    rim: Share = Field(
        default=0.5, description="what is beyond the image in a turned copy: 0 black, 0.5 grey as the authors', 1 white"
    )

    @model_validator(mode="after")
    def _ranges_rise(self) -> ADCViewSettings:
        for name in ("saturation", "contrast"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} must rise, got {(low, high)}")
        return self


class ADCViews:
    """Makes the views of uint8 batches (N, C, H, W) of one image shape, all of them float32 (N, C, size, size) in -1..1."""

    def __init__(self, settings: ADCViewSettings, shape: tuple[int, int, int]) -> None:
        self.settings, self.shape, self.size = settings, shape, settings.size
        self.side = min(shape[1:])
        self.crop = max(1, round(settings.crop * self.side))

    @stages.augmentation
    def test(self, batch: torch.Tensor) -> torch.Tensor:
        """The central square."""
        return _signed(self._resized(augment.centre_crop(augment.to_float(batch), self.crop)))

    @stages.augmentation
    def plain(self, batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """The square at a random place: the whole image, if it is square and `crop` is 1."""
        height, width = self.shape[1:]
        if self.crop == height == width:
            return self.test(batch)
        side = torch.full((len(batch),), self.crop, device=batch.device)
        top, left = augment.crop_positions(height, width, side, side, random)
        return _signed(self._resized(augment.crop(augment.to_float(batch), top, left, self.crop)))

    @stages.augmentation
    def copies(self, batch: torch.Tensor, repeats: int, random: torch.Generator) -> torch.Tensor:
        """`repeats` transformed copies of each image, those of one image next to each other: (N * repeats, C, size, size)."""
        settings = self.settings
        images = self._turned_and_cropped(augment.to_float(batch.repeat_interleave(repeats, 0)), random)
        n = len(images)
        if settings.flip_probability:
            images = augment.horizontal_flip(images, augment.bernoulli(n, settings.flip_probability, random))
        images = torch.cat([self._coloured(images[:, :RGB], random), images[:, RGB:]], dim=1)
        views = _signed(images) + _per_image(augment.uniform(n, -settings.brightness, settings.brightness, random))
        mean = views.mean((2, 3), keepdim=True)
        views = (views - mean) * _per_image(augment.uniform(n, *settings.contrast, random)) + mean
        noise = torch.randn(views.shape, generator=random, device=views.device)
        return (views + settings.noise * noise).clamp_(-1, 1)

    def _coloured(self, images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        settings, n = self.settings, len(images)
        if images.shape[1] < RGB or (settings.saturation == (1, 1) and not settings.hue):
            return images
        images = augment.saturation(images, augment.uniform(n, *settings.saturation, random))
        return augment.hue(images, augment.uniform(n, -settings.hue, settings.hue, random)) if settings.hue else images

    def _turned_and_cropped(self, images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """Rotation, a random square crop and resizing in one bilinear step."""
        n, device = len(images), images.device
        side = self.side * (1 - augment.uniform(n, 0, self.settings.largest_cut, random))
        room = (torch.tensor(self.shape[1:], device=device) - side[:, None]).flip(1)  # (n, 2), x and y
        places = torch.stack([augment.uniform(n, -0.5, 0.5, random) for _ in range(2)], dim=1)
        degrees = augment.uniform(n, -self.settings.rotation, self.settings.rotation, random)
        scale = self.size / side
        still = torch.zeros(n, 2, device=device)
        shift = places * room * scale[:, None]
        return augment.affine(images, degrees, shift, scale, still, size=self.size, fill=self.settings.rim)

    def _resized(self, images: torch.Tensor) -> torch.Tensor:
        if images.shape[-2:] == (self.size, self.size):
            return images
        return torch.nn.functional.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)


def _signed(images: torch.Tensor) -> torch.Tensor:
    """From 0..1 to -1..1."""
    return images * 2 - 1


def _per_image(values: torch.Tensor) -> torch.Tensor:
    return values.view(-1, 1, 1, 1)
