"""Pairs of patches of feature maps, for the methods that learn from where two patches of an image lie.

The rows "Doersch 2015" and "Isola 2016" of Ji, Henriques, Vedaldi (ICCV 2019), Table 4, as the code of their authors has them
(`utils/segmentation/baselines`): where the patches are is drawn anew until both lie inside the image; the patches are cut out of
maps that are enlarged to the image's size, go through the same small branch, and a perceptron sees both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from ..base import MethodError
from . import augment

ATTEMPTS = 64  # to find a pair that lies inside the image; where none of them does, there is no pair
NEAREST, FURTHEST = 1.5, 2.0  # sides between the centres of a pair with a direction; the latter is also the least of a far pair
MARGIN = 1.5  # sides from the border to the first centre

Size = tuple[int, int]
Neighbours = Literal["diagonal", "all"]


@dataclass(frozen=True)
class PatchPairs:
    """Where the patches of pairs lie, and what is asked about each pair.

    Attributes:
        first, second: int64 (..., 2), row and column of the centres.
        target: int64 (...,): the direction from the first to the second, or 1 for neighbours and 0 for a far pair.
        found: bool (...,); false if no attempt gave two patches inside the image: the centres are equal, and it must not count.
    """

    first: torch.Tensor
    second: torch.Tensor
    target: torch.Tensor
    found: torch.Tensor

    def for_images(self, count: int, each: int) -> PatchPairs:
        """Flat pairs as (count, each, ...): there are either as many as that, or `each`, which all images then share."""
        parts = (self.first, self.second, self.target, self.found)
        return PatchPairs(*(part.unflatten(0, (-1, each)).expand(count, *(-1,) * part.ndim) for part in parts))

    def counting(self, mask: torch.Tensor | None) -> torch.Tensor:
        """Which pairs (n, p) of images with `mask` (bool (n, h, w); None for all pixels) count, bool (n, p).

        As the authors: one of the two centres has to be a pixel that counts.
        """
        if mask is None:
            return self.found
        image = torch.arange(len(mask), device=mask.device).unsqueeze(1)
        inside = [mask[image, centre[..., 0], centre[..., 1]] for centre in (self.first, self.second)]
        return (inside[0] | inside[1]) & self.found


def directed_pairs(count: int, size: Size, side: int, directions: int, random: torch.Generator) -> PatchPairs:
    """`count` pairs of which the second patch lies in a random direction, 1.5 to 2 sides away (between the centres).

    Direction t is at t times 45 degrees: 0 along the row, 2 down the column. The authors' code draws one of nine, of which the
    last is the first again.

    Args:
        count: pairs.
        size: (h, w) of the images.
        side: of a patch, odd, in pixels.
        directions: 8 or 9.
        random: generator on the device.
    """

    def attempt(shape: Size) -> tuple[torch.Tensor, torch.Tensor]:
        direction = (_rand(shape, random) * directions).long()
        radius = side * (NEAREST + (FURTHEST - NEAREST) * _rand(shape, random))
        return _offsets(direction.double() * (math.pi / 4), radius), direction

    return _first_inside(attempt, count, size, side, random)


def near_and_far_pairs(count: int, size: Size, side: int, neighbours: Neighbours, random: torch.Generator) -> PatchPairs:
    """`count` pairs, each with even chances of neighbours (target 1) or of patches at least 2 sides apart (target 0).

    Args:
        count: pairs.
        size: (h, w) of the images.
        side: of a patch, odd, in pixels.
        neighbours: `diagonal`, the four that touch with a corner, as the authors; or `all` eight.
        random: generator on the device.
    """
    near = augment.bernoulli(count, 0.5, random)

    def attempt(shape: Size) -> tuple[torch.Tensor, torch.Tensor]:
        radius = side * FURTHEST + (max(size) - side * FURTHEST) * _rand(shape, random)
        far = _offsets(2 * math.pi * _rand(shape, random), radius)
        direction = (8 * _rand(shape, random)).long()
        direction = direction | 1 if neighbours == "diagonal" else direction
        touching = side * _offsets(direction.double() * (math.pi / 4), torch.full_like(radius, math.sqrt(2))).round()
        target = near.long().unsqueeze(1).expand(shape)
        return touching.where(target.bool().unsqueeze(-1), far), target

    return _first_inside(attempt, count, size, side, random)


def check_room(size: Size, side: int) -> None:
    """Raise `MethodError` for images (h, w) in which pairs of patches of `side` pixels would hardly ever find a place."""
    if min(size) < 4 * side:
        raise MethodError(
            f"Crops of {size[0]}x{size[1]} pixels have no room for pairs of patches of {side} pixels: "
            f"they need at least {4 * side}. Choose smaller patches (--set patch=...) or larger crops."
        )


def patches_at(maps: torch.Tensor, centres: torch.Tensor, side: int, size: Size) -> torch.Tensor:
    """Patches of feature maps as they would be cut out of maps enlarged to `size` (bilinear, corners not aligned).

    Only the patches are worked out: enlarged maps of 512 channels would be the largest thing in memory by far.

    Args:
        maps: float (n, D, h, w).
        centres: int64 (n, p, 2), rows and columns in an image of `size`.
        side: of a patch, odd, in pixels.
        size: (H, W) of the images.

    Returns:
        Float (n * p, D, side, side), the patches of an image one after the other.
    """
    rows, columns = (_interpolation(centres[..., axis], side, maps.shape[2 + axis], size[axis]) for axis in range(2))
    upright = torch.einsum("npah,ndhw->npdaw", rows.to(maps.dtype), maps)
    return torch.einsum("npdaw,npbw->npdab", upright, columns.to(maps.dtype)).flatten(0, 1)


class EnlargedPatches(nn.Module):
    """The layer without weights between the trunk and `PatchComparison`: `patches_at`, for one size of images.

    In the authors' code it is the network that enlarges its maps and cuts the patches out; gradients reach the trunk through it.
    As a layer it counts as the network's own work where a training step is compared with its networks alone, just as the
    enlarging in IIC's segmentation network does.

    Args:
        side: of a patch, odd, in pixels.
        size: (H, W) of the images.
    """

    def __init__(self, side: int, size: Size) -> None:
        super().__init__()
        self.side, self.size = side, size

    def forward(self, maps: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
        """Patches (n * p, D, side, side) of maps (n, D, h, w) at `centres`, int64 (n, p, 2)."""
        return patches_at(maps, centres, self.side, self.size)


class PatchComparison(nn.Module):
    """What is asked about two patches: a branch that both go through, and a perceptron that sees both results.

    With the authors' widths, 1024 and 1024, and patches of 11x11 the perceptron's first layer has 254 million weights.

    Args:
        features: channels D of the patches.
        side: of the patches.
        branch: channels of the branch, one 3x3 convolution with batch norm and ReLU.
        hidden: units of the perceptron's hidden layer.
        dropout: share of hidden units that are left out in training.
        outputs: of the perceptron.
    """

    def __init__(self, features: int, side: int, *, branch: int, hidden: int, dropout: float, outputs: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(features, branch, 3, padding=1, bias=False), nn.BatchNorm2d(branch), nn.ReLU(inplace=True)
        )
        self.joint = nn.Sequential(
            nn.Linear(2 * branch * side * side, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, outputs),
        )

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Outputs (m, outputs) for pairs of patches (m, D, side, side); each side has batch statistics of its own."""
        return self.joint(torch.cat([self.branch(first).flatten(1), self.branch(second).flatten(1)], dim=1))


