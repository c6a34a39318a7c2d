"""Trials of several seeds trained at once by one method's `train_stacked`, each with a run and a record of its own.

Every trial is a `TrialRun` as if it were alone: it has its folder, lock, checkpoints and selections, and judges its own method.
Only its epochs come from the stack. A trial whose loss diverges, or that cannot write, leaves the stack; the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..datasets.base import DEFAULT_MEMORY_SHARE, TrialData
from ..methods.base import Epoch, Method
from ..methods.registry import methods
from ..results.record import Record
from .observer import Observer
from .spec import SpecError, TrialSpec
from .trial import Interrupted, TrialRun


@dataclass(frozen=True)
class Event:
    """What became of one trial of a stack: an epoch's `row`, its `record` at the end, or the `error` that broke it."""

    key: str
    row: dict[str, Any] | None = None
    record: Record | None = None
    error: Exception | None = None


@dataclass
class Seat:
    """Where a `TrialRun` waits for its epochs.

    Attributes:
        seeds: of all trials that are run together.
        method: the run's, once it has taken its seat.
        given: the epoch that comes next, or what broke it, with the seconds that are this trial's share.
    """

    seeds: tuple[int, ...]
    method: Method | None = None
    data: TrialData | None = None
    given: tuple[Epoch | Exception, float] | None = None

    def epochs(self, method: Method, data: TrialData) -> Iterator[tuple[Epoch, float] | None]:
        """What the run asks for: None first, when nothing is trained yet, then every epoch with its seconds."""
        self.method, self.data = method, data
        yield None
        while self.given is not None:
            (epoch, seconds), self.given = self.given, None
            if isinstance(epoch, Exception):
                raise epoch
            yield epoch, seconds


class StackedRun:
    """The work of one process on several seeds of one trial.

    Args:
        specs: equal but for their seeds.
        data: what they were made for.
        out, device, force, memory_share, snapshots: see `run_trial`.
        observers: by the trials' identities; those that are missing are told nothing.
    """

    def __init__(
        self,
        specs: Sequence[TrialSpec],
        data: TrialData,
        *,
        out: Path | str,
        device: str,
        force: bool = False,
        memory_share: float = DEFAULT_MEMORY_SHARE,
        snapshots: int | None = None,
        observers: Mapping[str, Observer] | None = None,
    ) -> None:
        check_stackable(specs)
        seeds = tuple(spec.seed for spec in specs)
        on_device = data.to(device, memory_share)  # once for all
        self.device, self.observers = device, observers or {}
        self.runs: dict[str, TrialRun] = {}
        self.seats: dict[str, Seat] = {}
        for spec in specs:
            key = spec.identity()
            self.seats[key] = Seat(seeds)
            self.runs[key] = TrialRun(
                spec, on_device, out=out, device=device, force=force, memory_share=memory_share, snapshots=snapshots,
                observer=self.observers.get(key), seat=self.seats[key],
            )  # fmt: skip
        self.rows: dict[str, Generator[dict[str, Any], None, None]] = {}

    def events(self) -> Iterator[Event]:
        """Train all to their ends, saying what becomes of each.

        Those that were left earlier than others catch up with them first. Closed or interrupted, every trial that is not over
        notes it. Raises `Interrupted` at Ctrl-C.
        """
        try:
            for key, run in self.runs.items():
                self.rows[key] = run.epochs()
                yield from self._asked(key)
            while self.rows:
                for key in self._train(self._furthest_behind()):
                    yield from self._asked(key)
        except KeyboardInterrupt:
            raise self._interrupted() from None
        finally:
            for rows in self.rows.values():
                rows.close()

    def _asked(self, key: str) -> Iterator[Event]:
        """Let a run go on until it waits for its next epoch, or is over."""
        run, seat = self.runs[key], self.seats[key]
        try:
            row = next(self.rows[key], None)
            if row:
                yield Event(key, row=row)
            if row is None or (seat.method is not None and run.epochs_done >= seat.method.planned_epochs):
                next(self.rows[key], None)
                del self.rows[key]
                yield Event(key, record=run.finished)
        except Exception as error:
            self.rows.pop(key, None)
            yield Event(key, error=error)

    def _furthest_behind(self) -> list[str]:
        least = min(self.runs[key].epochs_done for key in self.rows)
        return [key for key in self.rows if self.runs[key].epochs_done == least]

    def _train(self, keys: list[str]) -> list[str]:
        """Make one epoch of these, and put it on their seats."""
        members = [method for key in keys if (method := self.seats[key].method) is not None]
        data = self.seats[keys[0]].data
        assert data is not None
        began = self._clock()
        try:
            found: Sequence[Epoch | Exception] = type(members[0]).train_stacked(members, data.train)
        except Exception as error:
            found = [error] * len(keys)
        seconds = (self._clock() - began) / len(keys)
        for key, epoch in zip(keys, found, strict=True):
            self.seats[key].given = epoch, seconds
        return keys

    def _interrupted(self) -> Interrupted:
        """Tell every run that is not over, and say how far one of them came."""
        told: list[str] = []
        for rows in self.rows.values():
            try:
                rows.throw(KeyboardInterrupt())
            except Interrupted as interruption:
                told.append(str(interruption))
            except (KeyboardInterrupt, StopIteration):  # it had not begun
                continue
        return Interrupted(told[0] if told else "Interrupted. The same command goes on.")

    def _clock(self) -> float:
        """Seconds, once the device has done what it was given."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def check_stackable(specs: Sequence[TrialSpec]) -> None:
    """Raise `SpecError` for trials that cannot be trained together."""
    first = specs[0]
    if not methods.get(first.method).stacks:
        raise SpecError(f"{first.method} trains one seed at a time: leave out --stacked-seeds.")
    if first.time_limit_s is not None:
        raise SpecError(
            "Stacked seeds share their seconds, and a time limit would stop them elsewhere: leave one of the two out."
        )
    if len({repr(_without_seed(spec)) for spec in specs}) > 1:
        raise SpecError("Only trials that differ in nothing but the seed can be stacked.")


def stacks(specs: Sequence[TrialSpec], size: int) -> list[list[TrialSpec]]:
    """Trials in their order, up to `size` together where the method can train several seeds at once, else one by one.

    Raises `SpecError` if no method of theirs can.
    """
    able = {name for name in {spec.method for spec in specs} if methods.get(name).stacks}
    if specs and not able:
        names = ", ".join(name for name in methods.names() if methods.get(name).stacks)
        raise SpecError(f"{specs[0].method} trains one seed at a time: leave out --stacked-seeds, which is for {names}.")
    found: dict[str, list[TrialSpec]] = {}
    for spec in specs:
        found.setdefault(repr(_without_seed(spec)), []).append(spec)
    step = {key: size if same[0].method in able else 1 for key, same in found.items()}
    return [same[start : start + step[key]] for key, same in found.items() for start in range(0, len(same), step[key])]


def _without_seed(spec: TrialSpec) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in sorted(spec.model_dump(mode="json").items()) if name != "seed"]
