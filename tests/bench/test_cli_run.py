"""`bench run` from options to records: products, resuming, failures, what is printed where."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path

import pytest
import yaml
from cli_tools import Bench
from trial_fakes import Drift

from clusterbench.results import mlflow_sink
from clusterbench.results.record import find_records

KMEANS = ("--method", "kmeans", "--preset", "smoke")


def test_one_trial_ends_with_its_card_on_standard_output_and_its_progress_elsewhere(bench: Bench) -> None:
    ran = bench.run(*KMEANS)
    (record,) = find_records(bench.out)
    assert ran.code == 0
    assert ran.out.startswith("kmeans on digits: smoke preset, seed 0\n")
    assert f"{100 * record.metrics['own-loss']['acc']:.1f}" in ran.out
    assert "oracle (uses labels)" in ran.out
    assert str(record.folder.relative_to(Path.cwd())) in ran.out
    assert "bench run --method kmeans --dataset digits --preset smoke --seeds 5\n" in ran.out
    assert re.match(r"kmeans on digits, smoke preset, seed 0, cpu: 1 epoch\n  epoch 1/1: ", ran.err)


def test_methods_and_seeds_make_a_product_with_a_line_each_and_a_summary(bench: Bench) -> None:
    ran = bench.run(*KMEANS, "--method", "random", "--seeds", "2", "--quiet")
    assert ran.code == 0
    assert ran.err == ""
    assert bench.folders == [f"{name}-digits-smoke-s{seed}" for name in ("kmeans", "random") for seed in (0, 1)]
    lines = [line for line in ran.out.splitlines() if re.match(r"\w+ on digits, seed \d: ", line)]
    assert [line.partition(",")[0] for line in lines] == ["kmeans on digits"] * 2 + ["random on digits"] * 2
    accuracies = [
        100 * record.metrics["own-loss"]["acc"] for record in find_records(bench.out) if record.spec["method"] == "kmeans"
    ]
    row = next(line for line in ran.out.splitlines() if re.match(r"digits +kmeans +2 ", line))
    assert f"{statistics.fmean(accuracies):.1f} ± {statistics.stdev(accuracies):.1f}" in row


def test_names_given_twice_are_run_once(bench: Bench) -> None:
    bench.run(*KMEANS, "--method", "kmeans", "--dataset", "digits", "--seeds", "0,0")
    assert bench.folders == ["kmeans-digits-smoke-s0"]


def test_what_is_complete_is_not_run_again_unless_forced(bench: Bench) -> None:
    first = bench.run(*KMEANS)
    (before,) = find_records(bench.out)
    again = bench.run(*KMEANS)
    assert again.code == 0
    assert again.out == first.out
    assert "kmeans on digits, seed 0: already complete, not run again" in again.err
    assert find_records(bench.out)[0].finished == before.finished
    bench.run(*KMEANS, "--force")
    assert find_records(bench.out)[0].finished != before.finished


def test_adding_seeds_runs_the_new_ones_only(bench: Bench) -> None:
    bench.run(*KMEANS, "--seeds", "2")
    ran = bench.run(*KMEANS, "--seeds", "3")
    assert [line for line in ran.err.splitlines() if "already complete" in line] == [
        f"kmeans on digits, seed {seed}: already complete, not run again (--force would)" for seed in (0, 1)
    ]
    assert "trial 3 of 3: kmeans on digits, smoke preset, seed 2, cpu" in ran.err


def test_one_wrong_name_among_many_starts_nothing(bench: Bench) -> None:
    for words in (["--method", "iicc"], ["--dataset", "mnits"], ["--method", "iic", "--set", "kmeans.restarts=2"]):
        ran = bench.run(*KMEANS, *words)
        assert ran.code == 1
        assert bench.folders == []


def test_settings_come_from_file_then_options_and_stand_in_the_headline(bench: Bench) -> None:
    Path("mine.yaml").write_text("kmeans: {restarts: 2, pca: 5}\n")
    ran = bench.run(*KMEANS, "--config", "mine.yaml", "--set", "kmeans.pca=6", "--clusters", "12")
    (record,) = find_records(bench.out)
    assert (record.spec["config"]["kmeans"]["restarts"], record.spec["config"]["kmeans"]["pca"]) == (2, 6)
    assert record.spec["n_clusters"] == 12
    assert "kmeans.pca=6, kmeans.restarts=2, n_clusters=12, seed 0" in ran.out
    assert "12 of 12" in ran.out


def test_a_record_s_own_config_file_finds_the_same_trial(bench: Bench) -> None:
    bench.run(*KMEANS, "--set", "kmeans.pca=6")
    (record,) = find_records(bench.out)
    assert "already complete" in bench.run(*KMEANS, "--config", str(record.folder / "config.yaml")).err


def test_epochs_and_time_limit_reach_the_trial(bench: Bench, drift: type) -> None:
    bench.run("--method", "drift", "--epochs", "2", "--time-limit", "1m30s", "--seeds", "7,")
    (record,) = find_records(bench.out)
    assert record.epochs_done == 2
    assert record.spec["time_limit_s"] == 90
    assert record.spec["seed"] == 7


def test_out_is_the_option_then_the_variable_then_a_folder_here(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLUSTERBENCH_OUT", str(tmp_path / "variable"))
    assert "--out" not in bench.run(*KMEANS).out
    assert "bench tables 1 --out 'an option'" in bench.run(*KMEANS, "--out", "an option").out
    assert len(find_records(tmp_path / "variable")) == len(find_records(tmp_path / "an option")) == 1


def test_a_failing_trial_does_not_stop_the_others_and_is_told_in_the_end(
    bench: Bench, drift: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Drift, "faults_left", 1)
    ran = bench.run("--method", "drift", "--set", "fault_at=2", "--seeds", "3")
    assert ran.code == 1
    statuses = {record.spec["seed"]: record.status for record in find_records(bench.out)}
    assert statuses == {0: "failed", 1: "complete", 2: "complete"}
    assert "bench: drift on digits, seed 0: RuntimeError: the device fell off." in ran.err
    assert re.search(r"failed: drift on digits, seed 0: RuntimeError: the device fell off.*/record\.json\)", ran.out)
    assert re.search(r"digits +drift +2 ", ran.out)
    monkeypatch.setattr(Drift, "faults_left", 0)
    assert bench.run("--method", "drift", "--set", "fault_at=2", "--seeds", "3").code == 0


def test_a_trial_that_another_process_is_at_is_told_and_its_record_left_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clusterbench.bench.lock import exclusive

    fed: list[str] = []
    monkeypatch.setattr("clusterbench.bench.cli.tracking.feed", lambda record, uri: fed.append(record.folder.name))
    bench.run(*KMEANS)
    (record,) = find_records(bench.out)
    with exclusive(record.folder):
        ran = bench("run", "--dataset", "digits", *KMEANS, "--seeds", "2", "--force", "--address", "none")
    assert ran.code == 1
    assert "bench: kmeans on digits, seed 0: Another process is running this trial" in ran.err
    assert "record.json" not in ran.out
    assert len(fed) == 1
    assert fed[0].startswith("kmeans-digits-smoke-s1-")


def test_a_single_failing_trial_is_one_line(bench: Bench, drift: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drift, "faults_left", 1)
    ran = bench.run("--method", "drift", "--set", "fault_at=1", "--set", "fault=diverged", "--quiet")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "bench: drift: the loss is not finite.\n"


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(bench: Bench, drift: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drift, "faults_left", 1)
    monkeypatch.setattr("clusterbench.bench.checkpoint.Checkpoints.due", lambda self: True)
    command = ("--method", "drift", "--set", "fault_at=4", "--set", "fault=ctrl-c", "--seeds", "2")
    ran = bench.run(*command)
    assert ran.code == 130
    assert "bench: Interrupted after epoch 3. The same command goes on after epoch 3" in ran.err
    again = bench.run(*command)
    assert again.code == 0
    assert "trial 1 of 2: drift on digits, defaults preset, seed 0, cpu: 6 epochs, going on after epoch 3" in again.err
    assert "resumed 1 time" not in again.out
    assert [record.cost["resumed"] for record in find_records(bench.out)] == [1, 0]


def test_the_card_goes_to_an_svg_picture_too(bench: Bench) -> None:
    from xml.etree import ElementTree

    bench.run(*KMEANS, "--svg", "docs/card.svg")
    picture = ElementTree.parse("docs/card.svg")
    text = "".join(picture.getroot().itertext()).replace("\xa0", " ")
    assert "kmeans on digits: smoke preset, seed 0" in text
    assert "oracle (uses labels)" in text
    assert "@font-face" not in Path("docs/card.svg").read_text(encoding="utf-8")  # nothing to fetch from the network


def test_records_go_to_mlflow_beside_them_by_default(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[tuple[str, str]] = []
    monkeypatch.setattr("clusterbench.bench.cli.tracking.feed", lambda record, uri: fed.append((record.id, uri)))
    ran = bench("run", "--dataset", "digits", *KMEANS)
    (record,) = find_records(bench.out)
    uri = mlflow_sink.default_uri(bench.out)
    assert fed == [(record.id, uri)]
    assert f"bench ui --mlflow {uri}" in ran.out


def test_a_tracker_that_refuses_costs_one_line(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def refuse(record: object, uri: str) -> None:
        asked.append(uri)
        raise mlflow_sink.TrackingError(f"The tracking store {uri} did not take the record.")

    monkeypatch.setattr("clusterbench.bench.cli.tracking.feed", refuse)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://nowhere:1")
    ran = bench("run", "--dataset", "digits", *KMEANS, "--seeds", "3", "--address", "none")
    assert ran.code == 0
    assert asked == ["http://nowhere:1"]
    assert [line for line in ran.err.splitlines() if line.startswith("bench:")] == [
        "bench: The tracking store http://nowhere:1 did not take the record."
    ]
    assert "bench ui" not in ran.out
    assert len(find_records(bench.out)) == 3


def test_the_card_is_printed_before_anything_of_mlflow_is_loaded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[str] = []
    monkeypatch.setattr(
        "clusterbench.bench.cli.tracking.feed", lambda record, uri: printed.append(bench.capture.readouterr().out)
    )
    bench("run", "--dataset", "digits", *KMEANS)
    assert "oracle (uses labels)" in printed[0]


def test_iic_shows_its_sub_heads(bench: Bench) -> None:
    ran = bench.run("--method", "iic", "--preset", "smoke", "--epochs", "2", "--set", "sub_heads=3")
    (record,) = find_records(bench.out)
    heads = record.metrics["own-loss"]["heads"]
    mean, std = 100 * statistics.fmean(heads["acc"]), 100 * statistics.pstdev(heads["acc"])
    assert re.search(rf"mean of 3 sub-heads +{mean:.1f} ± {std:.1f} ", ran.out)
    assert re.search(r"epoch 2/2: loss main (-?\d\.\d{3}\*? *){3}\(bound -2\.303\), ACC \d", ran.err)
    assert json.loads((record.folder / "record.json").read_text())["status"] == "complete"
    assert yaml.safe_load((record.folder / "config.yaml").read_text())["config"]["sub_heads"] == 3


def test_without_ray_several_trials_run_one_after_the_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clusterbench.bench.cli.many.find_spec", lambda name: None)
    ran = bench("run", "--dataset", "digits", *KMEANS, "--seeds", "2", "--mlflow", "off")
    assert ran.code == 0
    assert "Ray is not installed" in ran.err
    assert len(bench.folders) == 2
