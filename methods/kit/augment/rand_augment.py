"""RandAugment as SCAN uses it: a few of 14 operations for each image, each with a magnitude of its own.

The list and the ranges are those of Van Gansbeke et al. (ECCV 2020; released code, `data/rand_augment.py`): no inversion, no
cutout, and enhancements that only weaken (factors 0.05 to 0.95). Between operations the values are not rounded to bytes, as
Pillow's are, so that they differ from Pillow's by about a byte after each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from .colour import brightness, contrast, saturation
from .geometry import resample
from .images import check_float, per_image
from .sampling import integers, uniform
from .tone import autocontrast, equalize, posterize, sharpness, solarize

ROTATION = 30.0  # degrees either way
SHEAR = 0.1  # pixels per pixel, either way
TRANSLATION = 0.1  # of the side, either way


class Tone(NamedTuple):
    """An operation on tones, and the parameters that the magnitudes 0 and 1 stand for."""

    apply: Callable[[Tensor, Tensor], Tensor]
    low: float = 0.0
    high: float = 1.0


GEOMETRIC = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
TONES = {
    "autocontrast": Tone(lambda images, magnitude: autocontrast(images)),
    "equalize": Tone(lambda images, magnitude: equalize(images)),
    "solarize": Tone(solarize, 0.0, 256 / 255),  # thresholds from the byte 0 to above the last
    "colour": Tone(saturation, 0.05, 0.95),
    "contrast": Tone(contrast, 0.05, 0.95),
    "brightness": Tone(brightness, 0.05, 0.95),
    "sharpness": Tone(sharpness, 0.05, 0.95),
    "posterize": Tone(posterize, 4.0, 8.0),  # 4 to 7 bits, each as likely
}
OPERATIONS = (*GEOMETRIC, *TONES, "identity")


class RandomOperations(NamedTuple):
    """What `rand_augment` takes: indices into `OPERATIONS`, int64 (N, count), and magnitudes from 0 to 1, (N, count)."""

    operation: Tensor
    magnitude: Tensor


def random_operations(n: int, count: int, generator: Generator) -> RandomOperations:
    """`count` operations for each of `n` images, drawn evenly with replacement, with magnitudes even from 0 to 1."""
    operation = integers(n * count, len(OPERATIONS), generator).view(n, count)
    return RandomOperations(operation, uniform(n * count, 0, 1, generator).view(n, count))


def rand_augment(images: Tensor, operation: Tensor, magnitude: Tensor) -> Tensor:
    """Apply to each image its own operations, one after the other.

    Args:
        images: float (N, C, H, W) in [0, 1], C = 1 or 3. Loss of colour changes nothing in grey images.
        operation: int64 (N, count), indices into `OPERATIONS`; the first column is applied first.
        magnitude: (N, count), from 0 to below 1: where the operation lies in its range. Geometric ones go from one
            direction (0) over none (0.5) to the other; they take the nearest pixel, and outside the image it is black.

    Returns:
        (N, C, H, W).

    Raises:
        TypeError: images that are not float (N, C, H, W).
        ValueError: neither 1 nor 3 channels.
    """
    check_float(images)
    changed, count = images.clone(), operation.shape[1]
    index = torch.arange(len(OPERATIONS), device=images.device).view(-1, 1)
    chosen = operation.T.unsqueeze(1) == index  # (count, 14, N)
    matrices = _matrices((2 * magnitude.T - 1).unsqueeze(1) * chosen[:, : len(GEOMETRIC)], images.shape[-2:])
    strengths = [magnitude * (tone.high - tone.low) + tone.low for tone in TONES.values()]
    for place in range(count):
        masks = chosen[place].unbind(0)
        _change(changed, operation[:, place] < len(GEOMETRIC), _moved, matrices[place])
        for mask, tone, strength in zip(masks[len(GEOMETRIC) :], TONES.values(), strengths, strict=False):  # the last rests
            _change(changed, mask, tone.apply, strength[:, place])
    return changed


def _change(images: Tensor, mask: Tensor, operation: Callable[..., Tensor], *parameters: Tensor) -> None:
    """In place: `operation(images, *parameters)` for the images whose `mask` is true.

    A CPU picks them out, since an operation falls to one image in fourteen. A GPU would have to wait for their number, so it
    computes all and keeps what it needs.
    """
    change = _change_chosen if images.device.type == "cpu" else _change_all
    change(images, mask, operation, *parameters)


def _change_chosen(images: Tensor, mask: Tensor, operation: Callable[..., Tensor], *parameters: Tensor) -> None:
    chosen = mask.nonzero().squeeze(1)
    if len(chosen):
        images[chosen] = operation(images[chosen], *(values[chosen] for values in parameters))


def _change_all(images: Tensor, mask: Tensor, operation: Callable[..., Tensor], *parameters: Tensor) -> None:
    torch.where(per_image(mask), operation(images, *parameters), images, out=images)


def _moved(images: Tensor, matrix: Tensor) -> Tensor:
    return resample(images, matrix, interpolation="nearest")


def _matrices(strength: Tensor, size: tuple[int, ...]) -> Tensor:
    """For `strength` (count, 5, N), -1 to 1, of which at most one of the five is not 0: the maps (count, N, 2, 3) of `resample`.

    Pillow's for positive values: rotation counter-clockwise about the centre, shear from the upper left corner, shift to the
    left and upwards.
    """
    turn, lean_x, lean_y, shift_x, shift_y = strength.unbind(1)  # (count, N) each
    height, width = size
    turn, lean_x, lean_y = torch.deg2rad(ROTATION * turn), SHEAR * lean_x, SHEAR * lean_y
    cos, sin = torch.cos(turn), torch.sin(turn)
    right = lean_x * (height / 2) + shift_x * (TRANSLATION * width)  # the centre is half a height away from the corner
    below = lean_y * (width / 2) + shift_y * (TRANSLATION * height)
    return torch.stack([cos, lean_x - sin, right, lean_y + sin, cos, below], dim=2).unflatten(2, (2, 3))
