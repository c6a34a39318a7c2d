"""Exemplar-CNN's network: trained on patches, run over whole images, and its maps pooled by quadrants.

Dosovitskiy et al., IEEE TPAMI 2016, sections 4.1 and 4.2: 64c5-64c5-128f, 64c5-128c5-256c5-512f and 92c5-256c5-512c5-1024f, with
2x2 max-pooling after the first two convolutions and dropout on the dense layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from ..base import MethodError

POOLED = 2  # convolutions with a pooling after them, from the first
QUADRANTS = 2  # a side


class ExemplarTrunk(nn.Module):
    """Convolutions and one dense layer, which on images larger than a patch is a convolution too.

    Args:
        channels, size: of the patches.
        widths: channels of the convolutions.
        kernel: side of the convolutions, odd.
        dense: units of the dense layer.
        norm: batch norm before each ReLU, which the authors did not have yet.
        dropout: share of the dense layer's outputs that are dropped.

    Attributes:
        mean: (C, 1, 1), taken off every pixel.
        features: length of `forward`'s result for images of `view` pixels a side.

    Raises:
        MethodError: patches too small for two poolings, or views smaller than a patch.
    """

    mean: torch.Tensor

    def __init__(
        self, channels: int, size: int, view: int, widths: Sequence[int], kernel: int, dense: int, *, norm: bool, dropout: float
    ) -> None:
        super().__init__()
        side, seen = (_pooled_side(length, len(widths)) for length in (size, view))
        if side < 1 or seen < side:
            raise MethodError(
                f"Patches of {size} and views of {view} pixels: patches need 4 pixels at least, and views the size of a patch. "
                "Change --set size or --set views.size."
            )
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.stages, before = nn.ModuleList(), channels
        for number, width in enumerate(widths):
            convolution = nn.Conv2d(before, width, kernel, padding=kernel // 2, bias=not norm)
            self.stages.append(nn.Sequential(*_bent(convolution, width, norm), *[nn.MaxPool2d(2)] * (number < POOLED)))
            before = width
        self.dense = nn.Sequential(*_bent(nn.Conv2d(before, dense, side, bias=not norm), dense, norm))
        self.dropout = nn.Dropout(dropout)
        maps = [*(_pooled_side(view, number) for number in range(1, len(widths) + 1)), seen - side + 1]
        self.features = sum(width * min(QUADRANTS, length) ** 2 for width, length in zip((*widths, dense), maps, strict=True))

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """What each layer makes of images (N, C, S, S) at least as large as a patch, the dense layer last."""
        found = [images - self.mean]
        for layer in (*self.stages, self.dense):
            found.append(layer(found[-1]))
        return found[1:]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The maxima over the quadrants of all maps, side by side: (N, features)."""
        return torch.cat([quadrant_maxima(found) for found in self.maps(images)], 1)


class ExemplarNetwork(nn.Module):
    """A trunk and a linear layer: patches (N, C, S, S) to logits (N, seeds), one class for each seed patch."""

    def __init__(self, trunk: ExemplarTrunk, dense: int, seeds: int) -> None:
        super().__init__()
        self.trunk, self.classes = trunk, nn.Linear(dense, seeds)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        return self.classes(self.trunk.dropout(self.trunk.maps(patches)[-1].flatten(1)))


def quadrant_maxima(maps: torch.Tensor) -> torch.Tensor:
    """The largest value of each channel in each quadrant: (N, C, h, w) to (N, C * 4); (N, C) for maps of one pixel."""
    return functional.adaptive_max_pool2d(maps, min(QUADRANTS, maps.shape[-1])).flatten(1)


def _bent(layer: nn.Module, width: int, norm: bool) -> list[nn.Module]:
    return [layer, *[nn.BatchNorm2d(width)] * norm, nn.ReLU(inplace=True)]


def _pooled_side(side: int, layers: int) -> int:
    return side // 2 ** min(layers, POOLED)
