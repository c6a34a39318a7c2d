"""`bench suite`: listing, showing, dry runs that tell the truth about records, and what is handed over to be run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cli_tools import Bench, modules_after

from clusterbench.bench.cli.many import RunOptions
from clusterbench.bench.cli.plan import Asked, Trial, plan
from clusterbench.bench.suites import suites
from clusterbench.datasets.registry import Registry
from clusterbench.results.record import RecordWriter, find_records

MINE = """
title: Mine
defaults: {datasets: digits, seeds: 2}
runs:
  - {methods: kmeans, preset: smoke}
  - {methods: drift, set: {epochs: 4}, label: four epochs}
"""
Given = list[tuple[list[Asked], RunOptions, str]]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    """What would have been run."""
    calls: Given = []

    def run_all(asked: list[Asked], options: RunOptions, *, title: str = "") -> int:
        calls.append((asked, options, title))
        return 7

    monkeypatch.setattr("clusterbench.bench.cli.many.run_all", run_all)
    return calls


def write_record(trial: Trial, out: Path, epochs: int, end: str = "complete", seconds: float = 90.0, planned: int = 4) -> None:
    """The record that `trial` would have left after `epochs`: `complete`, `running`, `failed`, or the reason it stopped for."""
    spec = trial.spec
    writer = RecordWriter(out / spec.folder_name())
    writer.start(id=spec.identity(), spec=spec.model_dump(mode="json"), planned_epochs=planned)
    for epoch in range(1, epochs + 1):
        writer.append_epoch({"epoch": epoch})
    if end == "failed":
        writer.fail(RuntimeError("the device fell off"))
    elif end != "running":
        writer.finish(stop_reason=None if end == "complete" else end, cost={"total_seconds": seconds})


def drift_trials(seeds: int = 2) -> list[Trial]:
    return plan(Asked(["drift"], ["digits"], range(seeds), settings=["epochs=4"]))


def state_of(out: str, heading: str) -> str:
    """The state column of one trial."""
    line = next(line for line in out.splitlines() if line.startswith(heading + " "))
    return re.split(r" {2,}", line)[2]


def test_ours_are_listed_and_shown_without_loading_anything_heavy() -> None:
    for words in (("suite", "list"), ("suite", "show", "table1"), ("suite", "run", "--help")):
        code, modules, output = modules_after(*words)
        assert code == 0
        assert output.strip()
        assert not {"torch", "sklearn", "ray", "mlflow"} & modules
    _, _, output = modules_after("suite", "list")
    assert [line.split("\t")[:2] for line in output.splitlines()] == [[s.name, str(s.trials)] for s in suites().values()]


def test_show_of_a_users_file_tells_its_runs(bench: Bench, drift: type) -> None:
    Path("mine.yaml").write_text(MINE)
    ran = bench("suite", "show", "mine.yaml")
    assert ran.code == 0
    row = next(line for line in ran.out.splitlines() if line.startswith("four epochs"))
    assert re.split(r" {2,}", row) == ["four epochs", "drift", "digits", "0 to 1", "short", "full", "epochs=4"]
    assert "bench suite run mine.yaml --dry-run" in ran.out


def test_a_dry_run_of_nothing_done_writes_nothing(bench: Bench, given: Given) -> None:
    ran = bench("suite", "run", "quick", "--dry-run")
    assert ran.code == 0
    assert len(re.findall(r"^(random|kmeans|iic) on digits, seed \d +short +to do +no past run$", ran.out, re.MULTILINE)) == 15
    assert "15 trials: 15 to do (records in bench-results)" in ran.out
    assert "time left: no past run of these settings to go by" in ran.out
    assert not bench.out.exists()
    assert given == []


def test_a_dry_run_tells_what_every_record_says(bench: Bench, drift: type) -> None:
    Path("mine.yaml").write_text(MINE.replace("seeds: 2", "seeds: 7"))
    ends = ["complete", "interrupted", "running", "failed", "time limit"]
    trials = drift_trials(7)
    for index, (trial, end) in enumerate(zip(trials, ends, strict=False)):
        write_record(trial, bench.out, epochs=4 if end == "complete" else index, end=end)
    write_record(trials[5], bench.out, epochs=1)
    (bench.out / trials[5].spec.folder_name() / "record.json").write_text("{")
    ran = bench("suite", "run", "mine.yaml", "--dry-run", "--method", "drift")
    states = [state_of(ran.out, f"drift on digits (four epochs), seed {seed}") for seed in range(7)]
    assert states[:5] == [
        "done",
        "interrupted after epoch 1 of 4",
        "interrupted or still running after epoch 2 of 4",
        "failed after epoch 3 of 4",
        "done (stopped by its time limit)",
    ]
    assert states[5].startswith("record damaged (")
    assert states[6] == "to do"
    assert "7 trials: 2 done, 3 begun, 1 to do, 1 not known" in ran.out


def test_a_dry_run_estimates_by_past_runs_of_the_same_settings_only(bench: Bench, drift: type) -> None:
    Path("mine.yaml").write_text(MINE.replace("seeds: 2", "seeds: 4"))
    first, second, *_ = drift_trials()
    write_record(first, bench.out, epochs=4, seconds=100.0)
    write_record(second, bench.out, epochs=3, end="interrupted", seconds=5000.0)
    for trial in plan(Asked(["kmeans"], ["digits"], (8, 9), preset="short")):  # other settings: tells nothing
        write_record(trial, bench.out, epochs=1, seconds=9000.0)
    ran = bench("suite", "run", "mine.yaml", "--dry-run", "--address", "none")
    assert "about 3 min 45 s for 3 trials, one at a time, by the mean of 1 past run" in ran.out  # a quarter of one, two more
    assert "no past run of the other 4" in ran.out
    forced = bench("suite", "run", "mine.yaml", "--dry-run", "--force", "--address", "none", "--method", "drift")
    assert "4 trials: 4 to do" in forced.out
    assert "about 6 min 40 s for 4 trials" in forced.out


def test_a_dry_run_divides_by_the_trials_that_fit_side_by_side(
    bench: Bench, drift: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clusterbench.bench.cli.suite_dry_run.available_cores", lambda: 8)
    Path("mine.yaml").write_text(MINE.replace("seeds: 2", "seeds: 9"))
    write_record(drift_trials()[0], bench.out, epochs=4, seconds=60.0)
    command = ("suite", "run", "mine.yaml", "--dry-run", "--method", "drift", "--gpus-per-trial", "0")
    for words, told in (
        ((), "about 1 min 00 s for 8 trials, divided by 8 at a time"),
        (("--cpus-per-trial", "2"), "about 2 min 00 s for 8 trials, divided by 4 at a time"),
        (("--max-concurrent", "2"), "about 4 min 00 s for 8 trials, divided by 2 at a time"),
        (("--address", "ray://far:1"), "about 8 min 00 s for 8 trials, one at a time"),
        (("--address", "ray://far:1", "--max-concurrent", "4"), "divided by 4 at a time"),
    ):
        assert told in bench(*command, *words).out


def test_a_dry_run_neither_fetches_nor_prepares_data(bench: Bench, tmp_path: Path) -> None:
    import numpy as np

    np.savez("own.npz", images=np.zeros((20, 8, 8), np.uint8), labels=np.arange(20) % 2)
    Path("mine.yaml").write_text("title: t\nruns: [{methods: kmeans, datasets: [mnist, 'npz:own.npz'], preset: smoke}]")
    ran = bench("suite", "run", "mine.yaml", "--dry-run")
    assert ran.code == 0
    assert state_of(ran.out, "kmeans on mnist, seed 0") == "data not here"
    assert state_of(ran.out, "kmeans on npz:own.npz, seed 0") == "data not prepared"
    bench("data", "prepare", "npz:own.npz", "--quiet")
    assert state_of(bench("suite", "run", "mine.yaml", "--dry-run").out, "kmeans on npz:own.npz, seed 0") == "to do"


def test_trials_that_two_runs_name_stand_there_once(bench: Bench) -> None:
    run = "{methods: kmeans, datasets: digits, preset: smoke, seeds: 3}"
    Path("mine.yaml").write_text(f"title: t\nruns: [{run}, {run.replace('3', '4')}, {run.replace('3', '[9]')}]")
    assert "5 trials: 5 to do" in bench("suite", "run", "mine.yaml", "--dry-run").out


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that has neither DEC nor JULE."""
    known = Registry.__contains__
    monkeypatch.setattr(Registry, "__contains__", lambda self, name: name not in ("dec", "jule") and known(self, name))


