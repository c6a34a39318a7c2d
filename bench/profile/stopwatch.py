"""Seconds by stage, where stages lie inside each other and every moment counts once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

OTHER = "other"


def synchroniser(device: str) -> Callable[[], None]:
    """A function that waits until `device` has done what it was given; on a CPU there is nothing to wait for."""
    if torch.device(device).type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: None


def clock_for(device: str) -> Callable[[], float]:
    """What measures on `device`: one thread of a CPU by the processor time that the process used, which other load on the
    machine hardly changes; everything else by the wall clock."""
    is_alone = torch.device(device).type == "cpu" and torch.get_num_threads() == 1
    return time.process_time if is_alone else time.perf_counter


class Stopwatch:
    """Counts the time between two marks for the innermost stage that is open.

    On a GPU it waits for the device at every mark, so that work counts where it was asked for. That costs the overlap of
    kernels and Python: the stages tell where time goes, an undivided step tells how long it takes.

    Attributes:
        background: the stage that counts while none is open.
    """

    def __init__(self, device: str, clock: Callable[[], float] = time.perf_counter) -> None:
        self._wait, self._clock = synchroniser(device), clock
        self.background = OTHER
        self._open: list[str] = []
        self._seconds: dict[str, float] = {}
        self._since = self._now()

    def enter(self, stage: str) -> None:
        """From here on time counts for `stage`."""
        self._count()
        self._open.append(stage)

    def leave(self, background: str = OTHER) -> None:
        """The innermost stage ends; if it was the outermost too, time counts for `background` from here on."""
        self._count()
        self._open.pop()
        if not self._open:
            self.background = background

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """`enter` and `leave`."""
        self.enter(name)
        try:
            yield
        finally:
            self.leave()

    def take(self) -> dict[str, float]:
        """Seconds by stage since the last call."""
        self._count()
        taken, self._seconds = self._seconds, {}
        return taken

    def restart(self) -> None:
        """Forget what has passed since the last mark: it was not part of the training."""
        self._since = self._now()

    def _count(self) -> None:
        now = self._now()
        stage = self._open[-1] if self._open else self.background
        self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._since
        self._since = now

    def _now(self) -> float:
        self._wait()
        return self._clock()
