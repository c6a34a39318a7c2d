"""Trials on a cluster that is reached as `ray://HOST:PORT`: the driver runs there, and what it tells is passed on here.

Ray Tune's driver must be a process of the cluster. The workers, the records and the rules are those of `driver.run_many`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray

from ...results.record import Record
from .driver import Job, run_many
from .events import Listener, Planned, Progress
from .placement import Placement, connected, set_environment

PREFIX = "ray://"
LOOKED_AT_EVERY = 0.5  # seconds


def run_through_client(planned: Sequence[Planned], job: Job, placement: Placement, listener: Listener) -> list[Record]:
    """As `driver.run_many`, on the cluster behind a `ray://` address. The records' folder must be the same there and here.

    Raises `SpecError` as `run_many` does, and `KeyboardInterrupt` once the driver there is gone.
    """
    with connected(placement.address):
        told = Told.remote()  # pyright: ignore[reportAttributeAccessIssue]
        there = ray.remote(num_cpus=0, max_retries=0)(_run_there).remote(list(planned), job, placement, told)
        try:
            over = False
            while not over:
                over = bool(ray.wait([there], timeout=LOOKED_AT_EVERY)[0])
                events: list[tuple[str, tuple[Any, ...]]] = ray.get(told.take.remote())  # pyright: ignore[reportAssignmentType]
                for name, content in events:
                    getattr(listener, name)(*content)
        except KeyboardInterrupt:
            ray.cancel(there, force=True)
            listener.on_end()
            raise
        records: list[Record] = ray.get(there)  # pyright: ignore[reportAssignmentType]
    return records


def _run_there(planned: Sequence[Planned], job: Job, placement: Placement, told: Any) -> list[Record]:
    set_environment("auto")
    return run_many(planned, job, replace(placement, address="auto"), Teller(told))


@ray.remote(num_cpus=0)
class Told:
    """What the driver on the cluster has told and nobody here has heard yet, in its order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, tuple[Any, ...]]] = []

    def tell(self, name: str, content: tuple[Any, ...]) -> None:
        self.events.append((name, content))

    def take(self) -> list[tuple[str, tuple[Any, ...]]]:
        events, self.events = self.events, []
        return events


class Teller(Listener):
    """Passes every event on to `Told`, and waits until it has arrived, so that none comes out of order."""

    def __init__(self, told: Any) -> None:
        self.told = told

    def _tell(self, name: str, *content: Any) -> None:
        ray.get(self.told.tell.remote(name, content))

    def on_plan(self, trials: Sequence[Planned]) -> None:
        self._tell("on_plan", list(trials))

    def on_start(self, key: str, where: str, attempt: int) -> None:
        self._tell("on_start", key, where, attempt)

    def on_progress(self, key: str, progress: Progress) -> None:
        self._tell("on_progress", key, progress)

    def on_epoch(self, key: str, row: Mapping[str, Any]) -> None:
        self._tell("on_epoch", key, dict(row))

    def on_finish(self, key: str, record: Record) -> None:
        self._tell("on_finish", key, record)

    def on_retry(self, key: str, reason: str, attempts_left: int) -> None:
        self._tell("on_retry", key, reason, attempts_left)

    def on_wait(self, key: str) -> None:
        self._tell("on_wait", key)

    def on_fail(self, key: str, reason: str, log: Path | None) -> None:
        self._tell("on_fail", key, reason, log)

    def on_note(self, text: str) -> None:
        self._tell("on_note", text)

    def on_end(self) -> None:
        self._tell("on_end")
