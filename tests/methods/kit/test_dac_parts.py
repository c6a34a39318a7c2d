"""DAC's network and views: shapes, beginnings and what Keras' generator did to an image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform

from clusterbench.datasets.base import Images
from clusterbench.methods.base import MethodError
from clusterbench.methods.kit.dac_network import DACNetwork
from clusterbench.methods.kit.dac_views import DACViews, DACViewSettings
from clusterbench.methods.kit.randomness import generator

STILL: dict[str, Any] = {"rotation": 0, "shift": 0, "zoom": (1, 1), "channel_shift": 0, "rescale": 1}
AS_CIFAR = ((64, 64), (128, 128))
OPTIONS: dict[str, Any] = {"padded": False, "pool_norm": False, "last_relu": False, "average_side": None}


def network(channels: int = 1, size: int = 8, k: int = 3, widths: Any = ((4,),), **options: Any) -> DACNetwork:
    return DACNetwork(channels, size, k, widths, **{**OPTIONS, **options})


def some_images(n: int = 5, channels: int = 1, side: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (n, channels, side, side), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def views(channels: int = 1, side: int = 8, **settings: Any) -> DACViews:
    return DACViews(DACViewSettings(**{**STILL, **settings}), (channels, side, side), "cpu")


@pytest.mark.parametrize(
    ("channels", "size", "widths", "side", "layers"),
    [
        (3, 32, AS_CIFAR, 5, 4),
        (3, 32, ((64,) * 3, (128,) * 3), 3, 6),
        (1, 28, ((64,) * 3, (128,) * 3), 2, 6),
        (3, 96, ((64,) * 3, (128,) * 3, (256,) * 3), 6, 9),
    ],
)
def test_the_authors_networks_end_in_maps_of_their_size(channels: int, size: int, widths: Any, side: int, layers: int) -> None:
    made = network(channels, size, 10, widths)
    maps = made.convolutions(torch.zeros(2, channels, size, size))
    assert maps.shape == (2, 10, side, side) and made.window == side
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in made.convolutions) == layers + 1
    numbers = sum(p.numel() for p in made.tail.parameters())
    assert numbers == 2 * (10 * 10 + 10) + 2 * 2 * 10


def test_the_tail_begins_as_the_identity() -> None:
    made = network(last_relu=True)
    layers = [layer for layer in made.tail if isinstance(layer, torch.nn.Linear)]
    assert len(layers) == 2
    for layer in layers:
        assert torch.equal(layer.weight, torch.eye(3)) and not layer.bias.any()


def test_a_last_relu_leaves_no_negative_logit_and_without_it_they_are_centred() -> None:
    images = torch.rand(40, 1, 8, 8)
    assert network(last_relu=True)(images).min() == 0
    np.testing.assert_allclose(network()(images).mean(0).detach(), 0, atol=1e-5)


def test_only_the_upper_left_window_is_averaged() -> None:
    made = network(average_side=2, padded=True)
    seen: list[torch.Tensor] = []
    made.tail.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.rand(4, 1, 8, 8)
    made(images)
    torch.testing.assert_close(seen[0], made.convolutions(images)[:, :, :2, :2].mean((2, 3)))


def test_norms_after_pooling_are_added_on_request() -> None:
    def norms(made: DACNetwork) -> int:
        return sum(isinstance(layer, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)) for layer in made.modules())

    plain, normed = (network(size=28, widths=((4, 4), (4,)), pool_norm=on) for on in (False, True))
    assert norms(normed) == norms(plain) + 3


def test_images_that_are_too_small_are_refused_with_a_way_out() -> None:
    with pytest.raises(MethodError, match=r"8x8 are too small.*padded=true"):
        network(widths=((4, 4), (4, 4)))
    assert network(widths=((4, 4), (4, 4)), padded=True)(torch.rand(3, 1, 8, 8)).shape == (3, 3)
    with pytest.raises(MethodError, match="a window of 9 does not fit maps of 3x3"):
        network(average_side=9)


def test_views_at_test_time_are_pixels_less_the_mean_of_the_chosen_images() -> None:
    pixels = some_images(6, 3)
    made = views(3)
    made.fit(Images(pixels), torch.tensor([0, 2, 5]))
    expected = pixels.double() / 255 - (pixels[[0, 2, 5]].double() / 255).mean((0, 2, 3)).view(1, 3, 1, 1)
    torch.testing.assert_close(made.test(pixels).double(), expected, rtol=0, atol=1e-6)


def test_a_still_view_is_the_test_view_times_the_rescaling() -> None:
    pixels = some_images()
    for interpolation in ("nearest", "bilinear"):
        made = views(rescale=0.95, interpolation=interpolation)
        torch.testing.assert_close(made.training(pixels, generator("cpu", 0)), 0.95 * made.test(pixels), rtol=0, atol=1e-5)


def test_views_move_as_scipy_moves_the_image_and_its_rim_goes_on() -> None:
    """Keras' generator calls scipy's affine_transform with mode nearest, a row after a column."""
    pixels = some_images(12, side=9, seed=2)
    made = views(side=9, rotation=30, shift=0.3, zoom=(0.7, 1.4), interpolation="bilinear")
    maps = made._maps(12, generator("cpu", 5)).double().numpy()
    found = made.training(pixels, generator("cpu", 5))
    flip = np.array([[0, 1], [1, 0]])  # from x, y to row, column
    for image, matrix, view in zip(made.test(pixels)[:, 0].numpy(), maps, found[:, 0], strict=True):
        linear, shift = flip @ matrix[:, :2] @ flip, flip @ matrix[:, 2]
        expected = affine_transform(image, linear, 4 - linear @ [4, 4] + shift, order=1, mode="nearest")
        np.testing.assert_allclose(view, expected, atol=2e-5)


def test_rotation_shift_and_zoom_stay_in_their_ranges() -> None:
    made = views(side=20, rotation=20, shift=0.18, zoom=(0.85, 1.15))
    maps = made._maps(4000, generator("cpu", 0))
    turns = torch.rad2deg(torch.atan2(maps[:, 1, 0], maps[:, 0, 0]))
    zooms = maps[:, :, :2].norm(dim=1)  # of the columns
    shifts = maps[:, :, 2].norm(dim=1)
    for values, low, high in ((turns, -20, 20), (zooms, 0.85, 1.15)):
        assert low <= values.min() < low + 0.1 * (high - low) and high - 0.1 * (high - low) < values.max() <= high + 1e-4
    assert shifts.max() <= 0.18 * 20 * math.sqrt(2) + 1e-4 and shifts.max() > 0.18 * 20
    assert (zooms[:, 0] - zooms[:, 1]).abs().max() > 0.1, "each axis has a zoom of its own"


def test_the_margin_holds_whatever_a_view_can_read() -> None:
    made = views(side=20, rotation=20, shift=0.18, zoom=(0.85, 1.15))
    corners = torch.tensor([[x, y, 1.0] for x in (-9.5, 9.5) for y in (-9.5, 9.5)]).T
    read = made._maps(4000, generator("cpu", 0)) @ corners
    assert 9.5 < read.abs().max() < 10 + made.margin


def test_a_channel_shift_stays_within_the_range_of_its_image() -> None:
    pixels = (some_images(30, 3) // 4) + 60
    made = views(3, channel_shift=0.1)
    before, after = made.test(pixels), made.training(pixels, generator("cpu", 0))
    assert torch.equal(after.amax((1, 2, 3)) <= before.amax((1, 2, 3)), torch.ones(30, dtype=torch.bool))
    assert (after.amin((1, 2, 3)) >= before.amin((1, 2, 3))).all()
    moved = (after - before).flatten(2)
    inside = (after < after.amax((1, 2, 3), True)) & (after > after.amin((1, 2, 3), True))
    for image in range(30):
        for channel in range(3):
            amounts = moved[image, channel][inside[image, channel].flatten()]
            assert amounts.numel() and amounts.std() < 1e-5 and amounts.abs().max() <= 0.1


def test_images_of_any_side_are_resized_and_mirrored_ones_are_mirrored() -> None:
    pixels = torch.randint(0, 256, (3, 3, 10, 14), dtype=torch.uint8)
    made = DACViews(DACViewSettings(**{**STILL, "size": 6, "flip_probability": 1}), (3, 10, 14), "cpu")
    assert made.test(pixels).shape == (3, 3, 6, 6)
    torch.testing.assert_close(made.training(pixels, generator("cpu", 0)), made.test(pixels).flip(-1), rtol=0, atol=1e-5)


def test_a_falling_zoom_is_refused() -> None:
    with pytest.raises(ValueError, match="zoom must rise"):
        DACViewSettings(zoom=(1.1, 0.9))
