"""The views of an image that contrastive methods and self-labelling learn from, normalised, as batched operations.

They follow SCAN (Van Gansbeke et al., ECCV 2020; released code, `data/augment.py`) and IMC-SwAV (Ntelemis et al., 2022;
released code, `datasets.py`). Every class takes uint8 batches (N, C, H, W) of one image shape, grey or RGB, and returns
float32 (N, C, S, S) with the mean subtracted and divided by the standard deviation. Every image of a batch has random
parameters of its own, from the generator that is given. Operations on colours leave grey images as they are::

    views = SimCLRViews(SimCLRViewSettings(), images.shape)
    first, second = views.view(batch, random), views.view(batch, random)
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

from ..base import MethodError
from . import augment, stages
from .views import Share, check_crop

Positive = Annotated[float, Field(gt=0)]
PerChannel = Annotated[tuple[float, ...], Field(min_length=1, max_length=3)]
Range = tuple[Positive, Positive]
CHANNELS = (1, 3)


class NormaliseSettings(BaseModel):
    """What is subtracted from the pixels in [0, 1] and what they are divided by. The defaults are CIFAR-10's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: PerChannel = Field(
        default=(0.4914, 0.4822, 0.4465), description="of each channel, or one for all; grey images take the average of three"
    )
    std: PerChannel = Field(default=(0.2023, 0.1994, 0.2010), description="standard deviations, given as the means are")

    @model_validator(mode="after")
    def _channels_are_one_or_three(self) -> NormaliseSettings:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in CHANNELS:
                raise ValueError(f"{name} must have 1 or 3 values, got {len(values)}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be above 0, got {self.std}")
        return self


class StandardViewSettings(NormaliseSettings):
    """Random resized crop and flip. The defaults are SCAN's for CIFAR-10."""

    size: PositiveInt | None = Field(default=None, description="side of every view; the images' shorter side by default")
    scale: Range = Field(default=(0.2, 1.0), description="range of the crop's share of the image's area")
    ratio: Range = Field(default=(3 / 4, 4 / 3), description="range of the crop's width / height")
    flip_probability: Share = Field(default=0.5, description="share of views that are mirrored left to right")

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> StandardViewSettings:
        _check_scale("scale", self.scale)
        _check_order("ratio", self.ratio)
        return self


class ColourSettings(BaseModel):
    """Colour jitter and loss of colour. The defaults are SCAN's, half as strong as SimCLR's own."""

    jitter_probability: Share = Field(default=0.8, description="share of views whose colours are jittered")
    brightness: Share = Field(default=0.4, description="factor drawn from 1 - b to 1 + b")
    contrast: Share = Field(default=0.4, description="factor drawn from 1 - c to 1 + c")
    saturation: Share = Field(default=0.4, description="factor drawn from 1 - s to 1 + s; nothing on grey images")
    hue: Annotated[float, Field(ge=0, le=0.5)] = Field(
        default=0.1, description="shift drawn from -h to h; nothing on grey images"
    )
    grey_probability: Share = Field(default=0.2, description="share of views that lose their colours")


class SimCLRViewSettings(ColourSettings, StandardViewSettings):
    """SCAN's pretext (and its ImageNet clustering step): crop, flip, jitter, grey; no blur."""


class StrongViewSettings(NormaliseSettings):
    """SCAN's `ours`: flip, random crop, RandAugment, cutout. The defaults are those for CIFAR-10."""

    size: PositiveInt | None = Field(default=None, description="side of the random crop; the images' shorter side by default")
    padding: NonNegativeInt = Field(default=0, description="zeros around the image before the crop; SCAN has none")
    flip_probability: Share = Field(default=0.5, description="share of views that are mirrored left to right")
    operations: NonNegativeInt = Field(default=4, description="operations of RandAugment, drawn with replacement")
    cutout: NonNegativeInt = Field(
        default=16, description="largest side of the erased square, drawn from 1 to it; SCAN: 16 CIFAR, 32 STL-10, 75 ImageNet"
    )


class MultiCropSettings(ColourSettings, NormaliseSettings):
    """IMC-SwAV's crops of two sizes. The defaults are those for CIFAR-10."""

    large_size: PositiveInt = Field(default=28, description="side of large crops; 28 for 32 pixels, 76 for 96, 56 for 64")
    large_scale: Range = Field(default=(0.2, 1.0), description="range of a large crop's share of the image's area")
    small_size: PositiveInt = Field(default=18, description="side of small crops; 18 for 32 pixels, 52 for 96, 36 for 64")
    small_scale: Range = Field(default=(0.08, 0.4), description="range of a small crop's share of the image's area")
    ratio: Range = Field(default=(3 / 4, 4 / 3), description="range of a crop's width / height")
    flip_probability: Share = Field(default=0.5, description="share of crops that are mirrored left to right")
    grey_probability: Share = Field(default=0.25, description="share of crops that lose their colours")

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> MultiCropSettings:
        _check_scale("large_scale", self.large_scale)
        _check_scale("small_scale", self.small_scale)
        _check_order("ratio", self.ratio)
        return self


