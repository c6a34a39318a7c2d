"""Pairs of patches: their places against the authors' way to draw them, and what is cut out there against enlarged maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, ks_2samp
from torch.nn import functional

from clusterbench.methods.base import MethodError
from clusterbench.methods.kit.patch_pairs import (
    PatchComparison,
    PatchPairs,
    check_room,
    directed_pairs,
    mean_where,
    near_and_far_pairs,
    patches_at,
)
from clusterbench.methods.kit.randomness import generator

SIDE, SIZE = 11, (128, 100)
COUNT = 4000


def drawn_one_by_one(asked: str, count: int) -> np.ndarray:
    """(count, 5): first row and column, second row and column, target, each drawn anew until both patches fit."""
    random, border, found = np.random.default_rng(1), SIDE // 2, []
    extent = np.array(SIZE)
    while len(found) < count:
        target = random.integers(9) if asked == "direction" else int(random.random() < 0.5)
        while True:
            first = np.floor(random.random(2) * (extent - 3 * SIDE) + 1.5 * SIDE).astype(int)
            if asked == "near" and target:
                second = first + SIDE * random.choice([-1, 1], 2)
            elif asked == "near":
                radius, angle = random.uniform(2 * SIDE, max(SIZE)), random.uniform(0, 2 * np.pi)
                second = np.floor(first + radius * np.array([np.sin(angle), np.cos(angle)])).astype(int)
            else:
                target = random.integers(9)
                radius, angle = random.uniform(1.5 * SIDE, 2 * SIDE), target * np.pi / 4
                second = np.floor(first + radius * np.round([np.sin(angle), np.cos(angle)], 12)).astype(int)
            if (second >= border).all() and (second < extent - border).all():
                break
        found.append([*first, *second, target])
    return np.array(found)


def as_rows(pairs: PatchPairs) -> np.ndarray:
    assert pairs.found.all()
    return torch.cat([pairs.first, pairs.second, pairs.target.unsqueeze(1)], dim=1).numpy()


def agree(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Whether two samples of one target may well be of one distribution: places, and how far and where the second lies."""
    for column in range(4):
        assert ks_2samp(ours[:, column], theirs[:, column]).pvalue > 1e-3
    distances = [np.hypot(rows[:, 2] - rows[:, 0], rows[:, 3] - rows[:, 1]) for rows in (ours, theirs)]
    assert ks_2samp(*distances).pvalue > 1e-3


def test_directed_pairs_are_distributed_as_those_drawn_one_by_one() -> None:
    ours, theirs = as_rows(directed_pairs(COUNT, SIZE, SIDE, 9, generator("cpu", 0))), drawn_one_by_one("direction", COUNT)
    expected = np.bincount(theirs[:, 4], minlength=9)
    counts = np.bincount(ours[:, 4], minlength=9)
    assert chisquare(counts, expected).statistic < 2 * 27.9  # 27.9: once in 2,000 by chance; twice, as both are samples
    agree(ours, theirs)
    for target in range(9):
        agree(ours[ours[:, 4] == target], theirs[theirs[:, 4] == target])


def test_the_second_patch_lies_in_its_direction_at_one_and_a_half_to_two_sides() -> None:
    rows = as_rows(directed_pairs(COUNT, SIZE, SIDE, 8, generator("cpu", 1)))
    steps = rows[:, 2:4] - rows[:, :2] + 0.5  # places are rounded down, so the middle of what they may have been
    steps[:, 0][rows[:, 4] % 4 == 0] -= 0.5  # along an axis nothing is rounded
    steps[:, 1][rows[:, 4] % 4 == 2] -= 0.5
    turned = np.arctan2(steps[:, 0], steps[:, 1]) - rows[:, 4] * np.pi / 4
    assert np.abs(np.angle(np.exp(1j * turned))).max() < np.arctan(0.71 / (1.5 * SIDE - 0.71))
    distances = np.hypot(*steps.T)
    assert distances.min() >= 1.5 * SIDE - 0.71 and distances.max() <= 2 * SIDE + 0.71
    assert set(rows[:, 4]) == set(range(8))


def test_the_ninth_direction_is_the_first_again() -> None:
    rows = as_rows(directed_pairs(COUNT, SIZE, SIDE, 9, generator("cpu", 2)))
    for target in (0, 8):
        steps = (rows[:, 2:4] - rows[:, :2])[rows[:, 4] == target]
        assert (steps[:, 0] == 0).all() and steps[:, 1].min() >= 16 and steps[:, 1].max() <= 22


def test_near_and_far_pairs_are_distributed_as_those_drawn_one_by_one() -> None:
    ours = as_rows(near_and_far_pairs(COUNT, SIZE, SIDE, "diagonal", generator("cpu", 0)))
    theirs = drawn_one_by_one("near", COUNT)
    assert abs(ours[:, 4].mean() - 0.5) < 4 * 0.5 / np.sqrt(COUNT)
    for target in range(2):
        agree(ours[ours[:, 4] == target], theirs[theirs[:, 4] == target])


@pytest.mark.parametrize(("neighbours", "steps"), [("diagonal", 4), ("all", 8)])
def test_neighbours_touch_and_others_are_two_sides_away(neighbours: str, steps: int) -> None:
    rows = as_rows(near_and_far_pairs(COUNT, SIZE, SIDE, neighbours, generator("cpu", 3)))  # type: ignore[arg-type]
    away = rows[:, 2:4] - rows[:, :2]
    near = rows[:, 4] == 1
    kinds, counts = np.unique(away[near], axis=0, return_counts=True)
    assert len(kinds) == steps and set(np.abs(kinds).max(1)) == {SIDE}
    assert (np.abs(kinds) == SIDE).all() or steps == 8
    assert chisquare(counts).pvalue > 1e-3
    assert np.hypot(*(away[~near] + 0.5).T).min() >= 2 * SIDE - 0.71


