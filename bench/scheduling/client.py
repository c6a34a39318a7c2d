"""Work on a cluster that is reached from outside, as `ray://HOST:PORT`: the driver runs there, and what it tells is heard here.

Ray Tune's driver must be a process of the cluster. The workers, the records and the rules are those of any other cluster.
"""

from __future__ import annotations

import _thread
import math
import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from ...results.record import Record, RecordError, read_record
from ..spec import SpecError
from .driver import Job, run_many
from .events import Listener, Listeners, Planned
from .interruption import Interruption
from .placement import ON_A_NODE, Placement, connected, said_by, set_environment
from .storage import Storage

LOOKED_AT_EVERY = 0.5  # seconds
LETTING_GO = 60.0  # seconds that a driver may take to end its workers after Ctrl-C
Result = TypeVar("Result")


def run_many_there(planned: Sequence[Planned], job: Job, placement: Placement, listener: Listener) -> list[Record]:
    """As `driver.run_many`, on the cluster behind a `ray://` address.

    Raises `SpecError` also if the cluster does not see the folder of the records.
    """
    storage = Storage.open(job.storage or str(job.out))
    heard = _Localised(listener, storage)
    there = replace(job, out=job.out.absolute(), data_root=job.data_root.absolute() if job.data_root else None)
    with connected(placement.address):
        if not storage.is_remote:
            check_shared(job.out)
        run_there(run_many, (list(planned), there, replace(placement, address=ON_A_NODE)), heard)
    return [trial.done or heard.records[trial.key] for trial in planned if trial.done or trial.key in heard.records]


def run_there(work: Callable[..., Result], arguments: Sequence[Any], hears: object) -> Result:
    """`work(*arguments, listener)` in a process of the cluster that this one is connected to.

    Every call of a method of `listener` there is made to `hears` here, in the same order. What `work` raises is raised.
    Ctrl-C is passed on; what comes of it there comes of it here, but `KeyboardInterrupt` if that takes longer than a minute.
    """
    told, interruption = Told.remote(), Interruption()  # pyright: ignore[reportAttributeAccessIssue]
    task = ray.remote(num_cpus=0, max_retries=0)(_work).remote(work, list(arguments), told)
    try:
        with interruption.heeded():
            is_over = _follow(task, told, hears, interruption)
        if not is_over:
            raise KeyboardInterrupt
        return ray.get(task)  # pyright: ignore[reportReturnType]
    except (RayError, ConnectionError) as error:
        if interruption.happened:
            raise KeyboardInterrupt from None
        if isinstance(error, RayTaskError):
            raise error.cause or error from None
        raise SpecError(f"The cluster lost the driver ({said_by(error)}). The same command goes on where it stopped.") from error
    finally:
        with suppress(RayError, ConnectionError):
            ray.cancel(task, force=True)


def check_shared(folder: Path) -> None:
    """Raise `SpecError` unless the cluster that this process is connected to sees the files in `folder`, under the same path."""
    folder.mkdir(parents=True, exist_ok=True)
    sign = folder.absolute() / f".seen-{uuid.uuid4().hex}"
    sign.touch()
    try:
        seen = ray.get(ray.remote(num_cpus=0)(_exists).remote(str(sign)))
    finally:
        sign.unlink()
    if not seen:
        raise SpecError(
            f"The cluster does not see {folder.absolute()}. Give a folder that this machine and all its nodes share (--out), "
            "or a remote one (bench run --storage s3://bucket/folder)."
        )


@ray.remote(num_cpus=0)
class Told:
    """Between the driver there and the listener here: what was told and not heard yet, in its order; Ctrl-C; and the end."""

    def __init__(self) -> None:
        self.events: list[tuple[str, tuple[Any, ...]]] = []
        self.is_interrupted = self.is_over = False

    def tell(self, name: str, content: tuple[Any, ...]) -> None:
        self.events.append((name, content))

    def end(self) -> None:
        self.is_over = True

    def look(self) -> tuple[bool, bool]:
        """Whether the driver is to end, and whether it has."""
        return self.is_interrupted, self.is_over

    def take(self, is_interrupted: bool) -> list[tuple[str, tuple[Any, ...]]]:
        self.is_interrupted = is_interrupted
        events, self.events = self.events, []
        return events


class Teller:
    """Stands there for the listener here: every method passes its arguments on, and waits until they have arrived."""

    def __init__(self, told: Any) -> None:
        self.told = told

    def __getattr__(self, name: str) -> Callable[..., None]:
        if not name.startswith("on_"):
            raise AttributeError(name)
        return lambda *content: ray.get(self.told.tell.remote(name, content))


class _Localised(Listeners):
    """Passes on what is told there with the records as they are found here."""

    def __init__(self, listener: Listener, storage: Storage) -> None:
        super().__init__([listener])
        self.storage = storage
        self.records: dict[str, Record] = {}

    def on_finish(self, key: str, record: Record) -> None:
        with suppress(RecordError):  # a network file system may show later what was written there
            record = read_record(self._here(record.folder))
        self.records[key] = record
        super().on_finish(key, record)

    def on_fail(self, key: str, reason: str, log: Path | None) -> None:
        super().on_fail(key, reason, log and self._here(log.parent) / log.name)

    def _here(self, folder: Path) -> Path:
        self.storage.fetch(folder.name)
        return self.storage.local / folder.name


def _work(work: Callable[..., Result], arguments: Sequence[Any], told: Any) -> Result:
    set_environment(ON_A_NODE)
    threading.Thread(target=_pass_on_interruption, args=(told,), daemon=True).start()
    try:
        return work(*arguments, Teller(told))
    finally:
        ray.get(told.end.remote())


def _pass_on_interruption(told: Any) -> None:
    """Ctrl-C there as Ctrl-C here, for the main thread. To cancel the task would cut it off from its own workers at once."""
    is_interrupted = is_over = False
    while not is_over:
        if is_interrupted:
            _thread.interrupt_main()
            return
        time.sleep(LOOKED_AT_EVERY)
        is_interrupted, is_over = ray.get(told.look.remote())  # pyright: ignore[reportGeneralTypeIssues]


def _follow(task: Any, told: Any, hears: object, interruption: Interruption) -> bool:
    """Pass on what is told until the task is over; False if it is not, but has had its time to end after Ctrl-C."""
    limit, is_over = math.inf, False
    while not is_over and time.monotonic() < limit:
        is_over = bool(ray.wait([task], timeout=LOOKED_AT_EVERY)[0])
        events: list[tuple[str, tuple[Any, ...]]] = ray.get(told.take.remote(interruption.happened))  # pyright: ignore[reportAssignmentType]
        for name, content in events:
            getattr(hears, name)(*content)
        if interruption.happened:
            limit = min(limit, time.monotonic() + LETTING_GO)
    return is_over


def _exists(path: str) -> bool:
    return os.path.exists(path)
