"""Runs the training of a method for some steps and measures them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from ...datasets.base import TrialData
from ...methods.base import Method, MethodError
from ..labelled import training
from .bare import Captured
from .flame import read_trace, write_flame
from .listening import Listener
from .memory import PeakMemory
from .stopwatch import Stopwatch, clock_for, synchroniser

TRACED = 3  # steps in a trace
Steps: TypeAlias = Generator[None, None, None]


class _Enough(BaseException):
    """Thrown out of the training when all steps are measured; no method catches it."""


@dataclass
class Measurement:
    """Steps of one training.

    Attributes:
        whole: seconds of each undivided step, from one call of `on_step` to the next.
        bare: seconds of the bare step that was run right after each of them.
        stages: seconds by stage of as many further steps, one mapping a step.
        images: images that went through the network in each undivided step.
        flops: floating-point operations of a step, of matrix products and convolutions, forward and backward.
        peak_bytes: most memory that the training held beside what was there before; None where it cannot be told.
    """

    whole: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    flops: int = 0
    peak_bytes: int | None = None


def measure(
    method: Method,
    data: TrialData,
    *,
    steps: int,
    warm_up: int = 3,
    after_epoch: int = 0,
    trace: Path | None = None,
    flame: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Measurement:
    """Train `method` on `data` (on its device) until `steps` steps are measured, then leave it where it is.

    First come `warm_up` steps that do not count, one whose networks' calls are kept for the bare step, and one whose
    floating-point operations are counted; then `steps` undivided ones with a bare step after each, and `steps` divided ones.

    Args:
        method: a fresh one; its `on_step` is taken.
        data: what to train on.
        steps: how many to measure, at least 1.
        after_epoch: train so many epochs first, for a method whose later epochs do something else.
        trace: write a trace of `TRACED` further steps into this file, for chrome://tracing or Perfetto.
        flame: write a page of `TRACED` further steps into this file that shows which call inside which takes how long.
        progress: told what is being measured.

    Raises:
        MethodError: the training has no steps, or ended before anything was measured.
    """
    run = _Run(method, steps, warm_up, trace, flame, progress)
    method.on_step = run.on_step
    run.is_waiting = after_epoch > 0
    try:
        with run.listener.attached():
            for epoch in training(method, data):
                run.is_waiting = epoch.number < after_epoch
                run.between_epochs()
    except _Enough:
        pass
    finally:
        run.close()
    if not run.found.whole:
        raise MethodError(
            f"{method.name}: the training ended before a step was measured. It trains no network, or give it more epochs (--set)."
        )
    run.found.peak_bytes = run.memory.peak()
    return run.found


class _NoModules(nullcontext[None]):
    """Tells torch's counter that everything happens in no module: what each of them takes is not asked for."""

    parents = ("Global",)


class _Run:
    """Goes from one kind of step to the next, as `on_step` is called."""

    def __init__(
        self,
        method: Method,
        steps: int,
        warm_up: int,
        trace: Path | None,
        flame: Path | None,
        progress: Callable[..., None],
    ) -> None:
        self.method, self.steps, self.warm_up, self.progress = method, steps, warm_up, progress
        self.trace, self.flame = trace, flame
        self.stopwatch = Stopwatch(method.device, clock_for(method.device))
        self.listener = Listener(self.stopwatch)
        self.memory = PeakMemory(method.device)
        self.found = Measurement()
        self.captured = Captured(torch.device(method.device).type)
        self.is_waiting = False
        self._wait, self._clock = synchroniser(method.device), clock_for(method.device)
        self._seen = 0
        self._images = 0
        self._crossed = False
        self._restart: Callable[[], object] = lambda: None
        self._plan = self._in_order()
        self.listener.is_deaf = True

    def on_step(self, done: int, total: int, images: int) -> None:
        """The end of a step of the method, and the beginning of the next one."""
        if self.is_waiting:
            return
        self._images, self._seen = images - self._seen if images > self._seen else images, images
        try:
            next(self._plan)
        except StopIteration:
            raise _Enough from None

    def between_epochs(self) -> None:
        """What happens between the last call of `on_step` and the next is not a step alone."""
        self._seen, self._crossed = 0, True

    def close(self) -> None:
        """Undo what a step that never ended has begun."""
        self._plan.close()

    def _in_order(self) -> Steps:
        """Each `yield` is one step of the method."""
        for _ in range(self.warm_up):
            yield
        yield from self._captured_step()
        yield from self._counted_step()
        yield from self._undivided_steps()
        yield from self._divided_steps()
        if self.trace is not None:
            yield from self._traced_steps(self.trace)
        if self.flame is not None:
            yield from self._drawn_steps(self.flame)

    def _within_an_epoch(self) -> Steps:
        """One step that lies in an epoch; those between two also evaluate, cluster, or shuffle."""
        self._crossed = True
        while self._crossed:
            self._crossed = False
            self._restart()
            yield

    def _captured_step(self) -> Steps:
        def restart() -> None:
            self.listener.captured = self.captured = Captured(self.captured.device_type)

        self.listener.is_deaf, self._restart = False, restart
        yield from self._within_an_epoch()
        self.listener.is_deaf, self.listener.captured = True, None
        self.captured.bare_step()  # the first time is slower

    def _counted_step(self) -> Steps:
        counter = FlopCounterMode(display=False)
        counter.mod_tracker = _NoModules()  # type: ignore[assignment] - torch's breaks on a gradient of a gradient
        with counter:
            before = 0

            def restart() -> None:
                nonlocal before
                before = counter.get_total_flops()

            self._restart = restart
            yield from self._within_an_epoch()
            self.found.flops = counter.get_total_flops() - before

    def _undivided_steps(self) -> Steps:
        began = 0.0

        def restart() -> None:
            nonlocal began
            began = self._now()

        self._restart = restart
        for number in range(self.steps):
            yield from self._within_an_epoch()
            ended = self._now()
            self.captured.bare_step()
            self.found.whole.append(ended - began)
            self.found.bare.append(self._now() - ended)
            self.found.images.append(self._images)
            self.progress("whole and bare steps", number + 1, self.steps)

    def _divided_steps(self) -> Steps:
        self.listener.is_deaf, self._restart = False, self.stopwatch.take
        for number in range(self.steps):
            yield from self._within_an_epoch()
            self.found.stages.append(self.stopwatch.take())
            self.progress("stages", number + 1, self.steps)
        self.listener.is_deaf = True

    def _drawn_steps(self, path: Path) -> Steps:
        with tempfile.TemporaryDirectory(prefix="clusterbench-flame-") as folder:
            trace = Path(folder) / "trace.json"
            yield from self._traced_steps(trace, with_stack=True)
            write_flame(path, read_trace(trace), f"{TRACED} training steps of {self.method.name}")

    def _traced_steps(self, path: Path, with_stack: bool = False) -> Steps:
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.captured.device_type == "cuda" else [])]
        with profile(activities=activities, with_stack=with_stack) as profiler:
            for _ in range(TRACED):
                yield
        profiler.export_chrome_trace(str(path))

    def _now(self) -> float:
        self._wait()
        return self._clock()
