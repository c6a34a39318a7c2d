"""The mutual-information loss against closed forms, a brute-force loop in float64, scikit-learn, and gradcheck."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score

from clusterbench.methods.kit.information import information_loss, joint_distribution, loss_floor


def random_probabilities(*shape: int, seed: int = 0, sharpness: float = 2.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=generator, dtype=torch.float64) * sharpness).softmax(-1)


def brute_force(p: np.ndarray, q: np.ndarray, weight: float) -> float:
    """Equations 2 and 3 of the paper as loops over images and clusters, in float64."""
    images, clusters = p.shape
    joint = np.zeros((clusters, clusters))
    for n in range(images):
        for a in range(clusters):
            for b in range(clusters):
                joint[a, b] += (p[n, a] * q[n, b] + p[n, b] * q[n, a]) / (2 * images)
    loss = 0.0
    for a in range(clusters):
        for b in range(clusters):
            marginals = math.log(joint[a].sum()) + math.log(joint[:, b].sum())
            loss -= joint[a, b] * (math.log(joint[a, b]) - weight * marginals)
    return loss


def one_hot(labels: list[int], clusters: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(labels), clusters).float()


@pytest.mark.parametrize("weight", [1.0, 1.5])
@pytest.mark.parametrize("clusters", [2, 3, 10])
def test_loss_equals_a_brute_force_loop(clusters: int, weight: float) -> None:
    p, q = random_probabilities(37, clusters, seed=1), random_probabilities(37, clusters, seed=2)
    assert information_loss(p, q, weight).item() == pytest.approx(brute_force(p.numpy(), q.numpy(), weight), abs=1e-12)
    assert information_loss(p.float(), q.float(), weight).item() == pytest.approx(
        brute_force(p.numpy(), q.numpy(), weight), abs=1e-5
    )


def test_sub_heads_are_independent_of_each_other() -> None:
    p, q = random_probabilities(4, 25, 6, seed=3), random_probabilities(4, 25, 6, seed=4)
    each = torch.stack([information_loss(p[h], q[h]) for h in range(4)])
    torch.testing.assert_close(information_loss(p, q), each)


@pytest.mark.parametrize("weight", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("clusters", [2, 3, 10, 70])
def test_perfect_balanced_pairs_reach_the_floor(clusters: int, weight: float) -> None:
    assignments = one_hot(list(range(clusters)) * 3, clusters)
    loss = information_loss(assignments, assignments, weight).item()
    assert loss == pytest.approx((1 - 2 * weight) * math.log(clusters), abs=1e-5)
    assert loss_floor(clusters, weight) == pytest.approx((1 - 2 * weight) * math.log(clusters), abs=1e-12)


def test_independent_pairs_share_no_information() -> None:
    p = one_hot([0, 0, 0, 1, 1, 1, 2, 2, 2], 3)
    q = one_hot([0, 1, 2] * 3, 3)
    assert information_loss(p, q).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("constant", [one_hot([1] * 8, 4), torch.full((8, 4), 0.25)], ids=["one cluster", "uniform"])
def test_constant_predictions_give_zero_and_finite_gradients(constant: torch.Tensor) -> None:
    p = constant.clone().requires_grad_()
    loss = information_loss(p, constant)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert p.grad is not None and torch.isfinite(p.grad).all()


def test_hard_assignments_give_the_mutual_information_of_scikit_learn() -> None:
    # For one-hot views whose joint is already symmetric the loss is minus the plain mutual information.
    first = [0, 0, 1, 1, 2, 2, 0, 1, 1, 2]
    second = [0, 1, 0, 1, 2, 2, 0, 2, 1, 1]
    symmetric = first + second, second + first
    loss = information_loss(one_hot(symmetric[0], 3), one_hot(symmetric[1], 3)).item()
    assert -loss == pytest.approx(mutual_info_score(*symmetric), abs=1e-6)


def test_loss_is_symmetric_and_never_positive_without_extra_entropy() -> None:
    for seed in range(20):
        p, q = random_probabilities(50, 7, seed=seed), random_probabilities(50, 7, seed=seed + 100)
        assert information_loss(p, q).item() == pytest.approx(information_loss(q, p).item(), abs=1e-12)
        assert information_loss(p, q).item() <= 1e-12


def test_gradient_agrees_with_finite_differences() -> None:
    logits = [
        torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(s), dtype=torch.float64).requires_grad_() for s in (5, 6)
    ]
    assert torch.autograd.gradcheck(lambda a, b: information_loss(a.softmax(-1), b.softmax(-1), 1.3), logits)


def test_repeating_every_pair_changes_nothing() -> None:
    p, q = random_probabilities(11, 5, seed=7), random_probabilities(11, 5, seed=8)
    assert information_loss(p.repeat(3, 1), q.repeat(3, 1)).item() == pytest.approx(information_loss(p, q).item(), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_are_computed_in_float32_also_under_autocast(dtype: torch.dtype) -> None:
    p, q = (random_probabilities(64, 10, seed=s).to(dtype) for s in (9, 10))
    with torch.autocast("cpu", torch.bfloat16):
        loss = information_loss(p, q)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, information_loss(p.float(), q.float()), rtol=0, atol=0)


def test_half_precision_one_hot_input_is_finite() -> None:
    certain = one_hot([0, 1, 2, 0], 3).half()
    assert torch.isfinite(information_loss(certain, certain))


def test_joint_distribution_is_a_symmetric_distribution() -> None:
    joint = joint_distribution(random_probabilities(3, 20, 5, seed=11), random_probabilities(3, 20, 5, seed=12))
    torch.testing.assert_close(joint, joint.transpose(-2, -1))
    torch.testing.assert_close(joint.sum((-2, -1)), torch.ones(3, dtype=torch.float64))


def test_views_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="same shape"):
        information_loss(torch.ones(3, 4), torch.ones(3, 5))


@pytest.mark.gpu
def test_loss_is_the_same_on_the_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    p, q = (random_probabilities(5, 700, 10, seed=s).float() for s in (13, 14))
    torch.testing.assert_close(information_loss(p.cuda(), q.cuda()).cpu(), information_loss(p, q), rtol=1e-5, atol=1e-6)
