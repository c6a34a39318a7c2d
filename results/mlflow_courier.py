"""Brings to MLflow what happens while trials run, in a thread of its own, so that nobody ever waits for a store.

Records come first, and are tried again until they are there or the courier is closed. What is only to be looked at while a
trial runs has to wait for them, and is lost when the store is away.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import mlflow_live as live_runs
from .mlflow_link import quietly
from .mlflow_live import LiveRun
from .mlflow_sink import Store
from .record import Record, RecordError, read_record

LIVE_JOBS = 2000
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
GIVES_UP_AFTER = 2  # refusals in a row, once nothing more will come


@dataclass(frozen=True)
class Delivery:
    """A trial that is over.

    Attributes:
        folder: of its record.
        key: the name that its live run was begun under, if it was.
        ended: it left a finished record; else it may have failed before there was one, or have been cut off.
        reason: why it failed, for the case that no record says so.
    """

    folder: Path
    key: str | None = None
    ended: bool = True
    reason: str | None = None


class Courier:
    """All calls come from one thread, return at once and raise nothing; `close` alone takes time.

    Args:
        store: where to.
        title: of the run that all are nested in; None for none.
    """

    def __init__(self, store: Store, title: str | None = None) -> None:
        self.store, self.title = store, title
        self.refusal: str | None = None
        self._live_jobs: deque[Callable[[], None]] = deque(maxlen=LIVE_JOBS)
        self._backlog: deque[Delivery] = deque()
        self._in_hand: Delivery | None = None
        self._files: list[Path] = []
        self._runs: dict[str, LiveRun] = {}
        self._over: set[str] = set()
        self._group: str | None = None
        self._delivered: dict[Path, Record] = {}
        self._lost: list[tuple[Path, str]] = []
        self._counts = {"failed": 0, "unfinished": 0}
        self._news = threading.Condition()
        self._closing = False
        self._refusals = 0
        self._rests_until = 0.0
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def begin(self, key: str, *, id: str, name: str, spec: Mapping[str, Any]) -> None:
        """A trial begins, or begins again: `id` of its record, `name` of its folder."""
        self._show(lambda: self._begin(key, id, name, spec))

    def epoch(self, key: str, row: Mapping[str, Any]) -> None:
        """A row of its epochs.jsonl."""
        self._show(lambda: self._log_epoch(key, row))

    def deliver(self, delivery: Delivery) -> None:
        """A trial is over; its record is to arrive."""
        with self._news:
            self._backlog.append(delivery)
            self._awake()

    def attach(self, path: Path) -> None:
        """A table or figure for the run that all are nested in; it is read when the courier is closed."""
        self._files.append(path)

    @property
    def waiting(self) -> int:
        """How many records are still to arrive."""
        with self._news:
            return len(self._backlog) + (self._in_hand is not None)

    def close(self, patience_s: float) -> bool:
        """Deliver what is left, for at most so many seconds. Whether it is through; asked again, it waits again."""
        with self._news:
            if not self._closing:
                self._closing, self._rests_until, self._refusals = True, 0.0, 0  # one more try, whatever was before
            if not self._thread.is_alive() and not (self._backlog or self._live_jobs or self._group):
                return True
            self._awake()
        self._thread.join(patience_s)
        return not self._thread.is_alive()

    def undelivered(self) -> list[tuple[Path, str]]:
        """The record folders that did not arrive, each with the reason."""
        with self._news:
            left = [*([self._in_hand] if self._in_hand else []), *self._backlog]
            return sorted([*self._lost, *((each.folder, self.refusal or "no time was left") for each in left)])

    def _show(self, job: Callable[[], None]) -> None:
        with self._news:
            self._live_jobs.append(job)
            self._awake()

    def _awake(self) -> None:
        if not self._thread.is_alive() and self._thread.ident is None:
            self._thread.start()
        self._news.notify()

    def _work(self) -> None:
        with quietly():
            while (job := self._next()) is not None:
                try:
                    job()
                except Exception as error:  # whatever a tracker does, the trials go on
                    self._refused(error)
                else:
                    self._refusals = 0
            if self._group is not None and not self._given_up:
                self._close_group(self._group)

    def _next(self) -> Callable[[], None] | None:
        """What to do next, as soon as there is something; None at the end."""
        with self._news:
            while True:
                rest = self._rests_until - time.monotonic()
                if rest > 0:
                    self._live_jobs.clear()
                elif self._backlog and not self._given_up:
                    self._in_hand = self._backlog.popleft()
                    return self._deliver_next
                elif self._live_jobs and not self._closing:
                    return self._live_jobs.popleft()
                elif self._closing:
                    return None
                self._news.wait(rest if rest > 0 else None)

    @property
    def _given_up(self) -> bool:
        return self._closing and self._refusals >= GIVES_UP_AFTER

    def _refused(self, error: Exception) -> None:
        """Rest, longer every time. A record that could not be delivered goes to the end of the line."""
        with self._news:
            self.refusal = " ".join(str(error).split()) or type(error).__name__
            self._refusals += 1
            if self._in_hand is not None:
                self._backlog.append(self._in_hand)
                self._in_hand = None
            if not self._closing:
                pause = min(FIRST_PAUSE_S * 2 ** (self._refusals - 1), LONGEST_PAUSE_S)
                self._rests_until = time.monotonic() + pause

    def _parent(self) -> str | None:
        if self._group is None and self.title is not None:
            self._group = live_runs.open_group(self.store, self.title)
        return self._group

    def _begin(self, key: str, id: str, name: str, spec: Mapping[str, Any]) -> None:
        if key not in self._runs and key not in self._over:
            self._runs[key] = live_runs.begin(self.store, id=id, name=name, spec=spec, parent=self._parent())

    def _log_epoch(self, key: str, row: Mapping[str, Any]) -> None:
        if key in self._runs:
            live_runs.log_epoch(self.store, self._runs[key], row)

    def _deliver_next(self) -> None:
        delivery = self._in_hand
        if delivery is None:
            return
        live = self._runs.get(delivery.key or "")
        try:
            record = read_record(delivery.folder)
            if record.status == "running":
                raise RecordError(f"{delivery.folder} is not finished.")
            self.store.feed(record, parent=self._parent(), live=live)
            self._delivered[delivery.folder] = record
            self._counts["failed"] += record.status == "failed"
        except RecordError as error:
            self._without_record(delivery, live, error)
        with self._news:
            self._in_hand = None
        self._runs.pop(delivery.key or "", None)
        self._over.add(delivery.key or "")

    def _without_record(self, delivery: Delivery, live: LiveRun | None, error: RecordError) -> None:
        if live is not None:
            live_runs.end_without_record(self.store, live, reason=delivery.reason)
        self._counts["unfinished" if delivery.reason is None else "failed"] += 1
        if delivery.ended:
            self._lost.append((delivery.folder, str(error)))

    def _close_group(self, run_id: str) -> None:
        try:
            for path in self._files:
                live_runs.attach(self.store, run_id, str(path))
            live_runs.close_group(self.store, run_id, self._delivered.values(), **self._counts)
        except Exception as error:
            self._refused(error)


def in_words(refusal: str, folders: Sequence[str], command: str) -> str:
    """One line on what did not arrive: how many, the first few by name, why, and the command that delivers them."""
    named = ", ".join(folders[:3]) + (f" and {len(folders) - 3} more" if len(folders) > 3 else "")
    count = "1 record" if len(folders) == 1 else f"{len(folders)} records"
    return f"{count} did not reach MLflow: {named} ({refusal.rstrip('.')}). Deliver what is missing: {command}"
