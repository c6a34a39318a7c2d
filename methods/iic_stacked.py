"""An epoch of IIC for several seeds at once, their networks stacked (`kit.stacking`).

Each seed draws the order of its images and all of its transformations from its own generator, as it would alone; the
transformations are then applied to the images of all seeds together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from ..datasets.base import Images
from .base import Diverged, Epoch, check_finite
from .iic_config import Group
from .kit.augment.sampling import Generators
from .kit.randomness import generator
from .kit.stacking import Stack
from .kit.views import PairedViews

if TYPE_CHECKING:
    from .iic import IIC


class StackedEpoch:
    """The next epoch of several seeds of IIC that stand at the same one.

    Args:
        methods: equal but for their seeds; they are changed when the epoch is over.
        images: what all of them train on.
    """

    def __init__(self, methods: Sequence[IIC], images: Images) -> None:
        self.methods, self.images, self.first = methods, images, methods[0]
        self.number = self.first.epochs_done + 1
        self.stack = Stack([each.network for each in methods], [each.optimiser for each in methods], self.first.arithmetic)
        self.random = Generators.of([generator(each.device, each.seed, "epoch", self.number) for each in methods])

    def run(self) -> list[Epoch | Diverged]:
        """Train, give every method what is its own, and say what each of them would have yielded, or what broke it."""
        passes = self.first.config.passes_of(self.number)
        orders = [self._orders(group) for group in passes]
        steps, done, seen = sum(len(order) for order in orders), 0, 0
        losses: dict[str, torch.Tensor] = {}
        for group, order in zip(passes, orders, strict=True):
            total = torch.zeros((), device=self.first.device)
            for batch in self.images.batches(order):
                self.first._set_learning_rate(self.number - 1 + done / steps, group)
                self.stack.follow_rates()
                total = total + self.train_step(batch, group)
                done, seen = done + 1, seen + len(batch) // len(self.methods) * (1 + self.first.config.repeats)
                for method in self.methods:
                    method.on_step(done, steps, seen)
            losses[group] = total / len(order)  # (S, h)
        self.stack.spread()
        return [self._outcome(place, losses, seen) for place in range(len(self.methods))]

    def train_step(self, batch: torch.Tensor, group: Group) -> torch.Tensor:
        """One step of all seeds on uint8 (S * M, C, H, W), the images of a seed together: the losses (S, h), detached."""
        self.stack.network.train()
        originals, transformed = self._views(batch)
        loss = self.first.view_losses(originals, transformed, group, self.stack.network).unflatten(0, (len(self.methods), -1))
        self.stack.optimiser.zero_grad(set_to_none=not self.first.config.idle_head_updates)
        loss.mean(1).sum().backward()  # no seed's loss depends on another's weights
        self.stack.optimiser.step()
        return loss.detach()

    def _views(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The views of all seeds, folded: (M, S * C', S', S') and (r * M, S * C', S', S'), first copies first."""
        views, repeats = self.first.views, self.first.config.repeats
        assert isinstance(views, PairedViews)  # pairs that somebody made do not come through a trial
        originals = views.original(batch, self.random)
        copied = batch.unflatten(0, (len(self.methods), -1)).repeat(1, repeats, 1, 1, 1).flatten(0, 1)  # (S * r * M, C, H, W)
        return self.stack.fold(originals), self.stack.fold(views.transformed(copied, self.random))

    def _orders(self, group: Group) -> tuple[torch.Tensor, ...]:
        """Index tensors of one pass, those of the seeds one after the other in each."""
        found = [
            method._order(self.images, group, random) for method, random in zip(self.methods, self.random.members, strict=True)
        ]
        return tuple(torch.cat(batches) for batches in zip(*found, strict=True))

    def _outcome(self, place: int, losses: dict[str, torch.Tensor], seen: int) -> Epoch | Diverged:
        method, own = self.methods[place], {group: loss[place] for group, loss in losses.items()}
        try:
            for loss in own.values():
                check_finite(loss, self.number, method.name)
        except Diverged as error:
            return error
        return method.concluded(self.images, self.number, own, seen, self.random.members[place])
