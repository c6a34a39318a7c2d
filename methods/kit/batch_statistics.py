"""The running statistics of batch norm as something to look at, to replace for a while, and to estimate on chosen images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

Statistics = dict[str, torch.Tensor]


def running_statistics(network: nn.Module) -> Statistics:
    """A copy of the running statistics of every batch norm in `network`, by the names of its `state_dict`."""
    return {name: tensor.clone() for name, tensor in _buffers(network).items()}


def set_running_statistics(network: nn.Module, statistics: Mapping[str, torch.Tensor]) -> None:
    """Put `statistics` in place of those of `network`. Raises `KeyError` for one that it does not have."""
    buffers = _buffers(network)
    with torch.no_grad():
        for name, tensor in statistics.items():
            buffers[name].copy_(tensor)


@contextmanager
def other_statistics(network: nn.Module, statistics: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """`network` has `statistics` inside, which may change there, and its own again afterwards."""
    before = running_statistics(network)
    set_running_statistics(network, statistics)
    try:
        yield
    finally:
        set_running_statistics(network, before)


@torch.no_grad()
def warm_up(network: nn.Module, batches: Iterable[torch.Tensor]) -> int:
    """Let `batches` move the running statistics of `network` as in training, each by the layers' momentum; no weight changes.

    The network is left in evaluation mode. Returns how many images went through it.
    """
    network.train()
    seen = 0
    for batch in batches:
        network(batch)
        seen += len(batch)
    network.eval()
    return seen


def _buffers(network: nn.Module) -> Statistics:
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, norms)]
    return {f"{name}.{key}": tensor for name, layer in layers for key, tensor in layer.named_buffers(recurse=False)}
