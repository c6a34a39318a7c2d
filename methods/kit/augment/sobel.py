"""Sobel edges, the colour-free input of IIC's networks (Ji, Henriques and Vedaldi 2019, section 4.1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .colour import to_grey
from .images import check_float


def sobel(grey: Tensor) -> Tensor:
    """Horizontal and vertical edges of grey images: float (N, 1, H, W) to (N, 2, H, W), values -4 to 4.

    Cross-correlation with [[1,0,-1],[2,0,-2],[1,0,-1]] and with its transpose, zeros around the image, no scaling, as in
    the authors' code. Hence strong responses along the border.

    Raises:
        TypeError: images that are not float (N, C, H, W).
        ValueError: more than one channel.
    """
    check_float(grey)
    if grey.shape[1] != 1:
        raise ValueError(f"sobel takes grey images (N, 1, H, W), got {grey.shape[1]} channels. Use to_grey first.")
    padded = functional.pad(grey, (1, 1, 1, 1))
    # Smoothed along one axis, differenced along the other: a third of the time of a convolution with one input channel.
    down = (padded[..., :-2, :] + padded[..., 2:, :]).add_(padded[..., 1:-1, :], alpha=2)
    across = (padded[..., :-2] + padded[..., 2:]).add_(padded[..., 1:-1], alpha=2)
    return torch.cat([down[..., :-2] - down[..., 2:], across[..., :-2, :] - across[..., 2:, :]], dim=1)


def sobel_input(images: Tensor, *, include_rgb: bool = False) -> Tensor:
    """What a network with Sobel input sees of float images (N, C, H, W): their edges, after the colours if asked.

    Returns:
        (N, 2, H, W), or with `include_rgb` (N, C + 2, H, W).
    """
    edges = sobel(to_grey(images))
    return torch.cat([images, edges], dim=1) if include_rgb else edges
