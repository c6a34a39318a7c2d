"""What `bench sweep` prints: lines while it runs, and what came out of it."""

from __future__ import annotations

import time
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...results.grid import duration, percent
from ..scheduling.placement import Placement
from ..sweep import pictures, report
from ..sweep.conductor import Watcher, Watchers
from ..sweep.plan import SweepPlan, settings_text
from ..sweep.run import Job, Outcome, run_sweep
from ..sweep.state import FILE, Sample, Sweep
from ..sweep.tracking import Tracked
from ..terminal import UNBROKEN, emit
from ..tracking import MlflowListener, store_uri
from ..trial_folder import INTERRUPTED
from .errors import say

LINE_EVERY = 15.0  # seconds between two lines while nothing ends


class Lines(Watcher):
    """A line for each sample that begins or ends, and one now and then in between.

    Args:
        console: where to print.
        plan: for how many samples and epochs there will be.
        quiet: print nothing.
    """

    def __init__(self, console: Console, plan: SweepPlan, *, quiet: bool = False) -> None:
        self.console, self.plan, self.quiet = console, plan, quiet
        self.running: dict[int, Sample] = {}
        self.spoken, self.over = time.monotonic(), 0

    def on_open(self, sweep: Sweep, folder: Path) -> None:
        ways, title = self.plan.ways, self.plan.objective.title
        self.over = sum(sample.is_over for sample in sweep.samples)
        again = f", {self.over} of them done before" if self.over else ""
        self._say(f"{ways.samples} samples of {len(self.plan.space.dimensions)} settings{again}; objective: {title}; {folder}")
        if ways.scheduler == "asha" and not self.plan.rungs:
            self._say(f"nothing is ended early: {self.plan.planned_epochs} epoch(s) are too few for that")

    def on_begin(self, sample: Sample) -> None:
        self.running[sample.number] = sample
        self._say(f"  sample {sample.number} begins: {settings_text(sample)}")

    def on_epoch(self, sample: Sample) -> None:
        if time.monotonic() - self.spoken >= LINE_EVERY:
            told = (f"{number} at epoch {each.epochs}/{self.plan.planned_epochs}" for number, each in self.running.items())
            self._say(f"  running: sample {', '.join(told)}")

    def on_end(self, sample: Sample, best: Sample | None) -> None:
        self.running.pop(sample.number, None)
        self.over += 1
        reached = "" if sample.objective is None else f", {self.plan.objective.title} {sample.objective:.4f}"
        why = f": {sample.error}" if sample.error else f" after epoch {sample.epochs}{reached}, {duration(sample.seconds)}"
        leading = f"; best: sample {best.number} with {best.objective:.4f}" if best and best.objective is not None else ""
        self._say(f"[{self.over}/{self.plan.ways.samples}] sample {sample.number} {sample.state}{why}{leading}")

    def on_note(self, text: str) -> None:
        self._say(text)

    def _say(self, line: str) -> None:
        self.spoken = time.monotonic()
        if not self.quiet:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def conduct(
    plan: SweepPlan,
    out: Path,
    placement: Placement,
    *,
    data_root: Path | None,
    memory_share: float,
    time_limit_s: float | None,
    mlflow: str,
    quiet: bool,
) -> int:
    """Run the sweep, write its report, print what came out of it; the exit code: 0, 1 without any result, 130 if interrupted."""
    results, progress = Console(highlight=False), Console(stderr=True, highlight=False)
    job = Job(out, data_root, memory_share, time_limit_s)
    tracked = _tracked(plan, out, mlflow, quiet=quiet)
    watchers = Watchers([Lines(progress, plan, quiet=quiet), *([tracked] if tracked else [])])
    files: list[Path] = []
    try:
        outcome = run_sweep(plan, job, placement, watchers)
        files = show(results, plan, outcome, data_root)
    except KeyboardInterrupt:
        say("Interrupted. The same command goes on where this one stopped.")
        return 130
    finally:
        if tracked:
            tracked.close(files)
    if tracked and tracked.listener.viewer:
        results.print(Text(f"tracked: {tracked.listener.viewer}"), soft_wrap=True)
    return _told(plan, outcome)


def show(console: Console, plan: SweepPlan, outcome: Outcome, data_root: Path | None = None) -> list[Path]:
    """Write report and pictures, then print the best samples, the best command, and how good a guide the objective was.

    Returns the files of the sweep.
    """
    sweep, best = outcome.sweep, report.best_of(outcome.sweep)
    line = report.best_line(sweep, plan.specs(best.settings)[0], data_root) if best else None
    drawn = pictures.draw(sweep, outcome.folder)
    page = report.write_report(sweep, outcome.folder, line, drawn)
    emit(console, _table(sweep), UNBROKEN)
    for said in report.warnings(sweep):
        console.print(Text(said, style="bold yellow"), soft_wrap=True)
    for each in (*report.guide(sweep), *report.losses(sweep)):
        console.print(Text(each), soft_wrap=True)
    if best is not None and best.objective is not None:
        objective = plan.objective
        acc = "" if objective.name == "acc" else f", ACC {percent(best.acc)} % (labels; not used)"
        reached = f"{objective.title} {best.objective:.4f}{acc}"
        console.print(Text(f"best: sample {best.number}, {reached}", style="bold"), soft_wrap=True)
        console.print(Text(f"  {line}", style="cyan"), soft_wrap=True)
    console.print(Text(f"report: {page}"), soft_wrap=True)
    return [page, outcome.folder / FILE, *(outcome.folder / name for name in drawn.values() if name.endswith(".png"))]


def _tracked(plan: SweepPlan, out: Path, mlflow: str, *, quiet: bool) -> Tracked | None:
    """What feeds MLflow; None if nothing does."""
    uri = store_uri(mlflow, out)
    if uri is None:
        return None
    title = f"sweep {plan.name}"
    return Tracked(MlflowListener(uri, plan.folder(out), title=title, say=_silent if quiet else say), plan)


def _silent(text: str) -> None:
    """Says nothing."""


def _told(plan: SweepPlan, outcome: Outcome) -> int:
    """The exit code, after a word on what is left."""
    if outcome.stopped:
        left = plan.ways.samples - sum(sample.is_over for sample in outcome.sweep.samples)
        why = "Interrupted" if outcome.stopped == INTERRUPTED else "The time is up"
        say(f"{why} with {left} of {plan.ways.samples} samples left. The same command goes on where this one stopped.")
    if outcome.stopped == INTERRUPTED:
        return 130
    return 0 if outcome.stopped or report.best_of(outcome.sweep) else 1


def _table(sweep: Sweep) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in report.headings(sweep):
        table.add_column(column, justify="left" if column in ("ended", *sweep.space) else "right")
    for rank, sample in enumerate(report.ranked(sweep)[: report.SHOWN], start=1):
        table.add_row(*map(Text, report.cells(sweep, sample, rank)))  # as text: [main] is no markup
    return table
