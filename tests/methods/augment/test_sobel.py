"""Sobel edges against the two kernels written down in the paper's code, and against edges worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from clusterbench.methods.kit import augment

KERNELS = torch.tensor([[[1, 0, -1], [2, 0, -2], [1, 0, -1]], [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]]).float().unsqueeze(1)


def test_edges_are_the_cross_correlation_with_both_kernels(images: Tensor) -> None:
    grey = augment.to_grey(images)
    expected = functional.conv2d(grey, KERNELS.to(grey.device), padding=1)
    torch.testing.assert_close(augment.sobel(grey), expected, atol=1e-5, rtol=0)


def test_a_step_from_black_to_white_is_minus_four_in_its_direction_and_zero_in_the_other() -> None:
    image = torch.zeros(1, 1, 6, 6)
    image[..., 3:] = 1
    across, down = augment.sobel(image)[0]
    assert across[2].tolist() == [0, 0, -4, -4, 0, 4]  # the last column borders on the zeros around the image
    assert down[2].tolist() == [0, 0, 0, 0, 0, 0]
    turned_across, turned_down = augment.sobel(image.transpose(2, 3))[0]
    assert torch.equal(turned_down, across.T) and torch.equal(turned_across, down.T)


def test_network_input_is_edges_of_the_grey_image_after_the_colours_if_asked(draw_images: Callable) -> None:
    images = draw_images(4, (3, 24, 17))
    edges = augment.sobel(augment.to_grey(images))
    assert torch.equal(augment.sobel_input(images), edges)
    assert torch.equal(augment.sobel_input(images, include_rgb=True), torch.cat([images, edges], dim=1))


def test_colour_images_are_refused() -> None:
    with pytest.raises(ValueError, match="got 3 channels. Use to_grey first"):
        augment.sobel(torch.rand(2, 3, 8, 8))
