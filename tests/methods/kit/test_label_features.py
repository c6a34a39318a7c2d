"""The pair losses of DAC against loops and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity
from torch.autograd import gradcheck

from clusterbench.methods.kit.label_features import (
    EPSILON,
    PairLoss,
    anchor_loss,
    binary_cross_entropy,
    label_features,
    pair_loss,
    pair_targets,
    similarities,
)


def chances(n: int = 6, k: int = 4, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(n, k, generator=random, dtype=torch.float64)).softmax(1)


def entropy_by_hand(chance: float, target: float) -> float:
    kept = min(max(chance, EPSILON), 1 - EPSILON)
    return -(target * math.log(kept) + (1 - target) * math.log(1 - kept))


def test_similarities_are_cosines_of_the_probabilities() -> None:
    p = chances()
    np.testing.assert_allclose(similarities(p), cosine_similarity(p.numpy()), rtol=1e-12)
    np.testing.assert_allclose(label_features(p).norm(dim=1), 1)


def test_with_one_threshold_every_pair_counts_and_a_draw_is_different() -> None:
    similarity = torch.tensor([[1.0, 0.7, 0.5], [0.7, 1.0, 0.2], [0.5, 0.2, 1.0]])
    targets, weights = pair_targets(similarity, 0.7, None)
    assert torch.equal(targets, torch.eye(3)) and torch.equal(weights, torch.ones(3, 3))


def test_between_two_thresholds_no_pair_counts() -> None:
    similarity = torch.tensor([[1.0, 0.7, 0.5], [0.7, 1.0, 0.2], [0.5, 0.2, 1.0]])
    targets, weights = pair_targets(similarity, 0.6, 0.4)
    assert targets.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert weights.tolist() == [[1, 1, 0], [1, 1, 1], [0, 1, 1]]


@pytest.mark.parametrize("kind", ["cross-entropy", "squared"])
@pytest.mark.parametrize("lower", [None, 0.5])
def test_the_loss_of_pairs_is_the_mean_over_those_that_count(kind: PairLoss, lower: float | None) -> None:
    now, before = chances(seed=1), chances(seed=2)
    was, found = cosine_similarity(before.numpy()), cosine_similarity(now.numpy())
    losses = []
    for i in range(6):
        for j in range(6):
            if was[i, j] > 0.8 or lower is None or was[i, j] < lower:
                target = float(was[i, j] > 0.8)
                squared = (found[i, j] - target) ** 2
                losses.append(squared if kind == "squared" else entropy_by_hand(found[i, j], target))
    assert (len(losses) < 36) == (lower is not None)
    loss = pair_loss(now, *pair_targets(similarities(before), 0.8, lower), kind)
    assert loss.item() == pytest.approx(np.mean(losses), rel=1e-9)


def test_no_pair_that_counts_gives_no_loss_and_no_nan() -> None:
    p = chances().requires_grad_()
    loss = pair_loss(p, torch.zeros(6, 6), torch.zeros(6, 6), "cross-entropy")
    loss.backward()
    assert loss.item() == 0 and p.grad is not None and not p.grad.any()


def test_cross_entropy_is_finite_for_certain_and_wrong_answers() -> None:
    found = binary_cross_entropy(torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64), torch.tensor([1.0, 0.0, 1.0]))
    np.testing.assert_allclose(found, [-math.log(EPSILON), -math.log(EPSILON), 1e-7], rtol=1e-6)


def test_the_anchor_holds_features_probabilities_or_sharpens() -> None:
    now, before = chances(seed=1), chances(seed=2)
    units = {name: p / np.linalg.norm(p, axis=1, keepdims=True) for name, p in (("now", now.numpy()), ("before", before.numpy()))}
    expected = {
        "features": (units["now"], units["before"]),
        "probabilities": (now.numpy(), before.numpy()),
        "sharpened": (now.numpy(), units["before"]),
    }
    for kind, (chance, target) in expected.items():
        mean = np.mean([entropy_by_hand(c, t) for c, t in zip(chance.flat, target.flat, strict=True)])
        assert anchor_loss(now, before, kind).item() == pytest.approx(mean, rel=1e-9)  # pyright: ignore[reportArgumentType]


def test_a_sharpening_anchor_pulls_sure_answers_further() -> None:
    logits = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    before = logits.detach().softmax(1)
    slopes = {}
    for kind in ("probabilities", "sharpened"):
        (slope,) = torch.autograd.grad(anchor_loss(logits.softmax(1), before, kind), logits)  # pyright: ignore[reportArgumentType]
        slopes[kind] = slope[0, 0].item()
    assert slopes["probabilities"] == pytest.approx(0, abs=1e-12) and slopes["sharpened"] < -0.01


@pytest.mark.parametrize("kind", ["cross-entropy", "squared"])
def test_gradients_are_those_of_finite_differences(kind: PairLoss) -> None:
    targets, weights = pair_targets(similarities(chances(seed=2)), 0.8, 0.5)
    keep = weights * (1 - torch.eye(6))  # a pair of an image with itself is as alike as can be: the clamp has no slope there
    logits = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3), requires_grad=True)
    assert gradcheck(lambda z: pair_loss(z.softmax(1), targets, keep, kind), (logits,))
