"""A sweep on Ray Tune: one Tune trial is one sample with all its seeds, and ASHA ends the bad ones early."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ray import tune
from ray.tune import Callback
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from ...methods.kit.artefacts import named_root
from ..lock import exclusive
from ..provenance import own_command
from ..scheduling.attempts import Failure, Kind, halved, loss
from ..scheduling.interruption import Interruption
from ..scheduling.placement import CLIENT, ON_A_NODE, Placement, as_tune_asks, connected
from ..spec import SpecError
from ..trial_folder import INTERRUPTED, OUT_OF_TIME
from .conductor import Conductor, Watcher
from .plan import REDUCTION, SweepPlan
from .state import Sample, Sweep
from .worker import SampleWorker

EPOCH, OBJECTIVE = "epoch", "objective"  # all that the scheduler is given
RETRIES = 2  # of a sample whose process or node was lost


@dataclass(frozen=True)
class Job:
    """What a sweep runs with.

    Attributes:
        out: folder of records; every node must see it under the same path.
        data_root: searched first for data, on every node.
        memory_share: of a device's free memory that images may take.
        time_limit_s: seconds after which the sweep stops, to be gone on with later.
        command: what the records name as the command that made them.
        cache_root: folder of artefacts, for every node; None for each node's own.
    """

    out: Path
    data_root: Path | None = None
    memory_share: float = 0.5
    time_limit_s: float | None = None
    command: str = field(default_factory=own_command)
    cache_root: str | None = field(default_factory=named_root)


@dataclass(frozen=True)
class Outcome:
    """The sweep as it stands, where it lies, and why it stopped before its last sample, if it did."""

    sweep: Sweep
    folder: Path
    stopped: str | None = None


def run_sweep(plan: SweepPlan, job: Job, placement: Placement, watcher: Watcher | None = None) -> Outcome:
    """Run the samples that are left, as many at a time as fit.

    Raises:
        SpecError: no cluster that could hold a trial, or no sample can be judged.
        RecordError: another process runs this sweep.
        KeyboardInterrupt: a second Ctrl-C; the first one stops after the epochs that are running.
    """
    if placement.address.startswith(CLIENT):
        return _run_there(plan, job, placement, watcher or Watcher())
    with exclusive(plan.folder(job.out)):
        conductor = Conductor(plan, job.out, watcher)
        end = _End(job.time_limit_s, conductor)
        if not conductor.is_finished:
            with connected(placement.address) as cluster, end.interruption.heeded():
                resources = placement.resources(cluster)
                _fit(conductor, job, end, resources, placement.concurrency(cluster), placement.cpus_per_trial)
        if conductor.hopeless is not None:
            raise SpecError(conductor.hopeless)
        return Outcome(conductor.sweep, conductor.folder, end.reason)


def _run_there(plan: SweepPlan, job: Job, placement: Placement, watcher: Watcher) -> Outcome:
    """The same on the cluster behind a `ray://` address, which must see the folder of the sweep."""
    from ..scheduling.client import check_shared, run_there

    there = replace(job, out=job.out.absolute(), data_root=job.data_root.absolute() if job.data_root else None)
    with connected(placement.address):
        check_shared(job.out)
        outcome = run_there(run_sweep, (plan.without_images(), there, replace(placement, address=ON_A_NODE)), watcher)
    return replace(outcome, folder=plan.folder(job.out))


def _fit(conductor: Conductor, job: Job, end: _End, resources: Mapping[str, float], at_once: int, threads: int) -> None:
    shared = {
        "out": str(conductor.folder.absolute()),
        "data_root": str(job.data_root.absolute()) if job.data_root else None,
        "memory_share": job.memory_share,
        "command": job.command,
        "cache_root": job.cache_root,
        "threads": threads,
        "gpu": resources.get("GPU", 0) > 0,
        "objective": conductor.plan.objective.name,
    }
    handler = Handler(conductor, shared, at_once)
    with tempfile.TemporaryDirectory(prefix="clusterbench-tune-") as scratch:
        tune.Tuner(
            tune.with_resources(SampleWorker, as_tune_asks(resources)),
            tune_config=tune.TuneConfig(
                search_alg=handler,
                scheduler=scheduler_of(conductor.plan, conductor.known),
                num_samples=-1,
                reuse_actors=True,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                storage_path=scratch,
                name="sweep",
                verbose=0,
                stop=end,
                callbacks=[_Ear(handler)],
            ),
        ).fit()


class _Unsaved:
    """Tune writes all that it is given to disk, to be restored from; a sweep is restored from sweep.json."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Handler(_Unsaved, Searcher):
    """Hands samples to Tune and takes from each result what the search may know.

    A sample that runs out of memory is taken up again with half as many beside it, and fails if it ran alone. One whose
    process or node was lost is taken up again `RETRIES` times.
    """

    def __init__(self, conductor: Conductor, shared: Mapping[str, Any], at_once: int) -> None:
        super().__init__(metric=OBJECTIVE, mode=conductor.plan.objective.mode)
        self.conductor, self.shared, self.at_once = conductor, dict(shared), at_once
        self.number_of: dict[str, int] = {}
        self.errors: dict[str, str] = {}  # what Tune says of samples whose process died
        self.losses: Counter[int] = Counter()

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        running = self.conductor.running
        if len(running) >= self.at_once:
            return None
        drawn = self.conductor.next()
        if drawn is None:
            return None if running else Searcher.FINISHED  # what runs may have to be taken up again
        sample, specs = drawn
        self.number_of[trial_id] = sample.number
        return {"number": sample.number, "specs": [spec.model_dump(mode="json") for spec in specs], "job": self.shared}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.conductor.epoch(self.number_of[trial_id], result[EPOCH], result[OBJECTIVE])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The last word: the worker's own `state`, or pruned if the worker would have gone on."""
        number = self.number_of[trial_id]
        if error or not result:
            self._lost(number, loss(self.errors.get(trial_id, "")))
            return
        if result.get("out_of_memory"):
            self._out_of_memory(number, result["error"])
            return
        if OBJECTIVE in result:
            self.conductor.epoch(number, result[EPOCH], result[OBJECTIVE])
        state = "pruned" if result["state"] == "running" else result["state"]
        self.conductor.end(number, state, result.get("error"), hopeless=bool(result.get("hopeless")))

    def _lost(self, number: int, failure: Failure) -> None:
        if failure.kind is Kind.OUT_OF_MEMORY:
            self._out_of_memory(number, failure.reason)
            return
        self.losses[number] += 1
        if self.losses[number] > RETRIES:
            self.conductor.end(number, "failed", f"{failure.reason}, more often than it is retried")
        else:
            self.conductor.again(number, failure.reason)

    def _out_of_memory(self, number: int, reason: str) -> None:
        if self.at_once == 1 and len(self.conductor.running) == 1:
            self.conductor.end(number, "failed", reason)
            return
        self.at_once, note = halved(self.at_once, "samples")
        self.conductor.again(number, reason)
        if note:
            self.conductor.watcher.on_note(note)

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        return True

    def save(self, checkpoint_path: str) -> None:
        """Nothing: sweep.json says what is left."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `save`."""


