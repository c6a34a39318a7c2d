"""The network of IMC-SwAV: a trunk with prototypes, and a classifier on its detached features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import nn

from .networks import VGGTrunk, initialise
from .resnets import ResNet, ResNetName, Stem

IMCTrunkName: TypeAlias = Literal["small", ResNetName]
SMALL_KERNEL = 3


class PooledTrunk(nn.Sequential):
    """The kit's small network with its last map averaged, so that crops of several sizes give features of one length."""

    def __init__(self, channels: int, size: int, widths: tuple[int, ...]) -> None:
        *layers, flatten = VGGTrunk(channels, size, widths, SMALL_KERNEL, "running")
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), flatten)
        self.features = widths[-1]
        initialise(self)


class IMCNetwork(nn.Module):
    """Features, their similarity to prototypes, and cluster logits.

    The projection is a linear map: the authors left batch norm and ReLU between its two layers out. The classifier's input is
    detached, so that only the swapped prediction ever moves trunk, projection and prototypes.

    Args:
        trunk: images to features (N, D); its attribute `features` is D.
        n_clusters: K.
        prototypes: P.
        projection: length of the projected features.
        hidden: units in each of the classifier's two hidden layers.
    """

    def __init__(self, trunk: ResNet | PooledTrunk, n_clusters: int, *, prototypes: int, projection: int, hidden: int) -> None:
        super().__init__()
        self.trunk, features = trunk, trunk.features
        self.projection = nn.Sequential(nn.Linear(features, features), nn.Linear(features, projection))
        self.prototypes = nn.Linear(projection, prototypes, bias=False)
        self.classifier = nn.Sequential(
            nn.Linear(features, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True),
            nn.Linear(hidden, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True),
            nn.Linear(hidden, n_clusters),
        )  # fmt: skip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Cluster logits (N, K), float32, of images (N, C, S, S); no gradient reaches the trunk."""
        return self.logits(self.trunk(images))

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Cluster logits (N, K), float32, of features (N, D), which get no gradient."""
        return self.classifier(features.detach()).float()

    def views(self, views: Sequence[torch.Tensor], together: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (V, N, D) and similarities to the prototypes (V, N, P), float32, of V views of N images.

        Args:
            views: each (N, C, S, S); neighbours may differ in size.
            together: neighbours of one size go through the trunk as one batch, which is faster, but batch norm then sees
                them all. The authors send each alone.
        """
        batches = _joined(views) if together else list(views)
        features = torch.cat([self.trunk(batch) for batch in batches])  # (V * N, D)
        return features.unflatten(0, (len(views), -1)), self.similarities(features).unflatten(0, (len(views), -1))

    def similarities(self, features: torch.Tensor) -> torch.Tensor:
        """Cosine similarities (N, P), float32, of projected features (N, D) and prototypes, if those have length 1."""
        projected = self.projection(features).float()
        with torch.autocast(features.device.type, enabled=False):
            return self.prototypes(nn.functional.normalize(projected, dim=1))

    @torch.no_grad()
    def normalise_prototypes(self) -> None:
        """Bring every prototype to length 1, in place: before a forward pass, as the authors do, not after a step."""
        self.prototypes.weight.copy_(nn.functional.normalize(self.prototypes.weight, dim=1))


def build_imc_trunk(
    name: IMCTrunkName, channels: int, smallest: int, *, stem: Stem, widths: tuple[int, ...]
) -> ResNet | PooledTrunk:
    """A trunk for images of `channels` channels, its random weights drawn from torch's global generator.

    Args:
        name: `resnet18`, `resnet34`, `resnet50`, or the `small` network.
        smallest: side of the smallest view.
        stem: of the residual networks.
        widths: channels per layer of the small network.

    Raises:
        MethodError: views that are too small for the small network's layers.
    """
    if name == "small":
        return PooledTrunk(channels, smallest, widths)
    return ResNet(name, channels, stem)


def _joined(views: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Neighbouring views of one size as one batch."""
    groups: list[list[torch.Tensor]] = []
    for view in views:
        if groups and groups[-1][0].shape == view.shape:
            groups[-1].append(view)
        else:
            groups.append([view])
    return [torch.cat(group) for group in groups]
