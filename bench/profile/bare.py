"""The bare step: the networks of one training step on inputs that are already there, and nothing else.

Every outermost call of a network in the step is repeated with the very inputs it had, the gradient of a plain sum goes back
through all of them, and the optimisers step. No data, no augmentation, no loss of the method, no bookkeeping: the time
below which no harness can get with these networks in this library.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer


@dataclass(frozen=True)
class Call:
    """One call of a network: its inputs (detached), and the state of torch at that moment."""

    module: nn.Module
    arguments: tuple[Any, ...]
    is_training: bool
    with_gradient: bool
    autocast_to: torch.dtype | None

    def __call__(self, device_type: str) -> Any:
        if self.module.training != self.is_training:
            self.module.train(self.is_training)
        with (
            torch.set_grad_enabled(self.with_gradient),
            torch.autocast(device_type, self.autocast_to or torch.bfloat16, enabled=self.autocast_to is not None),
        ):
            return self.module(*self.arguments)


@dataclass
class Captured:
    """The calls and optimisers of one step, as a `Listener` heard them."""

    device_type: str
    calls: list[Call] = field(default_factory=list)
    optimisers: list[Optimizer] = field(default_factory=list)

    def call(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """Keep a call; its tensors are copied, because the step may change them."""
        is_cast = torch.is_autocast_enabled(self.device_type)
        kept = tuple(_detached(argument) for argument in arguments)
        dtype = torch.get_autocast_dtype(self.device_type) if is_cast else None
        self.calls.append(Call(module, kept, module.training, torch.is_grad_enabled(), dtype))

    def stepped(self, optimiser: Optimizer) -> None:
        """Keep an optimiser, each once."""
        if all(optimiser is not known for known in self.optimisers):
            self.optimisers.append(optimiser)

    def bare_step(self) -> None:
        """Forward, backward, optimisers. The gradient is zero, so that the training beside it goes on as it was."""
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        outputs = [tensor for call in self.calls for tensor in _tensors(call(self.device_type)) if tensor.requires_grad]
        if outputs:
            torch.stack([output.float().sum() for output in outputs]).sum().mul(0.0).backward()
        for optimiser in self.optimisers:
            optimiser.step()


def _detached(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, (list, tuple)):
        return type(value)(map(_detached, value))
    return value


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for part in value for tensor in _tensors(part)] if isinstance(value, (list, tuple)) else []
