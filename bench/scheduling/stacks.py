"""Many trials in this process, the seeds of one trial trained together where their method can: `--stacked-seeds`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...datasets.base import DEFAULT_MEMORY_SHARE, TrialData
from ..observer import Observer
from ..spec import SpecError, TrialSpec
from ..stacked import StackedRun, check_stackable, stacks
from ..trial import run_trial
from ..trial_folder import find_folder
from .events import Listener, Planned, Progress
from .placement import HERE, NO_RAY, Placement
from .storage import Storage

TOLD_EVERY = 1.0  # seconds between two reports within an epoch


@dataclass(frozen=True)
class StackJob:
    """What all trials of one command share.

    Attributes:
        size: most seeds that are trained together.
        device: `cpu` or `cuda:N`.
        storage: of the records, and where what is remote is brought and pushed.
        force, memory_share, snapshots: see `run_trial`.
    """

    size: int
    device: str
    storage: Storage
    force: bool = False
    memory_share: float = DEFAULT_MEMORY_SHARE
    snapshots: int | None = None


def check_place(placement: Placement) -> None:
    """Raise `SpecError` for a cluster: stacked seeds are trained by one process on one device."""
    if placement.address not in (HERE, NO_RAY):
        raise SpecError(f"Stacked seeds are trained in this process, not on a cluster: leave out --address {placement.address}.")


def run_stacks(planned: Sequence[Planned], data: Mapping[str, TrialData], job: StackJob, listener: Listener) -> None:
    """Run the trials that are not done, stack after stack; every trial's fate is told to `listener`.

    Args:
        planned: the trials.
        data: of each, by its key.
        job: how they run.
        listener: told of each.

    Raises:
        SpecError: no trial's method can train several seeds at once, or trials that can have a time limit. Nothing has started.
    """
    keys = {trial.key: trial for trial in planned if trial.done is None}
    together = stacks([trial.spec for trial in keys.values()], job.size)
    for specs in together:
        if len(specs) > 1:
            check_stackable(specs)
    listener.on_plan(planned)
    try:
        for specs in together:
            _run([keys[spec.identity()] for spec in specs], data, job, listener)
    finally:
        listener.on_end()


def _run(members: Sequence[Planned], data: Mapping[str, TrialData], job: StackJob, listener: Listener) -> None:
    folders = [find_folder(member.spec, job.storage.local).name for member in members]
    for folder in folders:
        job.storage.fetch(folder)
    try:
        if len(members) > 1:
            _run_stack(members, data[members[0].key], job, listener)
        else:
            _run_one(members[0], data[members[0].key], job, listener)
    finally:
        for folder in folders:
            job.storage.push(folder)


def _run_stack(members: Sequence[Planned], data: TrialData, job: StackJob, listener: Listener) -> None:
    where = f"{job.device}, {len(members)} seeds together"
    run = StackedRun(
        [member.spec for member in members],
        data,
        out=job.storage.local,
        device=job.device,
        force=job.force,
        memory_share=job.memory_share,
        snapshots=job.snapshots,
        observers={member.key: _Telling(member.key, where, listener) for member in members},
    )
    specs = {member.key: member.spec for member in members}
    for event in run.events():
        if event.row is not None:
            listener.on_epoch(event.key, event.row)
        elif event.record is not None:
            listener.on_finish(event.key, event.record)
        elif event.error is not None:
            _failed(event.key, specs[event.key], event.error, job, listener)


def _run_one(member: Planned, data: TrialData, job: StackJob, listener: Listener) -> None:
    try:
        record = run_trial(
            member.spec, data, out=job.storage.local, device=job.device, force=job.force, memory_share=job.memory_share,
            snapshots=job.snapshots, observer=_Telling(member.key, job.device, listener, rows=True),
        )  # fmt: skip
    except Exception as error:
        _failed(member.key, member.spec, error, job, listener)
    else:
        listener.on_finish(member.key, record)


def _failed(key: str, spec: TrialSpec, error: Exception, job: StackJob, listener: Listener) -> None:
    from ..cli.errors import one_line

    path = find_folder(spec, job.storage.local) / "record.json"
    listener.on_fail(key, one_line(error), path if path.is_file() else None)


class _Telling(Observer):
    """Tells the listener how far a trial is, at most once a second; of its epochs too if `rows`."""

    def __init__(self, key: str, where: str, listener: Listener, *, rows: bool = False) -> None:
        self.key, self.where, self.listener, self.rows = key, where, listener, rows
        self.planned = self.epoch = 0
        self.told = self.epoch_began = time.monotonic()

    def on_start(self, spec: TrialSpec, folder: Path, planned_epochs: int, resumed_from: int) -> None:
        self.planned, self.epoch = planned_epochs, resumed_from
        self.epoch_began = time.monotonic()
        self.listener.on_start(self.key, self.where, 1)
        self.listener.on_progress(self.key, Progress(resumed_from, planned_epochs))

    def on_plan(self, planned_epochs: int) -> None:
        self.planned = planned_epochs

    def on_step(self, done: int, total: int, images: int) -> None:
        now = time.monotonic()
        if now - self.told < TOLD_EVERY:
            return
        self.told = now
        speed = images / max(now - self.epoch_began, 1e-9)
        self.listener.on_progress(self.key, Progress(self.epoch, self.planned, done / max(total, 1), speed))

    def on_epoch(self, row: dict[str, Any]) -> None:
        self.epoch, self.epoch_began = int(row["epoch"]), time.monotonic()
        if self.rows:
            self.listener.on_epoch(self.key, row)

    def on_notice(self, epoch: int, text: str) -> None:
        """Nothing: the listener reads it from the row."""
