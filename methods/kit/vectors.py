"""The numbers that a fully connected network sees of an image: scaled pixels, or HOG with a colour map."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

from ...datasets.base import Images
from .hog import hog_colour, hog_colour_size

CHUNK = 1024  # images that are looked at or prepared at a time


class VectorSettings(BaseModel):
    """What is made of the pixels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["scaled", "mean-square", "standard", "standard-by-pixel", "hog"] = Field(
        default="standard",
        description="pixels times `scale`, or times what makes their mean square 1; pixels at zero mean and unit variance, all "
        "together or each by itself; or HOG and a colour map",
    )
    scale: PositiveFloat = Field(default=0.02, description="factor of pixels 0..255, kind scaled only")


class Vectors:
    """From images to vectors, by statistics of the images that it was fitted to.

    Args:
        settings: see `VectorSettings`.
        shape: (C, H, W) of the images.
        device: where the vectors are.

    Attributes:
        size: numbers in a vector.

    Raises:
        MethodError: images that are too small for HOG.
    """

    def __init__(self, settings: VectorSettings, shape: tuple[int, int, int], device: str) -> None:
        self.settings, self.shape = settings, shape
        self.size = hog_colour_size(shape) if settings.kind == "hog" else math.prod(shape)
        self.shift = torch.zeros(1, device=device)
        self.scale = torch.full((1,), settings.scale if settings.kind == "scaled" else 1.0, device=device)

    def fit(self, images: Images, indices: torch.Tensor) -> None:
        """Take the statistics of the images at `indices` (int64), if the settings need any."""
        if self.settings.kind in ("scaled", "hog"):
            return
        mean, mean_square = (sums / len(indices) for sums in self._sums(images, indices))  # (size,) each
        if self.settings.kind != "standard-by-pixel":
            mean, mean_square = mean.mean(0, keepdim=True), mean_square.mean(0, keepdim=True)
        if self.settings.kind == "mean-square":
            mean = torch.zeros_like(mean)
        self.shift, self.scale = mean.float(), _inverse((mean_square - mean.square()).clamp_min(0).sqrt())

    def of(self, batch: torch.Tensor) -> torch.Tensor:
        """uint8 (N, C, H, W) to float32 (N, size)."""
        if self.settings.kind == "hog":
            return hog_colour(batch)
        return batch.flatten(1).float().sub_(self.shift).mul_(self.scale)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The statistics."""
        return {"shift": self.shift, "scale": self.scale}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.shift, self.scale = (state[name].to(self.shift.device) for name in ("shift", "scale"))

    def _sums(self, images: Images, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Sum and sum of squares of each pixel: float64 (size,); exact, as they are whole numbers."""
        total, squares = torch.zeros(2, self.size, dtype=torch.float64, device=self.shift.device)
        for batch in images.batches(indices.split(CHUNK)):
            pixels = batch.flatten(1).double()
            total += pixels.sum(0)
            squares += pixels.square().sum(0)
        return total, squares


class VectorReader:
    """The vectors of a set of images, in batches of any order.

    HOG is computed once for all of them, as it costs more than the training step that reads it; it takes less memory than
    the pixels. Scaled pixels are made batch by batch.

    Args:
        images: on their device.
        vectors: fitted.
    """

    def __init__(self, images: Images, vectors: Vectors) -> None:
        self.images, self.vectors = images, vectors
        self.ready = torch.cat([*self._made(images.order("all", CHUNK))]) if vectors.settings.kind == "hog" else None

    def batches(self, order: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """float32 (n, size) for each int64 (n,) of `order`."""
        if self.ready is None:
            return self._made(order)
        ready = self.ready
        return (ready.index_select(0, indices) for indices in order)

    def _made(self, order: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        return (self.vectors.of(batch) for batch in self.images.batches(order))


def _inverse(deviation: torch.Tensor) -> torch.Tensor:
    """1 / deviation as float32; 1 for what is constant, so that it stays so."""
    return torch.where(deviation > 0, 1 / deviation, 1.0).float()