class Rungs(ASHAScheduler):
    """ASHA that is given the epoch and the objective of each result, whatever else a result may hold.

    A sample that is taken up again counts once, and goes on where it went on before.
    """

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        super().on_trial_add(tune_controller, _sample_of(trial))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return super().on_trial_result(tune_controller, _sample_of(trial), _seen(result))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        super().on_trial_complete(tune_controller, _sample_of(trial), _seen(result))

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        super().on_trial_remove(tune_controller, _sample_of(trial))


def scheduler_of(plan: SweepPlan, known: Sequence[Sample]) -> TrialScheduler:
    """The scheduler of a plan, with what earlier samples reached at its rungs."""
    if not plan.rungs:
        return FIFOScheduler()
    first, last = plan.rungs[0], plan.rungs[-1]
    rungs = Rungs(
        time_attr=EPOCH,
        metric=OBJECTIVE,
        mode=plan.objective.mode,
        grace_period=first,
        max_t=2 * last,  # between the last rung and the one that would follow
        reduction_factor=REDUCTION,
        stop_last_trials=False,
    )
    for sample in known:
        trial = SimpleNamespace(config={"number": sample.number})
        rungs.on_trial_add(None, trial)
        for epoch, objective in enumerate(sample.objective_by_epoch, start=1):
            rungs.on_trial_result(None, trial, {EPOCH: epoch, OBJECTIVE: objective})
    return rungs


class _End(_Unsaved, Stopper):
    """Stops a sweep that is interrupted, out of time or hopeless; its running samples are left to be taken up again."""

    def __init__(self, time_limit_s: float | None, conductor: Conductor) -> None:
        self.interruption, self.conductor = Interruption(conductor.watcher.on_note), conductor
        self.deadline = None if time_limit_s is None else time.monotonic() + time_limit_s
        self.reason: str | None = None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        if self.interruption.is_heard():
            self.reason = INTERRUPTED
        elif self.deadline is not None and time.monotonic() > self.deadline:
            self.reason = OUT_OF_TIME
        return self.reason is not None or self.conductor.hopeless is not None


class _Ear(_Unsaved, Callback):
    """Hears why a process died, before the search is told that it did."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.handler.errors[trial.trial_id] = str(trial.get_error() or "")


def _seen(result: Mapping[str, Any]) -> dict[str, Any]:
    return {name: result[name] for name in (EPOCH, OBJECTIVE) if name in result}


def _sample_of(trial: Any) -> Any:
    """What ASHA knows a Tune trial by."""
    return SimpleNamespace(trial_id=f"sample-{trial.config['number']}")


def _name(trial: Any) -> str:
    return f"sample-{trial.config['number']}-{trial.trial_id}"
