"""How a network is run: the precision of its arithmetic, the layout of its images, whole batches, and its optimiser."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat
from torch import nn

from ..base import MethodError

Network = TypeVar("Network", bound=nn.Module)
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Arithmetic:
    """Runs networks on `device` in `precision`; what comes out is float32."""

    device: str
    precision: Precision = "float32"

    def ready(self, network: Network) -> Network:
        """`network` on the device. Channels-last convolutions are twice as fast on CPUs, and what tensor cores want on GPUs."""
        return network.to(self.device).to(memory_format=torch.channels_last)

    def __call__(self, network: Any, views: torch.Tensor) -> torch.Tensor:
        """`network` of float views (N, C, S, S), as float32."""
        views = views.contiguous(memory_format=torch.channels_last)
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            return network(views).float()


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


def whole_batches(indices: torch.Tensor, size: int) -> tuple[torch.Tensor, ...]:
    """`indices` (N, ...) in batches of `size`, without a last one that is shorter unless it is the only one.

    Raises `MethodError` for less than two.
    """
    if len(indices) < 2:
        raise MethodError(f"Training needs at least two images, got {len(indices)}.")
    batches = indices.split(size)
    return batches if len(batches) == 1 or len(batches[-1]) == size else batches[:-1]
