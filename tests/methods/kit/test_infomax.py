"""Deep InfoMax's objectives against loops over pairs and places, their bounds, and the gradient penalty in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from clusterbench.methods.kit.infomax import (
    ESTIMATORS,
    FLOORS,
    critic_scores,
    donsker_varadhan,
    gradient_penalty,
    info_nce,
    jensen_shannon,
)
from clusterbench.methods.kit.randomness import generator

IMAGES, PLACES = 4, 3


def scores(scale: float = 2.0) -> torch.Tensor:
    return scale * torch.randn(IMAGES, IMAGES, PLACES, generator=generator("cpu", 0, "scores"), dtype=torch.float64)


def pairs(own: bool) -> list[tuple[int, int, int]]:
    every = ((code, image, place) for code in range(IMAGES) for image in range(IMAGES) for place in range(PLACES))
    return [(code, image, place) for code, image, place in every if (code == image) == own]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def softplus(value: float) -> float:
    return math.log(1 + math.exp(value))


def test_scores_are_scalar_products_of_codes_and_places() -> None:
    random = generator("cpu", 1)
    codes, places = torch.randn(3, 5, generator=random), torch.randn(4, 5, 2, generator=random)
    found = critic_scores(codes, places)
    assert found.shape == (3, 4, 2)
    for code in range(3):
        for image in range(4):
            for place in range(2):
                expected = sum(float(codes[code, unit] * places[image, unit, place]) for unit in range(5))
                assert float(found[code, image, place]) == pytest.approx(expected, abs=1e-5)


def test_jensen_shannon_is_the_sum_over_all_pairs() -> None:
    given = scores()
    positive = mean([math.log(2) - softplus(-float(given[pair])) for pair in pairs(own=True)])
    negative = mean([softplus(float(given[pair])) - math.log(2) for pair in pairs(own=False)])
    assert jensen_shannon(given).item() == pytest.approx(negative - positive, rel=1e-12)


def test_infonce_is_the_cross_entropy_among_an_images_place_and_those_of_others() -> None:
    given, losses = scores(), []
    for code, image, place in pairs(own=True):
        wrong = [math.exp(float(given[pair])) for pair in pairs(own=False) if pair[0] == code]
        right = math.exp(float(given[code, image, place]))
        losses.append(-math.log(right / (right + sum(wrong))))
    assert info_nce(given).item() == pytest.approx(mean(losses), rel=1e-12)


def test_donsker_varadhan_is_a_mean_and_the_logarithm_of_one() -> None:
    given = scores()
    positive = mean([float(given[pair]) for pair in pairs(own=True)])
    negative = math.log(mean([math.exp(float(given[pair])) for pair in pairs(own=False)]))
    assert donsker_varadhan(given).item() == pytest.approx(negative - positive, rel=1e-12)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_gradients_are_those_of_differences_and_all_pairs_count(name: str) -> None:
    estimate = ESTIMATORS[name]
    given = scores().requires_grad_()
    assert torch.autograd.gradcheck(estimate, (given,))
    (gradient,) = torch.autograd.grad(estimate(given), given)
    for pair in pairs(own=True):
        assert gradient[pair] < 0, "the own place's score has to rise"
    for pair in pairs(own=False):
        assert gradient[pair] > 0


@pytest.mark.parametrize(("name", "guess"), [("jsd", 0.0), ("infonce", math.log(1 + (IMAGES - 1) * PLACES)), ("dv", 0.0)])
def test_scores_that_are_all_the_same_tell_nothing_and_huge_ones_stay_finite(name: str, guess: float) -> None:
    estimate = ESTIMATORS[name]
    assert estimate(torch.zeros(IMAGES, IMAGES, PLACES)).item() == pytest.approx(guess, abs=1e-6)
    perfect = 1e4 * (2 * torch.eye(IMAGES)[:, :, None].expand(-1, -1, PLACES) - 1)
    assert estimate(perfect).item() == pytest.approx(FLOORS.get(name, -2e4), abs=1e-3)
    assert math.isfinite(estimate(-perfect).item())


def test_the_gradient_penalty_of_a_line_is_its_squared_slope() -> None:
    line = nn.Linear(3, 1)
    nn.init.constant_(line.weight, 2.0)
    points = torch.randn(5, 3, generator=generator("cpu", 2)).requires_grad_()
    penalty = gradient_penalty(line(points), points)
    assert penalty.item() == pytest.approx(12.0)
    penalty.backward()
    assert line.weight.grad is not None and torch.allclose(line.weight.grad, torch.full((1, 3), 4.0))
    curved = nn.Sequential(line, nn.Tanh())
    slope = 1 - curved(points).detach().square()  # (5, 1)
    expected = (slope * line.weight.detach()).square().sum(1).mean()
    assert gradient_penalty(curved(points), points).item() == pytest.approx(expected.item(), rel=1e-5)
