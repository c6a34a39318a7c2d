"""Dense SIFT: upright descriptors of one size at all places of a grid, by OpenCV.

Lowe: Distinctive Image Features from Scale-Invariant Keypoints, IJCV 2004, section 6: histograms of eight directions of the
gradient in 4x4 squares around a place, weighted by a Gaussian, normalised, cut at 0.2 and normalised again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from ..base import MethodError

LENGTH = 128
SQUARES = 4  # along a side of a descriptor


class DenseSIFTSettings(BaseModel):
    """Where the descriptors are and what they cover."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: PositiveInt = Field(default=10, description="pixels between two places, which are the centres of cells of that size")
    square: float = Field(default=3.0, gt=0, description="side of one of the 4x4 squares of a descriptor, in pixels")
    blur: float = Field(
        default=0.5, ge=0.5, description="deviation of the Gaussian blur before; 0.5 is that of an image as it is, nearly none"
    )


class DenseSIFT:
    """Descriptors of images at the places of a grid.

    Args:
        settings: see `DenseSIFTSettings`.
    """

    def __init__(self, settings: DenseSIFTSettings) -> None:
        self.settings = settings

    def places(self, length: int) -> np.ndarray:
        """Centres of the whole cells on an axis of `length` pixels: int64, step // 2 and every step from there.

        Raises `MethodError` if there is none.
        """
        step = self.settings.step
        if length < step:
            raise MethodError(f"Images of {length} pixels have no place for a grid of {step}; choose a smaller sift.step.")
        return np.arange(length // step) * step + step // 2

    def __call__(self, images: torch.Tensor) -> np.ndarray:
        """Descriptors of uint8 (n, C, H, W), of their luma where there are colours: float32 (n, rows, columns, 128), 0..255."""
        rows, columns = self.places(images.shape[-2]), self.places(images.shape[-1])
        at = [(int(column), int(row)) for row in rows for column in columns]
        with _opencv() as cv2:
            sift = cv2.SIFT_create(sigma=self.settings.blur)
            found = [self._described(cv2, sift, image, at) for image in images.cpu().numpy()]
        return np.stack(found).reshape(len(images), len(rows), len(columns), LENGTH)

    def _described(self, cv2: Any, sift: Any, image: np.ndarray, at: list[tuple[int, int]]) -> np.ndarray:
        """Descriptors of one image (C, H, W) at the places (x, y) `at`: float32 (places, 128)."""
        grey = (
            image[0] if len(image) == 1 else cv2.cvtColor(np.ascontiguousarray(image[:3].transpose(1, 2, 0)), cv2.COLOR_RGB2GRAY)
        )
        size = self.settings.square * 2 / 3  # OpenCV's squares have three radii of a keypoint
        keypoints = [cv2.KeyPoint(x, y, size, 0.0) for x, y in at]
        described, descriptors = sift.compute(np.ascontiguousarray(grey), keypoints)
        assert len(described) == len(at)  # in their order: OpenCV drops only what lies outside of a mask
        return descriptors


@contextmanager
def _opencv() -> Iterator[Any]:
    """OpenCV, with as many threads inside as torch has."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(torch.get_num_threads())
    try:
        yield cv2
    finally:
        cv2.setNumThreads(before)


def nearest_cells(length: int, cells: int, step: int) -> np.ndarray:
    """Which of the `cells` of a grid each pixel of an axis is nearest to the centre of: int64 (length,)."""
    return np.minimum(np.arange(length) // step, cells - 1)
