"""The network of DAC: plain convolutions down to one map per cluster, and a tail that begins as the identity."""

from __future__ import annotations

import torch
from torch import nn

from ..base import MethodError


class DACNetwork(nn.Module):
    """Convolutions, a 1x1 convolution to one map per cluster, its average, and two k x k layers with identity weights.

    Each layer has batch norm and ReLU after it. Convolutions start Kaiming-normal, biases at zero.

    Args:
        channels, size: of the images.
        n_clusters: k.
        widths: output channels of the 3x3 convolutions, in groups; a 2x2 max-pooling follows each group.
        padded: whether convolutions keep the size of their input; the authors' do not.
        pool_norm: whether batch norm follows every pooling, the average included, too.
        last_relu: whether a ReLU stands before the softmax, so that no logit is negative.
        average_side: side of the upper left window of the last maps that is averaged; None for the whole.

    Raises:
        MethodError: images that are too small for the layers, or a window that is larger than the maps.
    """

    def __init__(
        self, channels: int, size: int, n_clusters: int, widths: tuple[tuple[int, ...], ...], *,
        padded: bool, pool_norm: bool, last_relu: bool, average_side: int | None,
    ) -> None:  # fmt: skip
        super().__init__()
        side = _final_side(size, widths, padded)
        if average_side is not None and average_side > side:
            raise MethodError(f"average_side: a window of {average_side} does not fit maps of {side}x{side}.")
        self.window = average_side or side
        self.convolutions = _convolutions(channels, n_clusters, widths, padded, pool_norm)
        layers: list[nn.Module] = [nn.BatchNorm1d(n_clusters)] if pool_norm else []
        for layer in range(2):
            layers += [_identity(n_clusters), nn.BatchNorm1d(n_clusters)]
            layers += [nn.ReLU(inplace=True)] if layer == 0 or last_relu else []
        self.tail = nn.Sequential(*layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, k) of images (N, channels, size, size)."""
        maps = self.convolutions(images)  # (N, k, side, side)
        return self.tail(maps[:, :, : self.window, : self.window].mean((2, 3)))


def _convolutions(
    channels: int, n_clusters: int, widths: tuple[tuple[int, ...], ...], padded: bool, pool_norm: bool
) -> nn.Module:
    layers: list[nn.Module] = []
    before = channels
    for group in widths:
        for width in group:
            layers += _normalised(nn.Conv2d(before, width, 3, padding=int(padded)))
            before = width
        layers += [nn.MaxPool2d(2), *([nn.BatchNorm2d(before)] if pool_norm else [])]
    return nn.Sequential(*layers, *_normalised(nn.Conv2d(before, n_clusters, 1)))


def _normalised(convolution: nn.Conv2d) -> list[nn.Module]:
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return [convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU(inplace=True)]


def _identity(width: int) -> nn.Linear:
    layer = nn.Linear(width, width)
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _final_side(size: int, widths: tuple[tuple[int, ...], ...], padded: bool) -> int:
    side = size
    for group in widths:
        side = (side if padded else side - 2 * len(group)) // 2
    if side < 1:
        raise MethodError(
            f"Images of {size}x{size} are too small for the layers; use fewer (widths), padded=true or larger views (views.size)."
        )
    return side
