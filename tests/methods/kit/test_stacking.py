"""Networks of several seeds as the groups of one: equal to each of them alone, in double precision almost to the bit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim import LBFGS, SGD, Adam, Optimizer
from torchvision.models.resnet import BasicBlock

from clusterbench.methods.base import MethodError
from clusterbench.methods.kit.arithmetic import Arithmetic
from clusterbench.methods.kit.augment import bernoulli, jitter, resized_crop_boxes
from clusterbench.methods.kit.augment.sampling import Generators
from clusterbench.methods.kit.conv_autoencoder import AutoencoderSettings, ImageAutoencoder
from clusterbench.methods.kit.networks import ClusterNetwork, TrunkName, build_trunk
from clusterbench.methods.kit.randomness import generator, seeded
from clusterbench.methods.kit.stacking import Stack

SEEDS = (0, 1, 2)
Built = Callable[[nn.Module], Optimizer]


def adam(network: nn.Module) -> Optimizer:
    return Adam(network.parameters(), lr=1e-2, weight_decay=1e-3)


def clusterer(seed: int, trunk: TrunkName = "small") -> nn.Module:
    with seeded(seed, "weights"):
        built = build_trunk(trunk, 2, 8, widths=(4, 6))
        return ClusterNetwork(built, {"main": (3, 2), "auxiliary": (5, 4)}).double()


def residual(seed: int) -> nn.Module:
    """What the ResNets are made of, one block with a shortcut of its own and one without."""
    with seeded(seed, "weights"):
        shortcut = nn.Sequential(nn.Conv2d(2, 6, 1, 2, bias=False), nn.BatchNorm2d(6))
        blocks = BasicBlock(2, 6, 2, shortcut), BasicBlock(6, 6)
        return nn.Sequential(*blocks, nn.AvgPool2d(4, stride=1), nn.Flatten(), nn.Linear(6, 5)).double()


def views(seed: int, count: int = 12) -> torch.Tensor:
    return torch.randn(count, 2, 8, 8, generator=generator("cpu", seed, "views"), dtype=torch.float64)


def stack_of(networks: list[nn.Module], optimisers: list[Optimizer]) -> Stack:
    return Stack(networks, optimisers, Arithmetic("cpu"))


def descend(network: nn.Module, optimiser: Optimizer, images: torch.Tensor, head: str, parts: int = 1) -> None:
    """A step down a loss that is no mean over outputs, so that a mixture of members would show."""
    outputs = network(images, head).unflatten(0, (parts, -1))
    optimiser.zero_grad(set_to_none=False)
    outputs.square().mean((1, 2, 3)).log().sum().backward()
    optimiser.step()


@pytest.mark.parametrize("trunk", ["small", "mlp"])
def test_every_member_has_the_probabilities_that_it_has_alone(trunk: TrunkName) -> None:
    networks = [clusterer(seed, trunk) for seed in SEEDS]
    stack = stack_of(networks, [adam(network) for network in networks])
    batches = [views(seed) for seed in SEEDS]
    together = stack.network(stack.fold(torch.cat(batches)), "main").chunk(3)
    for network, batch, found in zip(networks, batches, together, strict=True):
        torch.testing.assert_close(found, network(batch, "main"), rtol=1e-9, atol=1e-12)


def test_residual_blocks_stay_apart() -> None:
    networks, batches = [residual(seed) for seed in SEEDS], [views(seed) for seed in SEEDS]
    stack = stack_of(networks, [adam(network) for network in networks])
    together = stack.network(stack.fold(torch.cat(batches))).chunk(3, dim=1)
    for network, batch, found in zip(networks, batches, together, strict=True):
        torch.testing.assert_close(found, network(batch), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("built", [adam, lambda network: SGD(network.parameters(), lr=0.1, momentum=0.9)])
def test_training_gives_every_member_the_weights_statistics_and_memory_of_a_training_alone(built: Built) -> None:
    alone, members = ([clusterer(seed) for seed in SEEDS] for _ in range(2))
    its_own, theirs = [built(network) for network in alone], [built(network) for network in members]
    for epoch in range(3):  # each epoch makes a stack of its own; the idle head is moved by the memory of the last
        stack = stack_of(members, theirs)
        for step, head in enumerate(("auxiliary", "main", "main")):
            batches = [views(100 * seed + 10 * epoch + step) for seed in SEEDS]
            descend(stack.network, stack.optimiser, stack.fold(torch.cat(batches)), head, parts=3)
            for network, optimiser, batch in zip(alone, its_own, batches, strict=True):
                descend(network, optimiser, batch, head)
        stack.spread()
    for network, member in zip(alone, members, strict=True):
        torch.testing.assert_close(member.state_dict(), network.state_dict(), rtol=1e-7, atol=1e-10)
    for optimiser, other in zip(its_own, theirs, strict=True):
        torch.testing.assert_close(other.state_dict()["state"], optimiser.state_dict()["state"], rtol=1e-7, atol=1e-10)


def test_transposed_convolutions_and_maps_made_of_codes_stay_apart_too() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks: list[nn.Module] = [ImageAutoencoder(AutoencoderSettings(widths=(4, 6)), (1, 9, 7), 5).double() for _ in SEEDS]
    images = [torch.rand(6, 1, 9, 7, generator=generator("cpu", seed), dtype=torch.float64) for seed in SEEDS]
    stack = stack_of(networks, [adam(network) for network in networks])
    together = stack.network(stack.fold(torch.cat(images)))  # (6, 3, 9, 7)
    for place, (network, own) in enumerate(zip(networks, images, strict=True)):
        torch.testing.assert_close(together[:, place : place + 1], network(own), rtol=1e-9, atol=1e-12)


def test_members_change_when_the_stack_is_spread_and_share_no_memory_with_it() -> None:
    networks = [clusterer(seed) for seed in SEEDS]
    optimisers = [adam(network) for network in networks]
    before = [network.state_dict()["heads.main.linear.weight"].clone() for network in networks]
    stack = stack_of(networks, optimisers)
    descend(stack.network, stack.optimiser, stack.fold(torch.cat([views(seed) for seed in SEEDS])), "main", parts=3)
    assert all(
        torch.equal(network.state_dict()["heads.main.linear.weight"], old) for network, old in zip(networks, before, strict=True)
    )
    stack.spread()
    memory = next(iter(optimisers[1].state.values()))["exp_avg"]
    assert memory.untyped_storage().nbytes() == memory.nbytes  # a part of a larger one would be saved whole
    counts = [next(iter(optimiser.state.values()))["step"] for optimiser in (*optimisers, stack.optimiser)]
    assert len({count.data_ptr() for count in counts}) == len(counts)  # they are raised in place


@pytest.mark.parametrize(
    ("network", "optimiser", "said"),
    [
        (nn.Sequential(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4)), adam, "The layer GroupNorm cannot be stacked"),
        (nn.Sequential(nn.Linear(2, 3), nn.Dropout()), adam, "The layer Dropout cannot be stacked"),
        (nn.Linear(2, 3), lambda network: LBFGS(network.parameters()), "The optimiser LBFGS cannot be stacked"),
    ],
)
def test_what_would_mix_the_members_is_refused(network: nn.Module, optimiser: Built, said: str) -> None:
    with pytest.raises(MethodError, match=said):
        stack_of([network, network], [optimiser(network), optimiser(network)])


def test_several_generators_draw_for_their_own_images_what_each_draws_alone() -> None:
    together = Generators.of([generator("cpu", seed) for seed in SEEDS])
    alone = [generator("cpu", seed) for seed in SEEDS]
    for _ in range(2):
        assert torch.equal(bernoulli(12, 0.4, together), torch.cat([bernoulli(4, 0.4, each) for each in alone]))
        jitters = [jitter(4, 0.4, 0.3, 0.2, 0.1, each) for each in alone]
        for found, *parts in zip(jitter(12, 0.4, 0.3, 0.2, 0.1, together), *jitters, strict=True):
            assert torch.equal(found, torch.cat(parts))
        boxes = [resized_crop_boxes(4, 9, 7, each) for each in alone]
        for found, *parts in zip(resized_crop_boxes(12, 9, 7, together), *boxes, strict=True):
            assert torch.equal(found, torch.cat(parts))
