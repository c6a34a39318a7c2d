"""Trials on a Ray cluster: handed out in their order by Ray Tune, retried, and told of to listeners.

The same specifications give the same records as in one process. The driver holds no image and no network; when it is
killed, the records on disk are all that the next one needs.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayError
from ray.tune import Callback
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ...methods.kit.artefacts import named_root
from ...methods.kit.execution import Execution, current
from ...results.record import Record, read_record
from ..provenance import own_command
from ..trial_folder import find_folder
from .attempts import Attempts, Failure, Kind, Verdict, loss
from .events import Listener, Planned, Progress
from .interruption import Interruption
from .packing import Appetite, kinds, measure, share_for_all
from .placement import CLIENT, Placement, as_tune_asks, connected
from .storage import Storage
from .worker import Board, TrialWorker

BOARD = "clusterbench-board"
LOOKED_AT_EVERY = 0.5  # seconds between two looks at the board
PATIENCE = 2.0  # seconds with it


@dataclass(frozen=True)
class Job:
    """What all trials of one command share.

    Attributes:
        out: folder of the records; every node must see it under the same path.
        data_root: searched first for data, on every node.
        force: begin from the start whatever is there.
        memory_share: of a device's free memory that images may take.
        retries: how often a trial that broke is taken up again.
        imports: modules that a worker imports first, for methods that no installed package announces.
        snapshots: epochs between two snapshots for pictures; None for one at the end.
        command: what the records name as the command that made them.
        storage: URI of a remote folder that `out` mirrors here and on every node; None if all see `out` itself.
        cache_root: folder of artefacts, for every node; None for each node's own.
        execution: how networks are executed.
    """

    out: Path
    data_root: Path | None = None
    force: bool = False
    memory_share: float = 0.5
    retries: int = 2
    imports: tuple[str, ...] = ()
    storage: str | None = None
    snapshots: int | None = None
    command: str = field(default_factory=own_command)
    cache_root: str | None = field(default_factory=named_root)
    execution: Execution = field(default_factory=current)

    def as_config(self) -> dict[str, Any]:
        """What workers are told."""
        return {
            "out": str(self.out.absolute()),
            "data_root": str(self.data_root.absolute()) if self.data_root else None,
            "force": self.force,
            "memory_share": self.memory_share,
            "imports": list(self.imports),
            "storage": self.storage,
            "snapshots": self.snapshots,
            "command": self.command,
            "cache_root": self.cache_root,
            "execution": asdict(self.execution),
        }


def run_many(planned: Sequence[Planned], job: Job, placement: Placement, listener: Listener) -> list[Record]:
    """Run the trials that are not done, as many at a time as fit; the records of those that finished, in their order.

    Every trial's fate is told to `listener`. Ctrl-C raises `KeyboardInterrupt` after the workers have let go.

    Raises:
        SpecError: there is no such cluster, or it can never hold a trial.
    """
    if placement.address.startswith(CLIENT):
        from .client import run_many_there

        return run_many_there(planned, job, placement, listener)
    with connected(placement.address) as cluster:
        placement = _packed(placement, planned, job, cluster, listener)
        resources, concurrency = placement.resources(cluster), placement.concurrency(cluster)
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what breaks is told by us, in one line
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(concurrency)  # else Tune starts one worker after the other
        attempts = Attempts(planned, retries=job.retries, limit=concurrency)
        board = _board()
        shared = {
            **job.as_config(),
            "threads": placement.cpus_per_trial,
            "gpu": resources.get("GPU", 0) > 0,
            "board": BOARD,
        }
        desk = _Desk(attempts, listener, job, shared)
        listener.on_plan(planned)
        try:
            with tempfile.TemporaryDirectory(prefix="clusterbench-tune-") as scratch, desk.interruption.heeded():
                _fit(desk, resources, board, scratch)
        finally:
            desk.close()
            listener.on_end()
        if desk.interruption.happened:
            raise KeyboardInterrupt
    return [trial.done or desk.records[trial.key] for trial in planned if trial.done or trial.key in desk.records]


def _packed(
    placement: Placement, planned: Sequence[Planned], job: Job, cluster: Mapping[str, float], listener: Listener
) -> Placement:
    """The placement with a share of a GPU in place of `auto`: measured, one trial of each kind after the other."""
    if placement.gpus_per_trial != "auto":
        return placement
    if cluster.get("GPU", 0) < 1:
        return replace(placement, gpus_per_trial=0.0)
    alone = ray.remote(num_gpus=1)(measure)
    appetites = []
    for trial in kinds(planned):
        appetite: Appetite = ray.get(alone.remote(trial.spec.model_dump(mode="json"), job.as_config()))  # pyright: ignore
        appetites.append(appetite)
        taken = f"{appetite.memory:.0%} of a GPU's memory and {appetite.busy:.0%} of its time"
        listener.on_note(f"{trial.spec.method} on {trial.spec.dataset} takes {taken}: {1 / appetite.share:.0f} at a time on each")
    return replace(placement, gpus_per_trial=share_for_all(appetites))


def _board() -> Any:
    """On this node, so that no other node's death takes it away."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = Board.options(name=BOARD, get_if_exists=True, scheduling_strategy=here)  # pyright: ignore[reportAttributeAccessIssue]
    return options.remote()


