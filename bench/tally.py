"""How many trials stand, kept up event by event: what runs, what is over, and how long the rest will take.

Every event costs the same however many trials there are; what is asked for a picture costs as much as there are running ones.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from ..results.grid import duration, percent
from ..results.record import Record
from .scheduling.events import Listener, Planned, Progress
from .terminal import yaml_line

REMEMBERED = 20  # of those that finished or failed last
State = Literal["waiting", "running", "done", "failed"]
Kind = tuple[str, str]  # method and data set: trials of a kind take about as long as each other
Clock = Callable[[], float]


@dataclass
class Running:
    """A trial that runs.

    Attributes:
        trial, where, since: what, on which node and device, and when it was first heard of.
        planned: epochs in all; 0 before it is known.
        done: epochs that are over, with the share of the running one.
        origin: a moment, and the epochs that were done at it, from which on its pace is measured.
        row: of its last epoch.
        images_per_second: at present.
    """

    trial: Planned
    where: str
    since: float
    planned: int = 0
    done: float = 0.0
    origin: tuple[float, float] | None = None
    row: Mapping[str, Any] = field(default_factory=dict)
    images_per_second: float | None = None

    def hear(self, progress: Progress, now: float) -> None:
        self.planned, self.done = progress.planned, progress.epoch + progress.share
        if progress.images_per_second is not None:
            self.images_per_second = progress.images_per_second
        if self.origin is None:  # in its first epoch it began with nothing; later, nobody says whether it was resumed
            self.origin = (now, self.done) if progress.epoch else (self.since, 0.0)

    def end_epoch(self, row: Mapping[str, Any], now: float) -> None:
        self.row, self.done = row, float(row["epoch"])
        self.images_per_second = row.get("images_per_second") or self.images_per_second
        if self.origin is None:  # its start may have been heard of late, and the first epoch waits for data to be opened
            took = (row.get("train_seconds") or 0.0) + (row.get("evaluate_seconds") or 0.0)
            self.origin = now - took if took else self.since, self.done - 1

    @property
    def share(self) -> float:
        """0..1, of the trial."""
        return min(1.0, self.done / self.planned) if self.planned else 0.0

    def left(self, now: float) -> float | None:
        """Seconds to its last epoch at its own pace, or to its time limit; None before it has a pace."""
        if self.origin is None or not self.planned or self.done <= self.origin[1]:
            return None
        pace = (now - self.origin[0]) / (self.done - self.origin[1])
        limit = self.trial.spec.time_limit_s
        to_the_end = pace * (self.planned - self.done)
        return max(0.0, to_the_end if limit is None else min(to_the_end, limit - (now - self.since)))


@dataclass(frozen=True)
class Over:
    """A trial that is over: with its record if it finished, else with the reason and where more is written."""

    heading: str
    record: Record | None = None
    reason: str = ""
    log: Path | None = None

    @property
    def told(self) -> str:
        """All of it in a line."""
        return f"{self.heading}: {self.outcome}"

    @property
    def outcome(self) -> str:
        """The score chosen without labels and the time, or why it failed and where to read more."""
        if self.record is None:
            return self.reason + (f" (more in {self.log})" if self.log else "")
        record, acc = self.record, self.record.score("acc")
        told = [f"ACC {percent(acc)} %"] if acc is not None else []
        told.append(duration(record.cost.get("total_seconds")))
        if not record.is_complete:
            told.append(f"{record.stop_reason or record.status} after epoch {record.epochs_done}")
        return ", ".join(told)


class Tally(Listener):
    """Counts trials by how they stand. A further plan adds to the one before, as a search does that asks for trials as it goes.

    Attributes:
        states: how many are `waiting`, `running`, `done` and `failed`.
        before: how many of the done ones were done before.
        running: by key, in the order of their starts.
        finished, failed: the last of each.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.clock = clock
        self.began = clock()
        self.trials: dict[str, Planned] = {}
        self.states: Counter[State] = Counter()
        self.before = 0
        self.running: dict[str, Running] = {}
        self.finished: deque[Over] = deque(maxlen=REMEMBERED)
        self.failed: deque[Over] = deque(maxlen=REMEMBERED)
        self._state: dict[str, State] = {}
        self._waiting: Counter[Kind] = Counter()
        self._took: defaultdict[Kind, list[float]] = defaultdict(lambda: [0.0, 0.0])  # seconds and number of the finished
        self._at_a_time = 0  # trials that ran when the last one started, and so filled every place

    def on_plan(self, trials: Sequence[Planned]) -> None:
        if not self.trials:
            self.began = self.clock()
        for trial in trials:
            if trial.key not in self.trials:
                self.trials[trial.key] = trial
                self.before += trial.done is not None
                self._move(trial.key, "waiting" if trial.done is None else "done")

    def on_start(self, key: str, where: str, attempt: int) -> None:
        self.running[key] = Running(self.trials[key], where, self.clock())
        self._move(key, "running")
        self._at_a_time = len(self.running)

    def on_progress(self, key: str, progress: Progress) -> None:
        if key in self.running:
            self.running[key].hear(progress, self.clock())

    def on_epoch(self, key: str, row: Mapping[str, Any]) -> None:
        if key in self.running:
            self.running[key].end_epoch(row, self.clock())

    def on_finish(self, key: str, record: Record) -> None:
        known, told = self.running.get(key), record.cost.get("total_seconds") or 0.0
        took = self._took[_kind(self.trials[key])]
        took[0] += max(told, self.clock() - known.since if known else 0.0)  # a resumed trial has spent more than was seen of it
        took[1] += 1
        self.finished.append(Over(heading(self.trials[key]), record))
        self._move(key, "done")

    def on_retry(self, key: str, reason: str, attempts_left: int) -> None:
        self._move(key, "waiting")

    def on_wait(self, key: str) -> None:
        self._move(key, "waiting")

    def on_fail(self, key: str, reason: str, log: Path | None) -> None:
        self.failed.append(Over(heading(self.trials[key]), reason=reason, log=log))
        self._move(key, "failed")

    @property
    def total(self) -> int:
        return len(self.trials)

    @property
    def elapsed(self) -> float:
        """Seconds since the first plan."""
        return self.clock() - self.began

    @property
    def share(self) -> float:
        """0..1, of all trials: those that are over, and of the running ones what they have done."""
        over = self.states["done"] + self.states["failed"]
        return (over + sum(each.share for each in tuple(self.running.values()))) / max(self.total, 1)

    @property
    def left(self) -> float | None:
        """Seconds until all are over; None as long as that cannot be known.

        Running trials go on at their own pace. A waiting one takes as long as the finished trials of its kind did, else as
        the running ones will, else as trials of other kinds. The work is shared by as many places as were last filled.
        """
        now, running = self.clock(), tuple(self.running.values())
        paces = [(each, each.left(now)) for each in running]
        will_take = defaultdict(list)
        for each, left in paces:
            if left is not None:
                will_take[_kind(each.trial)].append(now - each.since + left)
        took = {kind: seconds / n for kind, (seconds, n) in tuple(self._took.items()) if n}
        expected = {kind: fmean(seconds) for kind, seconds in will_take.items()} | took
        waiting = [(kind, n) for kind, n in tuple(self._waiting.items()) if n]
        if not running and not waiting:
            return 0.0
        if not expected or (waiting and not self._at_a_time):
            return None
        of_others = fmean(expected.values())
        rest = [
            max(0.0, expected.get(_kind(each.trial), of_others) - (now - each.since)) if left is None else left
            for each, left in paces
        ]
        work = sum(rest) + sum(n * expected.get(kind, of_others) for kind, n in waiting)
        return max([work / max(self._at_a_time, 1), *rest])

    def _move(self, key: str, state: State) -> None:
        """Count a trial as `state` now, whatever it was; it may break before it was heard to start."""
        old, kind = self._state.get(key), _kind(self.trials[key])
        if old is not None:
            self.states[old] -= 1
            self._waiting[kind] -= old == "waiting"
        self._state[key] = state
        self.states[state] += 1
        self._waiting[kind] += state == "waiting"
        if state != "running":
            self.running.pop(key, None)


def heading(trial: Planned) -> str:
    """What tells a trial from the others: its heading, and the settings that were changed, as in a sweep."""
    return ", ".join([trial.heading, *(f"{name}={yaml_line(value)}" for name, value in trial.spec.overrides.items())])


def _kind(trial: Planned) -> Kind:
    return trial.spec.method, trial.spec.dataset
