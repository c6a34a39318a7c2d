"""The networks that ADC embeds images with: plain convolutions with ELU, or a pre-activation ResNet."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import nn

from ..base import MethodError

ADCTrunkName = Literal["conv", "resnet"]
SPREAD = 0.01  # of the centroids of a cluster around its middle, at first
MOMENTUM = 0.003  # of batch norm's running averages, TensorFlow's 0.997 seen from the other side


class ConvEmbedding(nn.Sequential):
    """3x3 convolutions with ELU that keep the size, 2x2 max-pooling after each width, and a linear layer with ELU.

    Two convolutions of each of (32, 64, 128) and dropout 0.2 after the first two widths make the authors' network for MNIST.
    Weights start as Xavier's (Glorot's), biases at zero.
    """

    def __init__(
        self, channels: int, size: int, widths: tuple[int, ...], convolutions: int, dropout: float, embedding: int
    ) -> None:
        layers: list[nn.Module] = []
        before, side = channels, size
        for number, width in enumerate(widths, start=1):
            for _ in range(convolutions):
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ELU(inplace=True)]
                before = width
            layers.append(nn.MaxPool2d(2))
            layers += [nn.Dropout(dropout)] if number < len(widths) else []
            side //= 2
        if side < 1:
            raise MethodError(
                f"Images of {size}x{size} are too small for {len(widths)} widths with pooling; use larger views or fewer."
            )
        super().__init__(*layers, nn.Flatten(), nn.Linear(before * side * side, embedding), nn.ELU(inplace=True))
        for layer in self:
            _start_as_xavier(layer)


class ResidualBlock(nn.Module):
    """Batch norm, ReLU, convolution, twice, and a shortcut around them (He et al., Identity Mappings, ECCV 2016)."""

    def __init__(self, before: int, width: int, stride: int, projects: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(before, momentum=MOMENTUM), nn.BatchNorm2d(width, momentum=MOMENTUM)
        self.convolution1 = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
        self.convolution2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(before, width, 1, stride, bias=False) if projects else None

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        active = self.norm1(maps).relu()
        around = maps if self.shortcut is None else self.shortcut(active)
        return around + self.convolution2(self.norm2(self.convolution1(active)).relu())


class ResNetEmbedding(nn.Sequential):
    """A 3x3 convolution, stages of residual blocks, batch norm, ReLU, the mean of the map, dropout and a linear layer.

    Widths (16, 32, 64) with three blocks make the authors' network for CIFAR (ResNet-20); (32, 64, 128, 256) with two blocks
    and pooling after the first convolution the one for STL-10. The last two stages, unless they are the first, halve the maps.
    """

    def __init__(
        self, channels: int, widths: tuple[int, ...], blocks: int, dropout: float, embedding: int, stem_pool: bool
    ) -> None:
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)]
        layers += [nn.MaxPool2d(2)] if stem_pool else []
        before = widths[0]
        for number, width in enumerate(widths):
            stride = 2 if number and number >= len(widths) - 2 else 1
            layers.append(ResidualBlock(before, width, stride, projects=True))
            layers += [ResidualBlock(width, width, 1, projects=False) for _ in range(blocks - 1)]
            before = width
        layers += [nn.BatchNorm2d(before, momentum=MOMENTUM), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        super().__init__(*layers, nn.Dropout(dropout), nn.Linear(before, embedding))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
        _start_as_xavier(self[-1])


ADCTrunk: TypeAlias = ConvEmbedding | ResNetEmbedding


class ADCNetwork(nn.Module):
    """A trunk, the linear layer from embeddings to cluster logits, and the centroids of the clusters among the embeddings.

    Args:
        trunk: images (N, C, S, S) to embeddings (N, D).
        embedding: D.
        n_clusters: K.
        centroids: of each cluster.
        deviation: of the normal distribution that a cluster's middle is drawn from; its centroids are within `SPREAD` of it.

    Attributes:
        labels: int64 (K * centroids,), the cluster of each centroid.
    """

    labels: torch.Tensor

    def __init__(self, trunk: ADCTrunk, embedding: int, n_clusters: int, centroids: int, deviation: float) -> None:
        super().__init__()
        self.trunk, self.classifier = trunk, nn.Linear(embedding, n_clusters)
        _start_as_xavier(self.classifier)
        self.centroids = nn.Parameter(torch.empty(n_clusters * centroids, embedding))
        self.register_buffer("labels", torch.arange(n_clusters).repeat_interleave(centroids), persistent=False)
        self.place_centroids(deviation * torch.randn(n_clusters, embedding), SPREAD)

    @torch.no_grad()
    def place_centroids(self, middles: torch.Tensor, spread: float, random: torch.Generator | None = None) -> None:
        """Put the centroids of each cluster around its middle (K, D), evenly within `spread` along each axis."""
        around = torch.rand(self.centroids.shape, generator=random, device=self.centroids.device) * 2 - 1
        self.centroids.copy_(middles.to(around)[self.labels] + spread * around)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, K)."""
        return self.classifier(self.trunk(images))


def _start_as_xavier(layer: nn.Module) -> None:
    if isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is not None:
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
