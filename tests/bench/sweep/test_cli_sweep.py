"""`bench sweep` as a user types it: what is refused at once, and one whole sweep on two workers of Ray."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cli_tools
import pytest
import tracking_tools

from clusterbench.bench.config import resolve
from clusterbench.results.record import Record, scan_records

SPACE = "kmeans.normalise: {choice: [none, l2, standard]}\nkmeans.restarts: {int_uniform: [1, 3]}\n"
BENCH = "import sys; from clusterbench.bench.cli import main; sys.exit(main())"
KMEANS = ("sweep", "--method", "kmeans", "--dataset", "digits", "--preset", "smoke")
COMMAND = (*KMEANS, "--space", "space.yaml", "--seeds", "2", "--max-concurrent", "2", "--out", "out")


def test_refusals_come_before_anything_runs(bench: cli_tools.Bench, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("kmeans.normalize: {choice: [none]}\n")
    for words, code, told in (
        (("--space", "space.yaml"), 1, "Did you mean 'kmeans.normalise'"),
        (("--space", "nowhere.yaml"), 1, "There is no space file nowhere.yaml"),
        (("--search", "optna"), 1, "Did you mean 'optuna'"),
        (("--scheduler", "hyperband"), 1, "asha, none"),
        (("--oracle", "acc2"), 1, "Did you mean 'acc'"),
        (("--gpus-per-trial", "auto"), 2, "give a number"),
        (("--address", "none"), 2, "runs on Ray"),
        (("--time-limit", "soon"), 2, "not a duration"),
        (("--samples", "0"), 2, "--samples"),
        (("--out", "s3://bucket/folder"), 2, "such as a mounted bucket"),
    ):
        ran = bench(*KMEANS, "--out", str(tmp_path / "out"), *words)
        assert ran.code == code and told in ran.said and not ran.out, (words, ran)
    assert bench("sweep", "--method", "random", "--dataset", "digits").said.startswith("bench: random has nothing to search over")
    assert not (tmp_path / "out").exists()


def test_help_is_there_without_loading_anything_heavy() -> None:
    code, modules, out = cli_tools.modules_after("sweep", "--help")
    assert code == 0 and "log_int_uniform" in out
    assert not {"torch", "ray", "optuna", "matplotlib", "scipy"} & modules


def test_a_sweep_on_two_workers_is_reported_and_not_run_again(bench: cli_tools.Bench, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    uri = tracking_tools.new_store(tmp_path / "out")
    command = (*COMMAND, "--samples", "4")
    words = [sys.executable, "-c", BENCH, *command]
    first = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert first.returncode == 0, first.stderr
    (folder,) = (tmp_path / "out" / "sweeps").iterdir()
    sweep = json.loads((folder / "sweep.json").read_text())
    assert [sample["state"] for sample in sweep["samples"]] == ["complete"] * 4
    records, damaged = scan_records(folder)
    assert len(records) == 8 and not damaged and all(record.is_complete for record in records)
    for sample in sweep["samples"]:
        of_it = [record for record in records if record.folder.name in sample["records"]]
        settings = [f"{name}={value}" for name, value in sample["settings"].items()]
        assert [record.spec["config"] for record in of_it] == [resolve("kmeans", "digits", "smoke", set_=settings).config] * 2
        criteria = [record.epochs()[-1]["criterion"] for record in of_it]
        assert sample["objective"] == pytest.approx(sum(criteria) / 2)
    best = min(sweep["samples"], key=lambda sample: sample["objective"])
    assert f"best: sample {best['number']}, criterion (no labels)" in first.stdout
    assert "bench run --method kmeans --dataset digits --preset smoke" in first.stdout and "--seeds 2,3,4,5,6" in first.stdout
    assert "Spearman" in first.stdout and (folder / "report.md").is_file() and (folder / "parallel_coordinates.png").is_file()
    assert "Configuration for experiment" not in first.stdout, "Ray's own words"
    check_tracked(uri, folder, records)
    times = {record.folder.name: record.finished for record in records}
    again = bench(*command)
    assert again.code == 0 and "4 of them done before" in again.err and again.out == first.stdout
    assert {record.folder.name: record.finished for record in scan_records(folder)[0]} == times
    check_tracked(uri, folder, records)


def check_tracked(uri: str, folder: Path, records: Sequence[Record]) -> None:
    """MLflow has one run for each record, nested in one for the sweep that has its report."""
    runs = tracking_tools.runs(uri)
    (parent,) = (run for run in runs if run.info.run_name == f"sweep {folder.name}")
    nested = {run.info.run_name for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id}
    assert nested == {record.folder.name for record in records} and len(runs) == len(records) + 1
    assert {"report.md", "sweep.json", "parallel_coordinates.png"} <= tracking_tools.artefacts(uri, parent)
