"""Affine maps, crops, resizing and flips against torchvision's functional operations, image by image."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as reference

from clusterbench.methods.kit import augment
from clusterbench.methods.kit.augment.geometry import Interpolation

MODES: dict[Interpolation, InterpolationMode] = {"nearest": InterpolationMode.NEAREST, "bilinear": InterpolationMode.BILINEAR}
TIES = 2e-4  # share of pixels whose source lies so near the middle between two pixels that rounding decides; 1e-5 is usual


def assert_same(ours: Tensor, theirs: Tensor, interpolation: Interpolation) -> None:
    if interpolation == "nearest":
        assert (ours.cpu() != theirs).double().mean() <= TIES
    else:
        torch.testing.assert_close(ours.cpu(), theirs, atol=1e-4, rtol=0)


def pairs(n: int, low: float, high: float, generator: Generator) -> Tensor:
    return torch.stack([augment.uniform(n, low, high, generator) for _ in range(2)], dim=1)


def draw_affine(n: int, generator: Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    angle, scale = augment.uniform(n, -180, 180, generator), augment.uniform(n, 0.5, 2, generator)
    return angle, pairs(n, -6, 6, generator), scale, pairs(n, -40, 40, generator)


def draw_boxes(n: int, shape: tuple[int, int, int], generator: Generator) -> augment.Boxes:
    _, rows, columns = shape
    height, width = (augment.integers(n, side, generator) + 1 for side in (rows, columns))
    top, left = augment.crop_positions(rows, columns, height, width, generator)
    return augment.Boxes(top, left, height, width)


@pytest.mark.parametrize("interpolation", MODES)
def test_affine_is_torchvisions_with_each_images_own_parameters(
    images: Tensor, generator: Generator, interpolation: Interpolation
) -> None:
    angle, translate, scale, shear = draw_affine(len(images), generator)
    ours = augment.affine(images, angle, translate, scale, shear, interpolation=interpolation)
    each = zip(images.cpu(), angle.tolist(), translate.tolist(), scale.tolist(), shear.tolist(), strict=True)
    theirs = torch.stack([reference.affine(*one, interpolation=MODES[interpolation]) for one in each])
    assert_same(ours, theirs, interpolation)


@pytest.mark.parametrize("interpolation", MODES)
def test_rotation_is_torchvisions_with_each_images_own_angle(
    images: Tensor, generator: Generator, interpolation: Interpolation
) -> None:
    degrees = augment.uniform(len(images), -180, 180, generator)
    each = zip(images.cpu(), degrees.tolist(), strict=True)
    theirs = torch.stack([reference.rotate(image, angle, MODES[interpolation]) for image, angle in each])
    assert_same(augment.rotate(images, degrees, interpolation=interpolation), theirs, interpolation)


def test_nearest_rotation_differs_from_torchvision_only_at_ties() -> None:
    n, side = 400, 28
    generator = torch.Generator().manual_seed(1)
    images, degrees = torch.rand(n, 1, side, side, generator=generator), augment.uniform(n, -25, 25, generator)
    theirs = torch.stack([reference.rotate(image, angle) for image, angle in zip(images, degrees.tolist(), strict=True)])
    turn = degrees.double().deg2rad().view(-1, 1, 1)
    y, x = torch.meshgrid(*[torch.arange(side, dtype=torch.float64) - (side - 1) / 2] * 2, indexing="ij")
    sources = torch.stack([turn.cos() * x - turn.sin() * y, turn.sin() * x + turn.cos() * y]) + (side - 1) / 2
    near_tie = ((sources - sources.floor() - 0.5).abs() < 1e-4).any(dim=0)
    assert torch.equal(augment.rotate(images, degrees).squeeze(1)[~near_tie], theirs.squeeze(1)[~near_tie])


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_quarter_turns_move_whole_pixels(quarters: int) -> None:
    images = torch.rand(3, 3, 8, 8)
    turned = augment.rotate(images, torch.full((3,), 90.0 * quarters))
    assert torch.equal(turned, images.rot90(quarters, dims=(2, 3)))


def test_translation_by_whole_pixels_shifts_right_and_down() -> None:
    images, zero = torch.rand(2, 1, 8, 8), torch.zeros(2)
    shifted = augment.affine(images, zero, torch.tensor([[2.0, 3.0]] * 2), zero + 1, torch.zeros(2, 2))
    torch.testing.assert_close(shifted[..., 3:, 2:], images[..., :-3, :-2], atol=1e-5, rtol=0)
    assert shifted[..., :3, :].abs().max() < 1e-5 and shifted[..., :2].abs().max() < 1e-5


def test_smaller_output_is_the_middle_of_the_full_one(images: Tensor, generator: Generator) -> None:
    rows, columns = images.shape[-2:]
    size, parameters = (rows - 4, columns - 2), draw_affine(len(images), generator)
    middle = augment.affine(images, *parameters)[..., 2 : rows - 2, 1 : columns - 1]
    torch.testing.assert_close(augment.affine(images, *parameters, size=size), middle, atol=1e-4, rtol=0)


@pytest.mark.parametrize("interpolation", MODES)
def test_fill_is_what_surrounds_the_image(draw_images: Callable, generator: Generator, interpolation: Interpolation) -> None:
    images, fill, border = draw_images(8, (3, 20, 24)), 0.75, 30
    parameters = draw_affine(8, generator)
    wide = torch.nn.functional.pad(images, [border] * 4, value=fill)
    surrounded = augment.affine(wide, *parameters, interpolation=interpolation)[..., border:-border, border:-border]
    filled = augment.affine(images, *parameters, interpolation=interpolation, fill=fill)
    assert ((filled - surrounded).abs() > 1e-4).double().mean() <= TIES


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [(24, 24), (7, 40), (96, 5), (1, 1)], ids=str)
def test_crop_and_resize_is_torchvisions_with_each_images_own_box(
    images: Tensor, shape: tuple[int, int, int], generator: Generator, size: tuple[int, int], antialias: bool
) -> None:
    boxes = draw_boxes(len(images), shape, generator)
    each = zip(images.cpu(), *(values.tolist() for values in boxes), strict=True)
    theirs = torch.stack([reference.resized_crop(*one, size=list(size), antialias=antialias) for one in each])
    ours = augment.crop_and_resize(images, *boxes, size=size, antialias=antialias)
    torch.testing.assert_close(ours.cpu(), theirs, atol=1e-5, rtol=0)


def test_flip_within_crop_and_resize_is_a_flip_of_its_result(
    images: Tensor, shape: tuple[int, int, int], generator: Generator
) -> None:
    boxes, mask = draw_boxes(len(images), shape, generator), augment.bernoulli(len(images), 0.5, generator)
    apart = augment.horizontal_flip(augment.crop_and_resize(images, *boxes, size=(11, 20)), mask)
    torch.testing.assert_close(augment.crop_and_resize(images, *boxes, size=(11, 20), flip=mask), apart, atol=1e-6, rtol=0)


def test_box_of_the_outputs_size_is_cut_out_unchanged(images: Tensor, generator: Generator) -> None:
    n, (rows, columns) = len(images), images.shape[-2:]
    height, width = torch.full((n,), rows - 3), torch.full((n,), columns - 4)
    top, left = augment.crop_positions(rows, columns, height.to(images.device), width.to(images.device), generator)
    resized = augment.crop_and_resize(images, top, left, height.to(top), width.to(top), size=(rows - 3, columns - 4))
    torch.testing.assert_close(resized, augment.crop(images, top, left, (rows - 3, columns - 4)), atol=1e-6, rtol=0)


@pytest.mark.parametrize("autocast_to", [torch.bfloat16])
def test_crop_and_resize_keeps_its_precision_under_autocast(
    images: Tensor, shape: tuple[int, int, int], generator: Generator, autocast_to: torch.dtype
) -> None:
    boxes = draw_boxes(len(images), shape, generator)
    plain = augment.crop_and_resize(images, *boxes, size=16)
    with torch.autocast(images.device.type, dtype=autocast_to):
        assert torch.equal(augment.crop_and_resize(images, *boxes, size=16), plain)


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_crop_is_torchvisions_with_each_images_own_corner(images: Tensor, generator: Generator, dtype: torch.dtype) -> None:
    images = (images * 255).to(dtype)
    top, left = (augment.integers(len(images), side - 5, generator) for side in images.shape[-2:])
    each = zip(images.cpu(), top.tolist(), left.tolist(), strict=True)
    theirs = torch.stack([reference.crop(image, y, x, 6, 5) for image, y, x in each])
    assert torch.equal(augment.crop(images, top, left, (6, 5)).cpu(), theirs)


@pytest.mark.parametrize("size", [1, 5, 6, (4, 7), (8, 8)], ids=str)
def test_centre_crop_is_torchvisions(images: Tensor, size: int | tuple[int, int]) -> None:
    assert torch.equal(
        augment.centre_crop(images, size), reference.center_crop(images, [size, size] if isinstance(size, int) else list(size))
    )


def test_flip_mirrors_the_chosen_images_only(images: Tensor, generator: Generator) -> None:
    mask = augment.bernoulli(len(images), 0.5, generator)
    flipped = augment.horizontal_flip(images, mask)
    assert torch.equal(flipped[mask], reference.hflip(images[mask]))
    assert torch.equal(flipped[~mask], images[~mask])


@pytest.mark.parametrize(
    "operation", [augment.centre_crop, lambda images, size: augment.crop(images, torch.zeros(2), torch.zeros(2), size)]
)
def test_a_window_larger_than_the_images_is_refused(operation: Callable) -> None:
    with pytest.raises(ValueError, match="window of 9x4 does not fit into images of 8x8"):
        operation(torch.rand(2, 1, 8, 8), (9, 4))


def test_bytes_are_refused_where_values_are_interpolated() -> None:
    pixels, zero = torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(2)
    for operation in (
        lambda: augment.rotate(pixels, zero),
        lambda: augment.crop_and_resize(pixels, zero, zero, zero + 8, zero + 8, 8),
        lambda: augment.horizontal_flip(pixels, zero.bool()),
    ):
        with pytest.raises(TypeError, match=r"got torch.uint8 \(2, 1, 8, 8\). Use to_float first"):
            operation()


def test_shrinking_with_antialias_averages_what_bilinear_would_skip() -> None:
    stripes = torch.zeros(1, 1, 16, 16)
    stripes[..., ::4] = 1  # a quarter of the pixels
    box = [torch.tensor([value]) for value in (0, 0, 16, 16)]
    smooth, plain = (augment.crop_and_resize(stripes, *box, size=4, antialias=antialias) for antialias in (True, False))
    assert math.isclose(smooth.mean().item(), 0.25, abs_tol=0.02)
    assert plain.mean().item() == 0.0
