"""Deep InfoMax's networks: the encoders, the critics that score codes with places of images, the discriminator of the prior.

Layers and first weights are those of the authors' code (`configs/convnets.py`, `nn_modules/mi_networks.py`, `models/dim.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from ..base import MethodError
from .infomax import critic_scores

NEAR_IDENTITY = 0.01  # largest first weight of a critic's shortcut, besides the ones that copy


@dataclass(frozen=True)
class ConvLayer:
    """A convolution, batch norm, ReLU, and perhaps a 3x3 max-pooling of stride 2."""

    width: int
    kernel: int
    stride: int
    padding: int
    pooled: bool = False

    def after(self, side: int) -> int:
        """Side of the map that comes out of one of `side`; below 1 if none does."""
        found = (side + 2 * self.padding - self.kernel) // self.stride + 1
        return (found - 3) // 2 + 1 if self.pooled else found

    def built(self, channels: int) -> nn.Sequential:
        """The layer for maps of so many channels."""
        convolution = nn.Conv2d(channels, self.width, self.kernel, self.stride, self.padding, bias=False)
        pooling = [nn.MaxPool2d(3, 2)] if self.pooled else []
        return nn.Sequential(convolution, nn.BatchNorm2d(self.width), nn.ReLU(inplace=True), *pooling)


ALEXNET = (
    ConvLayer(96, 3, 1, 1, pooled=True),
    ConvLayer(192, 3, 1, 1, pooled=True),
    ConvLayer(384, 3, 1, 1),
    ConvLayer(384, 3, 1, 1),
    ConvLayer(192, 3, 1, 1, pooled=True),
)


def halving(widths: Sequence[int], kernel: int) -> tuple[ConvLayer, ...]:
    """Convolutions of stride 2, each of which halves the side: the authors' network for 28 and 32 pixels."""
    return tuple(ConvLayer(width, kernel, 2, (kernel - 1) // 2) for width in widths)


class Tower(nn.Module):
    """Convolutions, then linear layers with batch norm and ReLU: images or maps (N, C, S, S) to features (N, D).

    Args:
        channels, side: of what comes in.
        layers: the convolutions; there may be none.
        dense: units of each linear layer; there may be none.

    Attributes:
        features: D.
        shapes: (channels, side) of the map after each convolution.

    Raises:
        MethodError: maps that are too small for so many convolutions.
    """

    def __init__(self, channels: int, side: int, layers: Sequence[ConvLayer], dense: Sequence[int]) -> None:
        super().__init__()
        self.stages, self.shapes = nn.ModuleList(), list[tuple[int, int]]()
        start = side
        for layer in layers:
            self.stages.append(layer.built(channels))
            channels, side = layer.width, layer.after(side)
            if side < 1:
                raise MethodError(
                    f"{len(layers)} convolutions are too many for {start}x{start} pixels. Use fewer widths, or larger views "
                    "(--set views.size=32)."
                )
            self.shapes.append((channels, side))
        self.features, self.dense = channels * side * side, nn.Sequential(nn.Flatten())
        for units in dense:
            self.dense.extend([nn.Linear(self.features, units), nn.BatchNorm1d(units), nn.ReLU(inplace=True)])
            self.features = units

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """What comes out of each convolution: (N, C, S, S) for each of `shapes`."""
        found = [images]
        for stage in self.stages:
            found.append(stage(found[-1]))
        return found[1:]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.dense(self.maps(images)[-1] if len(self.stages) else images)  # (N, D)


class PlaceCritic(nn.Module):
    """One side of the local critic, place by place: (N, C, S, S) to (N, units, S, S).

    Two 1x1 convolutions with batch norm and ReLU between them, plus a linear shortcut that starts as a noisy copy; then layer
    norm over the units. A code is a map of 1x1.
    """

    def __init__(self, channels: int, units: int) -> None:
        super().__init__()
        self.bent = nn.Sequential(
            nn.Conv2d(channels, units, 1, bias=False), nn.BatchNorm2d(units), nn.ReLU(inplace=True), nn.Conv2d(units, units, 1)
        )
        self.straight = nn.Conv2d(channels, units, 1, bias=False)
        self.norm = nn.LayerNorm(units)
        if units >= channels:
            nn.init.uniform_(self.straight.weight, -NEAR_IDENTITY, NEAR_IDENTITY)
            with torch.no_grad():
                self.straight.weight[range(channels), range(channels)] = 1.0

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        found = self.bent(maps) + self.straight(maps)
        return self.norm(found.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class LocalCritic(nn.Module):
    """Scores each code with each place of each image's map: T (N, N, S * S)."""

    def __init__(self, code: int, channels: int, units: int) -> None:
        super().__init__()
        self.of_code, self.of_map = PlaceCritic(code, units), PlaceCritic(channels, units)

    def forward(self, codes: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        return critic_scores(self.of_code(codes[:, :, None, None]).flatten(1), self.of_map(maps).flatten(2))


class GlobalCritic(nn.Module):
    """Scores each code with each whole image: T (N, N, 1).

    As in the authors' code a copy of the encoder's layers, from the one that made the local map to the last but the code,
    sums that map up (so that the one that made it is run twice), and a linear layer maps each side to `units`.
    """

    def __init__(self, code: int, shape: tuple[int, int], layers: Sequence[ConvLayer], dense: Sequence[int], units: int) -> None:
        super().__init__()
        self.tower = Tower(*shape, layers, dense)
        self.of_code, self.of_image = nn.Linear(code, units), nn.Linear(self.tower.features, units)

    def forward(self, codes: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        return critic_scores(self.of_code(codes), self.of_image(self.tower(maps))[:, :, None])


class Scored(NamedTuple):
    """Codes (N, code) and the critics' scores (N, N, L) of one batch; None for a critic that there is not."""

    codes: torch.Tensor
    local: torch.Tensor | None
    whole: torch.Tensor | None


class InfoMaxEncoder(nn.Module):
    """The encoder with its critics: views (N, C, S, S) to their codes and scores.

    Args:
        channels, side: of the views.
        layers, dense: of the trunk, see `Tower`.
        code: numbers in a code.
        place: which convolution's map is scored place by place, 1 for the first.
        units: that the critics map both sides to.
        critics: which there are, of `local` and `global`.

    Raises:
        MethodError: views too small for the convolutions, or fewer convolutions than `place`.
    """

    def __init__(
        self,
        channels: int,
        side: int,
        layers: Sequence[ConvLayer],
        dense: Sequence[int],
        *,
        code: int,
        place: int,
        units: int,
        critics: Sequence[str] = ("local", "global"),
    ) -> None:
        super().__init__()
        if place > len(layers):
            raise MethodError(f"local_map={place}: the network has {len(layers)} convolutions. Choose one of 1 to {len(layers)}.")
        self.trunk, self.place = Tower(channels, side, layers, dense), place
        self.code = nn.Linear(self.trunk.features, code)
        shape = self.trunk.shapes[place - 1]
        self.local = LocalCritic(code, shape[0], units) if "local" in critics else None
        self.whole = GlobalCritic(code, shape, layers[place - 1 :], dense, units) if "global" in critics else None

    def forward(self, views: torch.Tensor) -> Scored:
        maps = self.trunk.maps(views)
        codes, places = self.code(self.trunk.dense(maps[-1])), maps[self.place - 1]
        local = None if self.local is None else self.local(codes, places).float()
        whole = None if self.whole is None else self.whole(codes, places).float()
        return Scored(codes.float(), local, whole)


class PriorDiscriminator(nn.Sequential):
    """Codes (N, code) in [0, 1] to one logit each, (N,): above 0 for those that look drawn from the prior."""

    def __init__(self, code: int, units: Sequence[int] = (1000, 200)) -> None:
        layers: list[nn.Module] = []
        before = code
        for width in units:
            layers += [nn.Linear(before, width), nn.ReLU(inplace=True)]
            before = width
        super().__init__(*layers, nn.Linear(before, 1), nn.Flatten(0))
