"""The pairs of views of IIC's segmentation: the same crop, the way back, what is jittered, and which pixels count."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from clusterbench.datasets.base import Images
from clusterbench.datasets.masks import UnreadMasks
from clusterbench.methods.base import MethodError
from clusterbench.methods.kit import augment
from clusterbench.methods.kit.randomness import generator
from clusterbench.methods.kit.segmentation_views import (
    JitteredView,
    JitterSettings,
    Pair,
    PairSettings,
    SegmentationPairs,
    inverse_of,
    largest_crop,
)

STILL: dict[str, Any] = {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0}


def numbered(count: int, height: int, width: int, channels: int = 3) -> Images:
    """Images whose first two channels say which row and column a pixel is of."""
    pixels = torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8)
    pixels[:, 0], pixels[:, 1] = torch.arange(height, dtype=torch.uint8)[:, None], torch.arange(width, dtype=torch.uint8)
    return Images(pixels)


def pairs(images: Images, **settings: Any) -> SegmentationPairs:
    return SegmentationPairs(PairSettings(**settings), images.shape, largest_crop(images))


def one_pair(images: Images, *, masked: bool = False, seed: int = 0, **settings: Any) -> Pair:
    indices = torch.arange(len(images)).flip(0)
    return pairs(images, **settings).pair(images, images.batch(indices), indices, generator("cpu", seed), masked=masked)


def test_mirroring_alone_is_undone_without_sampling() -> None:
    pair = one_pair(numbered(40, 12, 10), **STILL)
    assert pair.inverse is None and 5 < int(pair.flipped.sum()) < 35
    back = pair.undone(pair.second.unsqueeze(0))[0]
    assert torch.equal(back, pair.second.flip(-1).where(pair.flipped.view(-1, 1, 1, 1), pair.second))
    torch.testing.assert_close(back, pair.first)  # but for the rounding of a jitter that does nothing


def smooth(count: int, side: int) -> Images:
    """Slow waves, so that bilinear sampling errs little."""
    places = np.linspace(0, math.pi, side)
    waves = [np.sin(places[:, None] * a + places * b + c) for a, b, c in ((1, 2, 0), (2, -1, 1), (0.5, 1, 2))]
    pixels = np.round(127 + 120 * np.stack(waves)).astype(np.uint8)
    return Images(torch.from_numpy(pixels).expand(count, 3, side, side).contiguous())


def test_affine_maps_with_mirroring_are_undone_but_for_sampling_errors() -> None:
    pair = one_pair(smooth(12, 60), rotation=30, shear=10, scale=(0.8, 1.2), **STILL)
    assert pair.inverse is not None and 0 < int(pair.flipped.sum()) < 12
    back, seen = pair.undone(pair.second.unsqueeze(0))[0], pair.undone(torch.ones(1, *pair.second.shape))[0] > 0.999
    inside = torch.zeros(60, 60, dtype=torch.bool)
    inside[22:38, 22:38] = True  # what every second view shows
    assert seen[..., inside].all()
    assert (back - pair.first)[..., inside].abs().max() < 0.02
    assert (pair.second - pair.first)[..., inside].abs().max() > 0.2


def test_the_inverse_is_that_of_the_authors_geometry() -> None:
    angle, shear, scale = math.radians(20), math.radians(7), 1.1
    there = scale * np.array([[math.cos(angle), -math.sin(angle + shear)], [math.sin(angle), math.cos(angle + shear)]])
    mirror = np.diag([-1.0, 1.0])
    matrices = torch.from_numpy(there).float().expand(2, 2, 2)
    found = inverse_of(matrices, torch.tensor([False, True])).numpy()
    np.testing.assert_allclose(found[0, :, :2], np.linalg.inv(there), rtol=1e-5)
    np.testing.assert_allclose(found[1, :, :2], mirror @ np.linalg.inv(there), rtol=1e-5)
    assert not found[:, :, 2].any()


def test_affine_parameters_stay_in_their_ranges_and_fill_them() -> None:
    views = pairs(numbered(1, 12, 12), rotation=30, shear=10, scale=(0.8, 1.2))
    matrix = views._drawn(4000, generator("cpu", 0)).double()
    scale = matrix[:, :, 0].norm(dim=1)
    angle = torch.rad2deg(torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0]))
    shear = torch.rad2deg(torch.atan2(-matrix[:, 0, 1], matrix[:, 1, 1])) - angle
    for values, low, high in ((scale, 0.8, 1.2), (angle, -30, 30), (shear, -10, 10)):
        width = high - low
        assert low - 1e-3 < values.min() < low + width / 100 and high - width / 100 < values.max() < high + 1e-3


def test_both_views_and_the_mask_show_the_same_random_crop_inside_the_extent() -> None:
    pixels = numbered(300, 30, 40).pixels
    extents = torch.stack([torch.randint(16, 31, (300,)), torch.randint(16, 41, (300,))], dim=1)
    rows, columns = np.arange(30)[:, None], np.arange(40)
    labels = np.stack([np.where((rows < high) & (columns < wide) & (columns % 3 > 0), 0, -1) for high, wide in extents.tolist()])
    images = Images(pixels, extents=extents, masks=UnreadMasks(labels.astype(np.int16)))
    pair = one_pair(images, masked=True, crop=16, flip_probability=0, **STILL)
    assert pair.first.shape == (300, 3, 16, 16)
    torch.testing.assert_close(pair.first, pair.second)
    row, column = (pair.first[:, :2] * 255).round().long().unbind(1)
    assert torch.equal(row - row[:, :1, :1], torch.arange(16)[:, None].expand(300, 16, 16))
    high, wide = extents.flip(0).unbind(1)
    assert (row.amax((1, 2)) < high).all() and (column.amax((1, 2)) < wide).all()
    free = (high - 16, wide - 16)
    for start, most in zip((row[:, 0, 0], column[:, 0, 0]), free, strict=True):
        assert (start == 0).any() and (start == most)[most > 0].any() and ((start > 0) & (start < most)).any()
    assert pair.mask is not None and torch.equal(pair.mask, column % 3 > 0)


def test_the_largest_crop_is_what_every_image_has() -> None:
    images = Images(torch.zeros(3, 3, 30, 40, dtype=torch.uint8), extents=torch.tensor([[30, 20], [17, 40], [22, 33]]))
    assert largest_crop(images) == (17, 20) and pairs(images).size == (17, 20)
    assert largest_crop(Images(images.pixels)) == (30, 40)


def test_crops_of_a_window_lie_in_it() -> None:
    images = Images(numbered(4, 30, 30).pixels, window=(20, 20))
    first = one_pair(images, crop=20, flip_probability=0, **STILL).first
    assert torch.equal((first[:, 0, 0, 0] * 255).round(), torch.full((4,), 5.0))


def test_infrared_is_neither_jittered_nor_part_of_the_grey() -> None:
    images = numbered(6, 12, 12, channels=4)
    pair = one_pair(images, channels=["colours", "sobel", "infrared"], flip_probability=0)
    assert pair.first.shape[1] == 6
    assert torch.equal(pair.first[:, 5], pair.second[:, 5]) and not torch.equal(pair.first[:, :3], pair.second[:, :3])
    batch = images.pixels.flip(0) / 255
    assert torch.equal(pair.first[:, :3], batch[:, :3]) and torch.equal(pair.first[:, 5], batch[:, 3])
    torch.testing.assert_close(pair.first[:, 3:5], augment.sobel(augment.to_grey(batch[:, :3])))


@pytest.mark.parametrize(
    ("stored", "channels", "count"),
    [
        (3, ["colours", "infrared"], 3),
        (4, ["colours", "infrared"], 4),
        (3, ["colours", "sobel"], 5),
        (4, ["sobel", "infrared"], 3),
        (4, ["colours", "sobel", "infrared"], 6),
        (3, ["sobel"], 2),
        (1, ["colours"], 1),
    ],
)
def test_the_network_gets_the_channels_of_the_published_runs(stored: int, channels: list[str], count: int) -> None:
    images = numbered(2, 12, 12, channels=4) if stored > 1 else Images(torch.zeros(2, 1, 12, 12, dtype=torch.uint8))
    images = Images(images.pixels[:, :stored].contiguous())
    views = pairs(images, channels=channels)
    assert views.channels == count == views.test(images.pixels).shape[1]


def test_what_images_do_not_have_is_refused() -> None:
    with pytest.raises(MethodError, match="no infrared"):
        pairs(numbered(1, 12, 12), channels=["infrared"])
    with pytest.raises(MethodError, match=r"views\.crop: 13 pixels do not fit into images of 12x20; choose at most 12"):
        pairs(numbered(1, 12, 20), crop=13)


def test_the_same_generator_gives_the_same_pair_and_another_gives_another() -> None:
    images = numbered(8, 16, 16)
    settings: dict[str, Any] = {"crop": 10, "rotation": 20}
    first, again, other = (one_pair(images, seed=seed, **settings) for seed in (0, 0, 1))
    assert torch.equal(first.second, again.second) and not torch.equal(first.second, other.second)


def test_a_jittered_crop_is_mirrored_with_its_mask() -> None:
    images = numbered(40, 12, 12)
    labels = np.where(images.pixels[:, 1].numpy() < 6, 0, -1)  # masks are told by the image itself
    settings = JitterSettings(crop=8, **STILL)
    view = JitteredView(settings, images.shape, largest_crop(images))
    masked = Images(images.pixels, masks=UnreadMasks(labels))
    indices = torch.arange(40)
    crops, mask = view.jittered(masked, masked.batch(indices), indices, generator("cpu", 0), masked=True)
    assert mask is not None and torch.equal(mask, (crops[:, 1] * 255).round() < 6)
    columns = (crops[:, 1, 0] * 255).round().diff(dim=1)
    assert set(columns.unique().tolist()) == {-1, 1} and 8 < (columns[:, 0] < 0).sum() < 32


def test_jitter_is_that_of_the_second_view_of_a_pair() -> None:
    images, indices = numbered(6, 12, 12), torch.arange(6)
    pair = SegmentationPairs(PairSettings(crop=8), images.shape, (12, 12))
    one = JitteredView(JitterSettings(crop=8), images.shape, (12, 12))
    second = pair.pair(images, images.pixels, indices, generator("cpu", 3), masked=False).second
    crops, mask = one.jittered(images, images.pixels, indices, generator("cpu", 3), masked=True)
    assert mask is None and torch.equal(one.for_network(crops), second)
