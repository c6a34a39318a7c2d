"""What happens while many trials run, told to whoever listens: the display, the tracker, the summary.

The driver alone calls a listener, in one thread, whether the trials run in this process or on a cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...results.record import Record
from ..spec import TrialSpec


@dataclass(frozen=True)
class Planned:
    """One trial of many.

    Attributes:
        key: the trial's identity; what every later event names it by.
        spec: what to run.
        done: its record if it was finished before and is not run again, else None.
    """

    key: str
    spec: TrialSpec
    done: Record | None = None

    @property
    def heading(self) -> str:
        return f"{self.spec.method} on {self.spec.dataset}, seed {self.spec.seed}"


@dataclass(frozen=True)
class Progress:
    """How far a running trial is.

    Attributes:
        epoch: epochs that are over.
        planned: epochs in all.
        share: 0..1, of the epoch that is running.
        images_per_second: at present; None before anything is known.
    """

    epoch: int
    planned: int
    share: float = 0.0
    images_per_second: float | None = None


class Listener:
    """Told how many trials go. Every call does nothing by default."""

    def on_plan(self, trials: Sequence[Planned]) -> None:
        """All trials, before the first of them starts."""

    def on_start(self, key: str, where: str, attempt: int) -> None:
        """A trial begins or is taken up again on `where` (a node and device); `attempt` counts from 1."""

    def on_progress(self, key: str, progress: Progress) -> None:
        """Now and then while it runs."""

    def on_epoch(self, key: str, row: Mapping[str, Any]) -> None:
        """An epoch is over and scored: its row of epochs.jsonl. Rows of a trial that is retried come again."""

    def on_finish(self, key: str, record: Record) -> None:
        """The trial is over: complete, or stopped by its time limit or by a scheduler that gave up on it."""

    def on_retry(self, key: str, reason: str, attempts_left: int) -> None:
        """It broke and will be taken up again from its last checkpoint."""

    def on_wait(self, key: str) -> None:
        """It did not begin, because another process is running it, and will be asked for again."""

    def on_fail(self, key: str, reason: str, log: Path | None) -> None:
        """It broke for good; `log` is where more is written."""

    def on_note(self, text: str) -> None:
        """Something a person should know, such as that fewer trials run at a time from now on."""

    def on_end(self) -> None:
        """Nothing more will come, also after Ctrl-C."""


class Listeners(Listener):
    """Passes everything on to several listeners, in their order."""

    def __init__(self, listeners: Iterable[Listener]) -> None:
        self.listeners = list(listeners)

    def on_plan(self, trials: Sequence[Planned]) -> None:
        for listener in self.listeners:
            listener.on_plan(trials)

    def on_start(self, key: str, where: str, attempt: int) -> None:
        for listener in self.listeners:
            listener.on_start(key, where, attempt)

    def on_progress(self, key: str, progress: Progress) -> None:
        for listener in self.listeners:
            listener.on_progress(key, progress)

    def on_epoch(self, key: str, row: Mapping[str, Any]) -> None:
        for listener in self.listeners:
            listener.on_epoch(key, row)

    def on_finish(self, key: str, record: Record) -> None:
        for listener in self.listeners:
            listener.on_finish(key, record)

    def on_retry(self, key: str, reason: str, attempts_left: int) -> None:
        for listener in self.listeners:
            listener.on_retry(key, reason, attempts_left)

    def on_wait(self, key: str) -> None:
        for listener in self.listeners:
            listener.on_wait(key)

    def on_fail(self, key: str, reason: str, log: Path | None) -> None:
        for listener in self.listeners:
            listener.on_fail(key, reason, log)

    def on_note(self, text: str) -> None:
        for listener in self.listeners:
            listener.on_note(text)

    def on_end(self) -> None:
        for listener in self.listeners:
            listener.on_end()
