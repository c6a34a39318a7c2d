"""One worker of a sweep: it trains a sample with all its seeds, an epoch of each in turn, and tells nothing but the objective.

Labelled scores stay in the records that the trials write; the search and the scheduler have no way to them. What breaks
a sample is told, not raised: an exception would cost the process.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from ...methods.base import Diverged
from ...results.record import read_epochs
from ..devices import resolve_device, set_threads
from ..randomness import random_state, restore_random_state
from ..scheduling.attempts import Kind
from ..scheduling.worker import Worker, kind_of, trial_data
from ..spec import TrialSpec
from ..trial import TrialRun
from ..trial_folder import PRUNED
from .objective import Objective, Row, Unjudged
from .state import state_of

Result = dict[str, Any]


class Lockstep:
    """The trials of one sample, all of them after the same epoch at any time.

    Each trial finds the process-wide random generators as it left them, so that it ends as if it had run alone.

    Args:
        runs: one for each seed.
        objective: what is told of them.
        device: that they train on.
    """

    def __init__(self, runs: Sequence[TrialRun], objective: Objective, device: str) -> None:
        self.runs, self.objective, self.device = runs, objective, device
        self.rows = [_with_earlier(run) for run in runs]
        self.random: list[dict[str, Any] | None] = [None] * len(runs)
        self.latest: list[Row | None] = [None] * len(runs)

    def step(self) -> Result:
        """One epoch of each: `epoch` and `objective`, or `done` after the last one, with the `state` that it ended in."""
        fresh = [self._advance(index) for index in range(len(self.runs))]
        rows = [row for row in self.latest if row is not None]
        epoch = max((int(row["epoch"]) for row in rows), default=0)
        objective = self.objective.of(rows, self.runs[0].spec.method)
        over = {} if any(fresh) else {"done": True, "state": "complete"}
        return {"epoch": epoch, "objective": objective, **over}

    def prune(self) -> None:
        """End all trials where they are; their records say why."""
        for run in self.runs:
            run.stop(PRUNED)
        for index in range(len(self.runs)):
            while self._advance(index):
                pass  # a trial that was ahead of what had been told

    def close(self) -> None:
        """Let go of the trials in the middle, to be taken up again."""
        for rows in self.rows:
            rows.close()

    def _advance(self, index: int) -> bool:
        """One epoch of one trial; False after its last one."""
        state = self.random[index]
        if state is not None:
            restore_random_state(state, self.device)
        row = next(self.rows[index], None)
        self.random[index] = random_state(self.device)
        self.latest[index] = row or self.latest[index]
        return row is not None


class SampleWorker(Worker):
    """Trains the sample in its Tune configuration.

    The configuration: `number`, `specs` (a list of trials as JSON values), and `job`: what all samples of a sweep share
    (`out`, `data_root`, `memory_share`, `threads`, `gpu`, `objective`).
    """

    def begin(self, config: dict[str, Any]) -> None:
        self.number, self.given = int(config["number"]), config
        self.sample: Lockstep | None = None

    def end(self) -> None:
        """Finish the records of a sample that the scheduler gave up; leave any other to be taken up again."""
        sample, self.sample = self.sample, None
        if sample is None:
            return
        if state_of(Path(self.given["job"]["out"]), self.number) == "pruned":
            with suppress(Exception):  # each trial notes what breaks it in its own record
                sample.prune()
        sample.close()

    def step(self) -> Result:
        try:
            if self.sample is None:
                self.sample = open_sample(self.given)
            return {"number": self.number, "state": "running", **self.sample.step()}
        except Exception as error:
            self.let_go()
            return {"number": self.number, "done": True, **fate(error)}


def open_sample(config: dict[str, Any], load: Callable[..., Any] = trial_data) -> Lockstep:
    """The sample in a Tune configuration, ready to train on this node."""
    job, specs = config["job"], [TrialSpec(**spec) for spec in config["specs"]]
    set_threads(job["threads"])
    device = resolve_device("auto" if job["gpu"] else "cpu")
    data = load(specs[0].dataset, specs[0].protocol, job["data_root"])
    runs = [TrialRun(spec, data, out=job["out"], device=device, memory_share=job["memory_share"]) for spec in specs]
    return Lockstep(runs, Objective(job["objective"]), device)


def fate(error: Exception) -> Result:
    """How a sample ends that raised `error`."""
    from ..cli.errors import one_line

    state = "diverged" if isinstance(error, Diverged) else "failed"
    out_of_memory = kind_of(error) is Kind.OUT_OF_MEMORY
    return {"state": state, "error": one_line(error), "hopeless": isinstance(error, Unjudged), "out_of_memory": out_of_memory}


def _with_earlier(run: TrialRun) -> Generator[Any, None, None]:
    """The rows of a trial from its first epoch on, also if it goes on from a checkpoint or was over before."""
    epochs: Any = run.epochs()
    with closing(epochs):
        first = next(epochs, None)
        earlier = read_epochs(run.folder / "epochs.jsonl")
        yield from earlier if first is None else earlier[: first["epoch"] - 1]
        if first is not None:
            yield first
            yield from epochs
