"""Table 4 as a suite: all seven rows on the samples that anyone can make; planned, and at the smallest budget run and drawn."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from cli_tools import Bench

from clusterbench.results.record import find_records

WHERE = ("--cache-root", "cache", "--mlflow", "off", "--address", "none", "--quiet")
ROWS = {
    "Random CNN": "random-segmentation",
    "K-means": "kmeans-segmentation",
    "SIFT": "sift",
    "Doersch 2015": "doersch",
    "Isola 2016": "isola",
    "DeepCluster": "deepcluster-segmentation",
    "IIC": "iic-segmentation",
}


def prepare(bench: Bench, dataset: str) -> None:
    Path("data").mkdir()
    done = bench("data", "prepare", dataset, "--sample", "--data-root", "data")
    assert done.code == 0, done.err


@pytest.mark.parametrize("dataset", ["potsdam-3", "coco-stuff-3"])
def test_the_suite_has_a_short_trial_of_every_row_and_seed(bench: Bench, dataset: str) -> None:
    prepare(bench, dataset)
    asked = ("--dataset", f"{dataset}@sample", "--preset", "short", "--dry-run", "--data-root", "data")
    out = bench("suite", "run", "table4", *asked).out
    for method in ROWS.values():
        for seed in range(3):
            assert f"{method} on {dataset}@sample, seed {seed}" in out
    assert "21 trials: 21 to do" in out


@pytest.mark.slow
def test_table_4_is_filled_by_its_suite_and_drawn(bench: Bench) -> None:
    prepare(bench, "potsdam-3")
    chosen = ("--dataset", "potsdam-3@sample", "--preset", "smoke", "--seeds", "1", "--data-root", "data")
    done = bench("suite", "run", "table4", *chosen, *WHERE)
    assert done.code == 0, done.err
    records = {record.spec["method"]: record for record in find_records(bench.out)}
    assert records.keys() == set(ROWS.values()) and all(record.is_complete for record in records.values())
    for record in records.values():
        own = record.metrics["own-loss"]
        assert 1 / 3 <= own["acc"] <= 1 and len(own["iou"]) == 3 and own["away_from_boundaries"]["share"] < 1
        assert any("generated images" in note for note in record.provenance["data"]["notes"])
    assert "cell-centres" in records["sift"].metrics["last"]["other_predictions"]
    table = csv.reader(bench("tables", "4", "--format", "csv").out.splitlines())
    told = {tuple(line[1:4]): float(line[8]) for line in table if "reproduced" in line}
    wanted = {(row, method, "potsdam-3@sample"): 100 * records[method].metrics["own-loss"]["acc"] for row, method in ROWS.items()}
    assert told == pytest.approx(wanted)
    assert "7 trials: 7 done" in bench("suite", "run", "table4", *chosen, "--dry-run").out
    drawn = bench("figures", "segmentation", "--data-root", "data")
    assert drawn.code == 0 and all(method in drawn.out for method in ROWS.values())
