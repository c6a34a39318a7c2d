"""Trials of several seeds trained at once: each has the record that it has alone, whatever happens to the others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from cli_tools import Bench
from trial_fakes import outcome, registered, run, tiny_data

from clusterbench.bench import checkpoint
from clusterbench.bench.spec import SpecError, TrialSpec
from clusterbench.bench.stacked import Event, StackedRun, check_stackable, stacks
from clusterbench.bench.trial import Interrupted
from clusterbench.datasets.base import Images, TrialData
from clusterbench.methods.base import Diverged, Epoch, Method, MethodConfig, MethodError, State
from clusterbench.methods.kit.randomness import generator
from clusterbench.results.record import find_records, read_record


class WalkConfig(MethodConfig):
    epochs: int = 3


class Walk(Method):
    """Linear heads that walk at random; several seeds walk together, each with its own steps."""

    name: ClassVar[str] = "walk"
    stacks: ClassVar[bool] = True
    Config = WalkConfig
    config: WalkConfig
    trained: ClassVar[list[list[tuple[int, int]]]] = []  # seeds and epochs of each call of `train_stacked`
    breaks: ClassVar[dict[tuple[int, int], BaseException]] = {}  # by seed and epoch

    def train(self, images: Images) -> Iterator[Epoch]:
        while getattr(self, "epoch", 0) < self.config.epochs:
            yield self._step(images)

    @classmethod
    def train_stacked(cls, methods: Sequence[Walk], images: Images) -> list[Epoch | MethodError]:
        cls.trained.append([(method.seed, getattr(method, "epoch", 0) + 1) for method in methods])
        return [method._tried(images) for method in methods]

    def _tried(self, images: Images) -> Epoch | MethodError:
        try:
            return self._step(images)
        except Diverged as error:
            return error

    def _step(self, images: Images) -> Epoch:
        if not hasattr(self, "weights"):
            self.epoch, self.weights = 0, torch.zeros(2, images.pixels[0].numel(), self.n_clusters)
        self.epoch += 1
        if (self.seed, self.epoch) in self.breaks:
            raise self.breaks.pop((self.seed, self.epoch))
        random = generator("cpu", self.seed, "epoch", self.epoch)
        self.weights = self.weights + torch.randn(self.weights.shape, generator=random)
        return Epoch(self.epoch, {"main": float(self.epoch)}, math.cos(self.epoch), len(images))

    def predict_heads(self, images: Images) -> np.ndarray:
        return torch.einsum("nd,hdk->hnk", images.pixels.flatten(1).float() - 127.5, self.weights).argmax(-1).numpy()

    def state_dict(self) -> State:
        return {"weights": self.weights, "epoch": self.epoch}

    def load_state_dict(self, state: State) -> None:
        self.weights, self.epoch = state["weights"], state["epoch"]


@pytest.fixture(autouse=True)
def walk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Walk, "trained", [])
    monkeypatch.setattr(Walk, "breaks", {})
    monkeypatch.setattr(checkpoint, "LARGEST_SHARE", math.inf)  # save after every epoch
    with registered(Walk):
        yield


@pytest.fixture(scope="module")
def data() -> TrialData:
    return tiny_data()


def spec(data: TrialData, seed: int, **changes: Any) -> TrialSpec:
    known: dict[str, Any] = {
        "method": "walk", "method_version": 1, "task": "clustering", "dataset": data.name, "protocol": data.protocol,
        "data_fingerprint": data.fingerprint, "preset": "smoke", "n_clusters": 3, "config": WalkConfig().model_dump(),
    }  # fmt: skip
    return TrialSpec(**(known | changes), seed=seed)


def stacked(specs: Sequence[TrialSpec], data: TrialData, out: Path, **options: Any) -> dict[str, list[Event]]:
    """The events of each trial, by its identity."""
    found: dict[str, list[Event]] = {each.identity(): [] for each in specs}
    for event in StackedRun(specs, data, out=out, device="cpu", **options).events():
        found[event.key].append(event)
    return found


def test_every_seed_has_the_record_that_it_has_alone(data: TrialData, tmp_path: Path) -> None:
    specs = [spec(data, seed) for seed in range(3)]
    events = stacked(specs, data, tmp_path / "together")
    assert Walk.trained == [[(seed, epoch) for seed in range(3)] for epoch in (1, 2, 3)]
    for each in specs:
        *rows, last = events[each.identity()]
        alone = run(each, data, tmp_path / "alone")
        assert [event.row["epoch"] for event in rows if event.row] == [1, 2, 3]
        assert last.record is not None
        assert outcome(last.record) == outcome(alone)
        assert (last.record.id, last.record.status, last.record.folder.name) == (alone.id, "complete", alone.folder.name)
        assert last.record.provenance["stacked_seeds"] == [0, 1, 2]
        assert "stacked_seeds" not in alone.provenance


def test_the_seconds_of_an_epoch_are_shared_out(data: TrialData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 10_000, 12))
    monkeypatch.setattr(StackedRun, "_clock", lambda run: float(next(now)))
    specs = [spec(data, seed) for seed in range(3)]
    stacked(specs, data, tmp_path)
    assert [record.cost["train_seconds"] for record in find_records(tmp_path)] == [3 * 12 / 3] * 3


def test_what_is_complete_is_not_trained_again(data: TrialData, tmp_path: Path) -> None:
    run(spec(data, 1), data, tmp_path)
    events = stacked([spec(data, seed) for seed in range(3)], data, tmp_path)
    assert Walk.trained == [[(0, epoch), (2, epoch)] for epoch in (1, 2, 3)]
    (only,) = events[spec(data, 1).identity()]
    assert only.record is not None
    assert "stacked_seeds" not in only.record.provenance


def test_a_seed_that_diverges_fails_alone(data: TrialData, tmp_path: Path) -> None:
    Walk.breaks[1, 2] = Diverged("walk: the loss is not finite in epoch 2.")
    events = stacked([spec(data, seed) for seed in range(3)], data, tmp_path)
    *_, last = events[spec(data, 1).identity()]
    assert isinstance(last.error, Diverged)
    assert Walk.trained[-1] == [(0, 3), (2, 3)]
    status = {record.spec["seed"]: record.status for record in find_records(tmp_path)}
    assert status == {0: "complete", 1: "failed", 2: "complete"}


def test_ctrl_c_is_noted_by_all_and_all_go_on_where_they_were(data: TrialData, tmp_path: Path) -> None:
    specs = [spec(data, seed) for seed in range(3)]
    Walk.breaks[2, 2] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run(specs[2], data, tmp_path)
    Walk.breaks[0, 2] = KeyboardInterrupt()
    with pytest.raises(Interrupted, match="Interrupted after epoch 1"):
        stacked(specs, data, tmp_path)
    assert {record.stop_reason for record in find_records(tmp_path)} == {"interrupted"}
    Walk.trained.clear()
    events = stacked(specs, data, tmp_path)
    assert Walk.trained == [[(seed, epoch) for seed in range(3)] for epoch in (2, 3)]
    for each in specs:
        record = events[each.identity()][-1].record
        assert record is not None
        assert record.cost["resumed"] >= 1
        assert outcome(record) == outcome(run(each, data, tmp_path / "alone"))


def test_a_seed_that_is_behind_is_trained_alone_until_it_has_caught_up(data: TrialData, tmp_path: Path) -> None:
    Walk.breaks[0, 3] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run(spec(data, 0), data, tmp_path)
    stacked([spec(data, 0), spec(data, 1)], data, tmp_path)
    assert Walk.trained == [[(1, 1)], [(1, 2)], [(0, 3), (1, 3)]]


def test_whoever_stops_listening_leaves_records_that_say_so(data: TrialData, tmp_path: Path) -> None:
    specs = [spec(data, seed) for seed in range(2)]
    events = StackedRun(specs, data, out=tmp_path, device="cpu").events()
    next(events)
    events.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert [record.stop_reason for record in find_records(tmp_path)] == ["interrupted"] * 2


def test_an_error_of_the_whole_stack_fails_each_of_it(data: TrialData, tmp_path: Path) -> None:
    Walk.breaks[1, 1] = MethodError("walk: the layer cannot be stacked.")
    specs = [spec(data, seed) for seed in range(2)]
    events = stacked(specs, data, tmp_path)
    assert [str(events[each.identity()][-1].error) for each in specs] == ["walk: the layer cannot be stacked."] * 2
    assert {read_record(record.folder).status for record in find_records(tmp_path)} == {"failed"}


def test_stacks_hold_seeds_of_one_trial_in_their_order(data: TrialData) -> None:
    other = {"config": {"epochs": 5}}
    specs = [spec(data, seed, **changes) for seed in range(3) for changes in ({}, other)]
    found = [[(each.config["epochs"], each.seed) for each in stack] for stack in stacks(specs, 2)]
    assert found == [[(3, 0), (3, 1)], [(3, 2)], [(5, 0), (5, 1)], [(5, 2)]]
    mixed = [*specs[:1], spec(data, 0, method="kmeans"), spec(data, 1, method="kmeans"), *specs[2:3]]
    assert [[each.method for each in stack] for stack in stacks(mixed, 2)] == [["walk", "walk"], ["kmeans"], ["kmeans"]]


def test_trials_that_cannot_be_stacked_are_refused_before_anything_starts(data: TrialData) -> None:
    with pytest.raises(SpecError, match=r"kmeans trains one seed at a time: .*for .*iic"):
        stacks([spec(data, seed, method="kmeans") for seed in range(2)], 2)
    with pytest.raises(SpecError, match="a time limit would stop them elsewhere"):
        check_stackable([spec(data, seed, time_limit_s=60.0) for seed in range(2)])
    with pytest.raises(SpecError, match="nothing but the seed"):
        check_stackable([spec(data, 0), spec(data, 1, n_clusters=4)])


def test_bench_run_trains_seeds_together_and_other_methods_one_by_one(bench: Bench) -> None:
    words = ("--method", "walk", "--method", "random", "--seeds", "3", "--stacked-seeds", "2")
    ran = bench.run(*words)
    assert ran.code == 0
    assert [len(call) for call in Walk.trained] == [2] * 3  # the third seed is alone, and trains as such
    assert "started: walk on digits, seed 1 (cpu, 2 seeds together)" in ran.err
    assert "started: random on digits, seed 0 (cpu)" in ran.err
    assert len(find_records(bench.out)) == 6
    assert {record.is_complete for record in find_records(bench.out)} == {True}
    told = [line.partition(":")[0] for line in ran.out.splitlines() if ": ACC" in line]
    assert told == [f"{name} on digits, seed {seed}" for name in ("walk", "random") for seed in range(3)]
    again = bench.run(*words)
    assert (again.code, len(Walk.trained)) == (0, 3)


def test_a_seed_that_breaks_in_bench_run_is_told_and_the_others_count(bench: Bench) -> None:
    Walk.breaks[1, 2] = Diverged("walk: the loss is not finite in epoch 2.")
    ran = bench.run("--method", "walk", "--seeds", "2", "--stacked-seeds", "2")
    assert ran.code == 1
    assert "walk on digits, seed 1: walk: the loss is not finite in epoch 2." in ran.said
    assert "walk on digits, seed 0: ACC" in ran.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--method", "kmeans"), "kmeans trains one seed at a time"),
        (("--method", "walk", "--time-limit", "1m"), "a time limit would stop them elsewhere"),
        (("--method", "walk", "--address", "auto"), "Stacked seeds are trained in this process, not on a cluster"),
    ],
)
def test_bench_run_refuses_what_cannot_be_stacked_in_one_line(words: tuple[str, ...], said: str, bench: Bench) -> None:
    ran = bench.run("--seeds", "2", "--stacked-seeds", "2", *words)
    assert ran.code == 1
    assert said in ran.said
    assert not bench.folders
