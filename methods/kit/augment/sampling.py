"""Random parameters, one per image, from an explicit `torch.Generator` and on its device.

Nothing here touches torch's global random state or reads a value back from the device, so lists of values become
comparisons with constants: a table would have to be copied to the device, and waited for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor

ATTEMPTS = 10  # of RandomResizedCrop to find a box that fits


class Generators(Generator):
    """Several generators in the place of one: each draws for its equal share of the images, as it would for them alone.

    The first n / S images are the first one's. Whoever draws otherwise than by the functions of this module gets nothing
    from the members.
    """

    members: tuple[Generator, ...]

    @classmethod
    def of(cls, members: Sequence[Generator]) -> Generators:
        """Those of one device in the place of one."""
        made = cls(members[0].device)
        made.members = tuple(members)
        return made


class Boxes(NamedTuple):
    """One box per image in whole pixels, int64 (N,) each: what `crop_and_resize` takes."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


class Jitter(NamedTuple):
    """What `color_jitter` takes: three factors (N,), a shift of hue in turns (N,), and an order of the four, int64 (N, 4)."""

    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    order: Tensor


def uniform(n: int, low: float, high: float, generator: Generator) -> Tensor:
    """Float32 (n,), evenly from `low` to `high`."""
    return _rand((n,), generator) * (high - low) + low


def integers(n: int, below: int | Tensor, generator: Generator) -> Tensor:
    """Int64 (n,), evenly from 0 to `below` - 1, where `below` is one number, or one per image (n,).

    For sizes and places within images: beyond 2^16 float32's resolution would favour some values by half a percent.
    """
    return (_rand((n,), generator) * below).long()


def bernoulli(n: int, probability: float, generator: Generator) -> Tensor:
    """Bool (n,), true with `probability`."""
    return _rand((n,), generator) < probability


def choice(n: int, values: Sequence[float], generator: Generator) -> Tensor:
    """(n,), each one of `values` with equal probability; int64 if all values are whole numbers by type, else float32."""
    dtype = torch.int64 if all(isinstance(value, int) for value in values) else torch.float32
    index = integers(n, len(values), generator)
    chosen = torch.zeros(n, dtype=dtype, device=generator.device)
    for place, value in enumerate(values):
        chosen.masked_fill_(index == place, value)
    return chosen


def permutations(n: int, length: int, generator: Generator) -> Tensor:
    """Int64 (n, length), for each image an order of 0..length-1, all equally likely."""
    return _rand((n, length), generator).argsort(dim=1)


def jitter(n: int, brightness: float, contrast: float, saturation: float, hue: float, generator: Generator) -> Jitter:
    """The draws of torchvision's `ColorJitter(brightness, contrast, saturation, hue)` for `n` images.

    Factors are even from max(0, 1 - x) to 1 + x, hue from -x to x (at most 0.5).
    """
    factors = [uniform(n, max(0.0, 1 - spread), 1 + spread, generator) for spread in (brightness, contrast, saturation)]
    return Jitter(factors[0], factors[1], factors[2], uniform(n, -hue, hue, generator), permutations(n, 4, generator))


def crop_positions(
    rows: int, columns: int, height: Tensor, width: Tensor, generator: Generator, *, centred: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Where boxes of `height`, `width` (N,) lie in images of `rows` x `columns`, every place equally likely.

    `centred` (bool, (N,)) says which boxes lie in the middle instead, placed as torchvision's `CenterCrop` does.
    Returns top and left, int64 (N,).
    """
    n = height.shape[0]
    top, left = integers(n, rows - height + 1, generator), integers(n, columns - width + 1, generator)
    if centred is None:
        return top, left
    middle_row, middle_column = ((free / 2).round().long() for free in (rows - height, columns - width))
    return middle_row.where(centred, top), middle_column.where(centred, left)


def resized_crop_boxes(
    n: int,
    rows: int,
    columns: int,
    generator: Generator,
    *,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Boxes:
    """The boxes of torchvision's `RandomResizedCrop(scale, ratio)` in images of `rows` x `columns`.

    Args:
        scale: range of the box's share of the image's area, drawn evenly.
        ratio: range of width / height, drawn evenly in its logarithm.

    As there, each image has ten attempts and takes the first box that fits, or else the largest central box within
    `ratio`. All ten are drawn at once, which leaves the distribution as it is.
    """
    shape = (n, ATTEMPTS)
    area = (_rand(shape, generator) * (scale[1] - scale[0]) + scale[0]) * (rows * columns)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = (_rand(shape, generator) * (high - low) + low).exp()
    widths, heights = (area * aspect).sqrt().round().long(), (area / aspect).sqrt().round().long()
    fits = (widths > 0) & (widths <= columns) & (heights > 0) & (heights <= rows)
    first = fits.to(torch.int8).argmax(dim=1, keepdim=True)  # argmax takes the first of equals
    fallback_height, fallback_width = _central_box(rows, columns, ratio)
    found = fits.any(dim=1)
    height = heights.gather(1, first).squeeze(1).masked_fill(~found, fallback_height)
    width = widths.gather(1, first).squeeze(1).masked_fill(~found, fallback_width)
    top, left = integers(n, rows - height + 1, generator), integers(n, columns - width + 1, generator)
    top, left = top.masked_fill(~found, (rows - fallback_height) // 2), left.masked_fill(~found, (columns - fallback_width) // 2)
    return Boxes(top, left, height, width)


def _central_box(rows: int, columns: int, ratio: tuple[float, float]) -> tuple[int, int]:
    """Height and width of the largest box of an allowed ratio."""
    if columns / rows < min(ratio):
        return round(columns / min(ratio)), columns
    if columns / rows > max(ratio):
        return rows, round(rows * max(ratio))
    return rows, columns


def _rand(shape: tuple[int, ...], generator: Generator) -> Tensor:
    if isinstance(generator, Generators):
        own = (shape[0] // len(generator.members), *shape[1:])
        return torch.cat([_rand(own, member) for member in generator.members])
    return torch.rand(shape, generator=generator, device=generator.device)
