"""Comparisons: what is paired with what, which test says what, and every difference in settings, environment and data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel
from sklearn.metrics import adjusted_rand_score

from clusterbench.results.comparison import comparison
from clusterbench.results.comparison_pairs import Kind, Side
from clusterbench.results.grid import Table
from clusterbench.results.record import Record, RecordError, RecordWriter

MakeRecord = Callable[..., Record]
A, B = (0.90, 0.92, 0.94, 0.95), (0.85, 0.90, 0.88, 0.91)


def seeds(make: MakeRecord, method: str, accs: Sequence[float], first: int = 0, **given: object) -> list[Record]:
    return [make(method, seed=first + index, acc=acc, **given) for index, acc in enumerate(accs)]


def compared(a: Sequence[Record], b: Sequence[Record], kind: Kind = "method") -> Table:
    return comparison(Side("one", kind, tuple(a)), Side("other", kind, tuple(b)))


def section(table: Table, beginning: str) -> tuple[str, ...]:
    return next((each.lines for each in table.sections if each.title.startswith(beginning)), ())


def test_the_same_seeds_are_paired(make_record: MakeRecord) -> None:
    fact = compared(seeds(make_record, "iic", A), seeds(make_record, "dec", B)).facts[0]
    assert fact["p"] == pytest.approx(ttest_rel(A, B).pvalue)
    assert (fact["test"], fact["p_holm"]) == ("paired t", None)
    assert fact["difference"] == pytest.approx(100 * (sum(A) - sum(B)) / 4)
    assert fact["low"] < fact["difference"] < fact["high"]


def test_other_seeds_are_not_paired(make_record: MakeRecord) -> None:
    fact = compared(seeds(make_record, "iic", A), seeds(make_record, "dec", B, first=4)).facts[0]
    assert (fact["p"], fact["test"]) == (pytest.approx(ttest_ind(A, B, equal_var=False).pvalue), "Welch t")


def test_several_data_sets_are_corrected_by_holm(make_record: MakeRecord) -> None:
    c = (0.5, 0.55, 0.6, 0.62)
    ours = [*seeds(make_record, "iic", A), *seeds(make_record, "iic", A, dataset="usps")]
    theirs = [*seeds(make_record, "dec", B), *seeds(make_record, "dec", c, dataset="usps")]
    facts = {fact["dataset_a"]: fact for fact in compared(ours, theirs).facts if fact["score"] == "ACC"}
    mnist, usps = ttest_rel(A, B).pvalue, ttest_rel(A, c).pvalue
    assert usps < mnist
    assert facts["usps"]["p_holm"] == pytest.approx(2 * usps)
    assert facts["mnist"]["p_holm"] == pytest.approx(max(2 * usps, mnist))


def test_the_verdict_names_the_better_side_only_where_the_test_does(make_record: MakeRecord) -> None:
    table = compared(seeds(make_record, "iic", B), seeds(make_record, "dec", [acc + 0.3 for acc in B[:3]] + [B[3] + 0.29]))
    assert section(table, "Test")[0].startswith("B is better: ACC differs by 29.7 points, p < 0.001 (paired t)")
    close = compared(seeds(make_record, "iic", A), seeds(make_record, "dec", (0.93, 0.90, 0.95, 0.92)))
    assert section(close, "Test")[0].startswith("Not told apart: p = ")


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_seeds_claim_nothing(make_record: MakeRecord, n: int) -> None:
    table = compared(seeds(make_record, "iic", A[:n]), seeds(make_record, "dec", B))
    assert section(table, "Test")[0] == f"No claim: {n} seed{'s'[: n > 1]}: too few for a claim."
    assert table.facts[0]["p"] is None and table.facts[0]["low"] is None


def test_other_images_are_shown_and_not_tested(make_record: MakeRecord) -> None:
    table = compared(seeds(make_record, "iic", A), seeds(make_record, "dec", B, data_fingerprint="0" * 64))
    assert section(table, "Test") == ("No claim: not the same images, labels and protocol.",)
    assert table.facts[0]["difference"] == pytest.approx(4.25)


def test_methods_meet_only_where_both_were_run(make_record: MakeRecord) -> None:
    table = compared(
        [*seeds(make_record, "iic", A), *seeds(make_record, "iic", A, dataset="usps")],
        [*seeds(make_record, "dec", B), *seeds(make_record, "dec", B, protocol="split")],
    )
    assert {row.group for row in table.rows} == {"mnist, protocol full: iic (paper, n=4) and dec (paper, n=4)"}
    assert section(table, "Without") == ("A: usps, protocol full: iic (paper, n=4)", "B: mnist, protocol split: dec (paper, n=4)")


def test_folders_meet_setting_by_setting(make_record: MakeRecord) -> None:
    def folder(accs: Sequence[float]) -> list[Record]:
        changed = {"overrides": {"epochs": 9}, "config": {"epochs": 9}}
        return [*seeds(make_record, "iic", accs), *seeds(make_record, "iic", accs, **changed), *seeds(make_record, "dec", accs)]

    table = compared(folder(A), folder(B)[:-4], "folder")
    assert {row.group.partition(": ")[2] for row in table.rows} == {
        "iic (paper, n=4) and iic (paper, n=4)", "iic (paper, n=4, epochs=9) and iic (paper, n=4, epochs=9)",
    }  # fmt: skip
    assert section(table, "Without") == ("A: mnist, protocol full: dec (paper, n=4)",)


def test_every_difference_of_two_runs_is_told(make_record: MakeRecord) -> None:
    known: dict[str, Any] = {"packages": {"torch": "2.4"}, "threads": 2, "command": "one", "data": {"n_classes": 10, "notes": []}}
    later = {**known, "packages": {"torch": "2.5"}, "command": "other", "data": {**known["data"], "n_train": 7}}
    one = make_record(seed=0, config={"epochs": 3, "views": {"crop": 20}}, provenance=known)
    other = make_record(seed=1, config={"epochs": 5, "views": {"crop": 20}}, preset="short", provenance=later)
    table = compared([one], [other], "run")
    assert section(table, "Configuration") == ("preset: paper; short", "seeds: 0; 1", "epochs: 3; 5")
    assert section(table, "Environment") == ("packages.torch: 2.4; 2.5",)
    assert section(table, "Data") == ("n_train: not there; 7",)


def test_environments_of_several_seeds_are_all_named(make_record: MakeRecord) -> None:
    ours = [make_record(seed=seed, provenance={"python": python}) for seed, python in enumerate(("3.10", "3.11", "3.10"))]
    theirs = seeds(make_record, "dec", B[:3], provenance={"python": "3.12"})
    assert section(compared(ours, theirs), "Environment") == ("python: 3.10 | 3.11; 3.12",)


def test_two_runs_tell_how_far_their_clusters_agree(make_record: MakeRecord, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = [random.integers(0, 4, (1, 50)) for _ in range(2)]
    runs = []
    for seed, clusters in enumerate(labels):
        runs.append(make_record(seed=seed, folder=tmp_path / str(seed)))
        runs[-1].folder.mkdir()
        RecordWriter(runs[-1].folder).save_labels({"truth": clusters[0], "own-loss": clusters, "own-loss/head": 0})
    table = compared([runs[0]], [runs[1]], "run")
    (row,) = (row for row in table.rows if row.cells[0][0].text == "Agreement of their clusters")
    assert row.cells[3][0].text == f"ARI {adjusted_rand_score(labels[0][0], labels[1][0]):.3f}"


def test_a_failed_run_is_told_and_in_no_mean(make_record: MakeRecord) -> None:
    failed = make_record(seed=9, acc=0.0, status="failed", error={"type": "Diverged", "message": "not finite"})
    table = compared([*seeds(make_record, "iic", A), failed], seeds(make_record, "dec", B))
    assert table.facts[0]["value_a"] == pytest.approx(92.75)
    assert section(table, "Not averaged") == ("iic-mnist-paper-s9: failed after 3 of 3 epochs (Diverged: not finite)",)


def test_nothing_to_compare_is_told(make_record: MakeRecord) -> None:
    iic, dec = seeds(make_record, "iic", A), seeds(make_record, "dec", B, dataset="usps")
    with pytest.raises(RecordError, match="one and other have nothing in common to compare: A: mnist.*; B: usps"):
        compared(iic, dec)
    with pytest.raises(RecordError, match="other has no finished run to compare"):
        compared(iic, [make_record(status="running")])