@pytest.mark.usefixtures("lacking")
def test_a_dry_run_accounts_for_every_trial_that_this_version_lacks(bench: Bench) -> None:
    chosen = ("--dataset", "stl10", "--method", "dec")
    ran = bench("suite", "run", "table1", "--dry-run", *chosen, "--method", "iic")
    assert state_of(ran.out, "dec on stl10, 5 trials").startswith("not in this version: no method 'dec'")
    assert "5 trials: 5 not known (records in bench-results); 5 not in this version" in ran.out
    only_missing = bench("suite", "run", "table1", "--dry-run", *chosen, "--method", "jule")
    assert only_missing.code == 0
    assert "10 not in this version" in only_missing.out.splitlines()[-1]


@pytest.mark.usefixtures("lacking")
def test_a_part_of_a_suite_that_this_version_lacks_starts_nothing(bench: Bench, given: Given) -> None:
    ran = bench("suite", "run", "table1", "--dataset", "stl10", "--method", "dec", "--method", "jule")
    assert (ran.code, ran.out, given) == (1, "", [])
    assert ran.err.startswith("bench: Nothing of the suite table1 can be run in this version (")
    assert "dec on stl10: no method 'dec'" in ran.err and ran.err.count("\n") == 1


def test_run_hands_over_what_there_is_and_says_what_there_is_not(bench: Bench, given: Given) -> None:
    ran = bench(
        *("suite", "run", "table1", "--dataset", "mnist", "--preset", "short", "--seeds", "3", "--download"),
        *("--max-concurrent", "3", "--cpus-per-trial", "2", "--retries", "5", "--device", "cpu", "--out", "elsewhere"),
    )
    assert ran.code == 7
    ((asked, options, title),) = given
    products = {each.methods: each for each in asked}
    named = [name for methods in products for name in methods]
    assert {"random", "kmeans", "iic"} <= set(named)
    assert {(*each.datasets, *each.seeds, each.preset, each.download) for each in asked} == {("mnist", 0, 1, 2, "short", True)}
    assert title == "table1: Table 1 of the IIC paper"
    assert (options.placement.max_concurrent, options.placement.cpus_per_trial, options.retries) == (3, 2, 5)
    assert (options.out, options.device, options.said["out"]) == (Path("elsewhere"), "cpu", Path("elsewhere"))
    told = [line for line in ran.err.splitlines() if line.startswith("bench: not in this version: ")]
    assert len(told) == 18 - len(named)
    assert bench("suite", "run", "table1", "--dataset", "mnist", "--preset", "short", "--quiet").err == ""


