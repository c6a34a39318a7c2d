"""Tells the stages of any method's training step apart, from outside: by torch's hooks and by marks on data and views.

data: choosing and reading batches; augmentation: making what the network sees of them; forward: outermost calls of modules;
loss: what follows a forward pass until something else begins; backward; optimiser: steps and clearing gradients; other: the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from ...datasets.base import Images
from ...methods.kit import stages
from .bare import Captured
from .stopwatch import OTHER, Stopwatch

DATA, AUGMENTATION, FORWARD, LOSS, BACKWARD, OPTIMISER = "data", "augmentation", "forward", "loss", "backward", "optimiser"
STAGES = (DATA, AUGMENTATION, FORWARD, LOSS, BACKWARD, OPTIMISER, OTHER)
READS = ("batch", "batch_masks", "order", "role")


class Listener:
    """While `attached`, marks stages on `stopwatch` and, while `captured` is not None, keeps what the networks are called with.

    Attributes:
        captured: where to keep the calls of networks and the optimisers of a step; None to keep nothing.
        is_deaf: while True nothing is marked: what happens is not part of the training.
    """

    def __init__(self, stopwatch: Stopwatch) -> None:
        self.stopwatch = stopwatch
        self.captured: Captured | None = None
        self.is_deaf = False
        self._depth = 0

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Hooks in place; all gone afterwards."""
        with ExitStack() as hooks:
            handles = (
                register_module_forward_pre_hook(self._before_forward),
                register_module_forward_hook(self._after_forward, always_call=True),
                register_optimizer_step_pre_hook(self._before_step),
                register_optimizer_step_post_hook(self._after_step),
            )
            for handle in handles:
                hooks.callback(handle.remove)
            for name in READS:
                hooks.enter_context(mock.patch.object(Images, name, self._marked(getattr(Images, name), DATA)))
            hooks.enter_context(mock.patch.object(Images, "batches", self._batch_by_batch(Images.batches)))
            for name in ("backward", "grad"):
                marked = self._marked(getattr(torch.autograd, name), BACKWARD)
                hooks.enter_context(mock.patch.object(torch.autograd, name, marked))
            hooks.enter_context(mock.patch.object(Optimizer, "zero_grad", self._marked(Optimizer.zero_grad, OPTIMISER)))
            hooks.enter_context(stages.listening(lambda: self._stage(AUGMENTATION)))
            yield

    @contextmanager
    def deaf(self) -> Iterator[None]:
        """What happens inside is neither marked nor timed."""
        self.is_deaf = True
        try:
            yield
        finally:
            self.is_deaf = False
            self.stopwatch.restart()

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        if self.is_deaf or self._depth:  # inside a network everything is its forward pass
            yield
            return
        with self.stopwatch.stage(name):
            yield

    def _marked(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def marked(*arguments: Any, **named: Any) -> Any:
            with self._stage(stage):
                return function(*arguments, **named)

        return marked

    def _batch_by_batch(self, batches: Callable[..., Iterator[torch.Tensor]]) -> Callable[..., Iterator[torch.Tensor]]:
        """Reading the next batch counts as data; what is done with it between two does not."""

        def marked(*arguments: Any, **named: Any) -> Iterator[torch.Tensor]:
            source = batches(*arguments, **named)
            while True:
                with self._stage(DATA):
                    batch = next(source, None)
                if batch is None:
                    return
                yield batch

        return marked

    def _before_forward(self, module: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
        if self.is_deaf:
            return
        self._depth += 1
        if self._depth == 1:
            self.stopwatch.enter(FORWARD)
            if self.captured is not None:
                self.captured.call(module, arguments)

    def _after_forward(self, module: torch.nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        if self.is_deaf:
            return
        self._depth -= 1
        if self._depth == 0:
            self.stopwatch.leave(background=LOSS if torch.is_grad_enabled() else OTHER)

    def _before_step(self, optimiser: Optimizer, arguments: Any, named: Any) -> None:
        if self.is_deaf:
            return
        self.stopwatch.enter(OPTIMISER)
        if self.captured is not None:
            self.captured.stepped(optimiser)

    def _after_step(self, optimiser: Optimizer, arguments: Any, named: Any) -> None:
        if not self.is_deaf:
            self.stopwatch.leave()
