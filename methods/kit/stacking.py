"""Several seeds of one method trained at once: their networks side by side as the groups of one network.

A small network leaves most of a GPU idle: each of its kernels is over before the next one is launched. A stack of S networks
of one shape is one network with S times the channels, in S groups that know nothing of each other: convolutions of S groups,
batch norms of S times the channels, matrix products in S blocks. Every weight of the stack is the S weights one after the other
along the first axis, and so is everything that an elementwise optimiser remembers of it. So a step of the stack is S steps
of its members with the launches of one, and they are equal but for rounding.

A method that can be stacked says so (`Method.stacks`) and makes one epoch of several of its kind in `train_stacked`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from ..base import MethodError
from .arithmetic import Arithmetic
from .networks import SubHeads

ELEMENTWISE = (SGD, Adam, AdamW, RMSprop)  # what they do to a weight depends on that weight's own gradient alone
WITHOUT_WEIGHTS = (nn.ReLU, nn.LeakyReLU, nn.Sigmoid, nn.MaxPool2d, nn.AvgPool2d, nn.Flatten, nn.Identity)


class GroupedLinear(nn.Module):
    """`groups` linear layers side by side: features (N, groups * D) to (N, groups * K), group by group."""

    def __init__(self, inputs: int, outputs: int, groups: int, bias: bool) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.empty(groups * outputs, inputs))
        self.bias = nn.Parameter(torch.empty(groups * outputs)) if bias else None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        inputs = features.unflatten(1, (self.groups, -1)).transpose(0, 1)  # (groups, N, D)
        weights = self.weight.unflatten(0, (self.groups, -1)).transpose(1, 2)  # (groups, D, K)
        products = torch.bmm(inputs, weights)  # (groups, N, K)
        if self.bias is not None:
            products = products + self.bias.view(self.groups, 1, -1)
        return products.transpose(0, 1).flatten(1)  # (N, groups * K)


class Stack:
    """The networks of several seeds as one, with one optimiser in place of theirs.

    The members stay as they are until `spread`. What goes in is folded, what comes out is the members' outputs one after the
    other along the channels, sub-heads or features.

    Args:
        networks: of one shape, one for each seed.
        optimisers: one for each network, in the same order, all with the same settings and as many steps behind them.
        arithmetic: on whose device and in whose layout the stack is.

    Attributes:
        network: takes (N, S * C, H, W) or (N, S * D).
        optimiser: of its parameters.

    Raises:
        MethodError: a layer or an optimiser that cannot be stacked.
    """

    def __init__(self, networks: Sequence[nn.Module], optimisers: Sequence[Optimizer], arithmetic: Arithmetic) -> None:
        self.networks, self.optimisers = networks, optimisers
        network = stacked_layers(networks[0], len(networks))
        network.load_state_dict(_side_by_side([member.state_dict() for member in networks]))
        self.network = arithmetic.ready(network)
        self.optimiser = self._one_optimiser()

    def __len__(self) -> int:
        return len(self.networks)

    def fold(self, views: torch.Tensor) -> torch.Tensor:
        """Views of all members, (S * N, C, ...), those of a member together, as the stack takes them: (N, S * C, ...)."""
        return views.unflatten(0, (len(self), -1)).transpose(0, 1).flatten(1, 2)

    def follow_rates(self) -> None:
        """Take over the learning rates of the first member's optimiser."""
        for own, its in zip(self.optimiser.param_groups, self.optimisers[0].param_groups, strict=True):
            own["lr"] = its["lr"]

    def spread(self) -> None:
        """Give the members the weights, statistics and the optimiser's memory that they have in the stack."""
        weights, memory = self.network.state_dict(), self.optimiser.state_dict()
        for place, (network, optimiser) in enumerate(zip(self.networks, self.optimisers, strict=True)):
            network.load_state_dict({name: self._own(tensor, place) for name, tensor in weights.items()})
            state = {index: {key: self._own(value, place) for key, value in of.items()} for index, of in memory["state"].items()}
            optimiser.load_state_dict({"state": state, "param_groups": memory["param_groups"]})
            for mine, its in zip(network.parameters(), self.network.parameters(), strict=True):
                mine.grad = None if its.grad is None else torch.zeros_like(mine)

    def _own(self, value: Any, place: int) -> Any:
        """The part of the member at `place`; what has no axis is the same for all."""
        if not isinstance(value, torch.Tensor):
            return value
        return (value.chunk(len(self))[place] if value.ndim else value).clone()

    def _one_optimiser(self) -> Optimizer:
        first = self.optimisers[0]
        if not isinstance(first, ELEMENTWISE):
            raise MethodError(f"The optimiser {type(first).__name__} cannot be stacked: it does more than one weight by itself.")
        names = {id(parameter): name for name, parameter in self.networks[0].named_parameters()}
        own = dict(self.network.named_parameters())
        for name, parameter in self.networks[0].named_parameters():
            own[name].grad = None if parameter.grad is None else torch.zeros_like(own[name])  # an idle head may have none
        groups = [{**group, "params": [own[names[id(each)]] for each in group["params"]]} for group in first.param_groups]
        optimiser = type(first)(groups, lr=float(groups[0]["lr"]))
        states = [member.state_dict() for member in self.optimisers]
        memory = {
            index: _side_by_side([each["state"][index] for each in states]) for index in states[0]["state"]
        }  # what is remembered of each weight, by its place in the groups
        optimiser.load_state_dict({"state": memory, "param_groups": optimiser.state_dict()["param_groups"]})
        return optimiser


