"""What every method that trains a network with one or more optimisers does: a step down, rates that fall, mean losses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import nn

from ..base import Method, MethodConfig, check_finite
from .arithmetic import cosine_decay


class DescentConfig(MethodConfig):
    """Settings of the optimisers."""

    lr: PositiveFloat = Field(default=1e-3, description="learning rate")
    lr_decay: Literal["none", "cosine"] = Field(
        default="none", description="of the learning rate: constant, or half a cosine that ends at 0"
    )
    weight_decay: NonNegativeFloat = Field(default=0.0, description="times the weights, added to their gradient")


class Descent(Method):
    """A method whose `optimisers` follow `lr_decay` from the learning rates that they start with.

    Attributes:
        optimisers: by name; `keep_first_rates` is called once they are there.
    """

    config: DescentConfig
    optimisers: dict[str, torch.optim.Optimizer]

    def descend(self, loss: torch.Tensor, optimiser: str = "network") -> torch.Tensor:
        """One step of `self.optimisers[optimiser]` down the scalar `loss`: the loss, detached."""
        found = self.optimisers[optimiser]
        found.zero_grad(set_to_none=True)
        loss.backward()
        found.step()
        return loss.detach()

    def adam(self, module: nn.Module, betas: tuple[float, float] = (0.9, 0.999)) -> torch.optim.Adam:
        """Adam for `module` at the learning rate and weight decay that are set."""
        fused = torch.device(self.device).type == "cuda"  # one launch instead of hundreds
        lr, decay = self.config.lr, self.config.weight_decay
        return torch.optim.Adam(module.parameters(), lr=lr, betas=betas, weight_decay=decay, fused=fused)

    def keep_first_rates(self) -> None:
        """Note the learning rates that the optimisers have now: all their parameter groups fall from there."""
        for group in self._groups():
            group["first_lr"] = group["lr"]

    def set_rates(self, share: float) -> None:
        """Learning rates when `share` (0 to 1) of the whole training is done."""
        if self.config.lr_decay == "cosine":
            for group in self._groups():
                group["lr"] = group["first_lr"] * cosine_decay(share, 1)

    def _groups(self) -> Iterator[dict]:
        return (group for optimiser in self.optimisers.values() for group in optimiser.param_groups)


class MeanLosses:
    """Means of losses over the steps of an epoch; the device is read once, at its end."""

    def __init__(self) -> None:
        self.totals: dict[str, torch.Tensor] = {}

    def add(self, losses: Mapping[str, torch.Tensor]) -> None:
        """The detached scalars of one step by name, the same names in each step."""
        for name, loss in losses.items():
            self.totals[name] = self.totals[name] + loss if name in self.totals else loss

    def means(self, steps: int, epoch: int, method: str) -> dict[str, float]:
        """Means by name. Raises `Diverged` if one is not finite."""
        means = torch.stack([*self.totals.values()]) / steps
        check_finite(means, epoch, method)
        return dict(zip(self.totals, means.tolist(), strict=True))
