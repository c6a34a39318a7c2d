"""The ten crops that an image is judged by where a test averages over views."""

from __future__ import annotations

import torch
from torch import Tensor

from .geometry import centre_crop


def five_crop(images: Tensor, size: int) -> Tensor:
    """The four corners and the centre of each image, in the order of torchvision's `FiveCrop`.

    Args:
        images: (N, C, H, W) of any type.
        size: side of the square crops.

    Returns:
        (N, 5, C, size, size): upper left, upper right, lower left, lower right, centre.

    Raises:
        ValueError: the crops are larger than the images.
    """
    centre = centre_crop(images, size)
    near, (bottom, right) = slice(size), (slice(length - size, None) for length in images.shape[-2:])
    corners = [images[..., rows, columns] for rows in (near, bottom) for columns in (near, right)]
    return torch.stack([*corners, centre], dim=1)


def ten_crop(images: Tensor, size: int) -> Tensor:
    """`five_crop` of the images and then of their mirror images, as torchvision's `TenCrop`: (N, 10, C, size, size)."""
    return torch.cat([five_crop(images, size), five_crop(images.flip(-1), size)], dim=1)