def stacked_layers(network: nn.Module, count: int) -> nn.Module:
    """A network like `count` copies of `network` side by side, with weights that mean nothing yet.

    What its forward passes do beside calling layers must keep channels, sub-heads or features apart.

    Raises:
        MethodError: a layer that is not known to keep its groups apart.
    """
    made = _of_layer(network, count)
    if made is not None:
        return made
    if not list(network.children()) or list(network.parameters(recurse=False)):
        raise MethodError(f"The layer {type(network).__name__} cannot be stacked. Leave out --stacked-seeds.")
    container = copy.copy(network)  # its own attributes; the layers are replaced
    container._modules = {name: stacked_layers(child, count) for name, child in network.named_children()}
    if isinstance(container, SubHeads):
        container.heads = count * container.heads
    return container


def _of_layer(layer: nn.Module, count: int) -> nn.Module | None:
    """`count` layers like this side by side; None if it is none of those that are known."""
    for kind, made in _LAYERS.items():
        if isinstance(layer, kind):
            return made(layer, count).to(next(layer.parameters(), torch.empty(0)))
    return copy.deepcopy(layer) if isinstance(layer, WITHOUT_WEIGHTS) else None


def _convolution(layer: Any, count: int) -> nn.Module:
    about = ("kernel_size", "stride", "padding", "dilation", "padding_mode")
    named = {name: getattr(layer, name) for name in about} | {"groups": count * layer.groups, "bias": layer.bias is not None}
    if isinstance(layer, nn.ConvTranspose2d):
        named["output_padding"] = layer.output_padding
    return type(layer)(count * layer.in_channels, count * layer.out_channels, **named)


def _norm(layer: Any, count: int) -> nn.Module:
    return type(layer)(count * layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)


def _linear(layer: Any, count: int) -> nn.Module:
    return GroupedLinear(layer.in_features, layer.out_features, count, layer.bias is not None)


def _unflatten(layer: Any, count: int) -> nn.Module:
    return nn.Unflatten(layer.dim, (count * layer.unflattened_size[0], *layer.unflattened_size[1:]))


_LAYERS: Mapping[type[nn.Module], Callable[[Any, int], nn.Module]] = {
    nn.Conv2d: _convolution,
    nn.ConvTranspose2d: _convolution,
    _BatchNorm: _norm,
    nn.Linear: _linear,
    nn.Unflatten: _unflatten,
}


def _side_by_side(states: Sequence[Mapping[Any, Any]]) -> dict[Any, Any]:
    """Tensors by name, those of all members one after the other along the first axis; what has no axis is the first's."""

    def joined(name: Any, value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return torch.cat([state[name] for state in states]) if value.ndim else value.clone()

    return {name: joined(name, value) for name, value in states[0].items()}
