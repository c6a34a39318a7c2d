"""Colour operations against torchvision's functional ones, image by image."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor
from torchvision.transforms import functional as reference

from clusterbench.methods.kit import augment

FACTORS = {
    "brightness": (augment.brightness, reference.adjust_brightness, (0.0, 2.0)),
    "contrast": (augment.contrast, reference.adjust_contrast, (0.0, 2.0)),
    "saturation": (augment.saturation, reference.adjust_saturation, (0.0, 2.0)),
    "hue": (augment.hue, reference.adjust_hue, (-0.5, 0.5)),
}
ADJUST = [reference.adjust_brightness, reference.adjust_contrast, reference.adjust_saturation, reference.adjust_hue]


def one_by_one(operation: Callable, images: Tensor, factors: Tensor) -> Tensor:
    pairs = zip(images.cpu(), factors.tolist(), strict=True)
    return torch.stack([operation(image, factor) for image, factor in pairs])


@pytest.mark.parametrize("name", FACTORS)
def test_each_image_looks_as_torchvision_makes_it_with_its_own_factor(name: str, images: Tensor, generator: Generator) -> None:
    ours, theirs, (low, high) = FACTORS[name]
    factors = augment.uniform(len(images), low, high, generator)
    torch.testing.assert_close(ours(images, factors).cpu(), one_by_one(theirs, images, factors), atol=1e-5, rtol=0)


@pytest.mark.parametrize("shift", [-0.5, -1 / 3, -0.25, -1 / 6, 0.0, 1 / 6, 0.25, 1 / 3, 0.5])
def test_hue_is_right_on_primary_secondary_and_grey_pixels_where_its_cases_meet(shift: float) -> None:
    pixels = torch.tensor(list(itertools.product([0.0, 0.25, 0.5, 1.0], repeat=3))).T.reshape(1, 3, 8, 8)
    turned = augment.hue(pixels, torch.tensor([shift]))
    torch.testing.assert_close(turned, reference.adjust_hue(pixels, shift), atol=1e-5, rtol=0)


def test_a_third_of_a_turn_makes_red_green() -> None:
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(augment.hue(red, torch.tensor([1 / 3])).flatten(), torch.tensor([0.0, 1.0, 0.0]))


def test_hue_of_almost_grey_pixels_stays_finite_and_almost_grey() -> None:
    images = 0.5 + torch.tensor([0.0, 1e-7, -1e-7, 1e-38]).view(1, 1, 2, 2) * torch.tensor([1.0, -1.0, 0.5]).view(1, 3, 1, 1)
    torch.testing.assert_close(augment.hue(images, torch.tensor([0.3])), images, atol=1e-6, rtol=0)


def test_jitter_applies_the_four_operations_in_each_images_own_order(draw_images: Callable, generator: Generator) -> None:
    orders = torch.tensor(list(itertools.permutations(range(4))), device=generator.device).repeat(3, 1)  # all 24, three times
    for shape in [(1, 28, 28), (3, 32, 32), (3, 24, 17)]:
        images = draw_images(len(orders), shape)
        strengths = augment.jitter(len(orders), 0.8, 0.8, 0.8, 0.5, generator)._replace(order=orders)
        expected = images.cpu()
        for position in range(4):
            steps = zip(expected, orders[:, position].tolist(), range(len(orders)), strict=True)
            expected = torch.stack([ADJUST[step](image, strengths[step][i].item()) for image, step, i in steps])
        torch.testing.assert_close(augment.color_jitter(images, *strengths).cpu(), expected, atol=1e-5, rtol=0)


def test_order_of_jitter_matters_and_is_read_from_left_to_right() -> None:
    image, one = torch.full((1, 1, 2, 2), 0.5) * torch.tensor([0.0, 2.0]), torch.ones(1)  # black and white halves, mean 0.5
    double, still = 2 * one, 0 * one
    brighter_first = augment.color_jitter(image, double, one / 2, one, still, torch.tensor([[0, 1, 2, 3]]))
    contrast_first = augment.color_jitter(image, double, one / 2, one, still, torch.tensor([[1, 0, 3, 2]]))
    assert brighter_first.flatten().tolist() == [0.25, 0.75, 0.25, 0.75]  # clipped at 1, then drawn to the mean
    assert contrast_first.flatten().tolist() == [0.5, 1.0, 0.5, 1.0]  # 0.25 and 0.75 doubled, then clipped at 1


def test_grey_is_torchvisions(images: Tensor) -> None:
    torch.testing.assert_close(augment.to_grey(images).cpu(), reference.rgb_to_grayscale(images.cpu()), atol=1e-6, rtol=0)


def test_greyscale_takes_colour_from_the_chosen_images_only(images: Tensor, generator: Generator) -> None:
    mask = augment.bernoulli(len(images), 0.5, generator)
    result, channels = augment.greyscale(images, mask), images.shape[1]
    assert torch.equal(result[~mask], images[~mask])
    expected = (
        reference.rgb_to_grayscale(images[mask].cpu(), num_output_channels=channels) if channels == 3 else images[mask].cpu()
    )
    torch.testing.assert_close(result[mask].cpu(), expected, atol=1e-6, rtol=0)


def test_saturation_and_hue_leave_grey_images_alone(draw_images: Callable) -> None:
    images = draw_images(6, (1, 28, 28))
    factors = torch.linspace(-0.5, 0.5, 6, device=images.device)
    assert torch.equal(augment.saturation(images, factors + 1), images)
    assert torch.equal(augment.hue(images, factors), images)


def test_results_stay_between_black_and_white(images: Tensor, generator: Generator) -> None:
    result = augment.color_jitter(images, *augment.jitter(len(images), 3.0, 3.0, 3.0, 0.5, generator))
    assert result.min() >= 0 and result.max() <= 1


@pytest.mark.parametrize("operation", [augment.brightness, augment.contrast, augment.saturation, augment.hue, augment.greyscale])
def test_images_of_two_channels_or_of_bytes_are_refused(operation: Callable) -> None:
    with pytest.raises(ValueError, match=r"1 \(grey\) or 3 \(RGB\) channels, got 2"):
        operation(torch.rand(2, 2, 8, 8), torch.ones(2))
    with pytest.raises(TypeError, match="Use to_float first"):
        operation(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.ones(2))


def test_bytes_become_floats_as_in_torchvision() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(augment.to_float(pixels), reference.convert_image_dtype(pixels, torch.float32))


def test_float_images_are_not_scaled_again() -> None:
    images = torch.rand(2, 3, 8, 8)
    assert augment.to_float(images) is images