def mean_where(losses: torch.Tensor, counting: torch.Tensor) -> torch.Tensor:
    """The mean of the `losses` (m,) whose pairs are `counting` (bool (m,)); 0 if there are none."""
    return losses.where(counting, 0).sum() / counting.sum().clamp(min=1)


def _first_inside(
    attempt: Callable[[Size], tuple[torch.Tensor, torch.Tensor]], count: int, size: Size, side: int, random: torch.Generator
) -> PatchPairs:
    """The first of `ATTEMPTS` whose second patch lies inside the image; `attempt` draws offsets and targets of a shape."""
    shape = (count, ATTEMPTS)
    offset, target = attempt(shape)  # (count, ATTEMPTS, 2), (count, ATTEMPTS)
    extent = torch.tensor(size, dtype=torch.float64).to(random.device, non_blocking=True)
    first = (_rand((*shape, 2), random) * (extent - 2 * MARGIN * side) + MARGIN * side).floor()
    second = (first + offset).floor()
    reach = side // 2
    inside = ((second >= reach) & (second < extent - reach)).all(-1)
    chosen = inside.int().argmax(1)  # the first one of those that are
    row, found = torch.arange(count, device=random.device), inside.any(1)
    first, second = first[row, chosen], second[row, chosen].where(found.unsqueeze(1), first[row, chosen])
    return PatchPairs(first.long(), second.long(), target[row, chosen], found)


def _offsets(angle: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """Rows and columns (..., 2) from polar coordinates, float64; sines that should be 0 are, as rounding down demands."""
    return torch.stack([angle.sin(), angle.cos()], dim=-1).round(decimals=12) * radius.unsqueeze(-1)


def _rand(shape: tuple[int, ...], random: torch.Generator) -> torch.Tensor:
    """Float64, evenly from 0 to 1."""
    return torch.rand(shape, generator=random, device=random.device, dtype=torch.float64)


def _interpolation(centres: torch.Tensor, side: int, have: int, wanted: int) -> torch.Tensor:
    """Weights (n, p, side, have) with which the places `centres` (n, p) +- side // 2 of `wanted` read an axis of `have`."""
    places = centres.unsqueeze(-1) + torch.arange(side, device=centres.device) - side // 2
    source = ((places.double() + 0.5) * (have / wanted) - 0.5).clamp(0, have - 1)
    distance = source.unsqueeze(-1) - torch.arange(have, device=centres.device)
    return (1 - distance.abs()).clamp(min=0)
