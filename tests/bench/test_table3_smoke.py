"""Table 3 as a suite at the smallest budget: fine-tuned, probed, with few labels, on real digits, recorded and tabulated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from cli_tools import Bench
from sklearn.datasets import load_digits

from clusterbench.results.record import find_records

WHERE = ("--cache-root", "cache", "--mlflow", "off", "--address", "none", "--quiet")
ROWS = ("Cutout 2017", "SWWAE", "SWWAE, linear probe", "SWWAE, 10 % of the labels", "SWWAE, linear probe, 1 % of the labels")


def own_digits() -> None:
    """Scikit-learn's digits with a training and a test part."""
    data, folder = load_digits(), Path("digits")
    folder.mkdir()
    images, names = (data.images * 255 / 16).round().astype(np.uint8), np.array([str(digit) for digit in range(10)])
    for split, part in (("train", slice(1200)), ("test", slice(1200, None))):
        np.savez(folder / f"{split}.npz", images=images[part], labels=data.target[part], class_names=names)


def test_table_3_is_filled_by_its_suite_and_its_bases_are_trained_once(bench: Bench) -> None:
    own_digits()
    chosen = ("--dataset", "npz:digits", "--method", "swwae-finetune", "--method", "cutout", "--preset", "smoke", "--seeds", "1")
    done = bench("suite", "run", "table3", *chosen, *WHERE)
    assert done.code == 0, done.err
    records = find_records(bench.out)
    assert len(records) == 6 + 3 and all(record.is_complete for record in records)
    assert {record.spec["config"]["label_fraction"] for record in records} == {1.0, 0.1, 0.01}
    assert all(record.provenance["data"]["n_train"] == 1200 for record in records)
    scores = {(r.spec["method"], r.spec["config"]["label_fraction"], r.spec["config"].get("hidden")): r.metrics for r in records}
    assert scores["cutout", 1.0, None]["last"]["acc"] > 0.7 > scores["cutout", 0.01, None]["last"]["acc"]
    table = bench("tables", "3", "--format", "csv").out
    for row in ROWS:
        assert any(f',"{row}",' in line or f",{row}," in line for line in table.splitlines() if "reproduced" in line), row
    again = bench("suite", "run", "table3", *chosen, "--dry-run")
    assert "9 trials: 9 done" in again.out


def test_trials_of_one_seed_share_a_base_through_the_store(bench: Bench) -> None:
    own_digits()
    chosen = ("--dataset", "npz:digits", "--method", "swwae-finetune", "--preset", "smoke", "--protocol", "semi-supervised")
    changed = ("--set", "reuse=true", "--set", "frozen_trunk=true", "--set", "epochs=1")
    for share in ("1.0", "0.1"):
        assert bench("run", *chosen, *changed, "--set", f"label_fraction={share}", *WHERE).code == 0
    first, second = sorted(find_records(bench.out), key=lambda record: -record.spec["config"]["label_fraction"])
    (made,) = first.cost["made"]
    assert made.startswith("base/") and second.cost["reused"] == [made]
    assert (first.epochs_done, second.epochs_done) == (2, 1)
