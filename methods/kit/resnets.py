"""Residual networks of torchvision with the stems that methods for small images give them, and no classifier."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

ResNetName = Literal["resnet18", "resnet34", "resnet50"]
Stem = Literal["cifar", "stl", "stl-unpadded", "imagenet"]


class ResNet(nn.Module):
    """He et al., Deep Residual Learning (CVPR 2016), up to the averaged last map; weights are named as torchvision's.

    Convolutions start Kaiming-normal (fan out), batch norms at 1 and 0, also the last one of each block. Random weights come from
    torch's global generator.

    Args:
        name: resnet18, resnet34 or resnet50.
        channels: of the images.
        stem: cifar is a 3x3 convolution and no pooling; stl has 2x2 pooling with padding 1 after it (SCAN), stl-unpadded
            without padding (IMC-SwAV); imagenet is a 7x7 convolution of stride 2 and 3x3 pooling.

    Attributes:
        features: length of what it gives, 512 or 2048.
    """

    features: int

    def __init__(self, name: ResNetName, channels: int, stem: Stem = "cifar") -> None:
        from torchvision.models import get_model  # here, because torchvision takes seconds to import

        super().__init__()
        whole = get_model(name, weights=None)
        small = stem != "imagenet"
        self.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False) if small else _first_convolution(channels)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1, self.relu, self.maxpool = whole.bn1, whole.relu, _pooling(stem)
        self.layer1, self.layer2, self.layer3, self.layer4 = whole.layer1, whole.layer2, whole.layer3, whole.layer4
        self.features = whole.fc.in_features

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features (N, features) of images (N, channels, H, W) of any size."""
        maps = self.maxpool(self.relu(self.bn1(self.conv1(images))))  # (N, 64, h, w)
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))  # (N, features, h / 8, w / 8)
        return maps.mean((2, 3))  # (N, features)


def _first_convolution(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)


def _pooling(stem: Stem) -> nn.Module:
    if stem == "imagenet":
        return nn.MaxPool2d(3, stride=2, padding=1)
    return nn.Identity() if stem == "cifar" else nn.MaxPool2d(2, padding=int(stem == "stl"))
