"""The two views of an image that IIC's segmentation compares, and the way from the second back to the first.

They follow the authors' loaders (released code, `code/datasets/segmentation`): one crop, the same for both; the second is
jittered in its colours, moved by an affine map where that is asked for (no published run did), and mirrored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch.nn import functional

from ...datasets.base import Images
from ..base import MethodError
from . import augment, stages
from .displaced_information import undone
from .views import Share

Channels = Literal["colours", "sobel", "infrared"]
RGB = 3


class SegmentationViewSettings(BaseModel):
    """What is seen of an image."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    crop: PositiveInt | None = Field(
        default=None, description="side of the square that is cut from an image in training; none: as much as all images have"
    )
    channels: tuple[Channels, ...] = Field(
        default=("colours", "infrared"),
        min_length=1,
        description="of colours, sobel (of the luma) and infrared, where there is any",
    )


class JitterSettings(SegmentationViewSettings):
    """What a changed view does to the colours of an image, and to left and right."""

    brightness: Share = Field(default=0.4, description="factor drawn from 1 - b to 1 + b")
    contrast: Share = Field(default=0.4, description="factor drawn from 1 - c to 1 + c")
    saturation: Share = Field(default=0.4, description="factor drawn from 1 - s to 1 + s; nothing on grey images")
    hue: Annotated[float, Field(ge=0, le=0.5)] = Field(
        default=0.125, description="shift drawn from -h to h; nothing on grey images"
    )
    flip_probability: Share = Field(default=0.5, description="share of changed views that are mirrored left to right")


class PairSettings(JitterSettings):
    """What the second view does to an image."""

    rotation: NonNegativeFloat = Field(default=0.0, description="largest rotation of the second view, degrees either way")
    shear: NonNegativeFloat = Field(default=0.0, description="largest shear along x, degrees either way")
    scale: tuple[PositiveFloat, PositiveFloat] = Field(
        default=(1.0, 1.0), description="range of the part of the image that the second view shows; below 1 it enlarges"
    )

    @property
    def moves(self) -> bool:
        """Whether there is an affine map beside the flip."""
        return bool(self.rotation or self.shear) or self.scale != (1.0, 1.0)

    @model_validator(mode="after")
    def _scale_is_a_range(self) -> PairSettings:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale must be two numbers in ascending order, got {list(self.scale)}")
        return self


