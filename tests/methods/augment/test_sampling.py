"""Drawn parameters against the distributions they claim, and against torchvision's own draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Generator, Tensor
from torchvision.transforms import ColorJitter, RandomResizedCrop
from torchvision.transforms import functional as reference

from clusterbench.methods.kit import augment

N = 4000
UNLIKELY = 1e-3  # with the fixed seed a right draw passes always; a wrong one has a p-value of nearly 0

DRAWS: dict[str, Callable[[int, Generator], Tensor]] = {
    "uniform": lambda n, generator: augment.uniform(n, -25, 25, generator),
    "integers": lambda n, generator: augment.integers(n, 1000, generator),
    "bernoulli": lambda n, generator: augment.bernoulli(n, 0.5, generator),
    "choice": lambda n, generator: augment.choice(n, [16, 20, 24], generator),
    "permutations": lambda n, generator: augment.permutations(n, 4, generator),
    "jitter": lambda n, generator: torch.cat([x.view(n, -1) for x in augment.jitter(n, 0.4, 0.4, 0.4, 0.1, generator)], dim=1),
    "boxes": lambda n, generator: torch.stack(augment.resized_crop_boxes(n, 32, 32, generator), dim=1),
}


def assert_uniform(values: Tensor, low: float, high: float) -> None:
    assert low <= values.min() and values.max() <= high
    assert stats.kstest(values.cpu().numpy(), stats.uniform(low, high - low).cdf).pvalue > UNLIKELY


def assert_evenly_spread(values: Tensor, expected: list[int]) -> None:
    found, counts = values.cpu().unique(return_counts=True)
    assert found.tolist() == sorted(expected)
    assert stats.chisquare(counts.numpy()).pvalue > UNLIKELY


def test_uniform_is_even_between_its_ends(generator: Generator) -> None:
    assert_uniform(augment.uniform(N, -25, 25, generator), -25, 25)


@pytest.mark.parametrize("probability", [0.0, 0.2, 0.5, 1.0])
def test_bernoulli_is_true_as_often_as_asked(generator: Generator, probability: float) -> None:
    hits = int(augment.bernoulli(N, probability, generator).sum())
    assert stats.binomtest(hits, N, probability).pvalue > UNLIKELY


def test_integers_are_even_below_a_bound_of_each_images_own(generator: Generator) -> None:
    below = torch.arange(N, device=generator.device) % 5 + 1
    drawn = augment.integers(N, below, generator)
    for bound in range(1, 6):
        if bound > 1:
            assert_evenly_spread(drawn[below == bound], list(range(bound)))
        assert drawn[below == bound].max() < bound


def test_choice_takes_each_value_equally_often(generator: Generator) -> None:
    assert_evenly_spread(augment.choice(N, [16, 20, 24], generator), [16, 20, 24])


def test_choice_keeps_whole_numbers_whole_and_fractions_fractions(generator: Generator) -> None:
    assert augment.choice(5, [16, 20], generator).dtype == torch.int64
    assert set(augment.choice(50, [1, 0.5], generator).tolist()) == {1.0, 0.5}


def test_all_orders_of_four_are_equally_likely(generator: Generator) -> None:
    orders = augment.permutations(N, 4, generator)
    assert torch.equal(orders.sort(dim=1).values, torch.arange(4, device=orders.device).expand(N, 4))
    codes = (orders * torch.tensor([64, 16, 4, 1], device=orders.device)).sum(dim=1)
    assert len(codes.unique()) == math.factorial(4)
    assert stats.chisquare(codes.cpu().unique(return_counts=True)[1].numpy()).pvalue > UNLIKELY


def test_jitter_has_the_ranges_of_torchvisions_color_jitter(generator: Generator) -> None:
    drawn, theirs = augment.jitter(N, 0.4, 0.3, 1.5, 0.125, generator), ColorJitter(0.4, 0.3, 1.5, 0.125)
    for name in ("brightness", "contrast", "saturation", "hue"):
        assert_uniform(getattr(drawn, name), *getattr(theirs, name))


def test_crop_positions_reach_every_place_inside_the_image_equally(generator: Generator) -> None:
    height, width = torch.full((N,), 20, device=generator.device), torch.full((N,), 24, device=generator.device)
    top, left = augment.crop_positions(28, 30, height, width, generator)
    assert_evenly_spread(top, list(range(9)))
    assert_evenly_spread(left, list(range(7)))
    assert abs(torch.corrcoef(torch.stack([top, left]).double())[0, 1]) < 0.05


@pytest.mark.parametrize(("rows", "columns"), [(28, 28), (29, 33), (96, 32)])
def test_centred_boxes_lie_where_torchvision_crops_the_centre(generator: Generator, rows: int, columns: int) -> None:
    image = torch.arange(rows * columns).view(1, rows, columns)
    height, width = (augment.choice(60, [13, 14, 15, 20, 24], generator) for _ in range(2))
    centred = augment.bernoulli(60, 0.5, generator)
    top, left = augment.crop_positions(rows, columns, height, width, generator, centred=centred)
    for i in centred.nonzero().flatten().tolist():
        corner = reference.center_crop(image, [int(height[i]), int(width[i])])[0, 0, 0]
        assert int(corner) == int(top[i]) * columns + int(left[i])
    free = augment.crop_positions(rows, columns, height, width, generator, centred=torch.zeros_like(centred))
    assert len(free[0].unique()) > 3 and len(free[1].unique()) > 3


@pytest.mark.parametrize(
    ("rows", "columns", "scale", "ratio"),
    [
        (32, 32, (0.08, 1.0), (3 / 4, 4 / 3)),
        (96, 64, (0.2, 1.0), (3 / 4, 4 / 3)),
        (12, 60, (0.6, 1.0), (3 / 4, 4 / 3)),  # no box ever fits: the central one, as wide as the ratio allows
        (60, 12, (0.6, 1.0), (3 / 4, 4 / 3)),
        (16, 40, (0.45, 0.7), (3 / 4, 4 / 3)),  # most attempts fail
        (32, 32, (0.9, 1.0), (0.25, 4.0)),
    ],
)
def test_resized_crop_boxes_are_distributed_as_torchvisions(
    generator: Generator, rows: int, columns: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> None:
    boxes = augment.resized_crop_boxes(N, rows, columns, generator, scale=scale, ratio=ratio)
    image = torch.zeros(1, rows, columns)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        theirs = torch.tensor([RandomResizedCrop.get_params(image, list(scale), list(ratio)) for _ in range(N // 2)])
    for ours, reference_values in zip(boxes, theirs.T, strict=True):
        comparison: Any = stats.ks_2samp(ours.cpu().numpy(), reference_values.numpy())
        assert comparison.pvalue > UNLIKELY


@pytest.mark.parametrize(("rows", "columns"), [(32, 32), (17, 24), (12, 60), (8, 8)])
def test_resized_crop_boxes_lie_inside_the_image(generator: Generator, rows: int, columns: int) -> None:
    boxes = augment.resized_crop_boxes(N, rows, columns, generator)
    assert all(values.dtype == torch.int64 and values.shape == (N,) for values in boxes)
    assert min(boxes.top.min(), boxes.left.min()) >= 0 and min(boxes.height.min(), boxes.width.min()) >= 1
    assert (boxes.top + boxes.height).max() <= rows and (boxes.left + boxes.width).max() <= columns


@pytest.mark.parametrize("name", DRAWS)
def test_a_seed_decides_the_draw_and_images_differ(name: str, device: str) -> None:
    first, again, other = (DRAWS[name](64, Generator(device).manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(first.unique(dim=0)) > 1 and first.device.type == device


@pytest.mark.parametrize("name", DRAWS)
def test_draws_leave_the_global_random_state_alone(name: str, generator: Generator) -> None:
    before = torch.get_rng_state()
    DRAWS[name](16, generator)
    assert torch.equal(torch.get_rng_state(), before)
