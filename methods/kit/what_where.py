"""The network of stacked what-where autoencoders: pooling hands on what it found, and its mirror is told where.

Zhao, Mathieu, Goroshin, LeCun: Stacked What-Where Auto-encoders, ICLR 2016 workshop (arXiv 1506.02351).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from ..base import MethodError
from .conv_autoencoder import Shape, half_squared_distance


class Passes(NamedTuple):
    """What went up and what came down.

    Attributes:
        up: the image and the pooled maps above it, (N, C_m, H_m, W_m) for m = 0 ... M; the code (N, D) on top if there is one.
        down: their reconstructions, in the same order and of the same shapes but for the topmost, from which they are made.
    """

    up: tuple[torch.Tensor, ...]
    down: tuple[torch.Tensor, ...]


class WhatWhereNetwork(nn.Module):
    """Stages of 3x3 convolutions with ReLU and one max-pooling each; the decoder mirrors them with the pooling's own switches.

    Args:
        shape: (C, H, W) of the images.
        widths: for each stage the channels of its convolutions.
        pools: for each stage the side of its pooling.
        code: numbers in a fully connected bottleneck on top; None for none.

    Raises:
        MethodError: as many widths as pools are needed, and images that leave something to pool.
    """

    def __init__(self, shape: Shape, widths: Sequence[Sequence[int]], pools: Sequence[int], code: int | None) -> None:
        super().__init__()
        self.pools = tuple(pools)
        smallest = _smallest(shape, widths, pools)
        befores = [shape[0], *(stage[-1] for stage in widths)]
        self.encoders = nn.ModuleList(_convolutions(before, stage) for before, stage in zip(befores, widths, strict=False))
        self.decoders = nn.ModuleList(
            _convolutions(stage[-1], (*stage[-2::-1], before), last_relu=number > 0)
            for number, (before, stage) in enumerate(zip(befores, widths, strict=False))
        )
        top = smallest[0] * smallest[1] * smallest[2]
        self.bottleneck = None if code is None else nn.Sequential(nn.Flatten(), nn.Linear(top, code))
        self.opening = None if code is None else nn.Sequential(nn.Linear(code, top), nn.ReLU(), nn.Unflatten(1, smallest))
        self.features = top if code is None else code

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Float images (N, C, H, W) to the code, or to the topmost pooled maps, flattened: (N, features)."""
        return self._ascend(images)[0][-1].flatten(1)

    def forward(self, images: torch.Tensor) -> Passes:
        """Float images (N, C, H, W) up and down again."""
        up, switches, sides = self._ascend(images)
        falling = up[-1] if self.opening is None else self.opening(up[-1])
        down = [] if self.opening is None else [falling]
        for stage in range(len(self.pools) - 1, -1, -1):
            pool = [self.pools[stage]] * 2
            # In float32, as unpooling knows no bfloat16 on every device.
            placed = functional.max_unpool2d(falling.float(), switches[stage], pool, pool, output_size=sides[stage])
            falling = self.decoders[stage](placed)
            down.append(falling)
        return Passes(up, tuple(reversed(down)))

    def _ascend(self, images: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], list[torch.Tensor], list[torch.Size]]:
        """All `Passes.up`; then of each pooling where its maxima were, and rows and columns of what it pooled."""
        up, switches, sides = [images], [], []
        for convolutions, pool in zip(self.encoders, self.pools, strict=True):
            maps = convolutions(up[-1])
            what, where = functional.max_pool2d(maps, pool, return_indices=True)
            up.append(what)
            switches.append(where)
            sides.append(maps.shape[2:])
        if self.bottleneck is not None:
            up.append(self.bottleneck(up[-1]))
        return tuple(up), switches, sides


class WhatWhereTrunk(nn.ModuleList):
    """The way up of `network`, whose convolutions it shares: images (N, C, H, W) of any size to the topmost maps, flattened."""

    def __init__(self, network: WhatWhereNetwork) -> None:
        super().__init__(network.encoders)
        self.pools = network.pools

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        for convolutions, pool in zip(self, self.pools, strict=True):
            images = functional.max_pool2d(convolutions(images), pool)
        return images.flatten(1)  # (N, D)


def stage_losses(passes: Passes) -> tuple[torch.Tensor, ...]:
    """Half the squared distance of what went up and what came down, the mean over images: the image's first, then by stage."""
    pairs = zip(passes.up, passes.down, strict=False)
    return tuple(half_squared_distance(down, up) for up, down in pairs)


def _smallest(shape: Shape, widths: Sequence[Sequence[int]], pools: Sequence[int]) -> Shape:
    """(channels, rows, columns) of the topmost pooled maps."""
    if len(widths) != len(pools):
        raise MethodError(f"Each stage needs widths and one pooling, got {len(widths)} of widths and {len(pools)} of pools.")
    rows, columns = shape[1:]
    for pool in pools:
        rows, columns = rows // pool, columns // pool
    if not rows or not columns:
        raise MethodError(f"Images of {shape[1]}x{shape[2]} are too small for poolings of {tuple(pools)}; use fewer stages.")
    return (widths[-1][-1], rows, columns)


def _convolutions(before: int, widths: Sequence[int], last_relu: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU(inplace=True)]
        before = width
    return nn.Sequential(*(layers if last_relu else layers[:-1]))
