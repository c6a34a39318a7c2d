"""The views of an image that IIC compares: the original, its transformed copies, and the test view.

They follow the authors' pipelines (released code, `code/utils/cluster/transforms.py`): `tf1` for the original, `tf2` for
the transformed copy and `tf3` at test time, as one batched operation with independent parameters per image.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from ..base import MethodError
from . import augment, stages

RGB = 3
Share = Annotated[float, Field(ge=0, le=1)]


class TestViewSettings(BaseModel):
    """The view at test time. Lengths are in pixels of the stored image, crops also in percent of its shorter side."""

    __test__ = False  # not a test class, whatever pytest thinks of its name
    model_config = ConfigDict(extra="forbid", frozen=True)

    size: PositiveInt = Field(default=24, description="side that every view is resized to, the network's input")
    crop: PositiveInt = Field(default=20, description="side of the central crop at test time, and of the original's random crop")
    crop_unit: Literal["pixels", "percent"] = Field(
        default="pixels", description="unit of the crops' sides; percent of the image's shorter side suits images of any size"
    )
    sobel: bool = Field(default=False, description="give the network the image's two Sobel gradients instead of its pixels")
    include_rgb: bool = Field(default=False, description="with sobel: keep the pixels as well")


class ViewSettings(TestViewSettings):
    """The transformations of one experiment. Lengths are in pixels of the stored image."""

    crops_transformed: tuple[PositiveInt, ...] = Field(
        default=(16, 20, 24), min_length=1, description="sides of the transformed copy's random crop, one drawn per copy"
    )
    padding: NonNegativeInt = Field(default=0, description="zeros around the image before random crops")
    central_share: Share = Field(default=0.5, description="share of originals that are cropped centrally instead of at random")
    rotation: NonNegativeFloat = Field(default=25.0, description="largest rotation of a transformed copy, degrees either way")
    rotation_probability: Share = Field(default=0.5, description="share of copies that are rotated")
    resampling: Literal["pillow", "once"] = Field(
        default="pillow",
        description="rotate by nearest pixels, then crop and resize, as the authors; or all in one bilinear step",
    )
    flip_probability: Share = Field(default=0.0, description="share of copies that are mirrored left to right")
    brightness: Share = Field(default=0.4, description="factor drawn from 1 - b to 1 + b")
    contrast: Share = Field(default=0.4, description="factor drawn from 1 - c to 1 + c")
    saturation: Share = Field(default=0.4, description="factor drawn from 1 - s to 1 + s; nothing on grey images")
    hue: Annotated[float, Field(ge=0, le=0.5)] = Field(
        default=0.125, description="shift drawn from -h to h; nothing on grey images"
    )


class CentralView:
    """The view at test time (`tf3`) of uint8 batches (N, C, H, W) of one image shape.

    Attributes:
        size: side of every view.
        channels: channels of every view: 2 for Sobel gradients, those of the colours more if they are kept, else C; infrared
            comes last.

    Raises:
        MethodError: a crop that does not fit the images.
    """

    settings: TestViewSettings

    def __init__(self, settings: TestViewSettings, shape: tuple[int, int, int]) -> None:
        self.settings, self.shape = settings, shape
        self.crop = side_in_pixels(settings.crop, settings.crop_unit, shape)
        check_crop("views.crop", self.crop, shape)
        self.size = settings.size
        colours, infrared = min(shape[0], RGB), max(shape[0] - RGB, 0)
        self.channels = (2 + colours * settings.include_rgb if settings.sobel else colours) + infrared

    @stages.augmentation
    def test(self, batch: torch.Tensor) -> torch.Tensor:
        """The central crop, resized: float32 (N, channels, size, size)."""
        middle = augment.centre_crop(augment.to_float(batch), self.crop)
        side = torch.full((len(batch),), self.crop, device=batch.device)
        start = torch.zeros_like(side)
        return self.for_network(augment.crop_and_resize(middle, start, start, side, side, self.settings.size))

    def for_network(self, images: torch.Tensor) -> torch.Tensor:
        """What the network sees of float images (N, C, S, S): pixels, Sobel gradients of the luma, or both; infrared as it is."""
        if not self.settings.sobel:
            return images
        seen = augment.sobel_input(images[:, :RGB], include_rgb=self.settings.include_rgb)
        return torch.cat([seen, images[:, RGB:]], dim=1) if images.shape[1] > RGB else seen


class PairedViews(CentralView):
    """Makes the views that IIC compares, of uint8 batches (N, C, H, W) of one image shape; `channels` as in `CentralView`."""

    settings: ViewSettings

    def __init__(self, settings: ViewSettings, shape: tuple[int, int, int]) -> None:
        super().__init__(settings, shape)
        self.crops_transformed = tuple(side_in_pixels(crop, settings.crop_unit, shape) for crop in settings.crops_transformed)
        for crop in self.crops_transformed:
            check_crop("views.crops_transformed", crop, shape, settings.padding)

    @stages.augmentation
    def original(self, batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """The view of the image itself (`tf1`): a crop, random or central, resized: float32 (N, channels, size, size)."""
        images, settings = self._padded(batch), self.settings
        height, width = images.shape[-2:]
        side = torch.full((len(batch),), self.crop, device=batch.device)
        central = augment.bernoulli(len(batch), settings.central_share, random)
        top, left = augment.crop_positions(height, width, side, side, random, centred=central)
        return self.for_network(augment.crop_and_resize(images, top, left, side, side, settings.size))

    @stages.augmentation
    def transformed(self, batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """A transformed copy (`tf2`): rotated, cropped, resized, mirrored, jittered: float32 (N, channels, size, size)."""
        images, settings, count = self._padded(batch), self.settings, len(batch)
        turned = augment.bernoulli(count, settings.rotation_probability, random)
        degrees = augment.uniform(count, -settings.rotation, settings.rotation, random) * turned
        height, width = images.shape[-2:]
        side = augment.choice(count, self.crops_transformed, random)
        top, left = augment.crop_positions(height, width, side, side, random)
        mirrored = augment.bernoulli(count, settings.flip_probability, random)
        if settings.resampling == "once":
            images = self._turned_and_cropped(images, degrees, top, left, side)
            images = augment.horizontal_flip(images, mirrored) if settings.flip_probability else images
        else:
            images = augment.rotate(images, degrees) if settings.rotation else images  # nearest pixel, Pillow's default
            flip = mirrored if settings.flip_probability else None
            images = augment.crop_and_resize(images, top, left, side, side, settings.size, flip=flip)
        reach = (settings.brightness, settings.contrast, settings.saturation, settings.hue)
        jittered = augment.color_jitter(images[:, :RGB], *augment.jitter(count, *reach, random))
        return self.for_network(torch.cat([jittered, images[:, RGB:]], dim=1) if images.shape[1] > RGB else jittered)

    def copies(self, batch: torch.Tensor, repeats: int, random: torch.Generator) -> torch.Tensor:
        """`repeats` transformed copies of each image, all first ones, then all second ones: (repeats * N, channels, S, S)."""
        return self.transformed(batch.repeat(repeats, 1, 1, 1), random)

    def _padded(self, batch: torch.Tensor) -> torch.Tensor:
        images = augment.to_float(batch)
        return torch.nn.functional.pad(images, [self.settings.padding] * 4) if self.settings.padding else images

    def _turned_and_cropped(
        self, images: torch.Tensor, degrees: torch.Tensor, top: torch.Tensor, left: torch.Tensor, side: torch.Tensor
    ) -> torch.Tensor:
        """Rotation, crop and resize as one bilinear step; all parameters (N,)."""
        height, width = images.shape[-2:]
        scale = self.settings.size / side
        offset = torch.stack([left + side / 2 - width / 2, top + side / 2 - height / 2], dim=1)  # (N, 2) from the image's centre
        still = torch.zeros_like(offset)
        return augment.affine(images, -degrees, -offset * scale[:, None], scale, still, size=self.settings.size)


def side_in_pixels(side: int, unit: Literal["pixels", "percent"], shape: tuple[int, int, int]) -> int:
    """A crop's side in pixels of images of `shape` (C, H, W), at least 1."""
    return side if unit == "pixels" else max(1, round(min(shape[1:]) * side / 100))


def check_crop(setting: str, crop: int, shape: tuple[int, int, int], padding: int = 0) -> None:
    """Raise `MethodError` if a square crop does not fit images of `shape` (C, H, W) with `padding` around them."""
    _, height, width = shape
    largest = min(height, width) + 2 * padding
    if crop > largest:
        raise MethodError(
            f"{setting}: a crop of {crop} pixels does not fit images of {height}x{width}; choose at most {largest}."
        )