def test_every_patch_of_a_pair_lies_inside_the_image() -> None:
    random = generator("cpu", 4)
    for pairs in (directed_pairs(500, (44, 60), 11, 8, random), near_and_far_pairs(500, (44, 60), 11, "all", random)):
        for centres in (pairs.first, pairs.second):
            assert (centres >= 5).all() and (centres[:, 0] < 39).all() and (centres[:, 1] < 55).all()


def test_a_pair_without_a_place_does_not_count() -> None:
    pairs = directed_pairs(50, (33, 33), 11, 8, generator("cpu", 0))  # hardly any fits; check_room refuses such crops
    lost = ~pairs.found
    assert lost.any() and torch.equal(pairs.first[lost], pairs.second[lost])
    counting = pairs.for_images(5, 10).counting(torch.ones(5, 33, 33, dtype=torch.bool))
    assert torch.equal(counting.flatten(), pairs.found)


def test_crops_without_room_are_refused() -> None:
    check_room((44, 90), 11)
    with pytest.raises(MethodError, match="43x90 pixels have no room for pairs of patches of 11 pixels: they need at least 44"):
        check_room((43, 90), 11)


def test_shared_pairs_are_the_same_in_all_images_and_own_ones_are_not() -> None:
    pairs = directed_pairs(12, SIZE, SIDE, 8, generator("cpu", 0))
    own = pairs.for_images(4, 3)
    assert torch.equal(own.first.flatten(0, 1), pairs.first) and torch.equal(own.target.flatten(), pairs.target)
    shared = pairs.for_images(5, 12)
    assert shared.second.shape == (5, 12, 2) and shared.target.shape == shared.found.shape == (5, 12)
    assert all(torch.equal(shared.second[image], pairs.second) for image in range(5))


def test_a_pair_counts_if_one_of_its_centres_does() -> None:
    pairs = directed_pairs(12, (60, 60), SIDE, 8, generator("cpu", 0)).for_images(3, 4)
    mask = torch.rand(3, 60, 60, generator=torch.Generator().manual_seed(0)) < 0.4
    counting = pairs.counting(mask)
    for image in range(3):
        for pair in range(4):
            (a, b), (c, d) = pairs.first[image, pair].tolist(), pairs.second[image, pair].tolist()
            assert counting[image, pair] == (mask[image, a, b] or mask[image, c, d])
    assert counting.any() and not counting.all()


@pytest.mark.parametrize(("have", "wanted"), [((62, 50), SIZE), ((96, 98), (200, 196)), ((64, 50), SIZE)])
def test_patches_are_those_of_enlarged_maps(have: tuple[int, int], wanted: tuple[int, int]) -> None:
    random = torch.Generator().manual_seed(0)
    maps = torch.rand(2, 3, *have, generator=random, dtype=torch.float64, requires_grad=True)
    centres = directed_pairs(8, wanted, SIDE, 8, generator("cpu", 5)).for_images(2, 4).second
    centres[0, 0], centres[1, 1] = torch.tensor([5, 5]), torch.tensor([wanted[0] - 6, wanted[1] - 6])
    found = patches_at(maps, centres, SIDE, wanted)
    enlarged = functional.interpolate(maps, wanted, mode="bilinear", align_corners=False)
    expected = torch.stack([
        enlarged[image, :, row - 5 : row + 6, column - 5 : column + 6]
        for image, each in enumerate(centres.tolist())
        for row, column in each
    ])  # fmt: skip
    torch.testing.assert_close(found, expected)
    weights = torch.rand(found.shape, generator=random, dtype=torch.float64)
    gradients = [torch.autograd.grad((each * weights).sum(), maps)[0] for each in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_the_comparison_is_a_shared_branch_and_a_perceptron() -> None:
    torch.manual_seed(0)
    network = PatchComparison(6, 3, branch=4, hidden=5, dropout=0.5, outputs=2)
    first, second = torch.rand(7, 6, 3, 3), torch.rand(7, 6, 3, 3)
    batch = (functional.conv2d(each, network.branch[0].weight, padding=1) for each in (first, second))
    ready = []
    for each in batch:
        variance, mean = torch.var_mean(each, (0, 2, 3), correction=0, keepdim=True)
        ready.append(((each - mean) / (variance + 1e-5).sqrt()).relu())
    hidden = functional.linear(torch.cat([each.flatten(1) for each in ready], 1), *network.joint[0].parameters()).relu()
    expected = functional.linear(hidden, *network.joint[3].parameters())
    network.joint[2].p = 0.0
    torch.testing.assert_close(network(first, second), expected)


def test_the_published_head_has_its_size() -> None:
    with torch.device("meta"):
        network = PatchComparison(512, 11, branch=1024, hidden=1024, dropout=0.5, outputs=9)
    assert network.joint[0].in_features == 247_808
    assert sum(weight.numel() for weight in network.parameters()) == (
        512 * 1024 * 9 + 2 * 1024 + 247_808 * 1024 + 1024 + 1024 * 9 + 9
    )


def test_the_mean_is_that_of_the_pairs_that_count() -> None:
    losses, counting = torch.tensor([1.0, float("inf"), 4.0]), torch.tensor([True, False, True])
    assert mean_where(losses, counting) == 2.5
    assert mean_where(losses, torch.zeros(3, dtype=torch.bool)) == 0
