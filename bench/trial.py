"""One trial: one method on one data set with one seed, from images to a record on disk.

It needs nothing but the package's light core, so that it runs the same in this process, on a bare GPU box and in a worker.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..datasets.base import DEFAULT_MEMORY_SHARE, TrialData
from ..methods.base import Diverged, Epoch, Method, MethodError
from ..methods.registry import methods
from ..results.metrics import METRICS_VERSION
from ..results.record import Record, RecordError, RecordWriter, read_epochs
from ..results.unlabelled import KEY as UNLABELLED
from . import config, provenance
from .checkpoint import Checkpoint, Checkpoints
from .checks import check_fit, checked_losses
from .cost import Cost
from .diagnostics import Watch, summary
from .judging import Judge
from .labelled import training
from .lock import exclusive
from .observer import Observer
from .randomness import random_state, restore_random_state, seed_all
from .selection import Tracker
from .snapshots import Snapshots
from .spec import TrialSpec
from .trained import save_trained
from .trial_folder import INTERRUPTED, OUT_OF_TIME, clear, find_folder, finished_record, resumed_before
from .without_labels import examine

if TYPE_CHECKING:
    from .stacked import Seat

log = logging.getLogger(__name__)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a trial. The message says how far it came and how to go on."""


def run_trial(
    spec: TrialSpec,
    data: TrialData,
    *,
    out: Path | str,
    device: str,
    force: bool = False,
    memory_share: float = DEFAULT_MEMORY_SHARE,
    snapshots: int | None = None,
    observer: Observer | None = None,
) -> Record:
    """Run a trial to its end, or go on with it where it was left, and return its record.

    A trial that is complete, or that used up its time limit, is not run again: its record is returned as it is. One that
    was killed, interrupted or broken goes on from its last checkpoint; on a CPU it ends with the same labels and metrics
    as an undisturbed run. After `Diverged` there is nothing worth going on from: its checkpoints are deleted, and the
    same trial begins again.

    Args:
        spec: what to run.
        data: the data that `spec` was made for.
        out: folder of records; the trial's own folder is made in it.
        device: `cpu` or `cuda:N`.
        force: begin from the start whatever is there.
        memory_share: of the device's free memory that the images may take; they are streamed if they take more.
        snapshots: keep the cluster probabilities of a sample after every so many epochs, for pictures; None: at the end only.
        observer: told how it goes.

    Raises:
        DataError, MethodError: `spec` does not fit the data or the installed method, or the method broke.
        RecordError: another process runs this trial, or the disk refuses.
        Interrupted: Ctrl-C.
    """
    run = TrialRun(
        spec, data, out=out, device=device, force=force, memory_share=memory_share, snapshots=snapshots, observer=observer
    )
    for _ in run.epochs():
        pass
    return run.finished


