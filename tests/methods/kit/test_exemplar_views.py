"""Exemplar-CNN's transformations: each against another program or a loop, and how far they reach."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.stats import kstest
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from clusterbench.methods.kit.exemplar_views import (
    DRAWS,
    ColourComponents,
    TransformationSettings,
    colour_components,
    scale_components,
    stretch_saturation_and_value,
    transform,
)
from clusterbench.methods.kit.randomness import generator

STILL = TransformationSettings(
    translation=0, scale=(1, 1), rotation=0, component_factors=(1, 1), powers=(1, 1), factors=(1, 1), offset=0, hue=0
)
SIZE = 8


def still(**settings: object) -> TransformationSettings:
    return STILL.model_copy(update=settings)


def contexts(count: int = 4, channels: int = 3, margin: int = 6) -> torch.Tensor:
    shape = (count, channels, SIZE + 2 * margin, SIZE + 2 * margin)
    return torch.randint(0, 256, shape, generator=generator("cpu", 1, *shape), dtype=torch.uint8)


def draws(count: int = 4) -> torch.Tensor:
    return torch.rand(count, DRAWS, generator=generator("cpu", 2, count))


def made(given: torch.Tensor, drawn: torch.Tensor, settings: TransformationSettings) -> torch.Tensor:
    return transform(given, drawn, SIZE, settings, colour_components(given))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_without_any_range_the_patch_is_what_lies_in_the_middle(channels: int) -> None:
    given = contexts(channels=channels)
    found = made(given, draws(), STILL)
    assert found.dtype == torch.float32 and torch.allclose(found, given[:, :, 6:-6, 6:-6] / 255, atol=1e-5)


def test_moving_scaling_and_turning_are_torchvisions() -> None:
    given, drawn = contexts(), draws()
    settings = still(translation=0.2, scale=(0.7, 1.4), rotation=20.0)
    found = made(given, drawn, settings)
    for context, (x, y, zoom, turn, *_), patch in zip(given, drawn.tolist(), found, strict=True):
        scale = math.exp(math.log(0.7) + zoom * math.log(2))
        shift = [(2 * part - 1) * 0.2 * SIZE for part in (x, y)]
        moved = reference.affine(
            (context / 255)[None], (2 * turn - 1) * 20, shift, scale, [0.0, 0.0], InterpolationMode.BILINEAR
        )  # fmt: skip
        assert torch.allclose(patch, moved[0, :, 6:-6, 6:-6], atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        TransformationSettings(), TransformationSettings(translation=0.5, scale=(0.5, 0.6), rotation=90), STILL,
        TransformationSettings(translation=0.0, scale=(1.2, 1.3), rotation=10),
    ],
)  # fmt: skip
def test_no_transformation_reads_beyond_the_margin_and_none_is_wasted(settings: TransformationSettings) -> None:
    only_moves = STILL.model_copy(update={name: getattr(settings, name) for name in ("translation", "scale", "rotation")})
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])] * 4)
    drawn = torch.cat([corners, torch.full((len(corners), DRAWS - 4), 0.5)], 1)
    margin = only_moves.margin(SIZE)
    white = torch.full((len(drawn), 1, SIZE + 2 * margin, SIZE + 2 * margin), 255, dtype=torch.uint8)
    assert made(white, drawn, only_moves).min() > 0.999
    if margin > 1:
        tight = white[:, :, 2:-2, 2:-2]
        assert made(tight, drawn, only_moves).min() < 0.9


def test_the_components_are_numpys() -> None:
    given = contexts(5)
    found, pixels = colour_components(given), given.numpy().transpose(0, 2, 3, 1).reshape(-1, 3) / 255
    covariance = np.cov(pixels.T, bias=True)
    turned = found.axes.double().numpy().T @ covariance @ found.axes.double().numpy()
    np.testing.assert_allclose(found.mean.numpy(), pixels.mean(0), rtol=1e-5)
    np.testing.assert_allclose(turned, np.diag(np.linalg.eigvalsh(covariance)), atol=1e-6)
    assert colour_components(contexts(2, 1)).axes.shape == (1, 1) and colour_components(contexts(2, 4)).mean.shape == (3,)


def test_contrast_scales_each_pixels_share_of_each_component() -> None:
    images, factors = torch.rand(2, 3, 2, 2, generator=generator("cpu", 5)), torch.tensor([[0.5, 1.5, 1.0], [2.0, 0.7, 1.1]])
    axes = torch.linalg.qr(torch.randn(3, 3, generator=generator("cpu", 6))).Q
    components = ColourComponents(torch.tensor([0.5, 0.4, 0.3]), axes)
    found = scale_components(images, factors, components)
    for image in range(2):
        for row in range(2):
            for column in range(2):
                pixel = components.mean.clone()
                for axis in range(3):
                    share = (images[image, :, row, column] - components.mean) @ axes[:, axis]
                    pixel += factors[image, axis] * share * axes[:, axis]
                assert torch.allclose(found[image, :, row, column], pixel.clamp(0, 1), atol=1e-6)


def test_saturation_and_value_are_stretched_as_in_pythons_hsv() -> None:
    images = torch.rand(3, 3, 4, 4, generator=generator("cpu", 7), dtype=torch.float64)
    images[0, :, 0, 0], images[0, :, 0, 1] = 0.4, 0.0  # a grey and a black pixel
    random = generator("cpu", 8)
    power, factor = 0.25 + 3 * torch.rand(3, 2, generator=random), 0.7 + 0.7 * torch.rand(3, 2, generator=random)
    offset = 0.2 * torch.rand(3, 2, generator=random) - 0.1
    offset[0] = 0.1
    found = stretch_saturation_and_value(images, power, factor, offset)
    for image in range(3):
        for row in range(4):
            for column in range(4):
                hue, *parts = colorsys.rgb_to_hsv(*images[image, :, row, column].tolist())
                stretched = [
                    min(max(part ** float(power[image, at]) * float(factor[image, at]) + float(offset[image, at]), 0.0), 1.0)
                    for at, part in enumerate(parts)
                ]
                expected = colorsys.hsv_to_rgb(hue, *stretched)
                np.testing.assert_allclose(found[image, :, row, column].numpy(), expected, atol=1e-6)


def test_a_grey_image_has_a_value_only() -> None:
    grey = torch.rand(2, 1, 3, 3, generator=generator("cpu", 9))
    power, factor, offset = torch.tensor([[9.0, 2.0]] * 2), torch.tensor([[9.0, 1.2]] * 2), torch.tensor([[9.0, -0.05]] * 2)
    expected = (grey**2 * 1.2 - 0.05).clamp(0, 1)
    assert torch.allclose(stretch_saturation_and_value(grey, power, factor, offset), expected, atol=1e-6)


def test_the_hue_is_turned_as_in_pythons_hsv() -> None:
    given, drawn = contexts(), draws()
    found, plain = made(given, drawn, still(hue=0.1)), given[:, :, 6:-6, 6:-6] / 255
    for image, turn in enumerate(((2 * drawn[:, 13] - 1) * 0.1).tolist()):
        hue, saturation, value = colorsys.rgb_to_hsv(*plain[image, :, 2, 3].tolist())
        expected = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)
        np.testing.assert_allclose(found[image, :, 2, 3].numpy(), expected, atol=1e-4)


def test_factors_are_drawn_evenly_in_their_logarithm_and_each_patch_has_its_own() -> None:
    grey = torch.full((2000, 1, SIZE, SIZE), 128, dtype=torch.uint8)
    drawn = torch.rand(2000, DRAWS, generator=generator("cpu", 10))
    values = made(grey, drawn, still(factors=(0.7, 1.4)))[:, 0, 4, 4] / (128 / 255)
    assert len(values.unique()) > 1900
    place = (values.double().log() - math.log(0.7)) / math.log(2)
    assert kstest(place.numpy(), "uniform").pvalue > 1e-3


def test_draws_decide_everything() -> None:
    given, drawn, settings = contexts(), draws(), TransformationSettings()
    assert torch.equal(made(given, drawn, settings), made(given, drawn, settings))
    first = made(given, drawn, settings)
    for number in range(DRAWS):
        other = drawn.clone()
        other[:, number] = (other[:, number] + 0.37) % 1
        assert not torch.allclose(made(given, other, settings), first, atol=1e-3), f"draw {number} does nothing"


@pytest.mark.parametrize("settings", [{"scale": (1.4, 0.7)}, {"scale": (0.0, 1.0)}, {"hue": 0.6}, {"turn": 1}])
def test_impossible_ranges_are_refused(settings: dict) -> None:
    with pytest.raises(ValidationError):
        TransformationSettings(**settings)
