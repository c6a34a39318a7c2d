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

Network = TypeVar("Network", bound=nn.Module)
Precision = Annotated[Literal["float32", "bfloat16"], Field(description="of the networks' arithmetic; losses are always float32")]


@dataclass(frozen=True)
class Arithmetic:
    """Runs networks on `device` in `precision`; what comes out is float32."""

    device: str
    precision: Literal["float32", "bfloat16"] = "float32"

    def ready(self, network: Network) -> Network:
        """`network` on the device. Channels-last convolutions are twice as fast on CPUs, and what tensor cores want on GPUs."""
        return network.to(self.device).to(memory_format=torch.channels_last)

    def autocast(self) -> torch.autocast:
        """A context in which layers compute in `precision`."""
        return torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def __call__(self, network: Any, views: torch.Tensor, *arguments: Any) -> torch.Tensor:
        """`network` of float views (N, C, S, S) or (N, D), and whatever else it takes, as float32."""
        views = views.contiguous(memory_format=torch.channels_last) if views.ndim == 4 else views
        with self.autocast():
            return network(views, *arguments).float()


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
