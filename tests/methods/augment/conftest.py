"""Fixtures of the augmentation tests: the devices, random images, and generators with a fixed seed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

DEVICES = ["cpu", *([pytest.param("cuda", marks=pytest.mark.gpu)] if torch.cuda.is_available() else [])]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def generator(device: str) -> Generator:
    return Generator(device).manual_seed(20240611)


@pytest.fixture(params=[(1, 8, 8), (1, 28, 28), (3, 24, 17), (3, 32, 32), (1, 96, 96), (3, 9, 96)], ids=str)
def shape(request: pytest.FixtureRequest) -> tuple[int, int, int]:
    """(C, H, W): grey and RGB, small and large, upright and lying."""
    return request.param


@pytest.fixture
def draw_images(generator: Generator) -> Callable[..., Tensor]:
    """Makes `n` random images of a shape (C, H, W); a quarter of them has few values, so that channels are often equal."""

    def draw(n: int, shape: tuple[int, int, int]) -> Tensor:
        images = torch.rand((n, *shape), generator=generator, device=generator.device)
        images[: n // 4] = (images[: n // 4] * 4).round() / 4
        return images

    return draw


@pytest.fixture
def images(draw_images: Callable[..., Tensor], shape: tuple[int, int, int]) -> Tensor:
    return draw_images(24, shape)
