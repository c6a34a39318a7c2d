"""Assignment, target and loss of DEC against loops in float64 and the gradients of the paper and its code."""

import numpy as np
import pytest
import torch

from clusterbench.methods.kit.student_assignment import clustering_loss, log_assignment, squared_distances, target_distribution

N, K, D = 7, 4, 3
RANDOM = np.random.default_rng(0)
Z, MU = RANDOM.normal(size=(N, D)), RANDOM.normal(size=(K, D))


def assigned(alpha: float) -> np.ndarray:
    """Equation 1, one number at a time."""
    q = np.empty((N, K))
    for i in range(N):
        for j in range(K):
            q[i, j] = (1 + sum((Z[i, d] - MU[j, d]) ** 2 for d in range(D)) / alpha) ** (-(alpha + 1) / 2)
        q[i] /= q[i].sum()
    return q


def sharpened(q: np.ndarray) -> np.ndarray:
    """Equation 3 as the authors' code writes it, with 1 / f scaled to sum to K."""
    bias = 1 / q.sum(axis=0)
    bias = K * bias / bias.sum()
    weight = q**2 * bias
    return (weight.T / weight.sum(axis=1)).T


def ours(alpha: float, z: torch.Tensor, mu: torch.Tensor) -> torch.Tensor:
    return log_assignment(squared_distances(z, mu), alpha)


@pytest.mark.parametrize("alpha", [1.0, 2.5])
def test_assignments_are_those_of_equation_1(alpha: float) -> None:
    found = ours(alpha, torch.tensor(Z), torch.tensor(MU)).exp()
    np.testing.assert_allclose(found, assigned(alpha), rtol=1e-12)


def test_the_target_is_the_authors_of_the_whole_set_and_not_of_its_parts() -> None:
    q = assigned(1.0)
    np.testing.assert_allclose(target_distribution(torch.tensor(q)), sharpened(q), rtol=1e-12)
    halves = torch.cat([target_distribution(torch.tensor(part)) for part in (q[:3], q[3:])])
    assert not np.allclose(halves, sharpened(q), atol=1e-3)


def test_a_cluster_that_nobody_belongs_to_leaves_the_target_finite() -> None:
    q = torch.tensor([[0.5, 0.5, 0.0], [0.9, 0.1, 0.0]])
    np.testing.assert_allclose(target_distribution(q)[:, :2], target_distribution(q[:, :2]), rtol=1e-6)
    assert (target_distribution(q)[:, 2] == 0).all()


def test_the_loss_is_the_mean_divergence_of_p_from_q_in_this_order() -> None:
    q = assigned(1.0)
    p = sharpened(q)
    wanted = sum(p[i, j] * np.log(p[i, j] / q[i, j]) for i in range(N) for j in range(K)) / N
    assert clustering_loss(torch.tensor(p), torch.tensor(q).log()).item() == pytest.approx(wanted, rel=1e-12)
    certain = torch.eye(K)[[0, 1, 2, 3, 0, 1, 2]]
    assert clustering_loss(certain, torch.tensor(q).log()).isfinite(), "0 ln 0 is 0"


@pytest.mark.parametrize("alpha", [1.0, 2.5])
def test_gradients_are_those_of_the_authors_layer(alpha: float) -> None:
    z, mu = (torch.tensor(values, requires_grad=True) for values in (Z, MU))
    q = assigned(alpha)
    p = sharpened(q)
    clustering_loss(torch.tensor(p), ours(alpha, z, mu)).backward()
    by_z, by_mu = np.zeros_like(Z), np.zeros_like(MU)
    for i in range(N):
        for j in range(K):
            pull = (alpha + 1) / alpha / (1 + ((Z[i] - MU[j]) ** 2).sum() / alpha) * (p[i, j] - q[i, j]) * (Z[i] - MU[j]) / N
            by_z[i] += pull
            by_mu[j] -= pull
    np.testing.assert_allclose(z.grad, by_z, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(mu.grad, by_mu, rtol=1e-10, atol=1e-14)


def test_gradients_agree_with_finite_differences() -> None:
    z, mu = (torch.tensor(values, requires_grad=True) for values in (Z, MU))
    p = torch.tensor(sharpened(assigned(1.0)))
    assert torch.autograd.gradcheck(lambda z, mu: clustering_loss(p, ours(1.0, z, mu)), (z, mu))


def test_tiny_distances_are_told_apart() -> None:
    z = torch.full((1, 2), 100.0)
    centres = torch.tensor([[100.01, 100.0], [100.0, 100.001]])
    assert squared_distances(z, centres).argmin() == 1
