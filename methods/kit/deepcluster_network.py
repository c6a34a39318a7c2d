"""DeepCluster's network: a fixed Sobel filter, a trunk, and a linear layer whose output is clustered.

The trunks are the kit's (IIC's networks, which the authors of IIC put under DeepCluster), or the AlexNet and VGG-16 of
DeepCluster's own authors, for 224x224 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import nn

from ..base import MethodError
from . import augment
from .arithmetic import Arithmetic
from .networks import Trunk, build_trunk, initialise
from .views import RGB

Network = Literal["small", "vgg", "resnet", "alexnet", "vgg16"]
IMAGENET_SIDE = 224
VGG16_WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class SobelInput(nn.Module):
    """Normalises each channel of images in [0, 1], then filters the channels' mean; infrared passes by.

    Args:
        sobel: give the two gradients instead of the colours.
        include_rgb: with `sobel`, give the colours before them.
        mean, std: one value a channel; none leaves the images as they are.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, sobel: bool, include_rgb: bool, mean: Sequence[float] = (), std: Sequence[float] = ()) -> None:
        super().__init__()
        self.sobel, self.include_rgb = sobel, include_rgb
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, C, S, S) to (N, C', S, S)."""
        colours, infrared = images[:, :RGB], images[:, RGB:]
        colours = (colours - self.mean) / self.std if self.mean.numel() else colours
        if self.sobel:
            edges = augment.sobel(colours.mean(1, keepdim=True))
            colours = torch.cat([colours, edges], dim=1) if self.include_rgb else edges
        return torch.cat([colours, infrared], dim=1) if infrared.shape[1] else colours


class AlexNetTrunk(nn.Sequential):
    """AlexNet with batch norm and without local response norm, to the first fully connected layer: 4,096 features."""

    features = 4096

    def __init__(self, channels: int) -> None:
        layers: list[nn.Module] = []
        for before, width, kernel, stride, padding, pooled in (
            (channels, 96, 11, 4, 2, True),
            (96, 256, 5, 1, 2, True),
            (256, 384, 3, 1, 1, False),
            (384, 384, 3, 1, 1, False),
            (384, 256, 3, 1, 1, True),
        ):
            layers += _convolution(before, width, kernel, stride, padding)
            layers += [nn.MaxPool2d(3, 2)] if pooled else []
        super().__init__(*layers, nn.Flatten(), nn.Dropout(0.5), *_dense(256 * 6 * 6, self.features))


class VGG16Trunk(nn.Sequential):
    """VGG-16 with batch norm, to the first fully connected layer: 4,096 features."""

    features = 4096

    def __init__(self, channels: int) -> None:
        layers: list[nn.Module] = []
        before = channels
        for stage in VGG16_WIDTHS:
            for width in stage:
                layers += _convolution(before, width, 3, 1, 1)
                before = width
            layers.append(nn.MaxPool2d(2))
        super().__init__(*layers, nn.Flatten(), *_dense(before * 7 * 7, self.features))


AnyTrunk: TypeAlias = Trunk | AlexNetTrunk | VGG16Trunk


class FeatureNetwork(nn.Module):
    """Images to the features that are clustered; `activated` makes of them what the top layer sees.

    Args:
        entry: the fixed first layer.
        trunk: images (N, C', S, S) to (N, trunk.features).
        size: D, the number of features.
        norm: batch norm after the linear layer (the variant `_v288`).
        dropout: share of features that is dropped before the top layer.
    """

    def __init__(self, entry: SobelInput, trunk: AnyTrunk, size: int, *, norm: bool, dropout: float) -> None:
        super().__init__()
        self.entry, self.trunk = entry, trunk
        linear = nn.Linear(trunk.features, size)
        initialise(linear)
        self.projection = nn.Sequential(linear, nn.BatchNorm1d(size)) if norm else linear
        self.activated = nn.Sequential(nn.ReLU(), nn.Dropout(dropout))

    @property
    def rank(self) -> int:
        """The most directions in which the features can differ: a linear layer adds none."""
        return self.trunk.features

    def forward(self, images: torch.Tensor, arithmetic: Arithmetic) -> torch.Tensor:
        """Features float32 (N, D), before the rectifier, of images (N, C, S, S) in [0, 1]; `arithmetic` is the trunk's."""
        return self.projection(arithmetic(self.trunk, self.entry(images)))


def trunk_of(name: Network, channels: int, size: int, widths: tuple[int, ...] = (16, 32, 64, 128), kernel: int = 3) -> AnyTrunk:
    """A trunk for `channels` x `size` x `size` inputs, initialised as its authors do.

    Raises:
        MethodError: an image size that the network cannot take.
    """
    if name not in ("alexnet", "vgg16"):
        return build_trunk(name, channels, size, widths=widths, kernel=kernel)
    if size != IMAGENET_SIDE:
        raise MethodError(f"The {name} trunk takes {IMAGENET_SIDE} pixels, got {size}; --set views.size={IMAGENET_SIDE}.")
    trunk = AlexNetTrunk(channels) if name == "alexnet" else VGG16Trunk(channels)
    initialise(trunk, "fan_out")
    for layer in trunk.modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return trunk


def top_layer(features: int, clusters: int) -> nn.Linear:
    """A new classifier of pseudo-labels: weights N(0, 0.01), biases 0."""
    layer = nn.Linear(features, clusters)
    initialise(layer)
    return layer


def _convolution(before: int, width: int, kernel: int, stride: int, padding: int) -> list[nn.Module]:
    convolution = nn.Conv2d(before, width, kernel, stride, padding)
    return [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]


def _dense(before: int, width: int) -> list[nn.Module]:
    return [nn.Linear(before, width), nn.ReLU(inplace=True), nn.Dropout(0.5)]
