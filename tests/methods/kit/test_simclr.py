"""The contrastive stage: its loss against a plain loop, its learning rates, its random numbers and its resumption."""

import copy
import math

import numpy as np
import pytest
import torch

from clusterbench.datasets.base import Images
from clusterbench.methods.kit.arithmetic import Arithmetic
from clusterbench.methods.kit.backbones import BackboneSettings
from clusterbench.methods.kit.contrastive_views import SimCLRViewSettings
from clusterbench.methods.kit.randomness import generator
from clusterbench.methods.kit.simclr import Pretext, PretextSettings, contrastive_loss

VIEWS = SimCLRViewSettings(size=8)


def unit(count: int, seed: int) -> torch.Tensor:
    drawn = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(drawn, dim=1)


def by_loop(first: np.ndarray, second: np.ndarray, temperature: float) -> float:
    """The loss of the first views as anchors, term by term."""
    everything, total = np.concatenate([first, second]), 0.0
    for i, anchor in enumerate(first):
        others = sum(math.exp(anchor @ other / temperature) for j, other in enumerate(everything) if j != i)
        total -= math.log(math.exp(anchor @ second[i] / temperature) / others)
    return total / len(first)


def test_the_loss_has_the_first_views_as_anchors_and_all_other_views_as_negatives() -> None:
    first, second = unit(7, 0), unit(7, 1)
    wanted = by_loop(first.numpy(), second.numpy(), 0.1)
    assert contrastive_loss(first, second, 0.1).item() == pytest.approx(wanted, rel=1e-12)
    assert contrastive_loss(second, first, 0.1).item() != pytest.approx(wanted, rel=1e-3), "it is not symmetric"


def test_the_loss_of_both_views_is_the_mean_of_both_one_sided_ones() -> None:
    first, second = unit(7, 0), unit(7, 1)
    sides = [by_loop(first.numpy(), second.numpy(), 0.5), by_loop(second.numpy(), first.numpy(), 0.5)]
    assert contrastive_loss(first, second, 0.5, both=True).item() == pytest.approx(sum(sides) / 2, rel=1e-12)


@pytest.mark.parametrize("both", [False, True])
def test_its_gradient_is_that_of_finite_differences(both: bool) -> None:
    pair = [unit(4, 0).requires_grad_(), unit(4, 1).requires_grad_()]
    assert torch.autograd.gradcheck(lambda a, b: contrastive_loss(a, b, 0.5, both=both), pair)


def images(count: int = 40) -> Images:
    return Images(torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)))


def pretext(views: SimCLRViewSettings = VIEWS, trial_seed: int = 0, **settings) -> Pretext:
    how = PretextSettings(**{"epochs": 4, "batch": 16, "lr": 0.1, "dimensions": 8, **settings})
    network = BackboneSettings(name="small", widths=(4, 8))
    return Pretext(how, network, views, (1, 8, 8), trial_seed, Arithmetic("cpu"))


def trained(network: Pretext, epochs: int) -> list[float]:
    given = images()
    return [network.train_epoch(given, given.role("all"), lambda *_: None)[0].item() for _ in range(epochs)]


def test_the_learning_rate_falls_by_a_cosine_from_epoch_to_epoch_to_its_floor() -> None:
    network, found = pretext(epochs=5, lr=0.4), []
    for _ in range(5):
        trained(network, 1)
        found.append(network.optimiser.param_groups[0]["lr"])
    floor = 0.4 * 0.1**3
    wanted = [floor + (0.4 - floor) * (1 + math.cos(math.pi * epoch / 5)) / 2 for epoch in range(5)]
    assert found == pytest.approx(wanted)


def test_the_short_last_batch_is_left_out_and_progress_is_told() -> None:
    network, told, given = pretext(), [], images(40)
    _, seen = network.train_epoch(given, given.role("all"), lambda *step: told.append(step))
    assert told == [(1, 2, 32), (2, 2, 64)] and seen == 64


def test_an_interrupted_training_goes_on_as_an_undisturbed_one() -> None:
    whole, broken, onward = pretext(), pretext(), pretext()
    wanted, begun = trained(whole, 4), trained(broken, 2)
    onward.load_state_dict(copy.deepcopy(broken.state_dict()))
    assert begun + trained(onward, 2) == wanted
    assert all(torch.equal(a, b) for a, b in zip(whole.network.parameters(), onward.network.parameters(), strict=True))


def test_a_seed_of_its_own_makes_one_network_for_all_trials() -> None:
    shared = [pretext(trial_seed=seed) for seed in (1, 2)]
    own = [pretext(trial_seed=seed, seed=None) for seed in (1, 2)]
    assert trained(shared[0], 1) == trained(shared[1], 1) and trained(own[0], 1) != trained(own[1], 1)


def test_features_are_of_unit_length_and_do_not_move_the_network() -> None:
    network, given = pretext(), images()
    before = copy.deepcopy(network.network.state_dict())
    by_layer = {layer: network.features(given, given.role("all")[:13], layer, 5) for layer in ("projection", "backbone")}
    assert by_layer["projection"].shape == (13, 8) and by_layer["backbone"].shape == (13, 8 * 4 * 4)
    assert all(torch.allclose(found.norm(dim=1), torch.ones(13)) for found in by_layer.values())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.network.state_dict().items())


def test_training_tells_images_apart() -> None:
    coarse = torch.rand(32, 1, 2, 2, generator=torch.Generator().manual_seed(0)).mul(255).byte()
    given = Images(coarse.repeat_interleave(4, 2).repeat_interleave(4, 3))
    views = SimCLRViewSettings(size=8, scale=(0.6, 1.0), flip_probability=0.0, jitter_probability=0.0)
    network = pretext(views, epochs=30, lr=0.03)
    losses = [network.train_epoch(given, given.role("all"), lambda *_: None)[0].item() for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0] < 0.5 * math.log(31), losses


def test_both_views_of_a_step_come_from_the_generator_alone() -> None:
    steps = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        steps.append(pretext().train_step(images(8).pixels, generator("cpu", 0, "step")).item())
    assert steps[0] == steps[1]
