from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from clusterbench.methods.kit.conv_autoencoder import AutoencoderSettings, ImageAutoencoder, half_squared_distance, smallest_map

SHAPES = [(1, 8, 8), (1, 16, 16), (1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 96, 96), (3, 9, 15), (4, 1, 7)]
WIDTHS = (4, 6, 8)
KINDS: list[dict[str, Any]] = [{"kernel": 3}, {"kernel": 5}, {"batch_norm": False}, {"kind": "mlp"}]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("settings", KINDS)
def test_images_of_any_side_come_back_at_their_own(shape: tuple[int, int, int], settings: dict[str, Any]) -> None:
    network = ImageAutoencoder(AutoencoderSettings(widths=WIDTHS, **settings), shape, code=5)
    images = torch.rand(3, *shape)
    assert network.encoder(images).shape == (3, 5)
    assert network(images).shape == images.shape


@pytest.mark.parametrize(("side", "wanted"), [(28, 4), (32, 4), (96, 12), (8, 1)])
def test_each_convolution_halves_the_side(side: int, wanted: int) -> None:
    settings, maps = AutoencoderSettings(widths=WIDTHS), torch.zeros(1, 1, side, side)
    for layer in ImageAutoencoder(settings, (1, side, side), code=5).eval().encoder[:-2]:
        maps = layer(maps)
    assert maps.shape[1:] == (8, wanted, wanted) == smallest_map(settings, (1, side, side))


@pytest.mark.parametrize("settings", KINDS)
def test_every_weight_is_learned(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = ImageAutoencoder(AutoencoderSettings(widths=(16, 16, 16), **settings), (3, 9, 15), code=5)
    images = torch.rand(16, 3, 9, 15)
    half_squared_distance(network(images), images).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())


@pytest.mark.parametrize(("batch_norm", "norms"), [(True, 3 + 2), (False, 0)])
def test_neither_code_nor_image_is_normalised_or_bounded(batch_norm: bool, norms: int) -> None:
    network = ImageAutoencoder(AutoencoderSettings(widths=WIDTHS, batch_norm=batch_norm), (1, 8, 8), code=5)
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in network.modules()) == norms
    assert isinstance(network.encoder[-1], nn.Linear) and isinstance(network.decoder[-1], nn.ConvTranspose2d)


def test_a_variational_encoder_gives_more_than_the_decoder_takes() -> None:
    network = ImageAutoencoder(AutoencoderSettings(widths=WIDTHS), (1, 8, 8), code=5, outputs=10)
    assert network.encoder(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert network.decoder(torch.rand(2, 5)).shape == (2, 1, 8, 8)


def test_half_the_squared_distance_is_summed_over_an_image_and_averaged_over_images() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 3, 2, 4, 5))
    wanted = sum((x - y) ** 2 for x, y in zip(a.ravel(), b.ravel(), strict=True)) / 2 / 3
    left = torch.tensor(a, dtype=torch.float32, requires_grad=True)
    found = half_squared_distance(left, torch.tensor(b))
    found.backward()
    assert found.item() == pytest.approx(wanted, rel=1e-6)
    assert left.grad is not None and np.allclose(left.grad.numpy(), (a - b) / 3, atol=1e-6)
