"""Operations on tones against Pillow and torchvision, image by image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Generator, Tensor
from torchvision.transforms import functional as reference

from clusterbench.methods.kit import augment

BYTE = 1 / 255


@pytest.fixture
def pixels(images: Tensor) -> Tensor:
    """uint8 (N, C, H, W): noise, few tones, few neighbouring tones, one tone, and noise with much of one tone."""
    made = (images.cpu() * 255).round().byte()
    made[1] = made[1] // 16 + 100
    made[2] = 77
    made[3] = made[3].where(made[3] > 150, 0)
    return made


def picture(image: Tensor) -> Image.Image:
    return Image.fromarray(image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy())


def tensor(image: Image.Image) -> Tensor:
    found = torch.from_numpy(np.asarray(image).copy())
    return augment.to_float(found[None] if found.ndim == 2 else found.permute(2, 0, 1))


def by_pillow(operation: Callable[..., Image.Image], pixels: Tensor, *parameters: Tensor) -> Tensor:
    values = zip(*(each.tolist() for each in parameters), strict=True) if parameters else [()] * len(pixels)
    return torch.stack([tensor(operation(picture(image), *given)) for image, given in zip(pixels, values, strict=True)])


@pytest.mark.parametrize("name", ["autocontrast", "equalize", "invert"])
def test_tones_are_pillows(name: str, pixels: Tensor, device: str) -> None:
    ours = getattr(augment, name)(augment.to_float(pixels.to(device))).cpu()
    rounding = BYTE if name == "autocontrast" else 1e-6  # Pillow rounds it down to bytes
    torch.testing.assert_close(ours, by_pillow(getattr(ImageOps, name), pixels), atol=rounding + 1e-6, rtol=0)


def test_autocontrast_is_torchvisions_between_bytes_too(images: Tensor) -> None:
    torch.testing.assert_close(augment.autocontrast(images).cpu(), reference.autocontrast(images.cpu()), atol=1e-6, rtol=0)


def test_each_image_is_posterized_to_its_own_bits(pixels: Tensor, generator: Generator) -> None:
    bits = 1 + augment.integers(len(pixels), 8, generator)
    ours = augment.posterize(augment.to_float(pixels.to(generator.device)), bits).cpu()
    torch.testing.assert_close(ours, by_pillow(ImageOps.posterize, pixels, bits), atol=1e-6, rtol=0)
    assert not augment.posterize(augment.to_float(pixels), torch.zeros(len(pixels))).any()


def test_each_image_is_solarized_above_its_own_threshold(pixels: Tensor, generator: Generator) -> None:
    threshold = augment.uniform(len(pixels), 0, 256, generator)
    ours = augment.solarize(augment.to_float(pixels.to(generator.device)), threshold * BYTE).cpu()
    torch.testing.assert_close(ours, by_pillow(ImageOps.solarize, pixels, threshold), atol=1e-6, rtol=0)


def test_each_image_is_as_sharp_as_torchvision_makes_it(images: Tensor, generator: Generator) -> None:
    factor = augment.uniform(len(images), 0, 2, generator)
    ours, pairs = augment.sharpness(images, factor).cpu(), zip(images.cpu(), factor.tolist(), strict=True)
    theirs = torch.stack([reference.adjust_sharpness(image, sharp) for image, sharp in pairs])
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_sharpness_is_pillows_but_for_its_rounding(pixels: Tensor, generator: Generator) -> None:
    factor = augment.uniform(len(pixels), 0, 1, generator)
    ours = augment.sharpness(augment.to_float(pixels.to(generator.device)), factor).cpu()
    theirs = by_pillow(lambda image, sharp: ImageEnhance.Sharpness(image).enhance(sharp), pixels, factor)
    torch.testing.assert_close(ours, theirs, atol=1.5 * BYTE, rtol=0)  # it rounds the smoothed image, then cuts the blend


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (5, 2)])
def test_images_without_an_inside_are_as_sharp_as_before(size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size)
    assert torch.equal(augment.sharpness(images, torch.tensor([0.0, 2.0])), images)


def test_half_a_million_pixels_of_one_tone_are_counted_right() -> None:
    pixels = torch.zeros(1, 1, 720, 720, dtype=torch.uint8)
    pixels[..., 700:, :] = torch.arange(720, dtype=torch.int64).remainder(256).byte()
    torch.testing.assert_close(
        augment.equalize(augment.to_float(pixels)), by_pillow(ImageOps.equalize, pixels), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("name", ["autocontrast", "equalize", "invert", "posterize", "sharpness", "solarize"])
def test_bytes_are_refused(name: str) -> None:
    parameters = [] if name in ("autocontrast", "equalize", "invert") else [torch.ones(2)]
    with pytest.raises(TypeError, match="Use to_float first"):
        getattr(augment, name)(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), *parameters)