def _fit(desk: _Desk, resources: dict[str, float], board: Any, scratch: str) -> None:
    tuner = tune.Tuner(
        tune.with_resources(TrialWorker, as_tune_asks(resources)),
        tune_config=tune.TuneConfig(search_alg=_Hand(desk), num_samples=-1, reuse_actors=True),
        run_config=tune.RunConfig(storage_path=scratch, name="trials", verbose=0, callbacks=[_Ear(desk, board)], stop=_End(desk)),
    )
    tuner.fit()


_DESKS: dict[int, _Desk] = {}


class _Desk:
    """Where the order of the trials, their fates and the listener meet.

    Tune pickles and copies what it is given; a copy of a desk is the desk itself.
    """

    def __init__(self, attempts: Attempts, listener: Listener, job: Job, shared: dict[str, Any]) -> None:
        _DESKS[id(self)] = self
        self.attempts, self.listener, self.job, self.shared = attempts, listener, job, shared
        self.interruption = Interruption(listener.on_note)
        self.storage = Storage.open(job.storage or str(job.out))
        self.records: dict[str, Record] = {}
        self.key_of: dict[str, str] = {}  # Tune's name of an attempt -> the trial's key
        self.settled: set[str] = set()  # attempts whose end was told by their worker
        self.errors: dict[str, str] = {}  # what Tune says of attempts that died
        self.seen: dict[str, int] = {}  # the attempt of each trial that was told to have started

    def __reduce__(self) -> tuple[Any, ...]:
        return _DESKS.get, (id(self),)

    def close(self) -> None:
        del _DESKS[id(self)]

    def hand_out(self, tune_id: str) -> dict[str, Any] | None:
        item = self.attempts.next()
        if item is None:
            return None
        self.key_of[tune_id] = item.planned.key
        spec = item.planned.spec.model_dump(mode="json")
        return {"key": item.planned.key, "attempt": item.attempt, "spec": spec, "job": self.shared}

    def heard(self, tune_id: str, result: dict[str, Any]) -> None:
        """A worker's word at the end of a step."""
        key = self.key_of[tune_id]
        self.started(key, result["attempt"], result["where"])
        if "row" in result:
            self.listener.on_epoch(key, result["row"])
        elif "broke" in result:
            self.settled.add(tune_id)
            self._broke(key, Failure(Kind(result["broke"]["kind"]), result["broke"]["reason"]))
        elif "folder" in result:
            self.settled.add(tune_id)
            self.attempts.finished(key)
            folder = Path(result["folder"]).name
            self.storage.fetch(folder)
            self.records[key] = read_record(self.storage.local / folder)
            self.listener.on_finish(key, self.records[key])

    def started(self, key: str, attempt: int, where: str) -> None:
        """A trial's first sign of life, which may come from the board or at the end of its first step."""
        if self.seen.get(key) != attempt:
            self.seen[key] = attempt
            self.listener.on_start(key, where, attempt)

    def ended(self, tune_id: str) -> None:
        """Tune is through with an attempt; one whose end its worker did not tell has lost its worker."""
        if tune_id in self.settled or tune_id not in self.key_of or self.interruption.happened:
            return
        self.settled.add(tune_id)
        said = self.errors.get(tune_id, "")
        self._broke(self.key_of[tune_id], loss(said))

    def _broke(self, key: str, failure: Failure) -> None:
        item = self.attempts.running[key]
        verdict, note = self.attempts.broke(key, failure)
        if note:
            self.listener.on_note(note)
        if verdict is Verdict.RETRY:
            self.listener.on_retry(key, failure.reason, self.attempts.attempts_left(key))
        elif verdict is Verdict.WAIT:
            self.listener.on_wait(key)
            self.listener.on_note(f"{item.planned.heading}: another process is running it; asked for again later")
        else:
            self.listener.on_fail(key, failure.reason, self._log(item.planned))

    def _log(self, planned: Planned) -> Path | None:
        path = find_folder(planned.spec, self.storage.local) / "record.json"
        return path if path.is_file() else None


class _Hand(Searcher):
    """Hands trials to Tune when it asks for one."""

    def __init__(self, desk: _Desk) -> None:
        super().__init__(metric="key", mode="max")
        self.desk = desk

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        return Searcher.FINISHED if self.desk.attempts.are_over else self.desk.hand_out(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.desk.ended(trial_id)

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        return True

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the records on disk say what is left."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `save`."""


class _End(Stopper):
    """Ends all trials at Ctrl-C."""

    def __init__(self, desk: _Desk) -> None:
        self.desk = desk

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.desk.interruption.is_heard()


class _Ear(Callback):
    """Hears what workers say: at the end of their steps from Tune, in between from the board."""

    def __init__(self, desk: _Desk, board: Any) -> None:
        self.desk, self.board, self.looked = desk, board, 0.0

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if time.monotonic() - self.looked < LOOKED_AT_EVERY:
            return
        self.looked = time.monotonic()
        try:
            news: dict[str, Any] = ray.get(self.board.take.remote(), timeout=PATIENCE)  # pyright: ignore[reportAssignmentType]
        except (RayError, TimeoutError):
            return  # what it would have told is only for the display
        for key, said in news.items():
            if key not in self.desk.attempts.running:
                continue
            if "start" in said:
                self.desk.started(key, *said["start"])
            if "progress" in said:
                self.desk.listener.on_progress(key, Progress(*said["progress"]))

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
        self.desk.heard(trial.trial_id, result)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.desk.errors[trial.trial_id] = str(trial.get_error() or "")
