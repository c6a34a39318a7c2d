import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from clusterbench.methods.base import MethodError
from clusterbench.methods.vae import VariationalAutoencoder, gaussian_divergence, sample


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_divergence_is_that_of_normal_distributions() -> None:
    mean, log_variance = numbers(5, 3), numbers(5, 3, seed=1)
    wanted = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(1).mean()
    assert gaussian_divergence(mean, log_variance).item() == pytest.approx(wanted.item(), rel=1e-12)
    assert gaussian_divergence(torch.zeros(2, 3), torch.zeros(2, 3)).item() == 0


def test_gradients_are_right() -> None:
    arguments = numbers(4, 2).requires_grad_(), numbers(4, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(gaussian_divergence, arguments)
    assert torch.autograd.gradcheck(lambda *given: sample(*given, torch.Generator().manual_seed(2)), arguments)


def test_samples_have_their_mean_and_variance() -> None:
    mean, log_variance = torch.full((40_000, 1), 3.0), torch.full((40_000, 1), 0.25).log()
    drawn = sample(mean, log_variance, torch.Generator().manual_seed(0))
    assert drawn.mean().item() == pytest.approx(3, abs=0.02) and drawn.std().item() == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_the_loss_is_the_negative_bound_on_the_likelihood(likelihood: str) -> None:
    method = VariationalAutoencoder(3, network={"widths": [4], "batch_norm": False}, code=2, likelihood=likelihood, deviation=0.2)
    method.build_for((1, 8, 8))
    # Only black and white pixels have a likelihood under Bernoulli.
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)).round()
    losses = method.losses(images, torch.Generator().manual_seed(1))
    with torch.no_grad():
        mean, log_variance = method.network.encoder(images).chunk(2, dim=1)
        drawn = mean + (log_variance / 2).exp() * torch.randn(6, 2, generator=torch.Generator().manual_seed(1))
        decoded = method.network.decoder(drawn)
    distribution = Bernoulli(logits=decoded) if likelihood == "bernoulli" else Normal(decoded, 0.2)
    constant = 0.0 if likelihood == "bernoulli" else 64 * Normal(0.0, 0.2).log_prob(torch.zeros(())).item()
    wanted = constant - distribution.log_prob(images).flatten(1).sum(1).mean().item()
    assert losses["reconstruction"].item() == pytest.approx(wanted, rel=1e-4)
    assert losses["loss"].item() == pytest.approx(wanted + losses["divergence"].item(), rel=1e-4)


def test_the_means_are_clustered() -> None:
    method = VariationalAutoencoder(3, network={"widths": [4]}, code=2)
    method.build_for((1, 8, 8))
    method.network.eval()
    pixels = torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(method.features(pixels), method.network.encoder(pixels / 255)[:, :2], atol=1e-6)


@pytest.mark.parametrize("wrong", [{"deviation": 0}, {"beta": -1}, {"likelihood": "poisson"}])
def test_settings_that_cannot_work_are_refused(wrong: dict) -> None:
    with pytest.raises(MethodError, match=next(iter(wrong))):
        VariationalAutoencoder(3, **wrong)
