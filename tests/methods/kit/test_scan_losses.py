"""SCAN's objectives against plain float64 loops, torch's own losses, closed forms and finite differences."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from clusterbench.methods.kit.scan_losses import (
    marginal_entropy,
    selection_loss,
    self_label_loss,
    semantic_floor,
    semantic_loss,
)


def logits(*shape: int, seed: int = 0, scale: float = 3.0) -> torch.Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softmax(values: np.ndarray) -> np.ndarray:
    exponents = np.exp(values - values.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)


def test_the_semantic_loss_is_that_of_a_plain_loop() -> None:
    anchors, neighbours = logits(3, 11, 4), logits(3, 11, 4, seed=1)
    found = semantic_loss(anchors, neighbours, 5.0)
    for head in range(3):
        p, q = softmax(anchors[head].numpy()), softmax(neighbours[head].numpy())
        consistency = -sum(math.log(p[b] @ q[b]) for b in range(11)) / 11
        entropy = -sum(share * math.log(share) for share in p.mean(0))
        assert found.consistency[head].item() == pytest.approx(consistency, rel=1e-12)
        assert found.entropy[head].item() == pytest.approx(entropy, rel=1e-12)
        assert found.total[head].item() == pytest.approx(consistency - 5 * entropy, rel=1e-12)


def test_consistency_is_binary_cross_entropy_with_one_as_the_authors_compute_it_also_where_it_is_cut_off() -> None:
    anchors, neighbours = logits(1, 6, 3), logits(1, 6, 3, seed=1)
    anchors[0, 0], neighbours[0, 0] = torch.tensor([0.0, 400, 0]), torch.tensor([400.0, 0, 0])  # agreement of e^-400
    agreement = (anchors.softmax(-1) * neighbours.softmax(-1)).sum(-1)
    wanted = functional.binary_cross_entropy(agreement, torch.ones_like(agreement))
    assert semantic_loss(anchors, neighbours, 5.0).consistency.item() == pytest.approx(wanted.item(), rel=1e-9)


def test_sure_and_equal_clusters_reach_the_floor() -> None:
    sure = 200 * functional.one_hot(torch.arange(12) % 4, 4).double().unsqueeze(0)
    assert semantic_loss(sure, sure, 5.0).total.item() == pytest.approx(semantic_floor(4, 5.0), abs=1e-6)
    pairs = torch.tensor([[i, (i + 4) % 12] for i in range(12)])
    assert selection_loss(sure.softmax(-1), pairs).item() == pytest.approx(-math.log(4), abs=1e-6)


def test_the_entropy_of_one_cluster_is_nothing_and_of_even_ones_the_logarithm_of_their_number() -> None:
    one = functional.one_hot(torch.zeros(1, 5, dtype=torch.int64), 3).double()
    assert marginal_entropy(one).item() == pytest.approx(0, abs=1e-6)
    assert marginal_entropy(torch.full((1, 5, 7), 1 / 7)).item() == pytest.approx(math.log(7))


def test_neighbours_have_no_part_in_the_entropy() -> None:
    anchors = logits(1, 8, 3)
    found = [semantic_loss(anchors, logits(1, 8, 3, seed=seed), 5.0).entropy.item() for seed in (1, 2)]
    assert found[0] == found[1]


def test_the_gradient_of_the_semantic_loss_is_that_of_finite_differences() -> None:
    pair = [logits(2, 5, 3, scale=1.0).requires_grad_(), logits(2, 5, 3, seed=1, scale=1.0).requires_grad_()]
    assert torch.autograd.gradcheck(lambda p, q: semantic_loss(p, q, 5.0).total, pair)


def test_the_semantic_loss_and_its_gradient_stay_finite_for_one_hot_logits() -> None:
    anchors = (1e4 * functional.one_hot(torch.arange(6) % 3, 3).float()).unsqueeze(0).requires_grad_()
    loss = semantic_loss(anchors, anchors.detach().flip(1), 5.0).total
    loss.sum().backward()
    assert torch.isfinite(loss).all() and torch.isfinite(anchors.grad).all()


def test_the_selection_loss_is_that_of_the_whole_similarity_matrix_with_an_entropy_weight_of_one() -> None:
    probabilities = logits(2, 9, 4).softmax(-1)
    neighbours = torch.stack([torch.randperm(9, generator=torch.Generator().manual_seed(row))[:6] for row in range(9)])
    found = selection_loss(probabilities, neighbours)
    for head in range(2):
        p = probabilities[head].numpy()
        similar = (p @ p.T)[np.arange(9)[:, None], neighbours.numpy()]
        share = p.mean(0)
        wanted = -np.log(similar).mean() + (share * np.log(share)).sum()
        assert found[head].item() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("balanced", [True, False])
def test_self_labelling_is_torchs_weighted_cross_entropy_of_the_sure_images(balanced: bool) -> None:
    weak, strong = logits(40, 5), logits(40, 5, seed=1)
    found = self_label_loss(weak, strong, 0.8, balanced=balanced)
    surest, label = weak.softmax(1).max(1)
    sure = surest > 0.8
    assert 0 < sure.sum() < 40
    counts = torch.bincount(label[sure], minlength=5)
    weights = torch.ones(5, dtype=torch.float64)
    weights[counts > 0] = sure.sum() / counts[counts > 0].double()
    wanted = functional.cross_entropy(strong[sure], label[sure], weight=weights if balanced else None)
    assert found.loss.item() == pytest.approx(wanted.item(), rel=1e-12)
    assert found.confident.item() == sure.sum().item()


def test_the_gradient_of_self_labelling_flows_to_the_strong_view_alone() -> None:
    weak, strong = logits(12, 3).requires_grad_(), logits(12, 3, seed=1, scale=1.0).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: self_label_loss(weak, s, 0.7, balanced=True).loss, [strong])
    self_label_loss(weak, strong, 0.7, balanced=True).loss.backward()
    assert weak.grad is None and strong.grad is not None and strong.grad.abs().sum() > 0


def test_without_a_sure_image_the_loss_is_nothing_and_says_so() -> None:
    strong = logits(6, 4).requires_grad_()
    found = self_label_loss(torch.zeros(6, 4, dtype=torch.float64), strong, 0.99, balanced=True)
    found.loss.backward()
    assert found.confident.item() == 0 and found.loss.item() == 0 and not strong.grad.any()
