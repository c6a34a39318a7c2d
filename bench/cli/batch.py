"""Trials one after the other in this process, each shown while it runs and when it is done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...datasets.base import DEFAULT_MEMORY_SHARE
from ...results.record import Record, RecordError, read_record
from ..display import watcher
from ..scheduling.events import Planned
from ..scheduling.storage import Storage
from ..terminal import waiting
from ..trial import run_trial
from ..trial_folder import find_folder
from .errors import one_line, say
from .plan import Trial
from .results import Results
from .tracking import Tracking


class Batch:
    """The trials of one command line.

    Args:
        trials: what to run, in this order.
        planned: the same trials, with the records of those that are not run again.
        out: folder of the records.
        device: `cpu` or `cuda:N`.
        tracking: where records are delivered to.
        results: where they are shown.
        force: run again what is complete.
        quiet: print results only.
        memory_share: of the device's free memory that the images may take; they are streamed if they take more.
        snapshots: epochs between two snapshots for pictures; None for one at the end.
        storage: where `out` is a mirror of something remote, what brings and pushes its records.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        planned: Sequence[Planned],
        out: Path,
        device: str,
        tracking: Tracking,
        results: Results,
        *,
        force: bool = False,
        quiet: bool = False,
        memory_share: float = DEFAULT_MEMORY_SHARE,
        snapshots: int | None = None,
        storage: Storage | None = None,
    ) -> None:
        self.trials, self.planned = trials, planned
        self.out, self.device, self.tracking, self.results = out, device, tracking, results
        self.force, self.quiet, self.memory_share, self.snapshots = force, quiet, memory_share, snapshots
        self.storage = storage or Storage(out)

    def run(self, svg: Path | None = None) -> int:
        """Run all of them, print the results, and return the exit code: 0, 1 if a trial failed, 130 if interrupted.

        A single trial's error is raised; one of several is told, counted, and the others go on.
        """
        self.results.on_plan(self.planned)
        for number, (trial, plan) in enumerate(zip(self.trials, self.planned, strict=True), start=1):
            try:
                record = plan.done or self._one(trial, number)
            except KeyboardInterrupt as interruption:  # a trial's own says how far it came
                say(str(interruption) or "Interrupted. The same command goes on where this one stopped.")
                self.results.conclude()
                return 130
            except Exception as error:
                if len(self.trials) == 1:
                    raise
                self._failed(plan, error)
                continue
            if plan.done is None:
                self.results.on_finish(plan.key, record)  # before the delivery: loading MLflow takes seconds
            self._deliver(record)
        self.results.conclude(svg)
        return 1 if self.results.failures else 0

    def _one(self, trial: Trial, number: int) -> Record:
        folder = find_folder(trial.spec, self.out).name
        self.storage.fetch(folder)
        try:
            with watcher(self.results.progress, (number, len(self.trials)), self.device, quiet=self.quiet) as observer:
                return run_trial(
                    trial.spec,
                    trial.data,
                    out=self.out,
                    device=self.device,
                    force=self.force,
                    memory_share=self.memory_share,
                    snapshots=self.snapshots,
                    observer=observer,
                )
        finally:
            self.storage.push(folder)

    def _failed(self, plan: Planned, error: Exception) -> None:
        """Say it at once, keep it for the summary, and deliver the record that tells of it."""
        record = self._failed_record(plan)
        self.results.on_fail(plan.key, one_line(error), record.folder / "record.json" if record else None)
        if record is not None:
            self._deliver(record)

    def _failed_record(self, plan: Planned) -> Record | None:
        """None if it failed before there was a record, or because another process is at it."""
        try:
            record = read_record(find_folder(plan.spec, self.out))
        except RecordError:
            return None
        return record if record.status == "failed" else None

    def _deliver(self, record: Record) -> None:
        with waiting(self.results.progress, "delivering the record to MLflow", silent=self.quiet or self.tracking.is_off):
            self.tracking.feed(record)
