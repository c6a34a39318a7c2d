"""Which sample runs next, and what becomes of it. Knows no scheduler of processes, so that every rule can be tested."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..spec import TrialSpec
from ..trial_folder import find_folder
from .plan import SweepPlan
from .state import Sample, State, Sweep

SAVED_EVERY = 5.0  # seconds between two writes of sweep.json for nothing but epochs


class Watcher:
    """Told how a sweep goes. Every call does nothing by default."""

    def on_open(self, sweep: Sweep, folder: Path) -> None:
        """Before anything runs; `sweep` holds what an earlier command left."""

    def on_begin(self, sample: Sample) -> None:
        """A sample begins, or is taken up again."""

    def on_epoch(self, sample: Sample) -> None:
        """One of its epochs is over."""

    def on_end(self, sample: Sample, best: Sample | None) -> None:
        """It is over; `best` is the best complete one so far."""

    def on_note(self, text: str) -> None:
        """Something a person should know."""


class Watchers(Watcher):
    """Passes everything on to several watchers, in their order."""

    def __init__(self, watchers: Iterable[Watcher]) -> None:
        self.watchers = list(watchers)

    def on_open(self, sweep: Sweep, folder: Path) -> None:
        for watcher in self.watchers:
            watcher.on_open(sweep, folder)

    def on_begin(self, sample: Sample) -> None:
        for watcher in self.watchers:
            watcher.on_begin(sample)

    def on_epoch(self, sample: Sample) -> None:
        for watcher in self.watchers:
            watcher.on_epoch(sample)

    def on_end(self, sample: Sample, best: Sample | None) -> None:
        for watcher in self.watchers:
            watcher.on_end(sample, best)

    def on_note(self, text: str) -> None:
        for watcher in self.watchers:
            watcher.on_note(text)


class Conductor:
    """Hands out samples and keeps `sweep.json`.

    Args:
        plan: the sweep.
        out: folder of records; the sweep lies in `sweeps/<name>` under it.
        watcher: told how it goes.

    Attributes:
        hopeless: why no sample can succeed, once that is known.
    """

    def __init__(self, plan: SweepPlan, out: Path, watcher: Watcher | None = None) -> None:
        self.plan, self.folder, self.watcher = plan, plan.folder(out), watcher or Watcher()
        self.sweep = plan.open(out)
        self.study = plan.study(self.sweep)
        self.left = self.sweep.having("running")  # in the middle: by an earlier command, or because they broke
        self.known = [sample for sample in self.sweep.samples if sample.is_over]
        self.running: dict[int, Sample] = {}
        self.hopeless: str | None = None
        self.is_exhausted = False
        self.saved = 0.0
        self.watcher.on_open(self.sweep, self.folder)

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to hand out."""
        full = len(self.sweep.samples) >= self.plan.ways.samples and not self.left
        return full or self.is_exhausted or self.hopeless is not None

    def next(self) -> tuple[Sample, list[TrialSpec]] | None:
        """The sample to begin now and its trials; None if there is nothing left."""
        if self.is_finished:
            return None
        sample = self._taken_up() if self.left else self._drawn()
        if sample is None:
            self.is_exhausted = True
            self.watcher.on_note(f"the space holds nothing new after {len(self.sweep.samples)} samples")
            return None
        specs = self.plan.specs(sample.settings)
        sample.records = [find_folder(spec, self.folder).name for spec in specs]
        self.running[sample.number] = sample
        self._save()
        self.watcher.on_begin(sample)
        return sample, specs

    def epoch(self, number: int, epoch: int, objective: float) -> None:
        """A sample's objective after `epoch`. What comes again, because its process was lost, replaces what was there."""
        sample = self.running[number]
        sample.objective_by_epoch = [*sample.objective_by_epoch[: epoch - 1], objective]
        sample.objective = objective
        if not sample.is_preset:
            self.study.tell_epoch(number, epoch, objective)
        self.watcher.on_epoch(sample)
        if time.monotonic() - self.saved > SAVED_EVERY:
            self._save()

    def end(self, number: int, state: State, error: str | None = None, *, hopeless: bool = False) -> None:
        """A sample is over. The search is told before anything with labels is looked at."""
        sample = self.running.pop(number)
        sample.state, sample.error = state, error
        if state in ("diverged", "failed"):
            sample.objective = None
        if not sample.is_preset:  # which need not lie in the space, so the search cannot place it
            self.study.tell_end(number, state, sample.objective)
        sample.look_up(self.folder)
        if hopeless:
            self.hopeless = error
        self._save()
        self.watcher.on_end(sample, self.best())

    def again(self, number: int, why: str) -> None:
        """A sample broke and is to be taken up again, before any new one."""
        self.left.insert(0, self.running.pop(number))
        self.watcher.on_note(f"sample {number} is taken up again: {why}")

    def best(self) -> Sample | None:
        """The complete sample with the best objective; pruned ones do not compare, they trained for less."""
        return min(self.sweep.having("complete"), key=self._rank, default=None)

    def _rank(self, sample: Sample) -> Any:
        assert sample.objective is not None
        return self.plan.objective.rank(sample.objective)

    def _taken_up(self) -> Sample:
        sample = self.left.pop(0)
        sample.objective, sample.objective_by_epoch = None, []
        if not sample.is_preset:
            self.study.resume(sample)
        return sample

    def _drawn(self) -> Sample | None:
        number = len(self.sweep.samples)
        settings = {} if number == 0 and self.plan.ways.preset_first else self.study.draw(number)
        if settings is None:
            return None
        sample = Sample(number=number, settings=settings, uses_labels=self.plan.objective.uses_labels)
        self.sweep.samples.append(sample)
        return sample

    def _save(self) -> None:
        self.saved = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.sweep.save(self.folder)
