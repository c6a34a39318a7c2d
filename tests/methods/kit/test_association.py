"""The association losses of ADC against loops in float64, and where their floors are reached."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy
from torch.autograd import gradcheck

from clusterbench.methods.kit.association import (
    EPSILON,
    association_losses,
    embedding_penalties,
    transformation_loss,
    visit_floor,
    walker_floor,
)


def points(n: int, d: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def walks_by_hand(a: np.ndarray, b: np.ndarray, labels: list[int]) -> tuple[float, float]:
    n, m = len(a), len(b)
    there = np.array([softmax([a[i] @ b[j] for j in range(m)]) for i in range(n)])
    back = np.array([softmax([a[i] @ b[j] for i in range(n)]) for j in range(m)])
    walker = 0.0
    for i in range(n):
        ends = np.array([sum(there[i, j] * back[j, end] for j in range(m)) for end in range(n)]) + EPSILON
        right = [end for end in range(n) if labels[end] == labels[i]]
        walker -= sum(math.log(ends[end] / ends.sum()) for end in right) / len(right) / n
    visits = there.mean(0) + EPSILON
    return walker, -sum(math.log(visit / visits.sum()) for visit in visits) / m


def test_walks_are_those_of_loops() -> None:
    a, b, labels = points(6, seed=1), points(5, seed=2), [0, 0, 1, 1, 2, 0]
    found = association_losses(a, b, torch.tensor(labels))
    assert [loss.item() for loss in found] == pytest.approx(walks_by_hand(a.numpy(), b.numpy(), labels), rel=1e-9)


def test_well_separated_clusters_reach_both_floors() -> None:
    clusters, each = 3, 4
    axes = 20 * torch.eye(clusters, dtype=torch.float64)
    a, b = axes.repeat_interleave(each, 0), axes.repeat_interleave(5, 0)
    walker, visit = association_losses(a, b, torch.arange(clusters).repeat_interleave(each))
    assert walker.item() == pytest.approx(walker_floor(each), rel=1e-6)
    assert visit.item() == pytest.approx(visit_floor(15), rel=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_no_points_are_below_the_floors(seed: int) -> None:
    labels = torch.arange(4).repeat_interleave(3)
    walker, visit = association_losses(3 * points(12, seed=seed), 3 * points(7, seed=seed + 100), labels)
    assert walker > walker_floor(3) and visit > visit_floor(7)


def test_a_cluster_that_nobody_visits_raises_the_visit_loss_only() -> None:
    axes = 20 * torch.eye(3, dtype=torch.float64)
    walker, visit = association_losses(axes[:2], axes, torch.arange(2))
    assert walker.item() == pytest.approx(0, abs=1e-6) and visit > visit_floor(3) + 1


def test_the_transformation_loss_is_that_of_a_loop_over_pairs() -> None:
    z, logits = points(5, seed=1), points(5, 4, seed=2)
    p = softmax(logits.numpy(), axis=1)
    cross = [[entropy(p[i]) + entropy(p[i], p[j]) for j in range(5)] for i in range(5)]
    expected = np.mean([[abs(1 - cross[i][j] - float(z[i] @ z[j])) for j in range(5)] for i in range(5)])
    assert transformation_loss(z, logits).item() == pytest.approx(expected, rel=1e-9)


def test_penalties_are_sums_over_numbers_and_over_lengths() -> None:
    absolute, norm = embedding_penalties(torch.tensor([[3.0, -4.0], [0.6, 0.8]]), 2.0)
    assert (absolute.item(), norm.item()) == pytest.approx((3 + 4 + 0.6 + 0.8, 3**2 + 1))


def test_gradients_are_those_of_finite_differences() -> None:
    a, b = points(4, seed=1).requires_grad_(), points(5, seed=2).requires_grad_()
    labels = torch.tensor([0, 0, 1, 1])
    assert gradcheck(lambda a, b: association_losses(a, b, labels), (a, b))
    assert gradcheck(transformation_loss, (a, points(4, 3, seed=3).requires_grad_()))
    assert gradcheck(lambda a: embedding_penalties(a, 1.0), (a,))
