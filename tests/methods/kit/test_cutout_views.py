"""Views under Cutout, image by image, against the authors' loop and plain slicing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from clusterbench.methods.kit import augment
from clusterbench.methods.kit.cutout_views import CutoutViews, CutoutViewSettings
from clusterbench.methods.kit.randomness import generator

SHAPE = (3, 10, 10)


def some(n: int = 40) -> torch.Tensor:
    return torch.randint(1, 256, (n, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def views(**settings: object) -> CutoutViews:
    plain = {"mean": (0.0,), "std": (1.0,), "padding": 0, "flip_probability": 0.0, "cutout": 0}
    return CutoutViews(CutoutViewSettings.model_validate({**plain, **settings}), SHAPE)


@pytest.mark.parametrize("length", [1, 4, 5, 30])
def test_the_square_is_the_one_of_the_authors_loop(length: int) -> None:
    made, ones = views(cutout=length), torch.ones(200, *SHAPE)
    cut = made._cut_out(ones, generator("cpu", 0))
    random = generator("cpu", 0)
    rows, columns = (augment.integers(200, 10, random).numpy() for _ in range(2))
    for found, y, x in zip(cut.numpy(), rows, columns, strict=True):
        mask = np.ones((10, 10), np.float32)
        low, high = length // 2, length - length // 2
        mask[np.clip(y - low, 0, 10) : np.clip(y + high, 0, 10), np.clip(x - low, 0, 10) : np.clip(x + high, 0, 10)] = 0
        assert all((channel == mask).all() for channel in found)


def test_centres_are_drawn_from_all_pixels_alike() -> None:
    cut = views(cutout=1)._cut_out(torch.ones(20_000, *SHAPE), generator("cpu", 0))
    counts = (cut[:, 0] == 0).sum(0)
    assert counts.sum() == 20_000 and counts.min() > 120 and counts.max() < 280  # 200 expected, six deviations either way


def test_a_view_is_a_window_of_the_padded_image_or_of_its_mirror_image() -> None:
    batch = some()
    found = views(padding=2, flip_probability=0.5).varied(batch, generator("cpu", 0))
    padded = functional.pad(augment.to_float(batch), [2] * 4)
    windows = padded.unfold(2, 10, 1).unfold(3, 10, 1).flatten(2, 3).transpose(1, 2)  # (N, 25, C, 10, 10)
    mirrored = 0
    for view, each in zip(found, windows, strict=True):
        plain, turned = (torch.isclose(each, shown, atol=1e-5).flatten(1).all(1).any() for shown in (view, view.flip(-1)))
        assert plain or turned
        mirrored += int(turned)
    assert 8 < mirrored < 32


def test_the_square_holds_the_mean_after_normalisation_and_padding_is_black() -> None:
    mean, std = torch.tensor([0.25, 0.5, 0.75]), torch.tensor([0.5, 0.25, 0.2])
    made = views(mean=tuple(mean.tolist()), std=tuple(std.tolist()), padding=3, cutout=6)
    found = made.varied(torch.full((60, *SHAPE), 255, dtype=torch.uint8), generator("cpu", 0))
    colours = found.permute(0, 2, 3, 1).reshape(-1, 3)
    black, white, erased = (
        torch.isclose(colours, known, atol=1e-4).all(1) for known in (-mean / std, (1 - mean) / std, mean * 0)
    )
    assert (black | white | erased).all() and black.any() and white.any() and erased.any()


def test_at_test_time_the_whole_image_is_seen_at_the_size_of_the_views() -> None:
    batch = some(4)
    assert torch.equal(views(padding=4, cutout=8, flip_probability=1.0).test(batch), augment.to_float(batch))
    smaller = views(size=5).test(batch)
    expected = functional.interpolate(augment.to_float(batch), (5, 5), mode="bilinear", antialias=True, align_corners=False)
    torch.testing.assert_close(smaller, expected, atol=1e-5, rtol=1e-4)
    assert views(size=16).test(batch).shape == (4, 3, 16, 16)
