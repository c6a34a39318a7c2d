"""How a network is run: the precision of its arithmetic, the layout of its images, batches, optimiser, learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat
from torch import nn

from ..base import MethodError
from . import execution

Network = TypeVar("Network", bound=nn.Module)
Precision = Annotated[Literal["float32", "bfloat16"], Field(description="of the networks' arithmetic; losses are always float32")]


@dataclass(frozen=True)
class Arithmetic:
    """Runs networks on `device` in `precision`, as `kit.execution` says for this process; what comes out is float32."""

    device: str
    precision: Literal["float32", "bfloat16"] = "float32"

    def ready(self, network: Network) -> Network:
        """`network` on the device, in the layout for speed."""
        network = network.to(self.device)
        return network.to(memory_format=torch.channels_last) if execution.current().channels_last else network

    def autocast(self) -> torch.autocast:
        """A context in which layers compute in `precision`."""
        return torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def __call__(self, network: Any, views: torch.Tensor, *arguments: Any) -> torch.Tensor:
        """`network` of float views (N, C, S, S) or (N, D), and whatever else it takes, as float32."""
        if views.ndim == 4 and execution.current().channels_last:
            views = views.contiguous(memory_format=torch.channels_last)
        with self.autocast():
            return execution.kept(execution.runner(network)(views, *arguments).float())


class OptimiserSettings(BaseModel):
    """Adam (its weight decay added to the gradient, not AdamW's) or gradient descent with momentum."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["adam", "sgd"] = Field(default="adam", description="adam or sgd")
    lr: PositiveFloat = Field(default=1e-4, description="learning rate")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.9, description="of sgd")
    weight_decay: NonNegativeFloat = Field(default=1e-4, description="times the weights, added to their gradient")


def build_optimiser(settings: OptimiserSettings, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser of `parameters`, all of them with the same weight decay."""
    parameters = list(parameters)
    fused = parameters[0].device.type == "cuda"  # one launch instead of hundreds
    if settings.name == "adam":
        return torch.optim.Adam(parameters, lr=settings.lr, weight_decay=settings.weight_decay, fused=fused)
    decay, momentum = settings.weight_decay, settings.momentum
    return torch.optim.SGD(parameters, lr=settings.lr, momentum=momentum, weight_decay=decay, fused=fused)


def give_zero_gradients(optimiser: torch.optim.Optimizer) -> None:
    """After its state was loaded: a gradient of zeros for every parameter that it has moved before.

    An optimiser passes over parameters without a gradient, and moves those with one of zeros by their momentum. Where idle heads
    keep theirs (`zero_grad(set_to_none=False)`), a training that is taken up again must find them so.
    """
    for parameter in optimiser.state:
        parameter.grad = torch.zeros_like(parameter)


def cosine_decay(done: float, total: float) -> float:
    """What half a cosine leaves of a learning rate: 1 at the start, 0 when `done` reaches `total`, both in the same unit."""
    return 0.5 * (1 + math.cos(math.pi * done / total))


def without_lone_last(batches: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """`batches` of indices, a last one of a single image joined to the one before: batch norm cannot take a lone image."""
    return (*batches[:-2], torch.cat(batches[-2:])) if len(batches) > 1 and len(batches[-1]) == 1 else batches


def whole_batches(indices: torch.Tensor, size: int) -> tuple[torch.Tensor, ...]:
    """`indices` (N, ...) in batches of `size`, without a last one that is shorter unless it is the only one.

    Raises `MethodError` for less than two.
    """
    if len(indices) < 2:
        raise MethodError(f"Training needs at least two images, got {len(indices)}.")
    batches = indices.split(size)
    return batches if len(batches) == 1 or len(batches[-1]) == size else batches[:-1]
