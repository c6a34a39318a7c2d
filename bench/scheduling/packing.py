"""How many trials share a GPU, by measurement: `--gpus-per-trial auto`.

The first steps of one trial of each kind run alone on a whole GPU. What they take of its memory and how long they keep it
busy says how many like them it can hold. A trial that then runs out of memory after all is tried again with fewer beside it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .events import Planned

HEADROOM = 1.15  # of the memory that was seen: later steps may take a little more, and each process has a context
MOST_PER_GPU = 16  # below a sixteenth, starting and feeding the processes costs more than it brings
WARM_UP, MEASURED = 5, 30  # steps; libraries choose their algorithms in the first ones
LONGEST = 60.0  # seconds after which the steps so far have to do


@dataclass(frozen=True)
class Appetite:
    """What a trial takes of a GPU.

    Attributes:
        memory: 0..1, its peak as a share of the whole.
        busy: 0..1, the share of time that kernels of it run.
    """

    memory: float
    busy: float

    @property
    def share(self) -> float:
        """GPUs per trial: one over a whole number from 1 to 16, the largest number for which memory and time suffice."""
        wanted = max(self.memory * HEADROOM, self.busy, 1 / MOST_PER_GPU)
        return 1 / max(1, math.floor(1 / wanted + 1e-9))


class Enough(Exception):
    """Raised in the middle of an epoch when enough was seen of it."""


class Steps:
    """A method's `on_step` that starts a meter after the warm-up and ends the training when it has seen enough.

    Args:
        start: called once, after the warm-up.
        clock: seconds that only ever grow.
    """

    def __init__(self, start: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.start, self.clock = start, clock
        self.seen, self.began = 0, clock()

    def __call__(self, done: int, total: int, images: int) -> None:
        self.seen += 1
        if self.seen == WARM_UP:
            self.start()
        if self.seen >= WARM_UP + MEASURED or self.clock() - self.began > LONGEST:
            raise Enough


def kinds(planned: Iterable[Planned]) -> list[Planned]:
    """One trial of each kind that is left: trials that differ in nothing but the seed take the same."""
    found: dict[str, Planned] = {}
    for trial in planned:
        if trial.done is None:
            spec = trial.spec.model_dump(mode="json")
            found.setdefault(repr([(name, value) for name, value in sorted(spec.items()) if name != "seed"]), trial)
    return list(found.values())


def share_for_all(appetites: Sequence[Appetite]) -> float:
    """GPUs per trial with which every kind of trial fits: that of the hungriest."""
    return max((appetite.share for appetite in appetites), default=1.0)


def measure(spec: Mapping[str, Any], job: Mapping[str, Any]) -> Appetite:
    """The appetite of one trial, alone on the GPU that this process was given. Nothing is recorded."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from ...methods.registry import methods
    from ..spec import TrialSpec
    from .worker import trial_data

    trial = TrialSpec(**spec)
    data = trial_data(trial.dataset, trial.protocol, job["data_root"])
    method = methods.get(trial.method)(trial.n_clusters, seed=trial.seed, device="cuda:0", **trial.config)
    images = data.train.to("cuda:0", job["memory_share"])
    profiler = profile(activities=[ProfilerActivity.CUDA])
    marks: list[float] = []

    def start() -> None:
        torch.cuda.synchronize()
        profiler.start()
        marks.append(time.monotonic())

    method.on_step = Steps(start)
    began = time.monotonic()
    with suppress(Enough):
        next(method.train(images), None)
    torch.cuda.synchronize()
    seconds = time.monotonic() - (marks[0] if marks else began)
    busy = 1.0  # a method that reports no steps cannot be watched: it gets the GPU's time for itself
    if marks:
        profiler.stop()
        busy = min(1.0, sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6 / seconds)
    _, total = torch.cuda.mem_get_info()
    return Appetite(min(1.0, torch.cuda.max_memory_reserved() / total), busy)
