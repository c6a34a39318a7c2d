"""IMC-SwAV's losses against loops over pairs in float64, and their gradients against finite differences."""

import math

import numpy as np
import pytest
import torch

from clusterbench.methods.kit.imc_losses import logit_guard, multi_view_information_loss, swapped_prediction_loss
from clusterbench.methods.kit.sinkhorn import sinkhorn_codes

VIEWS, LARGE, IMAGES, PROTOTYPES, CLUSTERS = 6, 2, 5, 7, 3
TAU = 0.1


def random(*shape: int, scale: float = 1.0, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def swapped_by_pairs(similarities: np.ndarray, codes: np.ndarray) -> float:
    terms = []
    for i in range(len(codes)):
        for j in range(len(similarities)):
            if i != j:
                log = np.log(np.clip(softmax(similarities[j] / TAU), 1e-17, 1.0))
                terms.append(float(np.mean([-(code * row).sum() for code, row in zip(codes[i], log, strict=True)])))
    return sum(terms) / len(terms)


def information_by_pairs(logits: np.ndarray, similarities: np.ndarray, b: float) -> float:
    """Over all V x V pairs, from the definition of the entropies."""
    terms = []
    for y in logits:
        for u in similarities:
            joint = softmax(y).T @ softmax(u / TAU)
            joint /= joint.sum()
            conditional = -sum(
                joint[k, p] * math.log(joint[k, p] / joint[:, p].sum())
                for k in range(joint.shape[0]) for p in range(joint.shape[1])
            )  # fmt: skip
            entropy = -sum(p * math.log(p) for p in joint.sum(1))
            terms.append(conditional - b * entropy)
    return sum(terms) / len(terms)


@pytest.mark.parametrize(("views", "large"), [(6, 2), (2, 2), (3, 1), (4, 3)])
def test_swapped_prediction_is_the_mean_over_pairs_of_a_large_crop_and_another_view(views: int, large: int) -> None:
    similarities = random(views, IMAGES, PROTOTYPES).tanh()
    codes = sinkhorn_codes(similarities[:large])
    expected = swapped_by_pairs(similarities.numpy(), codes.numpy())
    assert swapped_prediction_loss(similarities, codes, TAU).item() == pytest.approx(expected, rel=1e-12)


def test_swapped_prediction_stays_finite_where_a_prediction_underflows() -> None:
    similarities = torch.tensor([[[50.0, -50.0]], [[-50.0, 50.0]]])  # the views contradict each other
    codes = torch.tensor([[[1.0, 0.0]]])
    assert swapped_prediction_loss(similarities, codes, TAU).item() == pytest.approx(-math.log(1e-17))


@pytest.mark.parametrize("b", [1.0, 4.0])
def test_information_is_the_mean_over_all_pairs_of_views(b: float) -> None:
    logits, similarities = random(VIEWS, IMAGES, CLUSTERS), random(VIEWS, IMAGES, PROTOTYPES, seed=1).tanh()
    expected = information_by_pairs(logits.numpy(), similarities.numpy(), b)
    assert multi_view_information_loss(logits, similarities, TAU, b).item() == pytest.approx(expected, rel=1e-12)
    single = multi_view_information_loss(logits.float(), similarities.float(), TAU, b)
    assert single.item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_information_without_extra_weight_is_the_negative_mutual_information_of_scikit_learn() -> None:
    from sklearn.metrics import mutual_info_score

    classes, prototypes = np.array([0, 0, 1, 1, 2, 2, 2, 0]), np.array([0, 1, 2, 2, 3, 3, 4, 0])
    logits = torch.eye(3, dtype=torch.float64)[torch.from_numpy(classes)][None] * 500
    similarities = torch.eye(5, dtype=torch.float64)[torch.from_numpy(prototypes)][None] * 500
    found = multi_view_information_loss(logits, similarities, TAU, 1.0).item()
    assert found == pytest.approx(-mutual_info_score(classes, prototypes), abs=1e-9)


def test_information_reaches_its_floor_and_no_cluster_is_worst() -> None:
    sure = torch.eye(4)[None].repeat(2, 3, 1) * 200  # every cluster three times
    floor = multi_view_information_loss(sure, sure, TAU, 4.0)
    assert floor.item() == pytest.approx(-4 * math.log(4), abs=1e-5)
    collapsed = torch.zeros(2, 12, 4)
    collapsed[..., 0] = 200
    assert multi_view_information_loss(collapsed, sure, TAU, 4.0).item() == pytest.approx(0, abs=1e-5)


def test_a_probability_of_zero_gives_finite_slopes() -> None:
    logits = torch.tensor([[[300.0, 0.0], [0.0, 300.0]]], requires_grad=True)
    multi_view_information_loss(logits, torch.zeros(1, 2, 3), TAU, 4.0).backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


def test_the_guard_counts_what_exceeds_five() -> None:
    logits = torch.tensor([[[7.0, -6.0, 1.0], [4.0, 5.0, -5.0]], [[0.0, 0.0, 0.0], [0.0, -9.0, 0.0]]])
    assert logit_guard(logits).item() == pytest.approx(0.01 * (3 + 0 + 0 + 4) / 4)


def test_gradients_are_those_of_finite_differences() -> None:
    similarities = random(VIEWS, 3, 4, scale=0.5).requires_grad_()
    codes = sinkhorn_codes(similarities[:LARGE].detach())
    assert torch.autograd.gradcheck(lambda s: swapped_prediction_loss(s, codes, TAU), (similarities,))
    logits = random(2, 4, CLUSTERS, scale=3.0, seed=2).requires_grad_()
    detached = similarities[:2].detach().repeat(1, 2, 1)[:, :4]
    assert torch.autograd.gradcheck(lambda y: multi_view_information_loss(y, detached, TAU, 4.0), (logits,))
    assert torch.autograd.gradcheck(logit_guard, (random(2, 4, CLUSTERS, scale=6.0, seed=3).requires_grad_(),))
