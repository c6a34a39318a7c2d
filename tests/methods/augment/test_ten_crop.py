"""The ten crops against torchvision's, image by image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms import functional

from clusterbench.methods.kit import augment


@pytest.mark.parametrize("size", [3, 8])
def test_ten_crops_are_torchvisions_in_its_order(images: Tensor, size: int) -> None:
    crops = augment.ten_crop(images, size)
    assert crops.shape == (len(images), 10, images.shape[1], size, size)
    for image, ours in zip(images, crops, strict=True):
        assert torch.equal(ours, torch.stack(functional.ten_crop(image, size)))


def test_five_crops_are_the_first_half(images: Tensor) -> None:
    for image, ours in zip(images, augment.five_crop(images, 5), strict=True):
        assert torch.equal(ours, torch.stack(functional.five_crop(image, 5)))


def test_bytes_are_cropped_as_they_are() -> None:
    images = torch.arange(2 * 3 * 6 * 5, dtype=torch.uint8).view(2, 3, 6, 5)
    crops = augment.ten_crop(images, 5)
    assert crops.dtype == torch.uint8
    assert torch.equal(crops[:, 0], images[..., :5, :]) and torch.equal(crops[:, 9], images[..., 0:5, :].flip(-1))


def test_crops_larger_than_the_images_are_refused() -> None:
    with pytest.raises(ValueError, match="does not fit into images of 8x8"):
        augment.ten_crop(torch.rand(1, 1, 8, 8), 9)
