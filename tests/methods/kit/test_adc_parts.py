"""ADC's networks and views: the authors' sizes, beginnings and ranges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import functional as reference

from clusterbench.methods.base import MethodError
from clusterbench.methods.kit.adc_network import SPREAD, ADCNetwork, ConvEmbedding, ResNetEmbedding
from clusterbench.methods.kit.adc_views import ADCViews, ADCViewSettings
from clusterbench.methods.kit.randomness import generator, seeded

STILL: dict[str, Any] = {"rotation": 0, "largest_cut": 0, "brightness": 0, "noise": 0}


def views(shape: tuple[int, int, int] = (1, 8, 8), **settings: Any) -> ADCViews:
    return ADCViews(ADCViewSettings(**{**STILL, "size": min(shape[1:]), **settings}), shape)


def some_images(shape: tuple[int, int, int] = (1, 8, 8), n: int = 5) -> torch.Tensor:
    return torch.randint(0, 256, (n, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def signed(batch: torch.Tensor) -> torch.Tensor:
    return batch.float() / 255 * 2 - 1


def test_the_mnist_network_has_the_numbers_of_the_authors() -> None:
    made = ConvEmbedding(1, 28, (32, 32 * 2, 32 * 4), 2, 0.2, 128)
    shapes = [(32, 1), (32, 32), (64, 32), (64, 64), (128, 64), (128, 128)]
    convolutions = sum(9 * a * b + a for a, b in shapes)
    assert sum(p.numel() for p in made.parameters()) == convolutions + 3 * 3 * 128 * 128 + 128
    kinds = [type(layer).__name__ for layer in made]
    part = ["Conv2d", "ELU", "Conv2d", "ELU", "MaxPool2d"]
    assert kinds == [*part, "Dropout", *part, "Dropout", *part, "Flatten", "Linear", "ELU"]
    assert made(torch.zeros(2, 1, 28, 28)).shape == (2, 128)


@pytest.mark.parametrize(
    ("widths", "blocks", "stem_pool", "size", "side"),
    [((16, 32, 64), 3, False, 32, 8), ((32, 64, 128, 256), 2, True, 64, 8)],
)
def test_the_residual_networks_end_in_maps_of_eight_by_eight(
    widths: tuple[int, ...], blocks: int, stem_pool: bool, size: int, side: int
) -> None:
    made = ResNetEmbedding(3, widths, blocks, 0.2, 128, stem_pool)
    seen: list[torch.Size] = []
    pool = next(layer for layer in made if isinstance(layer, torch.nn.AdaptiveAvgPool2d))
    pool.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    assert made.eval()(torch.zeros(2, 3, size, size)).shape == (2, 128)
    assert seen == [(2, widths[-1], side, side)]
    three = sum(isinstance(layer, torch.nn.Conv2d) and layer.kernel_size == (3, 3) for layer in made.modules())
    assert three == 1 + 2 * blocks * len(widths)  # ResNet-20 has 19 of them and a linear layer


def test_a_residual_block_adds_its_input_to_what_two_convolutions_make_of_it() -> None:
    made = ResNetEmbedding(1, (4,), 2, 0.0, 3, False).eval()
    block = made[2]
    maps = torch.randn(2, 4, 5, 5)
    block.convolution2.weight.data.zero_()  # pyright: ignore[reportAttributeAccessIssue]
    assert torch.equal(block(maps), maps)


def test_images_too_small_for_the_pooling_are_refused() -> None:
    with pytest.raises(MethodError, match=r"4x4 are too small for 3 widths.*larger views"):
        ConvEmbedding(1, 4, (4, 4, 4), 1, 0.0, 8)


def test_centroids_begin_close_to_the_middle_of_their_cluster() -> None:
    with seeded(0, "test"):
        made = ADCNetwork(ConvEmbedding(1, 8, (4,), 1, 0.0, 512), 512, 5, 4, 0.3)
    assert made.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4
    grouped = made.centroids.detach().view(5, 4, 512)
    assert 0 < (grouped.amax(1) - grouped.amin(1)).max() <= 2 * SPREAD
    assert grouped.mean(1).std().item() == pytest.approx(0.3, rel=0.1)


def test_placed_centroids_surround_what_they_were_given() -> None:
    made = ADCNetwork(ConvEmbedding(1, 8, (4,), 1, 0.0, 6), 6, 3, 2, 0.3)
    middles = torch.arange(18.0).view(3, 6)
    made.place_centroids(middles, 1e-4, generator("cpu", 0))
    apart = (made.centroids - middles.repeat_interleave(2, 0)).abs()
    assert 0 < apart.max() <= 1.1e-4


def test_the_image_itself_is_seen_whole_in_minus_one_to_one() -> None:
    pixels = some_images()
    made = views()
    torch.testing.assert_close(made.test(pixels), signed(pixels))
    torch.testing.assert_close(made.plain(pixels, generator("cpu", 0)), signed(pixels))


def test_a_crop_is_central_at_test_time_and_somewhere_in_training() -> None:
    pixels = some_images((3, 12, 12), 60)
    made = views((3, 12, 12), size=8, crop=2 / 3)
    torch.testing.assert_close(made.test(pixels), signed(pixels[:, :, 2:10, 2:10]))
    seen = set()
    for image, view in zip(pixels, made.plain(pixels, generator("cpu", 0)), strict=True):
        windows = {(t, left): signed(image[:, t : t + 8, left : left + 8]) for t in range(5) for left in range(5)}
        (place,) = [place for place, window in windows.items() if torch.allclose(window, view)]
        seen.add(place)
    assert len(seen) > 15


def test_still_copies_are_the_images_side_by_side() -> None:
    pixels = some_images((3, 8, 8))
    found = views((3, 8, 8)).copies(pixels, 3, generator("cpu", 0))
    torch.testing.assert_close(found, signed(pixels).repeat_interleave(3, 0), rtol=0, atol=1e-5)


def test_copies_are_turned_about_the_middle_and_grey_beyond_the_rim() -> None:
    pixels = torch.full((40, 1, 20, 20), 255, dtype=torch.uint8)
    pixels[:, :, :10, :10] = 0
    found = views((1, 20, 20), rotation=30).copies(pixels, 1, generator("cpu", 0))
    assert len({round(float(view.sum()), 3) for view in found}) > 30
    assert ((found.abs() < 1e-4).flatten(1).sum(1) > 0).float().mean() > 0.7, "corners are grey, which is 0 in -1..1"
    turned = reference.rotate(signed(pixels[:1]), 30, interpolation=reference.InterpolationMode.BILINEAR)
    assert (found.abs() < 1e-4).sum((1, 2, 3)).max() <= (turned.abs() < 1e-4).sum() + 8


def test_a_cut_leaves_out_no_more_than_it_may() -> None:
    ramp = torch.arange(0, 250, 5, dtype=torch.uint8).expand(300, 1, 50, 50).contiguous()  # grows from left to right
    found = views((1, 50, 50), largest_cut=0.4).copies(ramp, 1, generator("cpu", 0))[:, 0, 25]
    spans = (found[:, -2] - found[:, 1]) / (found.new_tensor(2 / 255 * 5 * 47))
    assert 0.59 < spans.min() < 0.65 and 0.95 < spans.max() < 1.01
    assert found[:, 1].min() < -0.95 and found[:, 1].max() > -0.95 + 0.2, "windows lie at different places"


def test_brightness_is_added_and_contrast_keeps_the_mean() -> None:
    pixels = (some_images(n=50) // 8) + 112  # far from black and white
    bright = views(brightness=0.3).copies(pixels, 1, generator("cpu", 0)) - signed(pixels)
    assert bright.flatten(1).std(1).max() < 1e-5
    amounts = bright.mean((1, 2, 3))
    assert -0.3 <= amounts.min() < -0.2 and 0.2 < amounts.max() <= 0.3
    contrasted = views(contrast=(0.5, 1.5)).copies(pixels, 1, generator("cpu", 0))
    np.testing.assert_allclose(contrasted.mean((1, 2, 3)), signed(pixels).mean((1, 2, 3)), atol=1e-5)
    factors = contrasted.std((1, 2, 3)) / signed(pixels).std((1, 2, 3))
    assert 0.5 <= factors.min() < 0.6 and 1.4 < factors.max() <= 1.5


def test_colours_change_with_saturation_and_hue_and_grey_stays_grey() -> None:
    made = views((3, 8, 8), saturation=(0.2, 0.4), hue=0.2)
    coloured = some_images((3, 8, 8))
    assert (made.copies(coloured, 1, generator("cpu", 0)) - signed(coloured)).abs().mean() > 0.05
    grey = some_images().expand(-1, 3, -1, -1)
    torch.testing.assert_close(made.copies(grey, 1, generator("cpu", 0)), signed(grey), rtol=0, atol=1e-3)


def test_noise_has_its_deviation_and_nothing_leaves_the_range() -> None:
    middle = torch.full((20, 1, 16, 16), 127, dtype=torch.uint8)
    found = views((1, 16, 16), noise=0.05).copies(middle, 2, generator("cpu", 0))
    assert found.std().item() == pytest.approx(0.05, rel=0.05)
    loud = views(noise=2.0).copies(some_images(), 2, generator("cpu", 0))
    assert loud.min() == -1 and loud.max() == 1


def test_mirrored_copies_are_mirrored() -> None:
    pixels = some_images()
    found = views(flip_probability=1).copies(pixels, 1, generator("cpu", 0))
    torch.testing.assert_close(found, signed(pixels).flip(-1), rtol=0, atol=1e-5)


def test_images_that_are_not_square_and_infrared_are_taken() -> None:
    made = views((4, 10, 14), size=8, saturation=(0.5, 1.5), rotation=10, largest_cut=0.2)
    pixels = some_images((4, 10, 14))
    for found, count in (
        (made.test(pixels), 5),
        (made.plain(pixels, generator("cpu", 0)), 5),
        (made.copies(pixels, 2, generator("cpu", 0)), 10),
    ):
        assert found.shape == (count, 4, 8, 8)


def test_a_falling_range_is_refused() -> None:
    with pytest.raises(ValueError, match="contrast must rise"):
        ADCViewSettings(contrast=(1.2, 0.8))