class TrialRun:
    """One process's work on one trial, epoch by epoch, for a scheduler that wants to be asked in between.

    Takes what `run_trial` takes, and raises what it raises while `epochs` is iterated. With a `seat` of `bench.stacked` the
    epochs are trained there, together with those of other seeds; `epochs` then gives an empty row when all is ready for them.

    Attributes:
        record: the trial's record, once `epochs` is exhausted.
    """

    def __init__(
        self,
        spec: TrialSpec,
        data: TrialData,
        *,
        out: Path | str,
        device: str,
        force: bool = False,
        memory_share: float = DEFAULT_MEMORY_SHARE,
        snapshots: int | None = None,
        observer: Observer | None = None,
        seat: Seat | None = None,
    ) -> None:
        check_fit(spec, data)
        self.spec, self.data, self.device, self.force = spec, data, device, force
        self.observer, self.seat = observer or Observer(), seat
        self.memory_share = memory_share
        self.id, self.folder = spec.identity(), find_folder(spec, Path(out), anew=force)
        self.writer = RecordWriter(self.folder)
        self.checkpoints = Checkpoints(self.folder, self.id)
        self.tracker, self.cost = Tracker(), Cost()
        self.snapshots = Snapshots(self.folder, snapshots)
        self.epochs_done = self.epochs_saved = 0
        self.began, self.seconds_before = time.monotonic(), 0.0
        self.stop_reason: str | None = None
        self.record: Record | None = None

    @property
    def finished(self) -> Record:
        """The record. Raises `RecordError` before `epochs` is exhausted."""
        if self.record is None:
            raise RecordError(f"{self.folder} is not finished yet.")
        return self.record

    def stop(self, reason: str) -> None:
        """End it after the epoch that was yielded last: the next step writes a record with this `stop_reason`."""
        self.stop_reason = reason

    def epochs(self) -> Generator[dict[str, Any], None, None]:
        """Train, score, record and save; the row of epochs.jsonl of each epoch. None for a trial that was finished before."""
        self.record = self._finished_before()
        if self.record is not None:
            return
        with exclusive(self.folder):
            self.record = self._finished_before()  # somebody else may have finished it since
            if self.record is None:
                yield from self._to_the_end()

    def _finished_before(self) -> Record | None:
        return None if self.force else finished_record(self.folder)

    def _to_the_end(self) -> Iterator[dict[str, Any]]:
        try:
            saved = self._open(self.force)
            method = self._build(saved)
            yield from self._train(method)
            record = self._finish(method, self.stop_reason)
        except GeneratorExit:  # nobody asks for the next epoch any more
            self._note_interruption()
            raise
        except KeyboardInterrupt:
            raise self._interrupted() from None
        except Exception as error:
            self._fail(error)
            raise
        self.checkpoints.remove()
        self.record = record
        self.observer.on_finish(record)

    def _open(self, afresh: bool) -> Checkpoint | None:
        """Put the folder in order and write the first record; the checkpoint to go on from, if any."""
        saved = None if afresh else self.checkpoints.load()
        if saved is None:
            self.checkpoints.remove()
            clear(self.folder)
        else:
            self._take_over(saved)
        self.snapshots.truncate(self.epochs_done)
        about = provenance.collect(self.data, self.device, methods.get(self.spec.method).__module__)
        if self.seat is not None:
            about["stacked_seeds"] = list(self.seat.seeds)
        spec, cost = self.spec.model_dump(mode="json"), self._cost()
        about_config = ("method", "dataset", "protocol", "n_clusters", "seed", "preset")
        settings = config.as_file(self.spec.config, **{name: spec[name] for name in about_config})
        self.writer.start(id=self.id, spec=spec, config=settings, provenance=about, epochs_done=self.epochs_done, cost=cost)
        return saved

    def _take_over(self, saved: Checkpoint) -> None:
        self.tracker.load_state_dict(saved.tracker)
        self.cost = Cost(**saved.cost)
        self.seconds_before = self.cost.total_seconds
        self.cost.resumed = resumed_before(self.folder, self.cost.resumed) + 1
        self.epochs_done = self.epochs_saved = saved.epoch
        self.writer.truncate_epochs(saved.epoch)

    def _build(self, saved: Checkpoint | None) -> Method:
        """The method, at its beginning or where `saved` left it."""
        seed_all(self.spec.seed)
        method = methods.get(self.spec.method)(self.spec.n_clusters, seed=self.spec.seed, device=self.device, **self.spec.config)
        if saved is not None:
            try:
                method.load_state_dict(saved.method)
            except Exception as error:
                hint = f"the checkpoint in {self.folder} does not fit it ({error}). Begin again with --force."
                raise MethodError(f"{self.spec.method}: {hint}") from error
            restore_random_state(saved.random, self.device)
        method.on_step = self.observer.on_step
        method.artefacts_made = [*self.cost.made]
        self.writer.update(planned_epochs=method.planned_epochs)
        self.observer.on_start(self.spec, self.folder, method.planned_epochs, self.epochs_done)
        return method

    def _train(self, method: Method) -> Iterator[dict[str, Any]]:
        """Train, score and save epoch by epoch, until the method has no more or it is told to stop."""
        data = self.data.to(self.device, self.memory_share)
        judge = Judge(self.spec, data)
        self.watch = Watch(self.spec.n_clusters, read_epochs(self.folder / "epochs.jsonl"))
        self.snapshots.take(method, data.score, self.epochs_done)
        planned = method.planned_epochs
        for ready in self._timed(training(method, data)) if self.seat is None else self.seat.epochs(method, data):
            if ready is None:
                yield {}
                continue
            epoch, seconds = ready
            row = self._judge(epoch, seconds, method, judge)
            self.snapshots.take(method, data.score, epoch.number)
            self.writer.append_epoch(row)
            if method.planned_epochs != planned:  # a stage came from the store of artefacts, which shows when training begins
                planned = method.planned_epochs
                self.writer.update(planned_epochs=planned)
                self.observer.on_plan(planned)
            self.observer.on_epoch(row)
            for notice in row["notices"]:
                self.observer.on_notice(epoch.number, notice)
            is_last = epoch.number >= method.planned_epochs  # nothing is left to go on with, unless the method has more to say
            if not is_last and self._time_is_up(seconds):
                self.stop_reason = OUT_OF_TIME
            elif not is_last and self.checkpoints.due():
                self._save(method)
            yield row
            if is_last:
                self.stop_reason = None
            elif self.stop_reason is not None:
                return

    def _timed(self, epochs: Iterator[Epoch]) -> Iterator[tuple[Epoch, float]]:
        """Each epoch with the seconds that the method spent on it."""
        while True:
            began = self._clock()
            epoch = next(epochs, None)
            if epoch is None:
                return
            yield epoch, self._clock() - began

    def _judge(self, epoch: Epoch, train_seconds: float, method: Method, judge: Judge) -> dict[str, Any]:
        """Score all sub-heads, let the selections choose, and count the cost: the epoch's row."""
        losses = checked_losses(epoch, self.epochs_done, self.spec.method)
        began = self._clock()
        found, chosen = judge.judge(method), int(method.chosen_head)
        self.tracker.update(
            epoch.number,
            found.predictions,
            chosen_head=chosen,
            criterion=epoch.criterion,
            acc=found.by_metric["acc"],
            beside=found.beside,
        )
        evaluate_seconds = self._clock() - began
        self.epochs_done = epoch.number
        self.cost.train_seconds += train_seconds
        self.cost.evaluate_seconds += evaluate_seconds
        self.cost.images += epoch.images
        self.cost.note_artefacts(method.artefacts_used, method.artefacts_made)
        row = {
            "epoch": epoch.number,
            "losses": losses,
            "criterion": epoch.criterion,
            **found.by_metric,
            "chosen_head": chosen,
            "train_seconds": train_seconds,
            "evaluate_seconds": evaluate_seconds,
            "images": epoch.images,
            "images_per_second": epoch.images / train_seconds if train_seconds else None,
        }
        return row | self.watch.examine(row, found.sizes, method.loss_floors)

    def _time_is_up(self, last_epoch_seconds: float) -> bool:
        """Whether the limit has passed, or an epoch as long as the last would pass it by more than half its length."""
        limit = self.spec.time_limit_s
        return limit is not None and self.cost.train_seconds + last_epoch_seconds / 2 > limit

    def _save(self, method: Method) -> None:
        state = (method.state_dict(), self.tracker.state_dict(), random_state(self.device))
        self.checkpoints.save(Checkpoint(self.id, self.epochs_done, *state, self._cost()))
        self.epochs_saved = self.epochs_done

    def _finish(self, method: Method, stop_reason: str | None) -> Record:
        """Write everything that stays; record.json comes last, so that it never speaks of what is not there."""
        choices = self.tracker.choices
        if not choices:
            raise MethodError(f"{self.spec.method} trained no epoch. Ask for at least one: --epochs 1.")
        self.snapshots.take(method, self.data.score, self.epochs_done, last=True)
        judge = Judge(self.spec, self.data)
        self.writer.save_labels(judge.arrays(choices))
        save_trained(method, self.folder)
        metrics = judge.metrics(choices)
        oracle, own = metrics["oracle"]["acc"], metrics["own-loss"]["acc"]
        health = summary(read_epochs(self.folder / "epochs.jsonl"), metrics["own-loss"]["epoch"], self.spec.n_clusters)
        if own is None and not judge.per_pixel:
            health[UNLABELLED] = examine(method, self.data.score, choices["own-loss"], self.snapshots.kept)
        return self.writer.finish(
            stop_reason=stop_reason,
            metrics_version=METRICS_VERSION,
            metrics=metrics,
            mapping=None if oracle is None else judge.mapping,
            selection_gap=None if oracle is None or own is None else oracle - own,
            diagnostics=health,
            epochs_done=self.epochs_done,
            cost=self._cost(),
        )

    def _interrupted(self) -> Interrupted:
        reached = f"after epoch {self.epochs_done}" if self.epochs_done else "before the end of the first epoch"
        onward = f"goes on after epoch {self.epochs_saved}" if self.epochs_saved else "begins again"
        self._note_interruption()
        return Interrupted(f"Interrupted {reached}. The same command {onward} ({self.folder}).")

    def _note_interruption(self) -> None:
        try:
            self.writer.finish(stop_reason=INTERRUPTED, epochs_done=self.epochs_done, cost=self._cost())
        except RecordError as error:  # before the first record was written, or the disk refuses
            log.warning("The interruption cannot be noted: %s", error)

    def _fail(self, error: Exception) -> None:
        """Note the error in the record. The last checkpoint is of a healthy epoch and stays, except after `Diverged`."""
        if isinstance(error, Diverged):
            self.checkpoints.remove()
        try:
            self.writer.fail(error, epochs_done=self.epochs_done, cost=self._cost())
        except RecordError as refusal:
            log.warning("The failure cannot be noted: %s", refusal)

    def _cost(self) -> dict[str, Any]:
        together = 1 if self.seat is None else len(self.seat.seeds)
        self.cost.total_seconds = self.seconds_before + (time.monotonic() - self.began) / together
        return asdict(self.cost)

    def _clock(self) -> float:
        """Seconds, once the device has done what it was given."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)
        return time.perf_counter()
