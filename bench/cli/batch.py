"""Trials one after the other, each shown while it runs and when it is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from ...datasets.base import DEFAULT_MEMORY_SHARE
from ...results.record import Record, RecordError, read_record
from .. import card
from ..display import watcher
from ..terminal import waiting
from ..trial import run_trial
from ..trial_folder import find_folder, finished_record
from .errors import one_line, say
from .plan import Trial
from .tracking import Tracking

SVG_WIDTH = 100


class Batch:
    """The trials of one command line.

    Args:
        trials: what to run, in this order.
        out: folder of the records.
        device: `cpu` or `cuda:N`.
        tracking: where records are delivered to.
        force: run again what is complete.
        quiet: print results only.
        memory_share: of the device's free memory that the images may take; they are streamed if they take more.
        said: folders that the suggested commands must name too: `out`, `data_root`.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        out: Path,
        device: str,
        tracking: Tracking,
        *,
        force: bool = False,
        quiet: bool = False,
        memory_share: float = DEFAULT_MEMORY_SHARE,
        said: Mapping[str, Path | None] | None = None,
    ) -> None:
        self.trials, self.out, self.device, self.tracking = trials, out, device, tracking
        self.force, self.quiet, self.memory_share, self.said = force, quiet, memory_share, dict(said or {})
        self.results, self.progress = Console(highlight=False), Console(stderr=True, highlight=False)
        self.records: list[Record] = []
        self.failures: list[tuple[str, str]] = []

    def run(self, svg: Path | None = None) -> int:
        """Run all of them, print the results, and return the exit code: 0, 1 if a trial failed, 130 if interrupted.

        A single trial's error is raised; one of several is told, counted, and the others go on.
        """
        for number, trial in enumerate(self.trials, start=1):
            try:
                self._finished(self._one(trial, number))
            except KeyboardInterrupt as interruption:  # a trial's own says how far it came
                say(str(interruption) or "Interrupted. The same command goes on where this one stopped.")
                self._conclude()
                return 130
            except Exception as error:
                if len(self.trials) == 1:
                    raise
                self._failed(trial, error)
        self._conclude()
        if svg:
            self._draw(svg)
        return 1 if self.failures else 0

    def _one(self, trial: Trial, number: int) -> Record:
        done = None if self.force else finished_record(find_folder(trial.spec, self.out))
        if done is not None:
            ended = "already complete" if done.is_complete else f"stopped by its {done.stop_reason} before"
            self._note(f"{trial.heading}: {ended}, not run again (--force would)")
            return done
        with watcher(self.progress, (number, len(self.trials)), self.device, quiet=self.quiet) as observer:
            return run_trial(
                trial.spec,
                trial.data,
                out=self.out,
                device=self.device,
                force=self.force,
                memory_share=self.memory_share,
                observer=observer,
            )

    def _finished(self, record: Record) -> None:
        """Show it first and deliver it then: loading MLflow takes seconds that nobody should wait for."""
        self.records.append(record)
        if len(self.trials) > 1:
            card.show_line(self.results, record)
        else:
            card.show(self.results, record, self._next_steps())
        self._deliver(record)

    def _conclude(self) -> None:
        if len(self.trials) == 1 or not (self.records or self.failures):
            return
        card.show_summary(self.results, self.records, self.failures)
        if self.records:
            card.show_next(self.results, self._next_steps())

    def _next_steps(self) -> list[str]:
        return card.next_steps(self.records, viewer=self.tracking.viewer, **self.said)

    def _failed(self, trial: Trial, error: Exception) -> None:
        """Say it at once, keep it for the summary, and deliver the record that tells of it."""
        say(f"{trial.heading}: {one_line(error)}")
        record = self._failed_record(trial)
        more = "" if record is None else f" (more in {record.folder / 'record.json'})"
        self.failures.append((trial.heading, one_line(error) + more))
        if record is not None:
            self._deliver(record)

    def _failed_record(self, trial: Trial) -> Record | None:
        """None if it failed before there was a record, or because another process is at it."""
        try:
            record = read_record(find_folder(trial.spec, self.out))
        except RecordError:
            return None
        return record if record.status == "failed" else None

    def _deliver(self, record: Record) -> None:
        with waiting(self.progress, "delivering the record to MLflow", silent=self.quiet or self.tracking.is_off):
            self.tracking.feed(record)

    def _note(self, text: str) -> None:
        if not self.quiet:
            self.progress.print(text, markup=False, soft_wrap=True)

    def _draw(self, path: Path) -> None:
        """The same results as an SVG picture of a terminal, without the fonts that rich would have it fetch from the network."""
        import io
        import re

        canvas = Console(
            record=True, file=io.StringIO(), width=SVG_WIDTH, force_terminal=True, color_system="truecolor", highlight=False
        )
        if len(self.trials) == 1:
            card.show(canvas, self.records[0], self._next_steps())
        else:
            card.show_summary(canvas, self.records, self.failures)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            re.sub(r"@font-face \{.*?\}", "", canvas.export_svg(title="bench run"), flags=re.DOTALL), encoding="utf-8"
        )
