"""What every operation here takes: float images (N, C, H, W) with values in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..stages import augmentation

BLOCK = 2**20  # values: 4 MiB, which a core's caches hold together with a few temporaries


@augmentation
def to_float(pixels: Tensor) -> Tensor:
    """uint8 images 0..255 as float32 in [0, 1]; float images are returned as they are."""
    return pixels if pixels.is_floating_point() else pixels.to(torch.float32).div_(255)


def check_float(images: Tensor) -> None:
    """Raise `TypeError` for anything but a float tensor (N, C, H, W): bytes would be taken for values far above 1."""
    if images.ndim != 4 or not images.is_floating_point():
        given = f"{images.dtype} {tuple(images.shape)}"
        raise TypeError(f"Images must be float (N, C, H, W) in [0, 1], got {given}. Use to_float first.")


def in_blocks(operation: Callable[..., Tensor], images: Tensor, *parameters: Tensor) -> Tensor:
    """`operation(images, *parameters)`; on a CPU for a few images at a time, so that a chain of passes stays within its caches.

    All parameters are per image. Large batches of RGB images get twice to three times as fast; a GPU takes all at once.
    """
    size = max(1, BLOCK * torch.get_num_threads() // max(1, images[:1].numel()))
    if images.device.type != "cpu" or len(images) <= size:
        return operation(images, *parameters)
    return torch.cat([operation(*block) for block in zip(*(every.split(size) for every in (images, *parameters)), strict=True)])


def per_image(values: Tensor) -> Tensor:
    """(N,) as (N, 1, 1, 1), to be combined with images."""
    return values.view(-1, 1, 1, 1)
