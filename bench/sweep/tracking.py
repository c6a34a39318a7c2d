"""A sweep in MLflow: its trials as those of a suite, nested in a run that holds the report and the pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...results.record import RecordError, read_epochs, read_record
from ..scheduling.events import Planned
from ..tracking import MlflowListener
from .conductor import Watcher
from .plan import SweepPlan
from .state import Sample, Sweep


class Tracked(Watcher):
    """Tells an `MlflowListener` what becomes of the trials of each sample.

    Workers tell the driver nothing but the objective, so that no label reaches the search; the scores of epochs are read
    from the records, here alone.

    Args:
        listener: whose folder of records is that of the sweep.
        plan: says which trials a sample has.
    """

    def __init__(self, listener: MlflowListener, plan: SweepPlan) -> None:
        self.listener, self.plan = listener, plan
        self.trials: dict[int, list[Planned]] = {}  # by sample, one for each seed
        self.told: dict[str, int] = {}  # epochs, by trial
        self.pruned: list[Sample] = []

    def on_open(self, sweep: Sweep, folder: Path) -> None:
        for sample in sweep.samples:
            if sample.is_over:
                self._add(sample)
                self._deliver(sample)

    def on_begin(self, sample: Sample) -> None:
        self._add(sample)

    def on_epoch(self, sample: Sample) -> None:
        for key, folder in self._places(sample):
            with suppress(RecordError):  # it is told when the trial is over
                self._tell(key, read_epochs(folder / "epochs.jsonl"))

    def on_end(self, sample: Sample, best: Sample | None) -> None:
        if sample.state == "pruned":
            self.pruned.append(sample)  # its worker is told so only now, and has yet to finish the records
        else:
            self._deliver(sample)

    def close(self, files: Iterable[Path]) -> None:
        """Deliver what is left, and `files` with the run of the sweep."""
        for sample in self.pruned:
            self._deliver(sample)
        for path in files:
            self.listener.attach(path)
        self.listener.on_end()

    def _add(self, sample: Sample) -> None:
        trials = self.trials[sample.number] = [Planned(spec.identity(), spec) for spec in self.plan.specs(sample.settings)]
        self.listener.add(trials)

    def _tell(self, key: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if key not in self.told:
            self.listener.on_start(key, "", 1)
        for row in rows[self.told.get(key, 0) :]:
            self.listener.on_epoch(key, row)
        self.told[key] = len(rows)

    def _deliver(self, sample: Sample) -> None:
        """Its records; a trial that another seed's failure kept from beginning has none."""
        for key, folder in self._places(sample):
            if not (folder / "record.json").exists():
                continue
            try:
                record = read_record(folder)
            except RecordError as error:
                self.listener.on_fail(key, str(error), None)
                continue
            if record.status != "running":
                self.listener.on_finish(key, record)

    def _places(self, sample: Sample) -> Iterator[tuple[str, Path]]:
        """The key and the record folder of each trial."""
        for trial, name in zip(self.trials[sample.number], sample.records, strict=True):
            yield trial.key, self.listener.out / name
