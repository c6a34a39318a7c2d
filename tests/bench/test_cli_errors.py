"""What a user sees when a command cannot do what was asked: one line, the right exit code, the nearest name."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from cli_tools import Bench

from clusterbench.bench.cli import values


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--method", "kmaens"], "bench: Unknown method 'kmaens'. Did you mean 'kmeans'? See 'bench list methods'."),
        (["--method", "kmeans", "--dataset", "mnits"], "bench: Unknown data set 'mnits'. Did you mean 'mnist'"),
        (["--method", "kmeans", "--preset", "smoek"], "bench: Unknown preset 'smoek'. Did you mean 'smoke'"),
        (["--method", "iic", "--set", "epoch=3"], "bench: iic: unknown setting 'epoch'. Did you mean 'epochs'?"),
        (["--method", "iic", "--set", "lr=-1"], "bench: iic: setting 'lr': "),
        (["--method", "kmeans", "--config", "nowhere.yaml"], "bench: There is no config file nowhere.yaml."),
        (["--method", "kmeans", "--device", "cuda:77"], "bench: "),
        (["--method", "kmeans", "--protocol", "split"], "bench: digits has no official train/test split."),
        (["--method", "kmeans", "--dataset", "mnist"], "bench: mnist is not in "),
    ],
)
def test_a_users_error_is_one_line_and_starts_nothing(bench: Bench, words: list[str], line: str) -> None:
    ran = bench.run("--preset", "smoke", *words)
    assert ran.code == 1
    assert ran.err.startswith(line)
    assert ran.err.count("\n") == 1
    assert ran.out == ""
    assert bench.folders == []


@pytest.mark.parametrize(
    ("words", "suggestion"),
    [
        (["rum"], "Did you mean 'run'"),
        (["leaderbord"], "Did you mean 'leaderboard'?"),
        (["run", "--metod", "iic"], "--method"),
        (["doctor", "--jsn"], "--json"),
        (["run", "--dataset", "digits"], "Missing option '--method'"),
        (["list", "metods"], "'methods', 'datasets', 'suites'"),
        (["tables", "7"], "'1'"),
        (["run", "-m", "kmeans", "-d", "digits", "--epochs", "0"], "Invalid value for '--epochs'"),
    ],
)
def test_wrong_usage_ends_with_2_and_names_what_is_near(bench: Bench, words: list[str], suggestion: str) -> None:
    ran = bench(*words)
    assert ran.code == 2
    assert suggestion in ran.said
    assert "Try 'bench" in ran.said


@pytest.mark.parametrize(
    ("text", "seeds"), [("5", (0, 1, 2, 3, 4)), ("1", (0,)), ("0,1,7", (0, 1, 7)), ("7,", (7,)), (" 3, 1 ,3", (3, 1))]
)
def test_seeds_are_a_number_or_a_list(text: str, seeds: tuple[int, ...]) -> None:
    assert values.parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["0", "", ",", "-1", "1,-2", "a", "1,,2", "0.5", "10001"])
def test_seeds_that_are_neither_are_refused_with_what_would_be_right(bench: Bench, text: str) -> None:
    ran = bench.run("--method", "kmeans", f"--seeds={text}")
    assert ran.code == 2
    assert "--seeds" in ran.said


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("2m 5s", 125), ("1H1M1S", 3661)]
)
def test_durations_have_units(text: str, seconds: float) -> None:
    assert values.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["10", "", "0s", "m", "-5m", "5 minutes", "30m1h"])
def test_durations_without_a_unit_or_a_time_are_refused(bench: Bench, text: str) -> None:
    ran = bench.run("--method", "kmeans", f"--time-limit={text}")
    assert ran.code == 2
    assert "Write 90s, 10m or 1h30m." in ran.said


def test_an_unforeseen_error_is_one_line_that_says_how_to_see_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clusterbench.bench.suites.suites", lambda: {}["lost"])
    ran = bench("list", "suites")
    assert ran.code == 1
    assert ran.err == "bench: KeyError: 'lost'. Add --debug to see where.\n"


@pytest.mark.parametrize("place", ["before", "after"])
def test_debug_shows_the_traceback_wherever_it_stands(bench: Bench, place: str) -> None:
    from clusterbench.datasets.registry import NotFound

    words = ["show", "nothing"]
    with pytest.raises(NotFound):
        bench(*(["--debug", *words] if place == "before" else [*words, "--debug"]))


def test_an_error_of_the_system_names_the_file(bench: Bench) -> None:
    ran = bench("tables", "1", "--output", "no/such/folder/table.md")
    assert ran.code == 1
    assert ran.err == "bench: No such file or directory: no/such/folder/table.md\n"


def test_a_reader_that_leaves_early_costs_no_traceback() -> None:
    command = "import sys; from clusterbench.bench.cli import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", command, "show", "mnist"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)
    )
    assert process.stdout and process.stderr
    process.stdout.close()
    errors = process.stderr.read().decode()
    process.stderr.close()
    process.wait()
    assert errors == ""