def test_settings_of_a_users_runs_are_handed_over(bench: Bench, given: Given, drift: type) -> None:
    Path("mine.yaml").write_text(MINE.replace("label: four", "clusters: 4, time_limit: 2m, label: four"))
    bench("suite", "run", "mine.yaml", "--data-root", ".")
    (_, drifting) = given[0][0]
    assert (drifting.methods, [*drifting.settings], drifting.clusters) == (("drift",), ["epochs=4"], 4)
    assert (drifting.time_limit_s, drifting.data_root) == (120.0, Path())


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["tabel1"], "bench: Unknown suite 'tabel1'. Did you mean 'table1'"),
        (["mine.yml"], "bench: There is no suite file mine.yml."),
        (["table1", "--method", "iicc"], "bench: Unknown method 'iicc'. Did you mean 'iic'? See 'bench suite show table1'."),
        (["table1", "--dataset", "mnits"], "bench: Unknown data set 'mnits'."),
        (["table1", "--preset", "shrt"], "bench: Unknown preset 'shrt'. Did you mean 'short'"),
        (["table1", "--method", "scan", "--dataset", "mnist"], "bench: Nothing of the suite table1 can be run"),
    ],
)
def test_a_users_error_is_one_line_and_starts_nothing(bench: Bench, given: Given, words: list[str], line: str) -> None:
    ran = bench("suite", "run", *words)
    assert ran.code == 1
    assert ran.err.startswith(line)
    assert ran.err.count("\n") == 1
    assert (ran.out, given) == ("", [])


def test_a_suite_runs_from_file_to_records_and_again_without_repeating(bench: Bench, drift: type) -> None:
    Path("mine.yaml").write_text(MINE)
    command = ("suite", "run", "mine.yaml", "--address", "none", "--mlflow", "off", "--quiet")
    assert bench(*command).code == 0
    finished = {record.folder.name: record.finished for record in find_records(bench.out)}
    assert len(finished) == 4
    assert "4 trials: 4 done" in bench(*command, "--dry-run").out
    assert bench(*command).code == 0
    assert {record.folder.name: record.finished for record in find_records(bench.out)} == finished


def test_json_of_the_list_has_names_and_commands(bench: Bench) -> None:
    listed: list[dict[str, Any]] = json.loads(bench("suite", "list", "--json").out)
    assert [each["command"] for each in listed] == [f"bench suite run {name}" for name in suites()]
