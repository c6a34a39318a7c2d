import math

import numpy as np
import pytest
import torch

from clusterbench.methods.base import MethodError
from clusterbench.methods.sparse_ae import SparseAutoencoder, sparsity_divergence


def test_the_penalty_is_the_divergence_of_each_mean_activation() -> None:
    logits = np.random.default_rng(0).normal(-1, 2, (7, 3))
    wanted = 0.0
    for column in logits.T:
        mean = sum(1 / (1 + math.exp(-value)) for value in column) / 7
        wanted += 0.1 * math.log(0.1 / mean) + 0.9 * math.log(0.9 / (1 - mean))
    assert sparsity_divergence(torch.tensor(logits), 0.1).item() == pytest.approx(wanted, rel=1e-12)


def test_its_gradient_is_right() -> None:
    logits = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: sparsity_divergence(values, 0.05), (logits,))


def test_nothing_is_paid_for_the_wanted_mean() -> None:
    at_rho = torch.full((4, 2), math.log(0.05 / 0.95))
    assert sparsity_divergence(at_rho, 0.05).item() == pytest.approx(0, abs=1e-6)
    assert sparsity_divergence(at_rho + 1, 0.05) > 0.01 < sparsity_divergence(at_rho - 1, 0.05)


@pytest.mark.parametrize("extreme", [-200.0, 200.0])
def test_a_saturated_code_finds_its_way_back(extreme: float) -> None:
    logits = torch.full((4, 2), extreme, requires_grad=True)
    loss = sparsity_divergence(logits, 0.05)
    loss.backward()
    assert torch.isfinite(loss) and logits.grad is not None
    assert bool((logits.grad.sign() == math.copysign(1, extreme)).all())


def test_the_loss_is_its_parts_and_the_codes_are_activations() -> None:
    method = SparseAutoencoder(3, network={"widths": [4]}, code=6, beta=2.0)
    method.build_for((1, 8, 8))
    images = torch.rand(9, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    losses = method.losses(images, torch.Generator())
    assert losses["loss"].item() == pytest.approx(losses["reconstruction"].item() + 2 * losses["sparsity"].item(), rel=1e-6)
    codes = method.features((images * 255).to(torch.uint8))
    assert codes.shape == (9, 6) and codes.min() >= 0 and codes.max() <= 1


@pytest.mark.parametrize("wrong", [{"rho": 0}, {"rho": 1}, {"beta": -1}])
def test_settings_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(MethodError, match=next(iter(wrong))):
        SparseAutoencoder(3, **wrong)
