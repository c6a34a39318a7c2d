"""DCGAN's networks and losses against PyTorch's example, plain float64 formulas and loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from clusterbench.methods.kit.dcgan import (
    Discriminator,
    ImageGenerator,
    discriminator_loss,
    generator_loss,
    stages_of,
    variety,
)
from clusterbench.methods.kit.randomness import generator, seeded

WEIGHTS = (nn.Conv2d, nn.ConvTranspose2d)


def logits(count: int, purpose: str, scale: float = 3.0) -> torch.Tensor:
    return scale * torch.randn(count, generator=generator("cpu", 0, purpose), dtype=torch.float64)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_losses_are_the_cross_entropies_of_real_and_made() -> None:
    real, made = logits(7, "real"), logits(5, "made")
    chance_real, chance_made = (1 / (1 + np.exp(-given.numpy())) for given in (real, made))
    expected = -np.log(chance_real).mean() - np.log(1 - chance_made).mean()
    assert discriminator_loss(real, made).item() == pytest.approx(expected, rel=1e-12)
    assert generator_loss(made).item() == pytest.approx(-np.log(chance_made).mean(), rel=1e-12)


def test_a_guessing_discriminator_loses_twice_the_logarithm_of_two() -> None:
    assert discriminator_loss(torch.zeros(3), torch.zeros(4)).item() == pytest.approx(2 * math.log(2))


def test_the_losses_stay_finite_where_the_chances_round_to_zero_and_one() -> None:
    sure = torch.full((2,), 500.0)
    assert discriminator_loss(sure, -sure).item() == 0 and discriminator_loss(-sure, sure).item() == 1000
    assert generator_loss(-sure).item() == 500


def test_the_losses_have_the_gradients_that_differences_give() -> None:
    real, made = logits(4, "real").requires_grad_(), logits(3, "made").requires_grad_()
    assert torch.autograd.gradcheck(discriminator_loss, (real, made))
    assert torch.autograd.gradcheck(generator_loss, (made,))


def test_a_surely_caught_generator_still_learns() -> None:
    caught = torch.full((1,), -30.0, requires_grad=True)
    generator_loss(caught).backward()
    assert caught.grad is not None and caught.grad.item() == pytest.approx(-1)  # 1 - log(D) would have a gradient of e^-30


def test_the_networks_of_the_example_have_its_numbers_of_parameters() -> None:
    assert parameters(ImageGenerator(100, 3, 64, 64)) == 3_576_704
    assert parameters(Discriminator(3, 64, 64)) == 2_765_568


@pytest.mark.parametrize("side", [8, 16, 32, 64, 128])
def test_networks_of_every_side_fit_each_other(side: int) -> None:
    grower, judge = ImageGenerator(5, 3, side, 2), Discriminator(3, side, 2)
    made = grower(torch.randn(2, 5, generator=generator("cpu", 1)))
    assert made.shape == (2, 3, side, side) and made.abs().max() <= 1
    assert judge(made).shape == (2,)
    maps = judge.maps(made)
    assert [one.shape[-1] for one in maps] == [side >> stage for stage in range(1, stages_of(side) + 1)]
    assert maps[-1].shape[-1] == 4 and judge.channels == sum(one.shape[1] for one in maps)


@pytest.mark.parametrize("side", [0, 4, 12, 28, 48, 100])
def test_other_sides_are_refused(side: int) -> None:
    with pytest.raises(ValueError, match=f"got {side}"):
        stages_of(side)


def test_weights_begin_as_the_example_draws_them() -> None:
    with seeded(0, "weights"):
        networks = ImageGenerator(100, 3, 64, 32), Discriminator(3, 64, 32)
    layers = [layer for network in networks for layer in network.modules()]
    drawn = torch.cat([layer.weight.detach().flatten() for layer in layers if isinstance(layer, WEIGHTS)])
    scales = torch.cat([layer.weight.detach() for layer in layers if isinstance(layer, nn.BatchNorm2d)])
    assert drawn.mean().abs() < 1e-4 and drawn.std().item() == pytest.approx(0.02, rel=0.01)
    assert scales.mean().item() == pytest.approx(1, abs=0.005) and scales.std().item() == pytest.approx(0.02, rel=0.2)
    assert all(layer.bias is None for layer in layers if isinstance(layer, WEIGHTS))


def test_the_first_map_has_no_batch_norm_and_the_others_do() -> None:
    judge = Discriminator(1, 32, 4)
    kinds = [[type(layer) for layer in stage] for stage in judge.stages]  # pyright: ignore[reportArgumentType]
    assert kinds == [[nn.Conv2d, nn.LeakyReLU]] + [[nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU]] * 2
    assert [layer.negative_slope for layer in judge.modules() if isinstance(layer, nn.LeakyReLU)] == [0.2] * 3


def test_features_are_the_largest_activations_of_every_part_of_every_layer() -> None:
    judge = Discriminator(1, 16, 3).eval()
    images = torch.rand(2, 1, 16, 16, generator=generator("cpu", 2)) * 2 - 1
    with torch.no_grad():
        found, maps = judge.features(images, 2), [one.numpy() for one in judge.maps(images)]
    expected = [
        [
            one[image, channel, row * half : (row + 1) * half, column * half : (column + 1) * half].max()
            for one, half in ((maps[0], 4), (maps[1], 2))
            for channel in range(one.shape[1])
            for row in range(2)
            for column in range(2)
        ]
        for image in range(2)
    ]
    np.testing.assert_array_equal(found.numpy(), np.array(expected))


def test_the_example_has_15_360_features_on_a_grid_of_four() -> None:
    with torch.device("meta"):
        judge, images = Discriminator(3, 64, 64), torch.empty(1, 3, 64, 64)
    assert judge.features(images, 4).shape == (1, 15_360)


def test_variety_is_the_spread_of_what_is_made_by_that_of_what_is_real() -> None:
    real = torch.rand(6, 1, 4, 4, generator=generator("cpu", 3))
    made = torch.rand(5, 1, 4, 4, generator=generator("cpu", 4))
    expected = math.sqrt(np.var(made.numpy(), axis=0).mean() / np.var(real.numpy(), axis=0).mean())
    assert variety(made, real).item() == pytest.approx(expected, rel=1e-5)
    assert variety(made[:1].expand(5, -1, -1, -1), real).item() == pytest.approx(0, abs=1e-6)
    assert variety(made, real[:1].expand(3, -1, -1, -1)).isfinite()  # equal real images are no division by zero
