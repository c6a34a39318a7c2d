"""Encoders and decoders for images of any side: strided convolutions and their mirror, or fully connected layers.

The encoder halves the side with each width (an odd one is rounded up) and ends in a linear layer; the decoder undoes it step by
step, to the very same sides: 28, 14, 7, 4 pixels and back. No pooling: what a pooling forgets would have to be guessed, or be
handed on, as `kit.what_where` does.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import nn

Shape = tuple[int, int, int]


class AutoencoderSettings(BaseModel):
    """The layers of an encoder, and in reverse those of its decoder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["conv", "mlp"] = Field(default="conv", description="convolutions of stride 2, or fully connected layers")
    widths: tuple[PositiveInt, ...] = Field(
        default=(32, 64, 128), min_length=1, description="channels of the convolutions, or units of the hidden layers"
    )
    kernel: Literal[3, 5] = Field(default=3, description="side of the convolutions")
    batch_norm: bool = Field(default=True, description="batch norm before each ReLU")


def build_encoder(settings: AutoencoderSettings, shape: Shape, outputs: int) -> nn.Sequential:
    """Images (N, C, H, W) of `shape` to (N, outputs), which are not bounded."""
    if settings.kind == "mlp":
        hidden = _linear_layers((math.prod(shape), *settings.widths), settings.batch_norm)
        return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(settings.widths[-1], outputs))
    layers: list[nn.Module] = []
    before = shape[0]
    for width in settings.widths:
        convolution = nn.Conv2d(
            before, width, settings.kernel, stride=2, padding=settings.kernel // 2, bias=not settings.batch_norm
        )
        layers += [convolution, *_activation(width, settings.batch_norm, nn.BatchNorm2d)]
        before = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(math.prod(smallest_map(settings, shape)), outputs))


def build_decoder(settings: AutoencoderSettings, shape: Shape, inputs: int) -> nn.Sequential:
    """Codes (N, inputs) to images (N, C, H, W) of `shape`, which are not bounded: means, or logits of what lies in [0, 1]."""
    if settings.kind == "mlp":
        hidden = _linear_layers((inputs, *reversed(settings.widths)), settings.batch_norm)
        return nn.Sequential(*hidden, nn.Linear(settings.widths[0], math.prod(shape)), nn.Unflatten(1, shape))
    smallest = smallest_map(settings, shape)
    layers: list[nn.Module] = [nn.Linear(inputs, math.prod(smallest)), nn.Unflatten(1, smallest), nn.ReLU(inplace=True)]
    sides = _sides(settings, shape)
    for stage in range(len(settings.widths) - 1, -1, -1):
        before, after = settings.widths[stage], settings.widths[stage - 1] if stage else shape[0]
        layers.append(_doubling(before, after, settings.kernel, sides[stage], bias=not (stage and settings.batch_norm)))
        layers += _activation(after, settings.batch_norm, nn.BatchNorm2d) if stage else []
    return nn.Sequential(*layers)


def smallest_map(settings: AutoencoderSettings, shape: Shape) -> Shape:
    """(channels, rows, columns) of what the last convolution makes of images of `shape`."""
    return (settings.widths[-1], *_sides(settings, shape)[-1])


def _sides(settings: AutoencoderSettings, shape: Shape) -> list[tuple[int, int]]:
    """Rows and columns of the image and after each convolution."""
    sides = [shape[1:]]
    for _ in settings.widths:
        rows, columns = sides[-1]
        sides.append(((rows + 1) // 2, (columns + 1) // 2))
    return sides


def _doubling(before: int, after: int, kernel: int, wanted: tuple[int, int], *, bias: bool) -> nn.ConvTranspose2d:
    """The transposed convolution that ends at `wanted` rows and columns, coming from half of them, rounded up."""
    rows, columns = (1 - side % 2 for side in wanted)  # by itself it makes 2 n - 1 of n
    return nn.ConvTranspose2d(before, after, kernel, stride=2, padding=kernel // 2, output_padding=(rows, columns), bias=bias)


def _linear_layers(sizes: tuple[int, ...], batch_norm: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after, bias=not batch_norm), *_activation(after, batch_norm, nn.BatchNorm1d)]
    return layers


def _activation(width: int, batch_norm: bool, norm: type[nn.Module]) -> list[nn.Module]:
    return [*([norm(width)] if batch_norm else []), nn.ReLU(inplace=True)]


class ImageAutoencoder(nn.Module):
    """An encoder to `code` numbers and its decoder.

    Args:
        settings: of the layers.
        shape: (C, H, W) of the images.
        code: numbers that the decoder starts from.
        outputs: numbers that the encoder gives, if others: a variational one gives mean and variance of each.
    """

    def __init__(self, settings: AutoencoderSettings, shape: Shape, code: int, outputs: int | None = None) -> None:
        super().__init__()
        self.encoder = build_encoder(settings, shape, outputs or code)
        self.decoder = build_decoder(settings, shape, code)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Float images (N, C, H, W) as the decoder gives them back from their code."""
        return self.decoder(self.encoder(images))


def half_squared_distance(reconstruction: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Half the squared distance of (N, ...) to (N, ...) in float32, the sum over an image's numbers, the mean over images."""
    return 0.5 * (reconstruction.float() - wanted.float()).square().sum() / len(wanted)
