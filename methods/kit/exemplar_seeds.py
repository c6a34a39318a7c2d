"""Exemplar-CNN's seed patches: where they are drawn, and what is cut out of the images for them.

Dosovitskiy, Fischer, Springenberg, Riedmiller, Brox: Discriminative Unsupervised Feature Learning with Exemplar Convolutional
Neural Networks, IEEE TPAMI 2016, section 3.1: patches from random positions and scales of different images, drawn with a
probability proportional to their mean squared gradient magnitude, since flat ones show no objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch.nn import functional

from ...datasets.base import Images
from . import augment

SeedSampling = Literal["proportional", "threshold", "uniform"]
BATCH = 500  # images that are looked at together


class Seeds(NamedTuple):
    """Patches in images, int64 (N,) each: which image, upper left corner, and side in pixels."""

    image: torch.Tensor
    top: torch.Tensor
    left: torch.Tensor
    side: torch.Tensor


def gradient_energy(images: torch.Tensor) -> torch.Tensor:
    """Squared length of the gradient at each pixel, summed over the channels: float (N, C, H, W) to (N, H, W).

    Central differences, one-sided at the edges.
    """
    down, across = torch.gradient(images, dim=(2, 3))
    return (down.square() + across.square()).sum(1)


def place_weights(energy: torch.Tensor, side: int, sampling: SeedSampling) -> torch.Tensor:
    """How likely each square of `side` pixels is drawn, not normalised.

    Args:
        energy: (N, H, W), at least 0.
        side: at most H and W.
        sampling: `proportional` to the square's mean energy; `threshold`: the same for all squares of at least the mean energy
            of the squares of their image, none for the others; `uniform`.

    Returns:
        (N, H - side + 1, W - side + 1) by upper left corner; uniform in an image without any gradient.
    """
    mean = functional.avg_pool2d(energy[:, None], side, stride=1)[:, 0]
    if sampling == "uniform":
        return torch.ones_like(mean)
    if sampling == "threshold":
        return (mean >= mean.mean((1, 2), keepdim=True) * (1 - 1e-5)).to(mean.dtype)  # equal ones count, rounded or not
    blank = mean.amax((1, 2), keepdim=True) == 0
    return mean.masked_fill(blank, 1.0)


def draw_seeds(
    images: Images, role: str, count: int, sides: Sequence[int], sampling: SeedSampling, random: torch.Generator
) -> Seeds:
    """`count` patches of the images of a role, from different ones as long as there are any, each of one of `sides`.

    Args:
        images: see `Images`.
        role: see `Images.role`.
        count: of the patches.
        sides: in pixels, each as likely, at most the images' height and width.
        sampling: see `place_weights`.
        random: generator on the images' device.
    """
    members = images.role(role)
    rounds = -(-count // len(members))
    image = torch.cat([members[torch.randperm(len(members), generator=random, device=members.device)] for _ in range(rounds)])
    image, side = image[:count], augment.choice(count, sides, random)
    top, left = torch.zeros_like(image), torch.zeros_like(image)
    for one in sorted(set(sides)):
        for some in (side == one).nonzero()[:, 0].split(BATCH):
            energy = gradient_energy(augment.to_float(images.batch(image[some])))
            top[some], left[some] = _drawn(place_weights(energy, one, sampling), random)
    return Seeds(image, top, left, side)


def _drawn(weights: torch.Tensor, random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """One place of each (N, rows, columns), row and column: int64 (N,)."""
    place = torch.multinomial(weights.flatten(1), 1, generator=random)[:, 0]
    return place // weights.shape[2], place % weights.shape[2]


def cut_contexts(images: Images, seeds: Seeds, size: int, margin: int) -> torch.Tensor:
    """The patches with what is around them, so that they can be turned, moved and shrunk.

    Each is resized so that its patch has `size` pixels a side. Beyond its edges an image is mirrored.

    Returns:
        uint8 (N, C, S, S), S = size + 2 * margin.
    """
    whole = size + 2 * margin
    found = torch.empty(len(seeds.image), images.shape[0], whole, whole, dtype=torch.uint8, device=images.device)
    for side in seeds.side.unique().tolist():
        box = round(side * whole / size)
        before = (box - side) // 2
        after = box - side - before
        for some in (seeds.side == side).nonzero()[:, 0].split(BATCH):
            padded = _mirrored(images.batch(seeds.image[some]).float(), after)
            corner = after - before
            windows = augment.crop(padded, seeds.top[some] + corner, seeds.left[some] + corner, box)
            if box != whole:
                windows = functional.interpolate(windows, (whole, whole), mode="bilinear", antialias=True)
            found[some] = windows.round().clamp(0, 255).to(torch.uint8)
    return found


def _mirrored(images: torch.Tensor, reach: int) -> torch.Tensor:
    """Float images (N, C, H, W) with `reach` pixels around them, mirrored as far as they go and repeated beyond that."""
    mirrored = min(reach, min(images.shape[-2:]) - 1)
    images = functional.pad(images, [mirrored] * 4, mode="reflect")
    return functional.pad(images, [reach - mirrored] * 4, mode="replicate")
