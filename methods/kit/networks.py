"""The networks of IIC's image clustering (the authors' released code, `archs/cluster`), a small one for CPUs, and an MLP.

A *trunk* maps images (N, C, S, S), or the MLP anything, to flat features (N, D); `SubHeads` maps features to the cluster
logits of H sub-heads at once. All are built by `build_trunk(name, ...)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import nn

from ..base import MethodError

TrunkName = Literal["small", "vgg", "resnet", "mlp"]
BatchStatistics = Literal["running", "batch"]


class VGGTrunk(nn.Sequential):
    """Convolution, batch norm, ReLU per width, with 2x2 max-pooling between them; flattened.

    With widths (64, 128, 256, 512) and 5x5 kernels it is the authors' ClusterNet6c: 4,608 features from 24x24 pixels,
    4,304,320 parameters for grey input. Narrower widths with 3x3 kernels make the small network for CPUs.
    """

    def __init__(self, channels: int, size: int, widths: tuple[int, ...], kernel: int, statistics: BatchStatistics) -> None:
        layers: list[nn.Module] = []
        before, side = channels, size
        for number, width in enumerate(widths):
            if number:
                layers.append(nn.MaxPool2d(2))
                side //= 2
            layers += [
                nn.Conv2d(before, width, kernel, padding=kernel // 2, bias=False),
                nn.BatchNorm2d(width, track_running_stats=statistics == "running"),
                nn.ReLU(inplace=True),
            ]
            before = width
        if side < 1:
            raise MethodError(
                f"Images of {size}x{size} are too small for {len(widths)} layers with pooling; use fewer widths or a larger size."
            )
        super().__init__(*layers, nn.Flatten())
        self.features = before * side * side


class ResNetTrunk(nn.Module):
    """The authors' ClusterNet5g: a ResNet-34 layout for 32, 64 and 96 pixels; 512 features.

    Stem of one 3x3 convolution and a 2x2 max-pooling with padding 1; 21,276,416 parameters for two input channels.
    """

    FINAL_SIDE: ClassVar[dict[int, int]] = {
        32: 3,
        64: 5,
        96: 7,
    }  # input size -> side of the last map, which the average pooling covers

    def __init__(self, channels: int, size: int, statistics: BatchStatistics) -> None:
        from torchvision.models.resnet import BasicBlock  # here, because torchvision takes seconds to import

        super().__init__()
        if size not in self.FINAL_SIDE:
            raise MethodError(
                f"The resnet trunk takes images of 32, 64 or 96 pixels, got {size}; change the crop size (--set size=32)."
            )
        self.features = 512

        def norm(width: int) -> nn.BatchNorm2d:
            return nn.BatchNorm2d(width, track_running_stats=statistics == "running")

        def stage(before: int, width: int, blocks: int, stride: int) -> nn.Sequential:
            shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), norm(width)) if stride > 1 else None
            first = BasicBlock(before, width, stride, shortcut, norm_layer=norm)
            return nn.Sequential(first, *(BasicBlock(width, width, norm_layer=norm) for _ in range(blocks - 1)))

        self.stem = nn.Sequential(
            nn.Conv2d(channels, 64, 3, padding=1, bias=False), norm(64), nn.ReLU(inplace=True), nn.MaxPool2d(2, padding=1)
        )
        self.layer1, self.layer2 = stage(64, 64, 3, 1), stage(64, 128, 4, 2)
        self.layer3, self.layer4 = stage(128, 256, 6, 2), stage(256, 512, 3, 2)
        self.pool = nn.AvgPool2d(self.FINAL_SIDE[size], stride=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(images)))))  # (N, 512, side, side)
        return self.pool(maps).flatten(1)  # (N, 512)


class MLPTrunk(nn.Sequential):
    """Linear layer, batch norm, ReLU per width: for flat vectors (N, D), or anything that is flattened to them."""

    def __init__(self, inputs: int, widths: tuple[int, ...], statistics: BatchStatistics) -> None:
        layers: list[nn.Module] = [nn.Flatten()]
        for before, width in zip((inputs, *widths), widths, strict=False):
            norm = nn.BatchNorm1d(width, track_running_stats=statistics == "running")
            layers += [nn.Linear(before, width, bias=False), norm, nn.ReLU(inplace=True)]
        super().__init__(*layers)
        self.features = widths[-1]


Trunk: TypeAlias = VGGTrunk | ResNetTrunk | MLPTrunk


class SubHeads(nn.Module):
    """H independent linear heads as one matrix product: features (N, D) -> logits (H, N, K)."""

    def __init__(self, features: int, n_clusters: int, heads: int) -> None:
        super().__init__()
        self.n_clusters, self.heads = n_clusters, heads
        self.linear = nn.Linear(features, heads * n_clusters)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        logits = self.linear(features)  # (N, H * K)
        return logits.view(-1, self.heads, self.n_clusters).transpose(0, 1)  # (H, N, K)


class ClusterNetwork(nn.Module):
    """A trunk shared by several groups of sub-heads (`main`, `auxiliary`): (clusters, sub-heads) by name."""

    def __init__(self, trunk: Trunk, groups: Mapping[str, tuple[int, int]]) -> None:
        super().__init__()
        self.trunk = trunk
        self.heads = nn.ModuleDict(
            {name: SubHeads(trunk.features, clusters, heads) for name, (clusters, heads) in groups.items()}
        )

    def forward(self, images: torch.Tensor, head: str) -> torch.Tensor:
        """Cluster probabilities (H, N, K) of `images` (N, C, S, S) by the sub-heads of `head`; float32."""
        return self.heads[head](self.trunk(images)).float().softmax(-1)


def build_trunk(
    name: TrunkName,
    channels: int,
    size: int,
    *,
    statistics: BatchStatistics = "running",
    widths: tuple[int, ...] = (16, 32, 64, 128),
    kernel: int = 3,
) -> Trunk:
    """A trunk for `channels` x `size` x `size` images, initialised as the authors do.

    Args:
        name: `vgg` (ClusterNet6c), `resnet` (ClusterNet5g), `small` (the VGG layout with `widths` and `kernel`) or `mlp`
            (hidden layers of `widths`; flat vectors of D numbers are D channels of size 1).
        statistics: what batch norm uses at test time: `running` averages or those of each test `batch`.
        widths: output channels per layer of `small`, units per layer of `mlp`.
        kernel: side of the convolutions, odd, `small` only.

    Raises:
        MethodError: an image size that the network cannot take.
    """
    if name == "resnet":
        trunk: Trunk = ResNetTrunk(channels, size, statistics)
    elif name == "vgg":
        trunk = VGGTrunk(channels, size, (64, 128, 256, 512), 5, statistics)
    elif name == "mlp":
        trunk = MLPTrunk(channels * size * size, widths, statistics)
    else:
        trunk = VGGTrunk(channels, size, widths, kernel, statistics)
    initialise(trunk, "fan_out" if name == "resnet" else "fan_in")
    return trunk


def initialise(module: nn.Module, mode: Literal["fan_in", "fan_out"] = "fan_in") -> None:
    """Kaiming-normal convolutions, unit batch norms, linear layers N(0, 0.01) with zero bias, as in the authors' code.

    Linear layers without a bias, which batch norm follows, are no heads: they start as the convolutions do.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) or (isinstance(layer, nn.Linear) and layer.bias is None):
            nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.01)
            nn.init.zeros_(layer.bias)
