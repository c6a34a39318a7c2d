"""Cutout: a square of every image is erased (DeVries and Taylor, 2017)."""

from __future__ import annotations

import torch
from torch import Tensor

from .images import check_float


def cutout(images: Tensor, top: Tensor, left: Tensor, side: Tensor) -> Tensor:
    """Set a square box of each image to zero.

    Args:
        images: float (N, C, H, W).
        top, left: (N,), the box's upper left corner in whole pixels; what lies outside the image is of no effect.
        side: (N,), of the box in pixels; 0 erases nothing.

    Returns:
        (N, C, H, W).

    Raises:
        TypeError: images that are not float (N, C, H, W).
    """
    check_float(images)
    rows, columns = (_within(start, side, length) for start, length in zip((top, left), images.shape[-2:], strict=True))
    inside = rows[:, None, :, None] & columns[:, None, None, :]  # (N, 1, H, W)
    return images.masked_fill(inside, 0.0)


def _within(start: Tensor, side: Tensor, length: int) -> Tensor:
    """Which of `length` places lie in the box: bool (N, length)."""
    place = torch.arange(length, device=start.device)
    return (place >= start[:, None]) & (place < (start + side)[:, None])