@dataclass(frozen=True)
class Pair:
    """Two views of the same crops.

    Attributes:
        first, second: float32 (n, C', h, w), what the network sees.
        mask: bool (n, h, w) in the first view's geometry, the pixels that count; None for all.
        flipped: bool (n,), the second views that are mirrored.
        inverse: float32 (n, 2, 3), from a place in the first view to one in the second, mirroring included, as
            `displaced_information.undone` takes it; None if mirroring is all that may have happened.
    """

    first: torch.Tensor
    second: torch.Tensor
    mask: torch.Tensor | None
    flipped: torch.Tensor
    inverse: torch.Tensor | None

    def undone(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps (H, n, K, h, w) of the second views in the geometry of the first."""
        if self.inverse is not None:
            return undone(maps, self.inverse)
        return maps.flip(-1).where(self.flipped.view(-1, 1, 1, 1), maps)


class SegmentationView:
    """Cuts images and prepares them for a network.

    Args:
        settings: see `SegmentationViewSettings`.
        shape: (C, H, W) of the images.
        extent: height and width that every training image has (`largest_crop`).

    Attributes:
        channels: channels of what the network sees.
        size: (h, w) of a crop in training.

    Raises:
        MethodError: a crop that does not fit the images; channels that they do not have.
    """

    def __init__(self, settings: SegmentationViewSettings, shape: tuple[int, int, int], extent: tuple[int, int]) -> None:
        self.settings, self.shape = settings, shape
        self.size = (settings.crop, settings.crop) if settings.crop else extent
        if self.size[0] > extent[0] or self.size[1] > extent[1]:
            raise MethodError(
                f"views.crop: {settings.crop} pixels do not fit into images of {extent[0]}x{extent[1]}; "
                f"choose at most {min(extent)}."
            )
        counts = {"colours": min(shape[0], RGB), "sobel": 2, "infrared": max(shape[0] - RGB, 0)}
        self.channels = sum(counts[name] for name in set(settings.channels))
        if not self.channels:
            raise MethodError(f"views.channels: images of {shape[0]} channels have no infrared; add colours or sobel.")

    def crops(
        self, images: Images, batch: torch.Tensor, indices: torch.Tensor, random: torch.Generator, *, masked: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """One random crop of each image of a batch, inside its extent.

        Args:
            images: the set that the batch is of.
            batch: uint8 (n, C, H, W), the images at `indices`.
            indices: int64 (n,).
            masked: whether the mask of `images` is wanted.

        Returns:
            Float32 (n, C, h, w) in [0, 1], and bool (n, h, w), the pixels that count; None for all.
        """
        mask = images.batch_masks(indices) if masked else None
        if self.size == tuple(batch.shape[-2:]):
            return augment.to_float(batch), mask
        height, width = (torch.full((len(batch),), side, device=batch.device) for side in self.size)
        rows, columns = _extents(images, batch, indices)
        top, left = (augment.integers(len(batch), free + 1, random) for free in (rows - height, columns - width))
        cut = augment.to_float(augment.crop(batch, top, left, self.size))
        return cut, None if mask is None else augment.crop(mask.unsqueeze(1), top, left, self.size).squeeze(1)

    @stages.augmentation
    def test(self, batch: torch.Tensor) -> torch.Tensor:
        """What the network sees of whole images: uint8 (n, C, H, W) to float32 (n, channels, H, W)."""
        return self.for_network(augment.to_float(batch))

    def for_network(self, images: torch.Tensor) -> torch.Tensor:
        """The channels asked for, of float (n, C, h, w): colours (or grey), Sobel edges across and down, infrared."""
        colours, infrared = images[:, :RGB], images[:, RGB:]
        wanted = self.settings.channels
        seen = [colours] if "colours" in wanted else []
        seen += [self.edges(colours)] if "sobel" in wanted else []
        seen += [infrared] if "infrared" in wanted else []
        return torch.cat(seen, dim=1)

    def edges(self, colours: torch.Tensor) -> torch.Tensor:
        """Sobel edges (n, 2, h, w) across and down of the luma of float colours (n, 1 or 3, h, w)."""
        return augment.sobel(augment.to_grey(colours))


class JitteredView(SegmentationView):
    """Makes the changed crops that the methods with one view of an image learn from."""

    settings: JitterSettings

    @stages.augmentation
    def jittered(
        self, images: Images, batch: torch.Tensor, indices: torch.Tensor, random: torch.Generator, *, masked: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """One jittered crop of each image, some of them mirrored; arguments and result are those of `crops`.

        It is not yet what the network sees: that is `for_network`, after other changes to the colours.
        """
        first, mask = self.crops(images, batch, indices, random, masked=masked)
        changed, flipped = self._jittered(first, random)
        mirrored = augment.horizontal_flip(changed, flipped)
        return mirrored, None if mask is None else mask.flip(-1).where(flipped.view(-1, 1, 1), mask)

    def _jittered(self, crops: torch.Tensor, random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """The crops (n, C, h, w) with other colours, and which of them shall be mirrored, bool (n,)."""
        settings, count = self.settings, len(crops)
        jitter = augment.jitter(count, settings.brightness, settings.contrast, settings.saturation, settings.hue, random)
        changed = torch.cat([augment.color_jitter(crops[:, :RGB], *jitter), crops[:, RGB:]], dim=1)
        return changed, augment.bernoulli(count, settings.flip_probability, random)


class SegmentationPairs(JitteredView):
    """Makes the pairs that IIC compares."""

    settings: PairSettings

    @stages.augmentation
    def pair(self, images: Images, batch: torch.Tensor, indices: torch.Tensor, random: torch.Generator, *, masked: bool) -> Pair:
        """Two views of one random crop of each image; the arguments are those of `crops`."""
        first, mask = self.crops(images, batch, indices, random, masked=masked)
        second, flipped = self._jittered(first, random)
        inverse = None
        if self.settings.moves:
            matrix = self._drawn(len(batch), random)
            second = _sampled(second, matrix)
            inverse = inverse_of(matrix, flipped)
        second = augment.horizontal_flip(second, flipped)
        return Pair(self.for_network(first), self.for_network(second), mask, flipped, inverse)

    def _drawn(self, count: int, random: torch.Generator) -> torch.Tensor:
        """Affine maps (n, 2, 2) from the second view to the first, before mirroring, about the centre."""
        settings = self.settings
        angle = torch.deg2rad(augment.uniform(count, -settings.rotation, settings.rotation, random))
        lean = angle + torch.deg2rad(augment.uniform(count, -settings.shear, settings.shear, random))
        scale = augment.uniform(count, *settings.scale, random)
        rows = [torch.cos(angle), -torch.sin(lean), torch.sin(angle), torch.cos(lean)]
        return torch.stack(rows, dim=1).view(-1, 2, 2) * scale.view(-1, 1, 1)


def inverse_of(matrix: torch.Tensor, flipped: torch.Tensor) -> torch.Tensor:
    """From the first view to the second, (n, 2, 3): the inverse of `matrix` (n, 2, 2), then mirrored where `flipped` (n,)."""
    (a, b), (c, d) = ((matrix[:, row, 0], matrix[:, row, 1]) for row in range(2))
    side = torch.where(flipped, -1.0, 1.0)
    zero = torch.zeros_like(a)
    entries = torch.stack([d * side, -b * side, zero, -c, a, zero], dim=1)
    return (entries / (a * d - b * c).unsqueeze(1)).view(-1, 2, 3)


def largest_crop(images: Images) -> tuple[int, int]:
    """Height and width that every image has. Reads the device, so ask once."""
    if images.extents is None:
        return images.shape[1], images.shape[2]
    height, width = images.extents.amin(0).tolist()
    return height, width


def _extents(images: Images, batch: torch.Tensor, indices: torch.Tensor) -> tuple[torch.Tensor | int, torch.Tensor | int]:
    """Rows and columns of each image of the batch that hold pixels."""
    if images.extents is None:
        return batch.shape[-2], batch.shape[-1]
    rows, columns = images.extents.index_select(0, indices).unbind(1)
    return rows, columns


def _sampled(images: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Images (n, C, h, w) read at `matrix` (n, 2, 2) times each place, bilinear, zero outside."""
    whole = functional.pad(matrix, (0, 1))
    grid = functional.affine_grid(whole, list(images.shape), align_corners=True)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
