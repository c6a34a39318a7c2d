"""Sinkhorn codes against the published routine written out in float64 loops, and against what defines them."""

import numpy as np
import pytest
import torch

from clusterbench.methods.kit.sinkhorn import sinkhorn_codes


def by_hand(similarities: np.ndarray, temperature: float, iterations: int) -> np.ndarray:
    """SwAV's `distributed_sinkhorn` on one process, entry by entry: (N, P) to (N, P)."""
    scaled = np.exp(similarities.T.astype(np.float64) / temperature)  # (P, N)
    scaled /= scaled.sum()
    prototypes, samples = scaled.shape
    for _ in range(iterations):
        for row in range(prototypes):
            scaled[row] /= scaled[row].sum() * prototypes
        for column in range(samples):
            scaled[:, column] /= scaled[:, column].sum() * samples
    return scaled.T * samples


def cosines(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize(("samples", "prototypes", "iterations"), [(7, 3, 1), (5, 9, 3), (16, 16, 3), (4, 30, 10)])
def test_codes_are_those_of_the_published_routine(samples: int, prototypes: int, iterations: int) -> None:
    similarities = cosines(samples, prototypes)
    expected = by_hand(similarities.numpy(), 0.05, iterations)
    np.testing.assert_allclose(sinkhorn_codes(similarities, 0.05, iterations).numpy(), expected, rtol=1e-10)
    np.testing.assert_allclose(sinkhorn_codes(similarities.float(), 0.05, iterations).numpy(), expected, rtol=2e-4, atol=1e-7)


def test_every_view_is_balanced_by_itself() -> None:
    similarities = cosines(3, 8, 5)
    together = sinkhorn_codes(similarities)
    for view in range(3):
        torch.testing.assert_close(together[view], sinkhorn_codes(similarities[view]))


def test_samples_sum_to_one_and_prototypes_become_equal() -> None:
    codes = sinkhorn_codes(cosines(40, 6), iterations=200)
    torch.testing.assert_close(codes.sum(-1), torch.ones(40, dtype=torch.float64))
    torch.testing.assert_close(codes.sum(0), torch.full((6,), 40 / 6, dtype=torch.float64))


def test_no_similarity_is_too_large_and_the_input_stays() -> None:
    similarities = torch.tensor([[1000.0, 999.9], [999.9, 1000.0]])
    before = similarities.clone()
    codes = sinkhorn_codes(similarities)
    assert torch.equal(similarities, before)
    torch.testing.assert_close(codes, sinkhorn_codes(similarities - 999.0), rtol=1e-2, atol=1e-4)


def test_codes_carry_no_gradient() -> None:
    assert not sinkhorn_codes(cosines(4, 3).requires_grad_()).requires_grad