class NormalisedViews:
    """What the views have in common: one image shape, and the images' mean and standard deviation.

    Attributes:
        channels: of every view, those of the images: 1 or 3.

    Raises:
        MethodError: images that are neither grey nor RGB.
    """

    def __init__(self, settings: NormaliseSettings, shape: tuple[int, int, int]) -> None:
        if shape[0] not in CHANNELS:
            raise MethodError(f"These views are made of grey or RGB images; got {shape[0]} channels.")
        self.shape, self.channels = shape, shape[0]
        self._statistics = tuple(_of_channels(values, shape[0]) for values in (settings.mean, settings.std))
        self._on_device: dict[torch.device, tuple[torch.Tensor, ...]] = {}

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """Float images (N, C, H, W) in [0, 1], less the mean, over the standard deviation."""
        if images.device not in self._on_device:  # sent once, because sending waits for the device
            sent = (torch.tensor(values, device=images.device).view(1, -1, 1, 1) for values in self._statistics)
            self._on_device[images.device] = tuple(sent)
        mean, std = self._on_device[images.device]
        return (images - mean).div_(std)

    @stages.augmentation
    def whole(self, batch: torch.Tensor) -> torch.Tensor:
        """All of the images at their own size: float32 (N, C, H, W)."""
        return self.normalised(augment.to_float(batch))

    @stages.augmentation
    def central(self, batch: torch.Tensor, size: int) -> torch.Tensor:
        """The central square of `size` pixels; of smaller images the largest one, resized: float32 (N, C, size, size)."""
        side = min(size, *self.shape[1:])
        middle = augment.to_float(augment.centre_crop(batch, side))
        if side == size:
            return self.normalised(middle)
        length = torch.full((len(batch),), side, device=batch.device)
        start = torch.zeros_like(length)
        return self.normalised(augment.crop_and_resize(middle, start, start, length, length, size))


