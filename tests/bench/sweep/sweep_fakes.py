"""A method with a valley in its settings, and Ray Tune's part of a sweep played in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from pydantic import Field, model_validator
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from trial_fakes import HEADS, Drift, registered, tiny_data

from clusterbench.bench.cli.plan import Asked, Trial
from clusterbench.bench.config import resolve
from clusterbench.bench.spec import make_spec
from clusterbench.bench.sweep.conductor import Conductor, Watcher
from clusterbench.bench.sweep.plan import SweepPlan, Ways
from clusterbench.bench.sweep.run import Handler, scheduler_of
from clusterbench.bench.sweep.state import Sweep
from clusterbench.bench.sweep.worker import fate, open_sample
from clusterbench.datasets.base import Images, TrialData
from clusterbench.methods.base import Diverged, Epoch, MethodConfig

SPACE = """\
x: {uniform: [0, 1]}
y: {int_uniform: [1, 4]}
inner.kind: {choice: [plain, [a, b], null]}
"""


class Inner(MethodConfig):
    kind: str | list[str] | None = "plain"


class ValleyConfig(MethodConfig):
    epochs: int = 9
    judges: bool = True
    x: float = Field(default=0.5, ge=0, le=1)
    y: int = Field(default=2, gt=0)
    inner: Inner = Inner()

    @model_validator(mode="after")
    def _fits(self) -> ValleyConfig:
        if self.y == 3 and self.inner.kind is None:
            raise ValueError("three needs a kind")
        return self


class Valley(Drift):
    """Its criterion is lowest at x = 0.3 and falls with every epoch; above x = 0.95 it diverges.

    Its clusters and a part of its criterion come from torch's global generator.
    """

    name: ClassVar[str] = "valley"
    version: ClassVar[int] = 1
    Config: ClassVar[type] = ValleyConfig
    config: Any
    trained: ClassVar[list[tuple[float, int, int]]] = []  # x, seed and number of every epoch that was trained

    def train(self, images: Images) -> Iterator[Epoch]:
        if not hasattr(self, "weights"):
            self.epoch, self.weights = 0, torch.randn(HEADS, images.pixels[0].numel(), self.n_clusters)
        while self.epoch < self.config.epochs:
            self.weights = self.weights + torch.randn_like(self.weights)
            self.epoch += 1
            self.trained.append((self.config.x, self.seed, self.epoch))
            if self.config.x > 0.95:
                raise Diverged("valley: the loss is not finite.")
            depth = (self.config.x - 0.3) ** 2 + 1 / self.epoch + 1e-3 * float(torch.rand(()))
            yield Epoch(self.epoch, {"main": depth}, depth if self.config.judges else None, len(images))


@contextmanager
def valley() -> Iterator[type[Valley]]:
    """The method `valley`, registered inside."""
    Valley.trained.clear()
    with registered(Valley):
        yield Valley


def make_plan(
    tmp_path: Path,
    *,
    samples: int = 6,
    space: str = SPACE,
    seeds: tuple[int, ...] = (0,),
    settings: tuple[str, ...] = (),
    data: TrialData | None = None,
    method: str = "valley",
    config_file: Path | None = None,
    **ways: Any,
) -> SweepPlan:
    """The plan of a sweep of `valley` on noise."""
    file = tmp_path / "space.yaml"
    file.write_text(space)
    data = data or tiny_data()
    asked = Asked(methods=[method], datasets=[data.name], seeds=seeds, settings=settings, config_file=config_file)
    resolved = resolve(method, data.name, "short", config_file, settings)
    trials = [Trial(make_spec(resolved, data, seed=seed), data) for seed in seeds]
    return SweepPlan(asked, Ways(samples=samples, space_file=file, **ways), trials)


class Played:
    """Ray Tune's part in this process, one sample at a time, by the same calls in the same order.

    Attributes:
        searched, scheduled: every result that the search and the scheduler were handed.
        conductor: what it was played for.
    """

    def __init__(self, plan: SweepPlan, out: Path, *, stop_after: int | None = None, watcher: Watcher | None = None) -> None:
        self.conductor = Conductor(plan, out, watcher)
        self.searched: list[dict[str, Any]] = []
        self.scheduled: list[dict[str, Any]] = []
        self.steps_left = stop_after
        self.data = plan.data
        shared = {"out": str(self.conductor.folder), "data_root": None, "memory_share": 0.5, "threads": 1, "gpu": False}
        self.handler = Handler(self.conductor, {**shared, "objective": plan.objective.name}, at_once=1)
        self.scheduler = scheduler_of(plan, self.conductor.known)
        index = 0
        while self.steps_left != 0 and (config := self.handler.suggest(f"t{index}")) != Searcher.FINISHED:
            self._one(SimpleNamespace(trial_id=f"t{index}", config=config), config)
            index += 1

    @property
    def sweep(self) -> Sweep:
        return self.conductor.sweep

    def _one(self, trial: Any, config: Any) -> None:
        sample = open_sample(config, lambda *names: self.data)
        self.scheduler.on_trial_add(None, trial)
        while self.steps_left != 0:
            self.steps_left = None if self.steps_left is None else self.steps_left - 1
            result = self._told(config, sample.step)
            decision = TrialScheduler.STOP if result.get("done") else self._decided(trial, result)
            if decision == TrialScheduler.STOP:
                self.scheduled.append(result)
                self.searched.append(result)
                self.scheduler.on_trial_complete(None, trial, result)
                self.handler.on_trial_complete(trial_id=trial.trial_id, result=result)
                if result["state"] == "running":
                    sample.prune()
                break
            self.searched.append(result)
            self.handler.on_trial_result(trial_id=trial.trial_id, result=result)
        sample.close()

    def _told(self, config: Any, step: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            return {"number": config["number"], "state": "running", **step()}
        except Exception as error:
            return {"number": config["number"], "done": True, **fate(error)}

    def _decided(self, trial: Any, result: dict[str, Any]) -> str:
        self.scheduled.append(result)
        return self.scheduler.on_trial_result(None, trial, result)
