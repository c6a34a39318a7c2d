"""RandAugment against Pillow, operation by operation, with the ranges of SCAN's list."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Generator, Tensor

from clusterbench.methods.kit import augment
from clusterbench.methods.kit.augment.rand_augment import OPERATIONS

Pillow = Callable[[Image.Image, float], Image.Image]


def mapped(coefficients: Callable[[float, int, int], tuple[float, ...]]) -> Pillow:
    return lambda image, v: image.transform(image.size, Image.Transform.AFFINE, coefficients(v, *image.size))


# Published: name, range, and what Pillow does with a value from the range.
PUBLISHED: dict[str, tuple[float, float, Pillow]] = {
    "identity": (0, 1, lambda image, v: image),
    "autocontrast": (0, 1, lambda image, v: ImageOps.autocontrast(image)),
    "equalize": (0, 1, lambda image, v: ImageOps.equalize(image)),
    "rotate": (-30, 30, lambda image, v: image.rotate(v)),
    "solarize": (0, 256, ImageOps.solarize),  # type: ignore[arg-type]
    "colour": (0.05, 0.95, lambda image, v: ImageEnhance.Color(image).enhance(v)),
    "contrast": (0.05, 0.95, lambda image, v: ImageEnhance.Contrast(image).enhance(v)),
    "brightness": (0.05, 0.95, lambda image, v: ImageEnhance.Brightness(image).enhance(v)),
    "sharpness": (0.05, 0.95, lambda image, v: ImageEnhance.Sharpness(image).enhance(v)),
    "shear_x": (-0.1, 0.1, mapped(lambda v, width, height: (1, v, 0, 0, 1, 0))),
    "shear_y": (-0.1, 0.1, mapped(lambda v, width, height: (1, 0, 0, v, 1, 0))),
    "translate_x": (-0.1, 0.1, mapped(lambda v, width, height: (1, 0, v * width, 0, 1, 0))),
    "translate_y": (-0.1, 0.1, mapped(lambda v, width, height: (1, 0, 0, 0, 1, v * height))),
    "posterize": (4, 8, lambda image, v: ImageOps.posterize(image, int(v))),
}
GEOMETRIC = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")


@pytest.fixture
def pixels(images: Tensor) -> Tensor:
    return (images.cpu() * 255).round().byte()


def by_pillow(pixels: Tensor, operation: Tensor, magnitude: Tensor) -> Tensor:
    """All steps of each image, in bytes; parameters (N, count)."""
    changed = []
    for image, indices, strengths in zip(pixels, operation.tolist(), magnitude.tolist(), strict=True):
        picture = Image.fromarray(image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy())
        for index, strength in zip(indices, strengths, strict=True):
            low, high, apply = PUBLISHED[OPERATIONS[index]]
            picture = apply(picture, low + (high - low) * strength)
        found = torch.from_numpy(np.asarray(picture).copy())
        changed.append(found[None] if found.ndim == 2 else found.permute(2, 0, 1))
    return augment.to_float(torch.stack(changed))


def same_step(name: str, n: int) -> Tensor:
    return torch.full((n, 1), OPERATIONS.index(name))


def test_the_list_is_the_published_one() -> None:
    assert sorted(OPERATIONS) == sorted(PUBLISHED) and len(OPERATIONS) == 14


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_operation_is_pillows_over_its_published_range(name: str, pixels: Tensor, device: str) -> None:
    magnitude = torch.linspace(0, 0.999, len(pixels)).unsqueeze(1)
    operation = same_step(name, len(pixels))
    images = augment.to_float(pixels.to(device))
    ours = augment.rand_augment(images, operation.to(device), magnitude.to(device)).cpu()
    difference = (ours - by_pillow(pixels, operation, magnitude)).abs()
    if name in GEOMETRIC:  # Pillow reckons in steps of 2^-16 pixels, so that pixels halfway may come out as their neighbours
        assert (difference > 1e-5).float().mean() < 0.005
    else:
        assert difference.max() < 2 / 255  # Pillow rounds to bytes, some in two steps


@pytest.mark.parametrize("first", GEOMETRIC)
@pytest.mark.parametrize("second", ["rotate", "solarize", "posterize"])
def test_operations_follow_each_other_from_left_to_right(first: str, second: str, pixels: Tensor, device: str) -> None:
    n = len(pixels)
    operation = torch.cat([same_step(first, n), same_step(second, n)], dim=1)
    magnitude = torch.rand(n, 2, generator=Generator().manual_seed(3))
    ours = augment.rand_augment(augment.to_float(pixels.to(device)), operation.to(device), magnitude.to(device)).cpu()
    assert ((ours - by_pillow(pixels, operation, magnitude)).abs() > 1e-5).float().mean() < 0.005


def test_a_mixed_batch_gives_each_image_its_own_operations(pixels: Tensor, generator: Generator) -> None:
    n = len(pixels)
    operation, magnitude = augment.random_operations(n, 1, generator)
    operation[: len(OPERATIONS), 0] = torch.arange(len(OPERATIONS))
    ours = augment.rand_augment(augment.to_float(pixels.to(generator.device)), operation, magnitude).cpu()
    difference = (ours - by_pillow(pixels, operation, magnitude)).abs()
    assert (difference > 2 / 255).float().mean() < 0.005


def test_operations_are_drawn_evenly_and_with_replacement(generator: Generator) -> None:
    operation, magnitude = (values.cpu() for values in augment.random_operations(20_000, 4, generator))
    assert operation.shape == magnitude.shape == (20_000, 4)
    expected = 80_000 / 14
    counts = torch.bincount(operation.flatten(), minlength=14)
    assert ((counts - expected) ** 2 / expected).sum() < 34.5  # chi-square, 13 degrees of freedom, p = 0.001
    repeated = (operation.sort(dim=1).values.diff(dim=1) == 0).any(1).float().mean()
    assert abs(repeated - (1 - 13 * 12 * 11 / 14**3)) < 0.015
    assert 0 <= magnitude.min() < 0.001 and 0.999 < magnitude.max() < 1
    assert abs(magnitude.mean() - 0.5) < 0.01 and abs(magnitude.std() - 12**-0.5) < 0.01
    together = torch.corrcoef(torch.stack([operation.flatten().float(), magnitude.flatten()]))
    assert together[0, 1].abs() < 0.015  # drawn apart


def test_posterizing_keeps_four_to_seven_bits_each_as_often() -> None:
    ramp = augment.to_float(torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(4000, 1, 16, 16))
    magnitude = torch.rand(4000, 1, generator=Generator().manual_seed(0))
    tones = augment.rand_augment(ramp, same_step("posterize", 4000), magnitude).flatten(1).sort(1).values
    bits = (1 + (tones.diff(dim=1) > 0).sum(1)).log2()
    assert all(900 < (bits == count).sum() < 1100 for count in (4, 5, 6, 7))


def test_images_are_changed_the_same_where_all_are_computed(
    images: Tensor, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = augment.random_operations(len(images), 4, generator)
    chosen = augment.rand_augment(images, *steps)
    module = importlib.import_module("clusterbench.methods.kit.augment.rand_augment")
    monkeypatch.setattr(module, "_change_chosen", module._change_all)
    torch.testing.assert_close(augment.rand_augment(images, *steps), chosen, atol=1e-6, rtol=0)


def test_only_a_cpu_counts_the_images_of_an_operation() -> None:
    images = torch.empty(5, 3, 8, 8, device="meta")  # holds no values: whatever would be read back raises
    operation, magnitude = torch.empty(5, 4, dtype=torch.int64, device="meta"), torch.empty(5, 4, device="meta")
    assert augment.rand_augment(images, operation, magnitude).shape == images.shape


def test_no_operations_return_a_copy() -> None:
    images = torch.rand(3, 1, 4, 4)
    result = augment.rand_augment(images, *augment.random_operations(3, 0, Generator()))
    assert torch.equal(result, images) and result.data_ptr() != images.data_ptr()


def test_bytes_and_four_channels_are_refused() -> None:
    steps = augment.random_operations(40, 4, Generator().manual_seed(0))
    with pytest.raises(TypeError, match="Use to_float first"):
        augment.rand_augment(torch.zeros(40, 3, 4, 4, dtype=torch.uint8), *steps)
    with pytest.raises(ValueError, match="1 .grey. or 3 .RGB. channels"):
        augment.rand_augment(torch.zeros(40, 4, 4, 4), *steps)