class StandardViews(NormalisedViews):
    """Random resized crop and flip: SCAN's `standard` augmentation.

    The weak view of SCAN's self-labelling is not this one but `test`, without any chance.

    Attributes:
        size: side of every view.
    """

    settings: StandardViewSettings

    def __init__(self, settings: StandardViewSettings, shape: tuple[int, int, int]) -> None:
        super().__init__(settings, shape)
        self.settings, self.size = settings, settings.size or min(shape[1:])

    @stages.augmentation
    def view(self, batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """A crop of each image, some mirrored: float32 (N, C, size, size)."""
        return self.normalised(self._cropped(batch, random))

    @stages.augmentation
    def test(self, batch: torch.Tensor) -> torch.Tensor:
        """The central square: float32 (N, C, size, size). No random numbers."""
        return self.central(batch, self.size)

    def _cropped(self, batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        settings = self.settings
        return _resized_crop(batch, self.size, settings.scale, settings.ratio, settings.flip_probability, random)


class SimCLRViews(StandardViews):
    """Random resized crop, flip, colour jitter and loss of colour: both views of SimCLR in SCAN's pretext."""

    settings: SimCLRViewSettings

    def __init__(self, settings: SimCLRViewSettings, shape: tuple[int, int, int]) -> None:
        super().__init__(settings, shape)

    @stages.augmentation
    def view(self, batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """A crop of each image, some mirrored, jittered, grey: float32 (N, C, size, size)."""
        return self.normalised(_recoloured(self._cropped(batch, random), self.settings, random))


class StrongViews(NormalisedViews):
    """Flip, random crop, RandAugment and cutout: the clustering step of SCAN, and the strong view of its self-labelling.

    Attributes:
        size: side of every view.

    Raises:
        MethodError: a crop that does not fit the images.
    """

    def __init__(self, settings: StrongViewSettings, shape: tuple[int, int, int]) -> None:
        super().__init__(settings, shape)
        self.settings, self.size = settings, settings.size or min(shape[1:])
        check_crop("size", self.size, shape, settings.padding)

    @stages.augmentation
    def view(self, batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """A strongly changed crop of each image: float32 (N, C, size, size)."""
        images = self._cropped(batch, random)
        images = augment.rand_augment(images, *augment.random_operations(len(batch), self.settings.operations, random))
        return self._cut_out(self.normalised(images), random)

    @stages.augmentation
    def test(self, batch: torch.Tensor) -> torch.Tensor:
        """The central square, which is the weak view of SCAN's self-labelling too: float32 (N, C, size, size)."""
        return self.central(batch, self.size)

    def _cropped(self, batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """Windows of the images, some mirrored: float32 (N, C, size, size) in [0, 1]."""
        settings, (height, width) = self.settings, self.shape[1:]
        images = torch.nn.functional.pad(batch, [settings.padding] * 4) if settings.padding else batch
        if images.shape[2:] != (self.size, self.size):
            side = torch.full((len(batch),), self.size, device=batch.device)
            rows, columns = height + 2 * settings.padding, width + 2 * settings.padding
            images = augment.crop(images, *augment.crop_positions(rows, columns, side, side, random), self.size)
        images = augment.to_float(images)
        if not settings.flip_probability:
            return images
        return augment.horizontal_flip(images, augment.bernoulli(len(batch), settings.flip_probability, random))

    def _cut_out(self, images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """A square around a random pixel set to 0, the mean colour; its side is the even number at or below the one drawn."""
        largest, count = self.settings.cutout, len(images)
        if not largest:
            return images
        half = (augment.integers(count, largest, random) + 1) // 2
        row, column = (augment.integers(count, self.size, random) for _ in range(2))
        return augment.cutout(images, row - half, column - half, 2 * half)


class MultiCropViews(NormalisedViews):
    """Large and small crops of one kind: IMC-SwAV, which takes two large and four small ones of each image."""

    def __init__(self, settings: MultiCropSettings, shape: tuple[int, int, int]) -> None:
        super().__init__(settings, shape)
        self.settings = settings

    @stages.augmentation
    def large(self, batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """A large crop of each image: float32 (N, C, large_size, large_size)."""
        return self._view(batch, self.settings.large_size, self.settings.large_scale, random)

    @stages.augmentation
    def small(self, batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """A small crop of each image: float32 (N, C, small_size, small_size)."""
        return self._view(batch, self.settings.small_size, self.settings.small_scale, random)

    @stages.augmentation
    def test(self, batch: torch.Tensor) -> torch.Tensor:
        """The whole image at its own size, larger than any crop: float32 (N, C, H, W). No random numbers."""
        return self.whole(batch)

    def _view(self, batch: torch.Tensor, size: int, scale: tuple[float, float], random: torch.Generator) -> torch.Tensor:
        settings = self.settings
        crops = _resized_crop(batch, size, scale, settings.ratio, settings.flip_probability, random)
        return self.normalised(_recoloured(crops, settings, random))


def _resized_crop(
    batch: torch.Tensor,
    size: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    flip_probability: float,
    random: torch.Generator,
) -> torch.Tensor:
    """torchvision's `RandomResizedCrop` and `RandomHorizontalFlip`: uint8 images to float32 (N, C, size, size) in [0, 1]."""
    count, (height, width) = len(batch), batch.shape[2:]
    boxes = augment.resized_crop_boxes(count, height, width, random, scale=scale, ratio=ratio)
    mirrored = augment.bernoulli(count, flip_probability, random) if flip_probability else None
    return augment.crop_and_resize(augment.to_float(batch), *boxes, size=size, flip=mirrored)


def _recoloured(images: torch.Tensor, settings: ColourSettings, random: torch.Generator) -> torch.Tensor:
    """Colour jitter of some images, and no colour in some."""
    count = len(images)
    if settings.jitter_probability:
        reach = (settings.brightness, settings.contrast, settings.saturation, settings.hue)
        jitter, jittered = augment.jitter(count, *reach, random), augment.bernoulli(count, settings.jitter_probability, random)
        brightness, contrast, saturation = (values.where(jittered, 1.0) for values in jitter[:3])
        images = augment.color_jitter(images, brightness, contrast, saturation, jitter.hue * jittered, jitter.order)
    if settings.grey_probability:
        images = augment.greyscale(images, augment.bernoulli(count, settings.grey_probability, random))
    return images


def _of_channels(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """One value per channel."""
    if len(values) == channels:
        return values
    return values * channels if len(values) == 1 else (sum(values) / len(values),)


def _check_order(name: str, limits: tuple[float, float]) -> None:
    if limits[0] > limits[1]:
        raise ValueError(f"{name} must name the smaller number first, got {limits[0]} and {limits[1]}")


def _check_scale(name: str, limits: tuple[float, float]) -> None:
    _check_order(name, limits)
    if limits[1] > 1:
        raise ValueError(f"{name} is a share of the image's area, at most 1, got {limits[1]}")
