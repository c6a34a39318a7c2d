"""The result card: what stands in it for records that are known."""

from __future__ import annotations

import io
import shlex
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from clusterbench.bench import card
from clusterbench.bench.config import parse_setting
from clusterbench.results.grid import NONE
from clusterbench.results.record import Record


def selection(acc: float | None, *, head: int = 2, epoch: int = 7, used: int = 10, **given: Any) -> dict[str, Any]:
    """One selection with NMI and ARI 0.1 and 0.2 below ACC."""
    heads = {"n": 1, "acc_mean": acc, "acc_std": 0.0, "acc": [acc]}
    scores = {"acc": acc, "nmi": None if acc is None else acc - 0.1, "ari": None if acc is None else acc - 0.2}
    return {**scores, "clusters_used": used, "head": head, "epoch": epoch, "heads": heads, **given}


def make_record(acc: float | None = 0.8712, *, seed: int = 0, spec: dict[str, Any] | None = None, **given: Any) -> Record:
    """A complete trial of iic on digits: oracle 2.5 points above, last 10 points below."""
    about = {"method": "iic", "dataset": "digits", "protocol": "full", "preset": "short", "overrides": {}, "config": {}}
    metrics = {
        "own-loss": selection(acc),
        "last": selection(None if acc is None else acc - 0.1, head=0, epoch=9),
        "oracle": selection(None if acc is None else acc + 0.025, head=4, epoch=5),
    }
    fields: dict[str, Any] = {
        "id": "0123456789ab",
        "status": "complete",
        "created": "2025-06-01T10:00:00.000+00:00",
        "folder": Path("bench-results/iic-digits-short-s0-0123456789ab"),
        "metrics": metrics,
        "selection_gap": None if acc is None else 0.025,
        "epochs_done": 9,
        "planned_epochs": 9,
        "cost": {"train_seconds": 80.0, "evaluate_seconds": 2.5, "total_seconds": 83.0, "images": 1_200_000, "resumed": 0},
        "provenance": {"device": "cpu", "threads": 2, "data": {"n_classes": 10, "notes": []}},
    }
    return Record(**{**fields, **given, "spec": {**about, "seed": seed, "n_clusters": 10, **(spec or {})}})


def printed(show: Any, *arguments: Any, terminal: bool = False, width: int = 100) -> str:
    """What `show` prints on a console of its own."""
    screen = io.StringIO()
    show(Console(file=screen, width=width, force_terminal=terminal, highlight=False, color_system=None), *arguments)
    return screen.getvalue()


def row(text: str, start: str) -> list[str]:
    return next(line for line in text.splitlines() if line.strip("│ ").startswith(start)).split()


def test_every_way_of_choosing_has_its_row() -> None:
    text = printed(card.show, make_record())
    assert row(text, "lowest own loss")[3:] == ["87.1", "77.1", "67.1", "10", "of", "10", "2", "7"]
    assert row(text, "last epoch")[2:] == ["77.1", "67.1", "57.1", "10", "of", "10", "0", "9"]
    assert row(text, "oracle (uses labels)")[3:] == ["89.6", "79.6", "69.6", "10", "of", "10", "4", "5"]
    assert row(text, "gap")[1:3] == ["+2.5", "points"]


def test_cost_and_place_of_the_record_and_the_next_commands_are_told() -> None:
    text = printed(card.show, make_record(), ["bench tables 1", "bench leaderboard"])
    assert "cost    1 min 20 s of training, 2.5 s of evaluation; 1,200,000 images through the network, 15,000 a second; " in text
    assert "; on cpu with 2 threads\n" in text
    assert "record  bench-results/iic-digits-short-s0-0123456789ab\n" in text
    assert "next    bench tables 1\n        bench leaderboard\n" in text


def test_the_average_over_sub_heads_stands_in_the_card_where_there_are_several() -> None:
    heads = {"n": 5, "acc_mean": 0.8432, "acc_std": 0.0217, "nmi_mean": 0.8, "nmi_std": 0.01, "ari_mean": 0.7, "ari_std": 0.02}
    record = make_record()
    record.metrics["own-loss"]["heads"] = heads
    text = printed(card.show, record)
    assert row(text, "mean of 5 sub-heads")[4:] == ["84.3", "±", "2.2", "80.0", "±", "1.0", "70.0", "±", "2.0", "all", "7"]
    assert "sub-heads" not in printed(card.show, make_record())


def test_a_terminal_gets_a_panel_and_a_pipe_plain_lines() -> None:
    panel, plain = (printed(card.show, make_record(), terminal=terminal) for terminal in (True, False))
    assert panel.startswith("╭─ iic on digits: short preset, seed 0 ─")
    assert plain.startswith("iic on digits: short preset, seed 0\n")
    assert not any(sign in plain for sign in "╭│╰")
    assert all(line == line.rstrip() for line in plain.splitlines())


def test_a_long_path_is_not_broken_in_a_pipe() -> None:
    folder = Path("/", *["a-rather-long-name-of-a-folder"] * 4, "iic-digits-short-s0-0123456789ab")
    assert f"record  {folder}\n" in printed(card.show, make_record(folder=folder), width=40)


def test_empty_clusters_are_told_and_full_ones_are_not() -> None:
    record = make_record()
    record.metrics["own-loss"]["clusters_used"] = 7
    assert card.warnings(record) == ["only 7 of 10 clusters are used: the others are empty (collapse)"]
    assert card.warnings(make_record()) == []


def test_fewer_clusters_than_classes_are_no_collapse_if_that_is_what_was_asked_for() -> None:
    record = make_record(spec={"n_clusters": 5})
    record.metrics["own-loss"]["clusters_used"] = 5
    assert card.warnings(record) == []


