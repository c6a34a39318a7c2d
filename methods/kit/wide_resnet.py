"""Wide residual networks (Zagoruyko, Komodakis: Wide Residual Networks, BMVC 2016), with dropout between convolutions."""

from __future__ import annotations

import torch
from torch import nn

FIRST, STAGES = 16, 3  # channels of the stem; stages of (16, 32, 64) times the widening


class WideBlock(nn.Module):
    """Batch norm, ReLU, 3x3 convolution, twice, dropout before the second one; a 1x1 shortcut where the shape changes."""

    def __init__(self, before: int, width: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(before), nn.BatchNorm2d(width)
        self.convolution1 = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
        self.convolution2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.shortcut = None if before == width else nn.Conv2d(before, width, 1, stride, bias=False)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        active = self.norm1(maps).relu()
        around = maps if self.shortcut is None else self.shortcut(active)
        return around + self.convolution2(self.dropout(self.norm2(self.convolution1(active)).relu()))


class WideResNet(nn.Sequential):
    """WRN-`depth`-`widening` up to the averaged last map: images (N, C, H, W) of any size to (N, 64 * widening).

    Convolutions start Kaiming-normal (fan out), batch norms at 1 and 0, from torch's global generator.

    Args:
        channels: of the images.
        depth: layers, 4 more than a multiple of 6: 16 for two blocks in each of the three stages.
        widening: factor of the channels 16, 32 and 64 of the stages.
        dropout: share of activations that a block drops.

    Attributes:
        features: 64 * widening.
    """

    def __init__(self, channels: int, depth: int, widening: int, dropout: float) -> None:
        layers: list[nn.Module] = [nn.Conv2d(channels, FIRST, 3, padding=1, bias=False)]
        before = FIRST
        for stage in range(STAGES):
            width = FIRST * 2**stage * widening
            for block in range((depth - 4) // 6):
                stride = 2 if stage and not block else 1
                layers.append(WideBlock(before, width, stride, dropout))
                before = width
        super().__init__(*layers, nn.BatchNorm2d(before), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.features = before
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
