"""The leaderboard: order, and what is kept apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from clusterbench.results.grid import Table
from clusterbench.results.leaderboard import leaderboard
from clusterbench.results.record import Record

MakeRecord = Callable[..., Record]


def ranking(table: Table) -> list[tuple[str, str, str]]:
    """(heading, method, budget) from top to bottom."""
    return [(row.group, row.cells[0][0].text, row.cells[1][0].text) for row in table.rows]


def column(table: Table, name: str) -> list[str]:
    return [row.cells[table.columns.index(name)][0].text for row in table.rows]


def test_the_best_label_free_accuracy_comes_first_whatever_the_oracle_says(make_record: MakeRecord) -> None:
    table = leaderboard(
        [make_record("kmeans", acc=0.7, oracle=0.7), make_record("random", acc=0.3, oracle=0.99), make_record("iic", acc=0.8)]
    )
    assert [row[1] for row in ranking(table)] == ["iic", "kmeans", "random"]
    assert column(table, "Gap") == ["+0.0", "+0.0", "+69.0"]


def test_data_sets_and_protocols_are_ranked_apart(make_record: MakeRecord) -> None:
    table = leaderboard(
        [make_record(dataset="usps"), make_record(protocol="split", acc=0.99), make_record(), make_record("kmeans", acc=0.1)]
    )
    assert [row[:2] for row in ranking(table)] == [
        ("mnist, protocol full", "iic"), ("mnist, protocol full", "kmeans"),
        ("mnist, protocol split", "iic"), ("usps, protocol full", "iic"),
    ]  # fmt: skip


def test_different_copies_of_the_data_are_ranked_apart(make_record: MakeRecord) -> None:
    table = leaderboard([make_record(data_fingerprint="a" * 64), make_record("kmeans", data_fingerprint="b" * 64)])
    assert [row[0] for row in ranking(table)] == ["mnist, protocol full, data aaaaaaaa", "mnist, protocol full, data bbbbbbbb"]


def test_means_spreads_and_cost_are_over_the_seeds(make_record: MakeRecord) -> None:
    table = leaderboard([make_record(seed=seed, acc=acc) for seed, acc in enumerate([0.8, 0.9])])
    row = [line[0].text for line in table.rows[0].cells]
    scores = ["85.0 ± 7.1", "90.0", "75.0 ± 7.1", "65.0 ± 7.1"]
    assert row == ["iic", "paper", "-", "2", *scores, "+0.0", "10 of 10", "1 min 30 s", "3.0 M"]
    assert [table.footnotes[mark - 1] for mark in table.rows[0].cells[0][0].marks] == ["2 seeds: too few for a claim."]


def test_tiers_ranks_and_intervals_stand_under_the_means_of_enough_seeds(make_record: MakeRecord) -> None:
    accs = {"iic": [0.90, 0.92, 0.91], "scan": [0.95, 0.89, 0.93], "kmeans": [0.50, 0.51, 0.52], "dec": [0.7, 0.8]}
    table = leaderboard([make_record(name, acc=acc, seed=i) for name, each in accs.items() for i, acc in enumerate(each)])
    cells = {row.cells[0][0].text: dict(zip(table.columns, row.cells, strict=True)) for row in table.rows}
    tiers = {name: [line.text for line in each["Tier"]] for name, each in cells.items()}
    assert tiers == {"scan": ["1", "rank 1-2"], "iic": ["1", "rank 1-2"], "dec": ["-"], "kmeans": ["2", "rank 3"]}
    assert [line.text for line in cells["scan"]["ACC"]] == ["92.3 ± 3.1", "89.0-95.0"]  # of three seeds their range
    assert [line.text for line in cells["dec"]["ACC"]] == ["75.0 ± 7.1"]
    facts = {fact["method"]: fact for fact in table.facts}
    assert [facts["scan"][name] for name in ("tier", "rank_low", "rank_high", "acc_low", "acc_high")] == [1, 1, 2, 89.0, 95.0]
    assert [facts["dec"][name] for name in ("tier", "rank_low", "acc_low", "more_seeds")] == [None] * 4


def test_the_seeds_that_neighbours_lack_are_told(make_record: MakeRecord) -> None:
    accs = {"iic": [0.90, 0.92, 0.91], "scan": [0.95, 0.89, 0.93], "kmeans": [0.50, 0.51, 0.52], "ae": [0.52, 0.51, 0.50]}
    table = leaderboard([make_record(name, acc=acc, seed=i) for name, each in accs.items() for i, acc in enumerate(each)])
    (section,) = table.sections
    lacking = {fact["method"]: fact["more_seeds"] for fact in table.facts}
    assert section.title.startswith("How many more seeds") and lacking["iic"] > 0
    assert section.lines == (f"mnist, protocol full: scan | iic +{lacking['iic']}; ae | kmeans more than 1000",)


def test_only_what_is_significantly_better_than_all_is_marked_best(make_record: MakeRecord) -> None:
    def marked(accs: dict[str, list[float]]) -> list[str]:
        table = leaderboard([make_record(name, acc=acc, seed=i) for name, each in accs.items() for i, acc in enumerate(each)])
        return [row.cells[0][0].text for row in table.rows for cell in row.cells for line in cell if line.best]

    clear = {"iic": [0.90, 0.92, 0.91], "kmeans": [0.50, 0.51, 0.52]}
    assert marked(clear) == ["iic"]
    assert marked({**clear, "scan": [0.95, 0.89, 0.93]}) == []
    assert marked({"iic": [0.9, 0.92], "kmeans": [0.50, 0.51]}) == []


def test_of_unlabelled_data_the_agreement_of_the_seeds_is_told(make_record: MakeRecord, tmp_path: Path) -> None:
    records = [make_record("iic", "folder", acc=None, seed=seed, folder=tmp_path / str(seed)) for seed in range(3)]
    clusters = [[0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]]  # the first two are one clustering
    for record, found in zip(records, clusters, strict=True):
        record.folder.mkdir()
        np.savez(record.folder / "labels.npz", truth=[-1] * 4, **{"own-loss": [found], "own-loss/head": 0})
        record.diagnostics["unlabelled"] = {"confidence": {"mean": 0.8}, "silhouette": {"value": 0.25}}
    table = leaderboard(records)
    agreement = [1.0] + [adjusted_rand_score(clusters[2], clusters[i]) for i in (0, 1)]
    assert table.facts[0]["stability"] == pytest.approx(np.mean(agreement))
    (section,) = table.sections
    told = f"stability {np.mean(agreement):.2f} ± {np.std(agreement, ddof=1):.2f}, confidence 0.80 ± 0.00, silhouette 0.25 ± 0.00"
    assert section.lines == (f"folder, iic (paper, full, n=3): {told}",)
    assert "None of it is accuracy" in section.title


def test_the_best_seed_is_named_and_stands_for_no_single_run(make_record: MakeRecord) -> None:
    table = leaderboard([make_record(seed=seed, acc=acc) for seed, acc in ((3, 0.8), (4, 0.95), (5, 0.9))])
    assert column(table, "Best") == ["95.0"]
    assert (table.facts[0]["acc_best"], table.facts[0]["best_seed"]) == (95.0, 4)
    assert column(leaderboard([make_record(acc=0.8)]), "Best") == ["-"]
    assert column(leaderboard([make_record(seed=seed, acc=None) for seed in (0, 1)]), "Best") == ["-"]


def test_what_published_protocols_leak_is_told_of_the_methods_that_are_shown(make_record: MakeRecord) -> None:
    leaks = {"iic": ("the epoch was chosen by labels",), "scan": ("another thing",)}
    (section,) = leaderboard([make_record(), make_record("kmeans")], leaks=leaks).sections
    assert "test images" in section.title
    assert section.lines == ("iic: the epoch was chosen by labels",)


def test_the_time_of_seeds_that_took_what_others_had_made_is_marked(make_record: MakeRecord) -> None:
    reused = {"total_seconds": 90.0, "reused": ["pretext/0a1b", "neighbours/2c3d"]}
    records = [make_record(seed=0), *(make_record(seed=seed, cost=reused) for seed in (1, 2))]
    table = leaderboard(records)
    assert table.footnotes == (
        "Seed 1, 2 took pretext and neighbours that other trials had made: that cost is not in the time (cost.reused).",
    )
    assert leaderboard(records[1:]).footnotes[-1].startswith("Every seed took pretext and neighbours")


def test_scored_images_that_took_part_are_told_unless_they_were_trained_on(make_record: MakeRecord) -> None:
    config = {"epochs": 3, "selection_images": "scored"}
    records = [make_record("scan", seed=seed, config=config, protocol="split") for seed in range(3)]
    assert leaderboard(records).footnotes == (
        "The scored images took part in more than the scoring, without their labels (selection_images=scored).",
    )
    assert leaderboard([make_record("scan", seed=seed, config=config) for seed in range(3)]).footnotes == ()


def test_other_ways_to_predict_are_told_with_their_spread(make_record: MakeRecord) -> None:
    records = [make_record(seed=seed) for seed in range(3)]
    for record, acc in zip(records, (0.7, 0.8, 0.9), strict=True):
        record.metrics["own-loss"]["other_predictions"] = {"on scored images": {"acc": acc, "nmi": 0.5}}
    assert leaderboard(records).footnotes == ("Predicted another way (on scored images): ACC 80.0 ± 10.0.",)


def test_mixed_budgets_are_rows_of_their_own_and_said(make_record: MakeRecord) -> None:
    table = leaderboard([make_record(preset="short", acc=0.9), make_record(preset="paper", acc=0.8)])
    assert [row[2] for row in ranking(table)] == ["short", "paper"]
    assert [section.lines for section in table.sections] == [("mnist, protocol full: paper, short",)]


def test_one_budget_needs_no_warning(make_record: MakeRecord) -> None:
    assert leaderboard([make_record(), make_record("kmeans"), make_record(dataset="usps", preset="short")]).sections == ()


def test_data_without_labels_comes_last_in_order_of_name(make_record: MakeRecord) -> None:
    unlabelled = [make_record(method, "a-folder", acc=None) for method in ("random", "iic", "kmeans")]
    table = leaderboard([*unlabelled, make_record(dataset="usps")])
    assert [row[1] for row in ranking(table)] == ["iic", "iic", "kmeans", "random"]
    assert ranking(table)[1][0] == "a-folder, protocol full (no labels, by name)"
    assert column(table, "ACC") == ["90.0", "-", "-", "-"] and column(table, "Clusters")[1] == "7 of 10"


def test_failed_runs_are_listed_not_ranked(make_record: MakeRecord) -> None:
    table = leaderboard([make_record(), make_record(seed=1, status="failed", error={"type": "Diverged", "message": "no"})])
    assert column(table, "n") == ["1"]
    assert table.sections[-1].lines == ("iic-mnist-paper-s1: failed after 3 of 3 epochs (Diverged: no)",)


def test_only_what_is_asked_for_is_shown(make_record: MakeRecord) -> None:
    records = [make_record(method, dataset) for method in ("iic", "kmeans") for dataset in ("mnist", "usps")]
    assert len(leaderboard(records).rows) == 4
    assert ranking(leaderboard(records, datasets=["usps"], methods=["iic"])) == [("usps, protocol full", "iic", "paper")]
    assert leaderboard(records, datasets=[], methods=[]) == leaderboard(records)


def test_facts_hold_every_row_with_unrounded_numbers(make_record: MakeRecord) -> None:
    table = leaderboard([make_record(seed=seed, acc=acc, overrides={"lr": 0.5}) for seed, acc in enumerate([0.81234, 0.9])])
    (fact,) = table.facts
    assert (fact["acc"], fact["seeds"], fact["overrides"], fact["ami"]) == (85.617, "0 1", "lr=0.5", None)