def test_data_without_labels_has_dashes_and_a_note() -> None:
    text = printed(card.show, make_record(acc=None))
    assert row(text, "lowest own loss")[3:6] == [NONE] * 3
    assert "the data has no labels, so nothing can be scored" in text
    assert "gap" not in text


def test_label_maps_have_their_overlap_by_class_and_the_scores_away_from_boundaries() -> None:
    away = {"reach": 3, "share": 0.835, "acc": 0.9, "miou": 0.81, "iou": [0.8, 0.82]}
    pixels = {"miou": 0.6, "iou": [0.7, 0.5], "away_from_boundaries": away}
    data = {"n_classes": 2, "notes": [], "class_names": ["road", "tree"]}
    record = make_record(metrics={"own-loss": selection(0.8, **pixels)}, provenance={"data": data})
    text = printed(card.show, record)
    assert "60.0 % on average: road 70.0, tree 50.0" in text
    assert "ACC 90.0 %, mean IoU 81.0 % of the 83.5 % of the pixels that are more than 3 from another label" in text
    many = make_record(metrics={"own-loss": selection(0.8, miou=0.6, iou=[None, *[0.6] * 20])}, provenance={"data": {}})
    few = printed(card.show, many)
    assert "60.0 % on average" in few and "average:" not in few and "away" not in few


def test_notes_on_the_data_stand_beside_the_result() -> None:
    notes = ["test images 1000..9999 are JPEG re-encodings"]
    text = printed(card.show, make_record(provenance={"data": {"n_classes": 10, "notes": notes}}))
    assert "note    test images 1000..9999 are JPEG re-encodings\n" in text


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"spec": {"overrides": {"lr": 0.01}}}, "iic on digits: short preset, lr=0.01, seed 0"),
        ({"spec": {"protocol": "split"}, "seed": 3}, "iic on digits: short preset, split protocol, seed 3"),
        (
            {"status": "stopped", "stop_reason": "time limit", "epochs_done": 4},
            "iic on digits: short preset, seed 0, stopped (time limit) after epoch 4 of 9",
        ),
    ],
)
def test_the_headline_says_what_is_not_the_plain_way(given: dict[str, Any], line: str) -> None:
    assert card.headline(make_record(**given)) == line


def test_the_summary_has_mean_and_sample_deviation_over_seeds() -> None:
    records = [make_record(acc, seed=seed) for seed, acc in enumerate((0.80, 0.82, 0.87))]
    text = printed(card.show_summary, records)
    # mean 83; squared deviations 9 + 1 + 16 over n - 1 = 2: standard deviation the root of 13
    assert row(text, "digits")[:6] == ["digits", "iic", "3", "83.0", "±", "3.6"]
    assert row(text, "digits")[12:15] == ["85.5", "±", "3.6"]


def test_the_summary_averages_nothing_across_methods_or_settings() -> None:
    records = [make_record(0.8), make_record(0.6, spec={"method": "kmeans"}), make_record(0.7, spec={"config": {"lr": 1}})]
    rows = [line.split() for line in printed(card.show_summary, records).splitlines() if line.startswith("digits")]
    assert sorted((line[1], line[3]) for line in rows) == [("iic", "70.0"), ("iic", "80.0"), ("kmeans", "60.0")]


def test_the_summary_names_what_failed_even_if_nothing_else_is_left() -> None:
    text = printed(card.show_summary, [], [("iic on digits, seed 1", "the loss is not finite [epoch 3]")])
    assert text == "failed: iic on digits, seed 1: the loss is not finite [epoch 3]\n"


def test_next_steps_can_be_pasted_and_keep_the_settings() -> None:
    spec = {
        "preset": "smoke",
        "overrides": {"lr": 0.01, "pca": None, "passes": ["auxiliary", "main"], "name": "null"},
        "dataset": "npz:/my data.npz",
        "protocol": "split",
        "time_limit_s": 5400.0,
    }
    record = make_record(spec=spec)
    more, *others = card.next_steps([record], out=Path("my out"), data_root=Path("data"), viewer="bench ui")
    assert more == (
        "bench run --method iic --dataset 'npz:/my data.npz' --preset smoke --set lr=0.01 --set pca=null "
        "--set 'passes=[auxiliary, main]' --set 'name='\"'\"'null'\"'\"'' "
        "--protocol split --time-limit 5400s --data-root data --seeds 5 --out 'my out'"
    )
    asked = [parse_setting(word) for word in shlex.split(more) if "=" in word]
    assert {name: value for each in asked for name, value in each.items()} == spec["overrides"]
    assert others == [
        "bench leaderboard --dataset 'npz:/my data.npz' --out 'my out'",
        "bench tables 1 --out 'my out'",
        "bench ui",
    ]
    assert card.next_steps([record, record]) == ["bench leaderboard --dataset 'npz:/my data.npz'", "bench tables 1"]


@pytest.mark.parametrize(("task", "table"), [("clustering", 1), ("semi-supervised", 3), ("segmentation", 4)])
def test_the_next_step_is_the_table_that_the_task_belongs_to(task: str, table: int) -> None:
    steps = card.next_steps([make_record(spec={"task": task})])
    assert [step for step in steps if "tables" in step] == [f"bench tables {table}"]


def test_one_of_several_results_is_a_line_with_its_warnings_under_it() -> None:
    record = make_record(provenance={"data": {"n_classes": 10, "notes": ["a copy"]}})
    assert printed(card.show_line, record, width=40) == (
        "iic on digits, seed 0: ACC 87.1, NMI 77.1, ARI 67.1, 10 of 10 clusters, oracle ACC 89.6, 1 min 23 s\n  ! a copy\n"
    )
