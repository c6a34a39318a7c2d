"""The search: what it draws, what it draws again, and what it knows from earlier samples."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from sweep_fakes import make_plan

from clusterbench.bench.spec import SpecError
from clusterbench.bench.sweep.objective import Objective
from clusterbench.bench.sweep.space import Space
from clusterbench.bench.sweep.state import Sample, Sweep
from clusterbench.bench.sweep.study import Study
from clusterbench.datasets.registry import NotFound

LINE = Space.read({"x": {"uniform": [0, 1]}})
GRID = Space.read({"a": {"choice": [1, 2, 3]}, "b": {"choice": [2, 3]}})


def empty() -> Sweep:
    return Sweep(name="", asked={}, space={}, objective={}, search={}, scheduler={})


def study(space: Space, sweep: Sweep, *, by: str = "random", objective: str = "criterion", refusal: Any = None) -> Study:
    return Study(space, Objective(objective), by, 7, refusal or (lambda settings: None), sweep)


def over(number: int, settings: dict[str, Any], objective: float | None, **fields: Any) -> Sample:
    by_epoch = [] if objective is None else [objective]
    return Sample(number=number, settings=settings, objective=objective, objective_by_epoch=by_epoch, **fields)


def test_a_random_search_that_is_taken_up_draws_what_an_undisturbed_one_would_have() -> None:
    sweep = empty()
    undisturbed = [study_.draw(n) for study_ in [study(LINE, sweep)] for n in range(6)]
    broken, settings = empty(), []
    for first in (0, 2, 5):
        again = study(LINE, broken)
        for number in range(first, {0: 2, 2: 5, 5: 6}[first]):
            settings.append(again.draw(number))
            broken.samples.append(over(number, settings[-1] or {}, 0.5, state="complete"))
    assert settings == undisturbed and len({each["x"] for each in settings if each}) == 6


def test_what_the_method_refuses_and_what_was_there_before_is_drawn_again_and_counted() -> None:
    sweep = empty()
    search = study(GRID, sweep, refusal=lambda s: "a and b are alike" if s["a"] == s["b"] else None)
    found = [search.draw(number) for number in range(5)]
    pairs = {(each["a"], each["b"]) for each in found if each}
    assert found[4] is None and pairs == {(1, 2), (1, 3), (2, 3), (3, 2)}
    assert sweep.refusals.keys() == {"a and b are alike"}
    assert sweep.draws == 4 + sum(sweep.refusals.values()) + sweep.repeated


def test_optuna_goes_towards_what_earlier_samples_found() -> None:
    sweep = empty()
    sweep.samples = [over(n, {"x": n / 40}, (n / 40 - 0.8) ** 2, state="complete") for n in range(40)]
    search = study(LINE, sweep, by="optuna")
    drawn = [search.draw(number) or {} for number in range(40, 60)]
    assert sum(abs(each["x"] - 0.8) < 0.15 for each in drawn) >= 14, "of 20, 6 would be at random"


def test_a_labelled_objective_is_raised() -> None:
    sweep = empty()
    sweep.samples = [over(n, {"x": n / 40}, n / 40, state="complete") for n in range(40)]
    search = study(LINE, sweep, by="optuna", objective="acc")
    drawn = [search.draw(number) or {} for number in range(40, 60)]
    assert sum(each["x"] > 0.8 for each in drawn) >= 14, "of 20, 4 would be at random"


def test_earlier_samples_are_known_by_how_they_ended() -> None:
    sweep = empty()
    sweep.samples = [
        over(0, {"x": 0.1}, 3.0, state="complete"),
        over(1, {"x": 0.2}, 4.0, state="pruned"),
        over(2, {"x": 0.3}, None, state="diverged"),
        over(3, {"x": 0.4}, None, state="failed"),
        over(4, {"x": 0.5}, 5.0, state="running"),
    ]
    known = study(LINE, sweep).study.trials
    assert [(trial.state, trial.value) for trial in known] == [
        (TrialState.COMPLETE, 3.0),
        (TrialState.PRUNED, 4.0),
        (TrialState.COMPLETE, math.inf),
    ]
    assert known[1].intermediate_values == {1: 4.0}


@pytest.mark.parametrize(("objective", "worst"), [("criterion", math.inf), ("acc", -math.inf)])
def test_a_sample_that_diverges_counts_as_the_worst(objective: str, worst: float) -> None:
    search = study(LINE, empty(), objective=objective)
    search.draw(0)
    search.tell_epoch(0, 1, 0.5)
    search.tell_end(0, "diverged", None)
    assert (search.study.trials[0].state, search.study.trials[0].value) == (TrialState.COMPLETE, worst)


def test_an_epoch_that_is_told_twice_counts_once() -> None:
    search = study(LINE, empty())
    search.draw(0)
    for value in (0.5, 0.25):
        search.tell_epoch(0, 1, value)
    search.tell_end(0, "pruned", 0.5)
    assert search.study.trials[0].intermediate_values == {1: 0.5}


@pytest.mark.usefixtures("valley")
def test_a_space_of_which_the_method_takes_nothing_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="takes no sample.*three needs a kind"):
        make_plan(tmp_path, space="y: {choice: [3]}\ninner.kind: {choice: [null]}\n")
    assert list(tmp_path.iterdir()) == [tmp_path / "space.yaml"]


@pytest.mark.usefixtures("valley")
def test_what_the_command_line_fixes_is_not_swept(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, settings=("x=0.25", "inner={kind: plain}"))
    assert list(plan.space.written) == ["y"]
    assert plan.specs({"y": 1})[0].config == {
        "epochs": 9, "judges": True, "x": 0.25, "y": 1, "inner": {"kind": "plain"}
    }  # fmt: skip
    with pytest.raises(SpecError, match="nothing to search"):
        make_plan(tmp_path, settings=("x=0.25", "inner.kind=plain", "y=1"))


@pytest.mark.usefixtures("valley")
def test_more_samples_are_the_same_sweep_and_other_questions_are_others(tmp_path: Path) -> None:
    name = make_plan(tmp_path).name
    assert make_plan(tmp_path, samples=99).name == name
    others = [
        make_plan(tmp_path, **asked).name
        for asked in ({"seeds": (0, 1)}, {"search_seed": 1}, {"oracle": "acc"}, {"scheduler": "none"},
                      {"search": "random"}, {"settings": ("epochs=3",)}, {"space": "x: {uniform: [0, 0.5]}"})
    ]  # fmt: skip
    assert len({name, *others}) == 8


@pytest.mark.usefixtures("valley")
@pytest.mark.parametrize(("way", "value"), [("search", "optima"), ("scheduler", "ahsa"), ("oracle", "ac")])
def test_an_unknown_way_suggests_the_nearest(tmp_path: Path, way: str, value: str) -> None:
    with pytest.raises(NotFound, match="Did you mean"):
        make_plan(tmp_path, **{way: value})
