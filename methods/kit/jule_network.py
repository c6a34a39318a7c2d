"""The network of JULE: blocks of a convolution, batch norm, ReLU and perhaps max-pooling, and one linear layer."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from ..base import MethodError
from .augment import to_float


class JuleNetwork(nn.Sequential):
    """Images (N, C, H, W) to features (N, D), not yet of unit length; initialised as the authors do.

    With widths (50, 50), one pooled block, 5x5 kernels and 160 features it is their network for MNIST: 3,200 numbers enter
    the linear layer.

    Args:
        shape: (C, H, W) of the input.
        widths: output channels of each block.
        pooled: so many of the first blocks end in 2x2 max-pooling, which keeps a last odd row and column.
        kernel: side of the convolutions, which have no padding.
        features: numbers in a feature.

    Raises:
        MethodError: images that are too small for the blocks.
    """

    def __init__(self, shape: tuple[int, int, int], widths: tuple[int, ...], pooled: int, kernel: int, features: int) -> None:
        layers: list[nn.Module] = []
        before, *sides = shape
        for number, width in enumerate(widths):
            layers += [nn.Conv2d(before, width, kernel), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            sides = [side - kernel + 1 for side in sides]
            if number < pooled:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
                sides = [math.ceil(side / 2) for side in sides]
            before = width
            if min(sides) < 1:
                _, height, wide = shape
                raise MethodError(f"Images of {height}x{wide} are too small for these blocks; set size larger or kernel smaller.")
        super().__init__(*layers, nn.Flatten(), nn.Linear(before * math.prod(sides), features))
        _initialise(self)


def _initialise(network: nn.Module) -> None:
    """Weights N(0, 0.01) without bias, and batch norm's scale uniform in [0, 1], as Torch 7 left it."""
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(layer.weight, 0.0, 0.01)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight)
        if isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is not None:
            nn.init.zeros_(layer.bias)


def network_input(batch: torch.Tensor, size: int | None) -> torch.Tensor:
    """uint8 (N, C, H, W) as float32 in [0, 1], resized to `size` x `size` if that is given and another one."""
    images = to_float(batch)
    if size is None or images.shape[-2:] == (size, size):
        return images
    return functional.interpolate(images, (size, size), mode="bilinear", antialias=True, align_corners=False)
