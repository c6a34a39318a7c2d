"""Whole sweeps without Ray: what the search sees, what is pruned, what is taken up again, and what stays on disk."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from ray.tune.search import Searcher
from sweep_fakes import Played, Valley, make_plan
from trial_fakes import outcome, tiny_data

from clusterbench.bench.spec import SpecError
from clusterbench.bench.sweep.conductor import Conductor, Watcher
from clusterbench.bench.sweep.objective import Objective, Unjudged
from clusterbench.bench.sweep.run import Handler, scheduler_of
from clusterbench.bench.sweep.state import Sample, Sweep, read_sweep
from clusterbench.bench.sweep.worker import fate
from clusterbench.bench.trial import run_trial
from clusterbench.results.record import RecordError, find_records, read_record

pytestmark = pytest.mark.usefixtures("valley")
X = "x: {uniform: [0, 0.9]}"


def shuffled() -> Any:
    data = tiny_data()
    return replace(data, labels=np.random.default_rng(5).permutation(data.labels))


def told(results: Sequence[dict[str, Any]]) -> list[Any]:
    return [(each["number"], each.get("epoch"), each.get("objective"), each["state"]) for each in results]


def drawn(sweep: Sweep) -> list[Any]:
    return [(each.settings, each.state, each.objective_by_epoch) for each in sweep.samples]


@pytest.mark.parametrize("search", ["optuna", "random"])
def test_labels_change_neither_what_is_drawn_nor_what_is_pruned(tmp_path: Path, search: str) -> None:
    played = [
        Played(make_plan(tmp_path, samples=14, data=data, search=search), tmp_path / str(number))
        for number, data in enumerate((tiny_data(), shuffled()))
    ]
    assert told(played[0].searched) == told(played[1].searched)
    assert drawn(played[0].sweep) == drawn(played[1].sweep)
    assert {"complete", "pruned"} <= {sample.state for sample in played[0].sweep.samples}
    accuracies = [[sample.acc for sample in each.sweep.samples] for each in played]
    assert accuracies[0] != accuracies[1], "the labels made no difference where they must"


def test_nothing_with_labels_is_handed_to_the_search_or_the_scheduler(tmp_path: Path) -> None:
    played = Played(make_plan(tmp_path, space=X), tmp_path / "out")
    names = {name for result in (*played.searched, *played.scheduled) for name in result}
    assert names == {"number", "state", "epoch", "objective", "done"}
    criteria = {row["criterion"] for record in find_records(played.conductor.folder) for row in record.epochs()}
    assert {result["objective"] for result in played.searched} <= criteria


def test_an_oracle_does_use_labels_and_every_row_says_so(tmp_path: Path) -> None:
    played = [
        Played(make_plan(tmp_path, data=data, oracle="acc"), tmp_path / str(number))
        for number, data in enumerate((tiny_data(), shuffled()))
    ]
    assert told(played[0].searched) != told(played[1].searched)
    for sample in played[0].sweep.samples:
        assert sample.uses_labels and sample.objective == sample.acc
    assert played[0].sweep.objective == {"name": "acc", "direction": "maximize", "uses_labels": True}


def test_the_objective_of_several_seeds_is_their_mean(tmp_path: Path) -> None:
    sweep = Played(make_plan(tmp_path, samples=2, seeds=(0, 3, 4), space=X), tmp_path / "out").conductor
    for sample in sweep.sweep.having("complete"):
        rows = [read_record(sweep.folder / name).epochs() for name in sample.records]
        assert len(rows) == 3 and len({row[-1]["criterion"] for row in rows}) == 3
        assert sample.objective == pytest.approx(np.mean([row[-1]["criterion"] for row in rows]))
        assert sample.acc == pytest.approx(np.mean([row[-1]["acc"][row[-1]["chosen_head"]] for row in rows]))


def test_seeds_in_lockstep_leave_the_records_of_trials_that_ran_alone(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, samples=1, seeds=(0, 1), space=X)
    conductor = Played(plan, tmp_path / "out").conductor
    for spec, name in zip(plan.specs(conductor.sweep.samples[0].settings), conductor.sweep.samples[0].records, strict=True):
        alone = run_trial(spec, plan.data, out=tmp_path / "alone", device="cpu")
        assert outcome(read_record(conductor.folder / name)) == outcome(alone)


def test_pruned_samples_end_at_a_rung_with_finished_records(tmp_path: Path) -> None:
    conductor = Played(make_plan(tmp_path, samples=12, seeds=(0, 1), space=X), tmp_path / "out").conductor
    pruned = conductor.sweep.having("pruned")
    assert pruned and conductor.plan.rungs == (1, 3)
    for sample in pruned:
        for name in sample.records:
            record = read_record(conductor.folder / name)
            assert (record.status, record.stop_reason, record.epochs_done) == ("stopped", "pruned", sample.epochs)
            assert sample.epochs in (1, 3) and record.score("acc", "last") is not None
    best = conductor.best()
    assert best is not None and best.state == "complete"
    assert best.objective == min(sample.objective for sample in conductor.sweep.having("complete") if sample.objective)


def test_a_sample_is_pruned_exactly_if_it_is_below_the_best_third_of_those_before_it_at_that_rung(tmp_path: Path) -> None:
    sweep = Played(make_plan(tmp_path, samples=12, space=X, search="random"), tmp_path / "out").sweep
    at_rung: dict[int, list[float]] = {1: [], 3: []}
    for sample in sweep.samples:
        expected = "complete"
        for rung, before in at_rung.items():
            value = sample.objective_by_epoch[rung - 1]
            below = bool(before) and value > np.percentile(before, 100 / 3)
            before.append(value)
            if below:
                expected = "pruned"
                assert sample.epochs == rung
                break
        assert sample.state == expected


def test_without_a_scheduler_all_samples_are_complete(tmp_path: Path) -> None:
    sweep = Played(make_plan(tmp_path, samples=5, space=X, scheduler="none"), tmp_path / "out").sweep
    assert {(sample.state, sample.epochs) for sample in sweep.samples} == {("complete", 9)}


@pytest.mark.parametrize("stop_after", [1, 4, 17])
def test_a_sweep_that_is_taken_up_repeats_nothing_and_ends_like_an_undisturbed_one(tmp_path: Path, stop_after: int) -> None:
    plan = make_plan(tmp_path, samples=6, seeds=(0, 1), search="random", space=X)
    undisturbed = Played(plan, tmp_path / "whole").sweep
    first = Played(plan, tmp_path / "broken", stop_after=stop_after)
    assert first.sweep.having("running"), "it was to break in the middle of a sample"
    done = {sample.settings["x"] for sample in first.sweep.samples if sample.is_over}
    Valley.trained.clear()
    again = Played(plan, tmp_path / "broken")
    assert drawn(again.sweep) == drawn(undisturbed)
    assert not done & {x for x, _, _ in Valley.trained}
    Valley.trained.clear()
    assert drawn(Played(plan, tmp_path / "broken").sweep) == drawn(undisturbed) and not Valley.trained


def test_more_samples_go_on_with_the_same_sweep(tmp_path: Path) -> None:
    Played(make_plan(tmp_path, samples=3), tmp_path / "out")
    Valley.trained.clear()
    sweep = Played(make_plan(tmp_path, samples=5), tmp_path / "out").sweep
    assert [sample.number for sample in sweep.samples] == [0, 1, 2, 3, 4]
    assert {x for x, _, _ in Valley.trained} == {sample.settings["x"] for sample in sweep.samples[3:]}


def test_the_rungs_remember_samples_of_an_earlier_command(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, space=X)
    known = [
        Sample(number=n, settings={"x": 0.1}, state="complete", objective=1.0, objective_by_epoch=[1.0] * 9) for n in range(5)
    ]

    class Newcomer:
        config: ClassVar[dict[str, int]] = {"number": 5}

    for samples, decision in ((known, "STOP"), ([], "CONTINUE")):
        scheduler: Any = scheduler_of(plan, samples)
        scheduler.on_trial_add(None, Newcomer())
        assert scheduler.on_trial_result(None, Newcomer(), {"epoch": 1, "objective": 2.0}) == decision


def test_a_sample_that_diverges_is_the_worst_and_the_sweep_goes_on(tmp_path: Path) -> None:
    sweep = Played(make_plan(tmp_path, samples=5, space="x: {choice: [0.1, 0.96, 0.2, 0.97, 0.3]}"), tmp_path / "out").sweep
    diverged = sweep.having("diverged")
    assert sorted(sample.settings["x"] for sample in diverged) == [0.96, 0.97]
    assert all(sample.objective is None and "not finite" in (sample.error or "") for sample in diverged)
    assert len(sweep.samples) == 5 and sweep.having("complete")


def test_a_finite_space_ends_when_it_is_used_up(tmp_path: Path) -> None:
    conductor = Played(make_plan(tmp_path, samples=50, space="x: {choice: [0.1, 0.2, 0.3]}"), tmp_path / "out").conductor
    assert sorted(sample.settings["x"] for sample in conductor.sweep.samples) == [0.1, 0.2, 0.3]
    assert conductor.is_finished


def test_a_method_without_a_criterion_stops_the_sweep_and_names_the_oracle(tmp_path: Path) -> None:
    conductor = Played(make_plan(tmp_path, settings=("judges=false",), space=X), tmp_path / "out").conductor
    assert conductor.hopeless is not None and "--oracle acc" in conductor.hopeless
    assert len(conductor.sweep.samples) == 1
    oracle = Played(make_plan(tmp_path, samples=2, settings=("judges=false",), space=X, oracle="nmi"), tmp_path / "out")
    assert oracle.sweep.having("complete")


def test_an_oracle_needs_labels(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="has no labels"):
        make_plan(tmp_path, data=tiny_data(labelled=False), settings=("n_clusters=3",), oracle="acc")
    with pytest.raises(Unjudged, match="no labels"):
        Objective("acc").of([{"acc": [None], "chosen_head": 0}], "valley")


def test_data_without_labels_can_be_swept(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, samples=3, data=tiny_data(labelled=False), settings=("n_clusters=3",), space=X)
    sweep = Played(plan, tmp_path / "out").sweep
    assert all(sample.acc is None and sample.objective is not None for sample in sweep.samples)


def test_the_file_holds_what_the_sweep_holds_and_no_infinity(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, samples=4, space="x: {choice: [0.1, 0.96, 0.2, 0.3]}")
    conductor = Played(plan, tmp_path / "out").conductor
    read = read_sweep(conductor.folder)
    assert read is not None and read.model_dump() == conductor.sweep.model_dump()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    content = json.loads((conductor.folder / "sweep.json").read_text(), parse_constant=refuse)
    assert [each["state"] for each in content["samples"]].count("diverged") == 1
    assert conductor.folder.parent == tmp_path / "out" / "sweeps"
    assert not find_records(tmp_path / "out"), "the tables of the folder must not mix them in"


@pytest.mark.parametrize(
    ("text", "line"), [("{", "cannot be read"), ('{"schema": 99}', "Upgrade"), ('{"schema": 1, "name": 3}', "is damaged")]
)
def test_a_sweep_that_cannot_be_read_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    plan = make_plan(tmp_path)
    plan.folder(tmp_path).mkdir(parents=True)
    (plan.folder(tmp_path) / "sweep.json").write_text(text)
    with pytest.raises(RecordError, match=line):
        Conductor(plan, tmp_path)


def test_a_lost_process_begins_its_sample_again_without_counting_epochs_twice(tmp_path: Path) -> None:
    conductor = Conductor(make_plan(tmp_path), tmp_path)
    begun = conductor.next()
    assert begun is not None
    for epoch, value in [(1, 5.0), (2, 4.0), (1, 5.0), (2, 4.0), (3, 3.0)]:
        conductor.epoch(begun[0].number, epoch, value)
    assert begun[0].objective_by_epoch == [5.0, 4.0, 3.0] and math.isclose(begun[0].objective or 0, 3.0)


FULL = {"state": "failed", "error": "CUDA out of memory", "hopeless": False, "out_of_memory": True}
COMPLETE = {"state": "complete", "epoch": 9, "objective": 1.0}


class Notes(Watcher):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def on_note(self, text: str) -> None:
        self.notes.append(text)


def handing_out(tmp_path: Path, at_once: int, **options: Any) -> tuple[Handler, Notes]:
    notes = Notes()
    return Handler(Conductor(make_plan(tmp_path, space=X, **options), tmp_path, notes), {}, at_once), notes


def test_when_memory_runs_out_half_as_many_samples_run_and_none_is_lost(tmp_path: Path) -> None:
    handler, told = handing_out(tmp_path, 4, samples=4)
    begun = {f"t{index}": handler.suggest(f"t{index}") for index in range(4)}
    handler.on_trial_complete("t1", FULL)
    assert handler.at_once == 2 and told.notes[-1] == "memory ran out: 2 samples at a time from now on"
    assert handler.suggest("t4") is None, "three still run"
    for index in (0, 2):
        handler.on_trial_complete(f"t{index}", COMPLETE)
    again = handler.suggest("t5")
    assert isinstance(again, dict) and again == begun["t1"]
    handler.on_trial_complete("t3", FULL)
    assert handler.at_once == 1 and handler.suggest("t6") is None, "one still runs"
    handler.on_trial_complete("t5", COMPLETE)
    assert handler.suggest("t6") == begun["t3"]
    handler.on_trial_complete("t6", FULL)  # alone
    assert handler.suggest("t7") == Searcher.FINISHED
    assert [sample.state for sample in handler.conductor.sweep.samples] == ["complete", "complete", "complete", "failed"]
    assert handler.conductor.sweep.samples[3].error == "CUDA out of memory"


def test_a_sample_whose_process_is_lost_is_taken_up_again_twice(tmp_path: Path) -> None:
    handler, told = handing_out(tmp_path, 1, samples=1)
    for index in range(3):
        assert isinstance(handler.suggest(f"t{index}"), dict)
        handler.on_trial_result(f"t{index}", {"number": 0, "epoch": 1, "objective": 3.0, "state": "running"})
        handler.on_trial_complete(f"t{index}", None, error=True)
    assert told.notes == ["sample 0 is taken up again: its process was killed or its node was lost"] * 2
    (sample,) = handler.conductor.sweep.samples
    assert sample.state == "failed" and "more often than it is retried" in (sample.error or "")
    assert handler.suggest("t3") == Searcher.FINISHED


def test_a_process_that_ray_ended_for_its_memory_counts_as_out_of_memory(tmp_path: Path) -> None:
    handler, _ = handing_out(tmp_path, 2, samples=2)
    for index in range(2):
        handler.suggest(f"t{index}")
    handler.errors["t0"] = "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory."
    handler.on_trial_complete("t0", None, error=True)
    assert handler.at_once == 1 and not handler.losses


def test_a_sample_that_is_taken_up_again_is_told_to_the_search_once(tmp_path: Path) -> None:
    handler, _ = handing_out(tmp_path, 2, samples=2)
    for index in range(2):
        handler.suggest(f"t{index}")
    handler.on_trial_complete("t0", FULL)
    handler.on_trial_complete("t1", COMPLETE)
    assert isinstance(handler.suggest("t2"), dict)
    handler.on_trial_complete("t2", COMPLETE)
    trials = handler.conductor.study.study.trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "COMPLETE"] and handler.conductor.sweep.draws == 2


def test_at_a_rung_a_sample_that_is_taken_up_again_counts_once(tmp_path: Path) -> None:
    rungs: Any = scheduler_of(make_plan(tmp_path, space=X), [])
    for number, value in ((0, 1.0), (1, 3.0), (0, 1.0), (0, 1.0)):
        trial = SimpleNamespace(config={"number": number})
        rungs.on_trial_add(None, trial)
        rungs.on_trial_result(None, trial, {"epoch": 1, "objective": value})
        rungs.on_trial_remove(None, trial)
    (first,) = (recorded for epoch, recorded in rungs._brackets[0]._rungs if epoch == 1)
    assert len(first) == 2


@pytest.mark.parametrize(
    ("error", "expected"), [(MemoryError(), True), (RuntimeError("CUDA out of memory."), True), (ValueError("no"), False)]
)
def test_a_worker_says_whether_memory_ran_out(error: Exception, expected: bool) -> None:
    assert fate(error)["out_of_memory"] is expected


def test_a_plan_that_is_sent_elsewhere_holds_no_image_and_makes_the_same_trials(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, space=X, seeds=(0, 1))
    there: Any = pickle.loads(pickle.dumps(plan.without_images()))
    assert len(there.data.train) == len(there.data.score) == len(there.data.labels) == 0
    assert len(plan.data.train) > 0, "the plan itself keeps them"
    assert there.specs({"x": 0.25}) == plan.specs({"x": 0.25}) and there.name == plan.name


def test_a_file_of_settings_is_read_once(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("epochs: 4\ninner: {kind: [a, b]}\n")
    plan = make_plan(tmp_path, space="x: {uniform: [0, 0.9]}", config_file=file)
    file.write_text("epochs: 5\n")
    (spec,) = plan.specs({"x": 0.25})
    assert spec.config == {**plan.base[0].config, "x": 0.25} and spec.config["epochs"] == 4
    assert spec.config["inner"]["kind"] == ["a", "b"]
