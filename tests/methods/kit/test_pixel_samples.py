"""Features of pixels: read where they are wanted, drawn fairly, and kept in bounded memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from clusterbench.datasets.base import Images
from clusterbench.datasets.masks import UnreadMasks
from clusterbench.methods.base import MethodError
from clusterbench.methods.kit import pixel_samples
from clusterbench.methods.kit.pixel_samples import features_at, one_pixel_per_batch, sampled_pixels
from clusterbench.methods.kit.randomness import generator
from clusterbench.methods.kit.segmentation_views import SegmentationView, SegmentationViewSettings, largest_crop


def numbered(count: int, side: int = 20) -> Images:
    """Images of one value each: their number."""
    return Images(torch.arange(count, dtype=torch.uint8).view(count, 1, 1, 1).expand(count, 1, side, side).contiguous())


def drawn(images: Images, count: int, *, masked: bool = True, batch: int = 7, **views: Any) -> np.ndarray:
    view = SegmentationView(SegmentationViewSettings(**views), images.shape, largest_crop(images))
    return sampled_pixels(lambda seen: seen * 255, view, images, count, generator("cpu", 0), masked=masked, batch=batch)


@pytest.mark.parametrize("size", [(32, 40), (7, 9), (5, 20)])
def test_features_of_a_pixel_are_those_of_the_enlarged_map(size: tuple[int, int]) -> None:
    maps = torch.randn(3, 5, 7, 9, generator=torch.Generator().manual_seed(0))
    enlarged = functional.interpolate(maps, size, mode="bilinear", align_corners=False).movedim(1, -1).reshape(-1, 5)
    torch.testing.assert_close(features_at(maps, torch.arange(len(enlarged)), size), enlarged)
    some = torch.tensor([17, 3, 3, 80])
    torch.testing.assert_close(features_at(maps, some, size), enlarged[some])


def test_all_pixels_there_are_or_an_even_share_of_every_image() -> None:
    images = numbered(60)
    assert np.array_equal(np.bincount(drawn(images, 10**6).round().astype(int).ravel()), np.full(60, 400))
    some = drawn(images, 3000)
    counts = np.bincount(some.round().astype(int).ravel(), minlength=60)
    assert len(some) == 3000 and counts.sum() == 3000
    # Hypergeometric: 50 expected of each image, deviation sqrt(3000 / 60 * 59 / 60 * 7 / 8) = 6.6
    assert counts.min() > 50 - 5 * 6.6 and counts.max() < 50 + 5 * 6.6 and counts.std() > 3


def test_no_pixel_is_drawn_twice() -> None:
    pixels = torch.arange(250, dtype=torch.uint8).view(2, 1, 5, 25)
    for count in (40, 200, 249):
        found = drawn(Images(pixels), count, batch=1).round().ravel()
        assert len(np.unique(found)) == count


def test_a_sample_of_one_image_after_the_other_is_as_fair_as_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_samples, "CHUNK", 7)
    halves = np.concatenate([drawn(numbered(40, 6), 90, batch=1), drawn(numbered(40, 6), 90, batch=40)], axis=1)
    first, last = (halves < 20).sum(0), (halves >= 20).sum(0)
    assert (first + last == 90).all() and abs(first - last).max() < 5 * np.sqrt(90)


def test_masked_pixels_are_never_drawn() -> None:
    labels = np.where(np.arange(20) < 6, 2, -1) * np.ones((5, 20, 1), np.int16)
    rows = torch.arange(20, dtype=torch.uint8).expand(5, 1, 20, 20).contiguous()
    images = Images(rows, masks=UnreadMasks(labels))
    found = drawn(images, 10**6, batch=2)
    assert len(found) == 5 * 20 * 6 and found.max().round() == 5
    assert len(drawn(images, 10**6, masked=False, batch=2)) == 5 * 400
    assert drawn(Images(rows, masks=UnreadMasks(np.full((5, 20, 20), -1))), 10).shape[0] == 0


def test_pixels_are_of_the_crops_and_of_the_images_of_the_role() -> None:
    images = Images(numbered(6).pixels, roles={"main": torch.tensor([1, 4])})
    assert np.array_equal(np.bincount(drawn(images, 10**6, crop=3).round().astype(int).ravel()), [0, 9, 0, 0, 9])


def test_the_released_evaluator_draws_one_pixel_of_each_batch_that_stands_for_all() -> None:
    labels = np.zeros((10, 20, 20), np.int16)
    labels[0], labels[4:8] = -1, -1
    images = Images(numbered(10).pixels, masks=UnreadMasks(labels))
    view = SegmentationView(SegmentationViewSettings(), images.shape, (20, 20))
    found, weights = one_pixel_per_batch(lambda seen: seen * 255, view, images, generator("cpu", 0), masked=True, batch=4)
    assert weights.tolist() == [1200, 800]  # the batch in the middle has no pixel that counts
    assert found.round().ravel()[0] in (1, 2, 3) and found.round().ravel()[1] in (8, 9)


def test_a_large_sample_lies_in_a_file_that_is_gone_afterwards(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    usual = drawn(numbered(30), 500)
    monkeypatch.setattr(pixel_samples, "IN_MEMORY", 100)
    monkeypatch.setattr(pixel_samples.tempfile, "tempdir", str(tmp_path))
    assert np.array_equal(drawn(numbered(30), 500), usual)
    assert list(tmp_path.iterdir()) == []


def test_a_sample_that_no_disk_holds_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_samples, "IN_MEMORY", 0)
    monkeypatch.setattr(pixel_samples.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(MethodError, match="Lower kmeans.pixels"):
        drawn(numbered(3), 10)
