"""`bench list` and `bench show`: what there is, from cards, settings and published numbers."""

from __future__ import annotations

import json
import re

import pytest
from cli_tools import Bench

from clusterbench.bench.config import method_for, resolve
from clusterbench.bench.suites import Suite, suites
from clusterbench.datasets.catalogue import datasets
from clusterbench.methods.registry import methods


@pytest.mark.parametrize(
    ("kind", "names"),
    [("methods", [*methods.names(), *methods.families]), ("datasets", datasets.names()), ("suites", [*suites()])],
)
def test_a_pipe_gets_a_line_for_each_name_with_tabs_between_the_columns(bench: Bench, kind: str, names: list[str]) -> None:
    ran = bench("list", kind)
    rows = [line.split("\t") for line in ran.out.splitlines()]
    assert ran.code == 0
    assert [row[0] for row in rows] == names
    assert len({len(row) for row in rows}) == 1


def test_everything_is_listed_if_no_kind_is_given(bench: Bench) -> None:
    names = [line.partition("\t")[0] for line in bench("list").out.splitlines()]
    assert names == [*methods.names(), *methods.families, *datasets.names(), *suites()]


def test_json_holds_what_the_cards_say(bench: Bench) -> None:
    listed = {each["name"]: each for each in json.loads(bench("list", "datasets", "--json").out)}
    assert listed["mnist"]["images"] == 70_000
    assert listed["mnist"]["here"] == "no"
    assert listed["digits"]["here"] == "scikit-learn"
    everything = json.loads(bench("list", "--json").out)
    assert [*everything] == ["methods", "datasets", "suites"]
    cards = {**{name: methods.card(name) for name in methods.names()}, **methods.families}
    assert {each["name"]: each["presets"].split() for each in everything["methods"]} == {
        name: [*card["presets"]] for name, card in cards.items()
    }


def test_a_data_root_decides_what_is_here(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("data")
    for name in datasets.card("mnist")["layouts"][0]:
        path = root / f"{name}.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    line = next(line for line in bench("list", "datasets", "--data-root", str(root)).out.splitlines() if line.startswith("mnist"))
    assert str(root) in line.split("\t")


def test_a_terminal_gets_a_table_with_headings(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    bench("list", "methods")
    assert "Methods" in screen.getvalue()
    assert "\t" not in screen.getvalue()
    assert all(name in screen.getvalue() for name in methods.names())


@pytest.mark.parametrize("name", methods.names())
def test_show_of_a_method_holds_its_card_every_setting_and_every_preset(bench: Bench, name: str) -> None:
    ran = bench("show", name)
    card, config = methods.card(name), methods.get(name).Config
    assert ran.code == 0
    assert card["title"] in ran.out
    assert all(field in ran.out for field in config.model_fields)
    assert all(f"Preset {preset}" in ran.out for preset in card["presets"])
    (command,) = [line.split() for line in ran.out.splitlines() if line.startswith("  bench run ")]
    dataset = command[command.index("--dataset") + 1]
    assert method_for(name, dataset) == resolve(name, dataset).method == name, "the example must be one that runs"
    assert command[:4] == ["bench", "run", "--method", name]
    assert ("semi-supervised" in command) == (methods.get(name).task == "semi-supervised")


def test_show_tells_type_default_and_meaning_of_a_setting(bench: Bench) -> None:
    lines = bench("show", "iic").out.splitlines()
    rate = next(line for line in lines if line.startswith("lr "))
    assert rate.split()[1:5] == ["number", ">", "0", "0.0005"]
    assert "learning rate of Adam" in rate
    nested = next(line for line in lines if line.startswith("views.rotation "))
    assert "degrees" in nested


def test_show_holds_the_published_numbers(bench: Bench) -> None:
    method, dataset = bench("show", "iic").out, bench("show", "mnist").out
    assert any(line.split()[:3] == ["mnist", "acc", "98.4"] for line in method.splitlines())
    assert any(line.split()[:3] == ["IIC", "acc", "98.4"] for line in dataset.splitlines())
    assert any(line.split()[:3] == ["K-means", "acc", "57.2"] for line in dataset.splitlines())
    assert "57.2" not in method


def test_show_of_a_data_set_that_is_not_here_says_how_to_get_it(bench: Bench) -> None:
    assert "bench run --method iic --dataset mnist --download" in bench("show", "mnist").out
    assert "--download" not in bench("show", "digits").out


@pytest.mark.parametrize("suite", suites().values(), ids=lambda suite: suite.name)
def test_show_of_a_suite_holds_every_name_and_the_command_that_runs_it(bench: Bench, suite: Suite) -> None:
    ran = bench("show", suite.name)
    assert ran.code == 0
    assert all(name in ran.out for name in (*suite.methods, *suite.datasets))
    assert f"bench suite run {suite.name}\n" in ran.out
    absent = ran.out.partition("Not in this version")[2].partition("Run it")[0]
    assert set(re.findall(r"[a-z0-9-]+", absent.replace("-  ", ""))) - {"-"} == set(suite.methods) - set(methods.names())


def test_show_of_an_unknown_name_suggests_from_all_kinds(bench: Bench) -> None:
    assert bench("show", "mnits").err == "bench: Unknown name 'mnits'. Did you mean 'mnist'? See 'bench list'.\n"
    assert "'quick'" in bench("show", "quik").err
    assert bench("show", "quik").code == 1


def test_lines_for_a_pipe_have_no_blanks_at_their_ends(bench: Bench) -> None:
    lines = bench("show", "kmeans").out.splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
