"""One worker of a cluster: it runs one trial after the other and keeps its process, so that torch is imported once.

Nothing but a trial's specification comes to it. The images are mapped from this node's prepared arrays; the record is
written by the worker itself. What breaks a trial is told, not raised: an exception would cost the process.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import ray
from ray import tune

from ...datasets.base import TrialData
from ...datasets.catalogue import load
from ...datasets.errors import DataError
from ...datasets.registry import NotFound
from ...methods.base import MethodError
from ...methods.kit import execution
from ...methods.kit.artefacts import use_root
from ...results.record import RecordError
from ..devices import keep_freed_memory, resolve_device, set_threads
from ..observer import Observer
from ..provenance import started_by
from ..spec import SpecError, TrialSpec
from ..trial import TrialRun
from ..trial_folder import find_folder
from .attempts import Kind, tells_of_memory
from .storage import Storage

TOLD_EVERY = 1.0  # seconds between two reports within an epoch
DATA_SETS_KEPT = 4


@lru_cache(DATA_SETS_KEPT)
def trial_data(name: str, protocol: str, root: str | None) -> TrialData:
    """The data of a trial, mapped once per process."""
    return load(name, root=root).under(protocol)  # pyright: ignore[reportArgumentType]


class Worker(tune.Trainable):
    """A process that Ray Tune hands one piece of work after the other.

    A subclass says what it does with one: `begin`, `step`, `end`.
    """

    def begin(self, config: dict[str, Any]) -> None:
        """Take what is in the Tune configuration. No work yet: its errors would cost the process."""
        raise NotImplementedError

    def end(self) -> None:
        """Let go of it, whether it is over or not; asked again, there is nothing to do."""
        raise NotImplementedError

    def setup(self, config: dict[str, Any]) -> None:
        keep_freed_memory()
        self._take_over(config["job"])
        self.begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.let_go()
        self._take_over(new_config["job"])
        self.begin(new_config)
        return True

    def cleanup(self) -> None:
        self.let_go()

    def _take_over(self, job: dict[str, Any]) -> None:
        """What the driver's process knows: the command that a record names, where artefacts are, how networks are executed."""
        started_by(job["command"])
        execution.use(execution.Execution(**job.get("execution", {})))
        use_root(job.get("cache_root"))

    def let_go(self) -> None:
        """`end`, and leave the memory of a GPU to others."""
        self.end()
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: a trial's own checkpoint lies in its record folder."""

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing: see `save_checkpoint`."""


class TrialWorker(Worker):
    """Runs the trial in its Tune configuration, an epoch a step.

    The configuration: `key`, `spec` (as JSON values), `attempt`, and `job`: what all trials of a command share (`out`,
    `data_root`, `force`, `memory_share`, `threads`, `gpu`, `board`, `imports`, `storage`, `snapshots`,
    `command`, `cache_root`, `execution`).
    """

    def begin(self, config: dict[str, Any]) -> None:
        self.key, self.attempt = str(config["key"]), int(config["attempt"])
        self.run: TrialRun | None = None
        self.where = _node()
        self.rows = self._rows(dict(config))

    def end(self) -> None:
        """A trial that is not over: its record says interrupted, its lock is free, its memory too."""
        close = getattr(self.rows, "close", None)
        if close is not None:
            close()
        self.run = None

    def step(self) -> dict[str, Any]:
        """One epoch: its row; after the last one `done` and where the record is; or what broke."""
        began = {"key": self.key, "attempt": self.attempt, "where": self.where}
        try:
            row = next(self.rows, None)
            if row is not None:
                return {**began, "row": row}
            assert self.run is not None
            return {**began, "done": True, "folder": str(self.run.finished.folder)}
        except BaseException as error:
            if isinstance(error, SystemExit):
                raise
            self.let_go()
            return {**began, "done": True, "broke": {"kind": kind_of(error).value, "reason": _reason(error)}}

    def _rows(self, config: dict[str, Any]) -> Iterator[dict[str, Any]]:
        spec, job = TrialSpec(**config["spec"]), config["job"]
        for module in job["imports"]:
            importlib.import_module(module)
        set_threads(job["threads"])
        device = resolve_device("auto" if job["gpu"] else "cpu")
        execution.current().check(device)
        self.where = f"{_node()} {device}"
        reporter = _Reporter(self.key, self.attempt, self.where, job.get("board"))
        data = trial_data(spec.dataset, spec.protocol, job["data_root"])
        force = job["force"] and self.attempt == 1  # a later attempt goes on from where the first one broke
        storage = Storage.open(job["storage"] or job["out"])
        folder = find_folder(spec, storage.local).name
        storage.fetch(folder)
        self.run = TrialRun(
            spec, data, out=storage.local, device=device, force=force, memory_share=job["memory_share"],
            snapshots=job["snapshots"], observer=reporter,
        )  # fmt: skip
        saved = 0
        try:
            for row in self.run.epochs():
                if self.run.epochs_saved != saved:
                    saved = self.run.epochs_saved
                    storage.push(folder)
                yield row
        finally:
            storage.push(folder)


class _Reporter(Observer):
    """Tells the board of the driver how far the trial is, at most once a second."""

    def __init__(self, key: str, attempt: int, where: str, board: str | None) -> None:
        self.key, self.attempt, self.where = key, attempt, where
        self.board = ray.get_actor(board) if board else None
        self.planned = self.epoch = 0
        self.told = self.epoch_began = time.monotonic()

    def on_start(self, spec: TrialSpec, folder: Path, planned_epochs: int, resumed_from: int) -> None:
        self.planned, self.epoch = planned_epochs, resumed_from
        self.epoch_began = time.monotonic()
        self._post({"start": [self.attempt, self.where], "progress": [self.epoch, self.planned, 0.0, None]})

    def on_plan(self, planned_epochs: int) -> None:
        self.planned = planned_epochs

    def on_step(self, done: int, total: int, images: int) -> None:
        now = time.monotonic()
        if now - self.told < TOLD_EVERY:
            return
        self.told = now
        speed = images / max(now - self.epoch_began, 1e-9)
        self._post({"progress": [self.epoch, self.planned, done / max(total, 1), speed]})

    def on_epoch(self, row: dict[str, Any]) -> None:
        self.epoch, self.epoch_began = int(row["epoch"]), time.monotonic()
        self._post({"progress": [self.epoch, self.planned, 0.0, row.get("images_per_second")]})

    def _post(self, what: dict[str, Any]) -> None:
        if self.board is not None:
            self.board.post.remote(self.key, what)


@ray.remote(num_cpus=0)
class Board:
    """Where workers say how far they are and the driver looks; it keeps only the last word of each trial."""

    def __init__(self) -> None:
        self.said: dict[str, dict[str, Any]] = {}

    def post(self, key: str, what: dict[str, Any]) -> None:
        self.said[key] = {**self.said.get(key, {}), **what}

    def take(self) -> dict[str, dict[str, Any]]:
        """All that was said since the last call."""
        said, self.said = self.said, {}
        return said


def _node() -> str:
    """This node's address, and the beginning of its id: several may share a machine."""
    return f"{ray.util.get_node_ip_address()}/{ray.get_runtime_context().get_node_id()[:8]}"


def kind_of(error: BaseException) -> Kind:
    """What an error means for the trial that it broke."""
    if isinstance(error, MemoryError) or tells_of_memory(f"{type(error).__name__}: {error}"):
        return Kind.OUT_OF_MEMORY
    if isinstance(error, RecordError) and "is running this trial" in str(error):
        return Kind.HELD
    if isinstance(error, (DataError, NotFound, SpecError)) or type(error) is MethodError:
        return Kind.HOPELESS
    return Kind.OTHER


def _reason(error: BaseException) -> str:
    from ..cli.errors import one_line

    return f"{one_line(error)} (process {os.getpid()})" if kind_of(error) is Kind.OUT_OF_MEMORY else one_line(error)
