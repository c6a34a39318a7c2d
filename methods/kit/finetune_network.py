"""A classifier on a trunk that was trained without labels (the authors' `SupHead5`, `archs/semisup/sup_head5.py`)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from ..base import MethodError
from .networks import ResNetTrunk, initialise

FeatureLayer = Literal["trunk", "third-stage"]


class ThirdStage(nn.Module):
    """A ResNet trunk without its last stage and pooling: the flattened output of `layer3`, 20,736 features at 64 pixels."""

    def __init__(self, trunk: ResNetTrunk) -> None:
        super().__init__()
        self.stem, self.layer1, self.layer2, self.layer3 = trunk.stem, trunk.layer1, trunk.layer2, trunk.layer3

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer3(self.layer2(self.layer1(self.stem(images)))).flatten(1)  # (N, 256 * side * side)


class Classifier(nn.Module):
    """A trunk, and on its features a linear layer, or two with batch norm and ReLU between them: logits (N, K).

    Args:
        trunk: maps images to flat features; shared, not copied.
        features: length of these.
        n_classes: K.
        hidden: units of the hidden layer; 0 for a single linear layer.
        frozen: the trunk stays as it is, its batch-norm statistics included.
    """

    def __init__(self, trunk: nn.Module, features: int, n_classes: int, hidden: int, *, frozen: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if hidden:
            layers += [nn.Linear(features, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)]
        self.trunk, self.frozen = trunk.requires_grad_(not frozen), frozen
        self.head = nn.Sequential(*layers, nn.Linear(hidden or features, n_classes))
        initialise(self.head)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.trunk(images))

    def train(self, mode: bool = True) -> Classifier:
        """As `nn.Module.train`; a frozen trunk stays in test mode."""
        super().train(mode)
        if self.frozen:
            self.trunk.eval()
        return self


def feature_layer(trunk: nn.Module, layer: FeatureLayer) -> nn.Module:
    """What of `trunk` the classifier stands on. Raises `MethodError` for a third stage where there are no stages."""
    if layer == "trunk":
        return trunk
    if not isinstance(trunk, ResNetTrunk):
        raise MethodError("features=third-stage is for the resnet trunk, which has stages. Use features=trunk.")
    return ThirdStage(trunk)


@torch.no_grad()
def feature_count(network: nn.Module, channels: int, size: int) -> int:
    """Length of the features that `network` gives for images of `channels` x `size` x `size`; leaves it in test mode.

    Raises `MethodError` for images that it cannot take.
    """
    device = next(network.parameters()).device
    return network.eval()(torch.zeros(1, channels, size, size, device=device)).shape[1]
