"""Spaces: what they hold, what Optuna draws from them, and what is refused before anything runs."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from clusterbench.bench.config import resolve
from clusterbench.bench.spec import SpecError
from clusterbench.bench.sweep.space import Dimension, Space, nested, read_space
from clusterbench.datasets.registry import NotFound
from clusterbench.methods.base import MethodError
from clusterbench.methods.registry import methods

DRAWS = 400


def drawn(content: dict[str, list[Any]]) -> list[Any]:
    """Four hundred values of one setting at random."""
    space = Space.read({"s": content})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [space.decoded(study.ask(space.distributions()).params)["s"] for _ in range(DRAWS)]


def test_uniform_numbers_fill_their_range() -> None:
    values = drawn({"uniform": [10, 50]})
    assert 10 <= min(values) < 11 and 49 < max(values) <= 50
    assert statistics.median(values) == pytest.approx(30, abs=3)


def test_the_median_of_a_logarithmic_range_is_its_geometric_mean() -> None:
    values = drawn({"log_uniform": [1e-4, 1e-2]})
    assert min(values) >= 1e-4 and max(values) <= 1e-2
    assert statistics.median(values) == pytest.approx(1e-3, rel=0.3)


def test_whole_numbers_include_both_ends() -> None:
    values = drawn({"int_uniform": [1, 4]})
    assert set(values) == {1, 2, 3, 4} and all(type(value) is int for value in values)


def test_whole_numbers_on_a_logarithmic_scale_are_whole() -> None:
    values = drawn({"log_int_uniform": [1, 100]})
    assert all(type(value) is int for value in values) and min(values) >= 1 and max(values) <= 100
    assert statistics.median(values) == pytest.approx(10, abs=3)


def test_quantised_numbers_lie_on_their_steps_and_stay_whole_if_the_steps_are() -> None:
    assert set(drawn({"quantised": [8, 20, 4]})) == {8, 12, 16, 20}
    assert all(type(value) is int for value in drawn({"quantised": [8, 20, 4]}))
    assert {round(value, 9) for value in drawn({"quantised": [0, 1, 0.25]})} == {0, 0.25, 0.5, 0.75, 1}


def test_choices_may_be_anything_that_yaml_holds() -> None:
    choices = [None, True, 1, "1", 0.5, ["main"], {"a": 1}]
    values = drawn({"choice": choices})
    assert all(any(value == choice and type(value) is type(choice) for value in values) for choice in choices)


def test_numbers_are_drawn_with_four_significant_digits_and_never_out_of_range() -> None:
    assert Dimension.read("s", {"uniform": [0, 1]}).decoded(0.123456789) == 0.1235
    assert Dimension.read("s", {"log_uniform": [1e-6, 1.23456e-4]}).decoded(1.23456e-4) == 1.23456e-4


def test_what_was_drawn_is_found_again_from_the_settings() -> None:
    space = Space.read({"a.b": {"choice": [["x"], None]}, "n": {"int_uniform": [1, 9]}})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    params = study.ask(space.distributions()).params
    assert space.encoded(space.decoded(params)) == params


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([1, 2], "kind: [values]"),
        ({"uniform": [0, 1], "choice": [1]}, "kind: [values]"),
        ({"uniform": 3}, "takes a list"),
        ({"uniform": [1]}, "[lowest, highest]"),
        ({"uniform": [1, 0]}, "growing"),
        ({"uniform": ["a", 1]}, "numbers"),
        ({"uniform": [0, float("inf")]}, "numbers"),
        ({"log_uniform": [0, 1]}, "above 0"),
        ({"log_int_uniform": [0, 8]}, "Use int_uniform"),
        ({"int_uniform": [0.5, 3]}, "whole numbers"),
        ({"quantised": [0, 1]}, "[lowest, highest, step]"),
        ({"quantised": [0, 1, 2]}, "in its range"),
        ({"choice": []}, "at least one value"),
        ({"choice": [1, 1]}, "twice"),
    ],
)
def test_a_setting_that_is_not_written_as_it_must_be_is_named(content: Any, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        Space.read({"lr": content})
    assert told in str(caught.value) and str(caught.value).startswith("lr: ")


def test_an_unknown_kind_suggests_the_nearest() -> None:
    with pytest.raises(NotFound, match="log_uniform"):
        Space.read({"lr": {"loguniform": [1, 2]}})


def check(space: dict[str, Any]) -> None:
    base = resolve("iic", "digits", "short").config
    Space.read(space).check(methods.get("iic"), "iic", base)


def test_an_unknown_setting_suggests_the_nearest() -> None:
    with pytest.raises(MethodError, match="unknown setting 'lrr'.*'lr'"):
        check({"lrr": {"uniform": [0.1, 1]}})
    with pytest.raises(MethodError, match=r"views\.rotation"):
        check({"views.rotatoin": {"uniform": [0, 1]}})


@pytest.mark.parametrize(
    ("name", "values", "named"),
    [
        ("lr", {"uniform": [-1, 1]}, "lr"),
        ("repeats", {"uniform": [1, 2.5]}, "repeats"),
        ("passes", {"choice": [["main"], ["mian"]]}, "passes"),
        ("lr_schedule", {"choice": ["cosine", "linear"]}, "lr_schedule"),
        ("views.rotation_probability", {"uniform": [0, 2]}, "views.rotation_probability"),
    ],
)
def test_a_bound_or_choice_that_the_method_never_takes_is_refused(name: str, values: dict[str, Any], named: str) -> None:
    with pytest.raises(MethodError, match=f"In the space.*{named}"):
        check({name: values})


def test_what_only_a_combination_makes_impossible_is_no_error_of_the_space() -> None:
    check({"batch_pairs": {"choice": [301]}})  # no multiple of the preset's repeats, but of others


def test_the_number_of_clusters_is_not_swept() -> None:
    with pytest.raises(SpecError, match="--clusters"):
        check({"n_clusters": {"int_uniform": [5, 20]}})


@pytest.mark.parametrize("name", [name for name in methods.names() if methods.card(name).get("search_space")])
def test_the_space_in_every_card_fits_its_method(name: str) -> None:
    Space.read(methods.card(name)["search_space"]).check(methods.get(name), name, resolve(name, "digits", "smoke").config)


def test_settings_that_are_fixed_leave_the_space_with_what_is_nested_in_them() -> None:
    space = Space.read({name: {"uniform": [0, 1]} for name in ("lr", "views.rotation", "views.zoom", "viewsize")})
    assert list(space.without(["lr", "views"]).written) == ["viewsize"]
    assert list(space.without(["views.zoom"]).written) == ["lr", "views.rotation", "viewsize"]


def test_dotted_names_become_nested_settings() -> None:
    assert nested({"a.b.c": 1, "a.d": 2, "e": 3}) == {"a": {"b": {"c": 1}, "d": 2}, "e": 3}


def test_a_space_file_is_read_as_people_write_numbers(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("lr: {log_uniform: [1e-4, 1e-2]}\npasses: {choice: [[main], null]}\n")
    assert read_space(file).written == {"lr": {"log_uniform": [1e-4, 1e-2]}, "passes": {"choice": [["main"], None]}}
    file.write_text(yaml.safe_dump(read_space(file).written))
    assert read_space(file).written["lr"] == {"log_uniform": [1e-4, 1e-2]}


@pytest.mark.parametrize(("text", "told"), [("a: [", "not YAML"), ("- a", "must hold lines"), ("", "must hold lines")])
def test_a_file_that_is_no_space_is_one_line(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(text)
    with pytest.raises(SpecError, match=told):
        read_space(file)
    with pytest.raises(SpecError, match="There is no space file"):
        read_space(tmp_path / "nowhere.yaml")
