"""Wrapped clusterers on the command line: run, show, suites and what their records say."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from cli_tools import Bench

from clusterbench.bench.run_line import run_line
from clusterbench.results.record import find_records

NAME = "sklearn:sklearn.cluster.BisectingKMeans"


def test_it_runs_and_its_record_says_what_it_is(bench: Bench) -> None:
    ran = bench.run("--method", NAME, "--set", "bisecting_strategy=largest_cluster", "--preset", "smoke")
    assert ran.code == 0, ran.err
    (record,) = find_records(bench.out)
    assert bench.folders == ["sklearn-sklearn.cluster.BisectingKMeans-digits-smoke-s0"]
    assert record.spec["method"] == NAME and record.spec["overrides"] == {"bisecting_strategy": "largest_cluster"}
    assert record.spec["config"]["init"] == "random", "defaults of the library are recorded too"
    assert record.provenance["packages"]["scikit-learn"] == version("scikit-learn")
    assert record.metrics["own-loss"]["acc"] > 0.4
    assert f"--method {NAME}" in run_line(record.spec, "0,")


def test_the_package_of_a_class_stands_in_the_record(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_module.py").write_text(
        "class Halves:\n    def fit_predict(self, X):\n        return (X.mean(1) > X.mean()).astype(int)\n"
    )
    about = tmp_path / "their_package-4.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 4.2\n")
    (about / "top_level.txt").write_text("their_module\n")
    (about / "RECORD").write_text("their_module.py,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "their_module", raising=False)
    assert bench.run("--method", "sklearn:their_module.Halves").code == 0
    (record,) = find_records(bench.out)
    assert record.provenance["packages"]["their-package"] == "4.2"


def test_a_parameter_that_is_wrong_ends_before_anything_runs(bench: Bench) -> None:
    for setting, message in (
        ("inti=random", "unknown setting 'inti'. Did you mean 'init'?"),
        ("random_state=3", "'random_state' is no setting of sklearn:sklearn.cluster.BisectingKMeans: use --seeds"),
        ("init=rondom", "The 'init' parameter of BisectingKMeans must be a str among"),
    ):
        ran = bench.run("--method", NAME, "--set", setting)
        assert ran.code == 1 and message in ran.said and not bench.folders


def test_show_lists_the_parameters_as_the_library_documents_them(bench: Bench) -> None:
    shown = bench("show", NAME).out
    assert "BisectingKMeans" in shown and "bisecting_strategy" in shown and "biggest_inertia" in shown
    assert f"bench run --method {NAME} --dataset digits" in shown
    missing = bench("show", "clustpy:no_clustpy_here.deep.IDEC")
    assert missing.code == 1 and "pip install no_clustpy_here" in missing.said


def test_a_suite_may_name_it(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "title: Mine\nruns:\n"
        f"  - {{methods: ['{NAME}', kmeans], datasets: digits, seeds: 1, preset: smoke}}\n"
        f"  - {{label: By size, methods: ['{NAME}'], datasets: digits, seeds: 1, preset: smoke,\n"
        "     set: {bisecting_strategy: largest_cluster}}\n"
    )
    ran = bench("suite", "run", str(file), "--mlflow", "off", "--address", "none")
    assert ran.code == 0, ran.err
    assert sorted(record.spec["method"] for record in find_records(bench.out)) == ["kmeans", NAME, NAME]
    assert NAME in bench("leaderboard", "--dataset", "digits").out
