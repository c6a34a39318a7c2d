"""Cutout against a loop over the images."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from clusterbench.methods.kit import augment


def test_each_image_loses_its_own_square_and_nothing_else(images: Tensor, generator: Generator) -> None:
    n, (height, width) = len(images), images.shape[-2:]
    side = augment.integers(n, min(height, width) + 1, generator)
    top, left = augment.crop_positions(height, width, side, side, generator)
    expected = images.clone()
    for image, row, column, length in zip(expected, top.tolist(), left.tolist(), side.tolist(), strict=True):
        image[:, row : row + length, column : column + length] = 0
    assert torch.equal(augment.cutout(images, top, left, side), expected)


def test_a_side_of_zero_erases_nothing(images: Tensor) -> None:
    nothing = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    assert torch.equal(augment.cutout(images, nothing, nothing, nothing), images)


def test_what_lies_outside_the_image_is_of_no_effect() -> None:
    images = torch.ones(2, 1, 4, 4)
    left = augment.cutout(images, torch.tensor([-1, 3]), torch.tensor([-1, 2]), torch.tensor([2, 5]))
    assert left[0, 0].sum() == 15 and left[0, 0, 0, 0] == 0
    assert left[1, 0].sum() == 14 and left[1, 0, 3, 2:].sum() == 0


def test_bytes_are_refused() -> None:
    one = torch.ones(1, dtype=torch.int64)
    with pytest.raises(TypeError, match="Use to_float first"):
        augment.cutout(torch.ones(1, 1, 4, 4, dtype=torch.uint8), one, one, one)
