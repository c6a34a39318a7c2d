"""Trials of one command line: one alone in this process, several on Ray, with the same records either way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from ...datasets.base import DEFAULT_MEMORY_SHARE
from ...methods.kit.execution import Execution, using
from ..last_run import remember
from ..scheduling.events import Listener, Listeners, Planned
from ..scheduling.placement import NO_RAY, Placement, set_environment
from ..scheduling.storage import Storage
from ..trial_folder import find_folder, finished_record
from . import typed
from .batch import Batch
from .errors import say
from .plan import Asked, Trial, plan
from .results import Results
from .tracking import Tracking

STOPPED = "Interrupted: {done} of {all} trials are complete. The same command, or bench resume, goes on with the rest."


@dataclass(frozen=True)
class RunOptions:
    """How the trials of a command run, beside what they are.

    Attributes:
        out: folder of the records.
        device: `cpu`, `cuda` or `auto`; on Ray a trial takes the GPU that it is given.
        data_root: searched first for data.
        mlflow: tracking URI, `off`, or "" for a file beside the records.
        memory_share: of a device's free memory that images may take.
        snapshots: epochs between two snapshots for pictures; None for one at the end.
        force: run again what is complete.
        quiet: print results only.
        retries: how often a trial that broke is taken up again.
        placement: where trials run when there are several.
        svg: also draw the result as a picture.
        storage: URI of a remote folder of the records, which `out` then mirrors; None for `out` itself.
        stacked_seeds: seeds of one trial that are trained at once in this process; 1 for none.
        execution: how networks are executed.
        said: folders that suggested commands must name too.
    """

    out: Path
    device: str = "auto"
    data_root: Path | None = None
    mlflow: str = ""
    memory_share: float = DEFAULT_MEMORY_SHARE
    snapshots: int | None = None
    force: bool = False
    quiet: bool = False
    retries: int = 2
    placement: Placement = field(default_factory=Placement)
    svg: Path | None = None
    storage: str | None = None
    stacked_seeds: int = 1
    execution: Execution = field(default_factory=Execution)
    said: dict[str, Path | None] = field(default_factory=dict)


def run_all(asked: Sequence[Asked], options: RunOptions, *, title: str = "") -> int:
    """Run everything that is asked for and not done yet, print the results, and return the exit code.

    0: all complete; 1: some failed; 130: interrupted.

    Raises whatever `plan` raises for what cannot be run: nothing has been started then.
    """
    from ..data_progress import DataProgress

    with DataProgress(Console(stderr=True, highlight=False), quiet=options.quiet) as shown:
        trials = list({trial.spec.identity(): trial for each in asked for trial in plan(each, shown)}.values())
    storage = Storage.open(options.storage or str(options.out))
    if storage.is_remote:
        storage.check()
        storage.fetch_records()
        options = replace(options, out=storage.local)
    if len(trials) > 1 and typed.words.get():
        remember(typed.words.get(), options.out)
    planned = [_planned(trial, options) for trial in trials]
    with using(options.execution):
        return _run(trials, planned, options, storage, title or "trials")


def _run(trials: Sequence[Trial], planned: Sequence[Planned], options: RunOptions, storage: Storage, title: str) -> int:
    """Run what is planned where the options say; the exit code."""
    left = [trial for trial in planned if trial.done is None]
    if options.stacked_seeds > 1 and len(left) > 1:
        return _in_stacks(trials, planned, options, storage, title)
    if options.placement.address != NO_RAY and len(left) > 1 and find_spec("ray") is None:
        say("Ray is not installed (pip install 'ray[tune]'): the trials run one after the other in this process.")
        options = replace(options, placement=replace(options.placement, address=NO_RAY))
    if options.placement.address == NO_RAY or len(left) < 2:
        return _in_this_process(trials, planned, options, storage)
    return _on_ray(planned, options, storage, title)


def _planned(trial: Trial, options: RunOptions) -> Planned:
    done = None if options.force else finished_record(find_folder(trial.spec, options.out))
    return Planned(trial.spec.identity(), trial.spec, done)


def _in_this_process(trials: Sequence[Trial], planned: Sequence[Planned], options: RunOptions, storage: Storage) -> int:
    from ..devices import keep_freed_memory, resolve_device, set_threads

    device = resolve_device(options.device)
    options.execution.check(device)
    set_threads()
    keep_freed_memory()
    tracking = Tracking(options.mlflow, options.out, quiet=options.quiet)
    results = Results(quiet=options.quiet, said=options.said, viewer=lambda: tracking.viewer)
    batch = Batch(
        trials, planned, options.out, device, tracking, results,
        force=options.force, quiet=options.quiet, memory_share=options.memory_share, snapshots=options.snapshots,
        storage=storage,
    )  # fmt: skip
    return batch.run(options.svg)


def _on_ray(planned: Sequence[Planned], options: RunOptions, storage: Storage, title: str) -> int:
    set_environment(options.placement.address)
    from ..scheduling.driver import Job, run_many

    job = Job(
        options.out, options.data_root, options.force, options.memory_share, options.retries,
        storage=options.storage if storage.is_remote else None, snapshots=options.snapshots,
    )  # fmt: skip
    return _shown(lambda listener: run_many(planned, job, options.placement, listener), planned, options, title)


def _in_stacks(trials: Sequence[Trial], planned: Sequence[Planned], options: RunOptions, storage: Storage, title: str) -> int:
    from ..devices import keep_freed_memory, resolve_device, set_threads
    from ..scheduling.stacks import StackJob, check_place, run_stacks

    check_place(options.placement)
    device = resolve_device(options.device)
    options.execution.check(device)
    set_threads()
    keep_freed_memory()
    data = {trial.spec.identity(): trial.data for trial in trials}
    job = StackJob(options.stacked_seeds, device, storage, options.force, options.memory_share, options.snapshots)
    return _shown(lambda listener: run_stacks(planned, data, job, listener), planned, options, title)


def _shown(run: Callable[[Listener], object], planned: Sequence[Planned], options: RunOptions, title: str) -> int:
    """Run many trials under one live picture, with results and tracker; the exit code."""
    from ..live import ManyTrials
    from ..tracking import MlflowListener, store_uri

    uri = store_uri(options.mlflow, options.out)
    told = _silent if options.quiet else say
    tracker = MlflowListener(uri, options.out, title=title, say=told) if uri else None
    results = Results(quiet=options.quiet, said=options.said, viewer=lambda: tracker.viewer if tracker else None)
    try:
        with ManyTrials(results.progress, quiet=options.quiet, title=title, troubles=False) as shown:
            run(Listeners([shown, shown.above(results), *([tracker] if tracker else [])]))
    except KeyboardInterrupt:
        results.conclude(options.svg)
        say(STOPPED.format(done=len(results.records), all=len(planned)))
        return 130
    results.conclude(options.svg)
    return 1 if results.failures else 0


def _silent(text: str) -> None:
    """Says nothing."""
