"""Lint: what bench wrote is clean, and each slip of a person who edits or mixes it is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clusterbench.results.consistency import _is_best, lint
from clusterbench.results.leaderboard import leaderboard
from clusterbench.results.record import Record, RecordWriter
from clusterbench.results.render import csv, joined, markdown
from clusterbench.results.tables import tables
from clusterbench.results.written_tables import Shown, read_tables

MakeRecord = Callable[..., Record]
Save = Callable[..., Record]
ACCS = (0.80, 0.86, 0.95)


@pytest.fixture
def save(make_record: MakeRecord, tmp_path: Path) -> Save:
    """As `make_record`, written into the folder that is linted, in which somebody else's tables lie too."""
    (tmp_path / "notes.md").write_text("# Nothing of ours\n\n| a | b |\n|---|---|\n| no run | n=1 |\n", encoding="utf-8")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n", encoding="utf-8")

    def save(*names: str, **given: object) -> Record:
        folder = tmp_path / f"record-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        record = make_record(*names, **given).model_copy(update={"folder": folder})
        return RecordWriter(folder)._write(record)

    return save


def seeds(save: Save, *names: str, accs: Sequence[float] = ACCS, **given: object) -> list[Record]:
    return [save(*names, seed=seed, acc=acc, **given) for seed, acc in enumerate(accs)]


def rules(folder: Path) -> list[str]:
    return [finding.rule for finding in lint(folder).findings]


def edited(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{before!r} stands {text.count(before)} times in {path.name}"
    path.write_text(text.replace(before, after), encoding="utf-8")


def board(records: Sequence[Record], path: Path) -> Path:
    table = leaderboard(records)
    path.write_text(csv(table) if path.suffix == ".csv" else markdown(table), encoding="utf-8")
    return path


def table_1(records: Sequence[Record], path: Path) -> Path:
    form = "csv" if path.suffix == ".csv" else "markdown"
    path.write_text(joined(tables(records, (1,)), form), encoding="utf-8")
    return path


def test_what_bench_wrote_is_clean_but_for_the_cells_without_a_run(save: Save, tmp_path: Path) -> None:
    records = [*seeds(save), *seeds(save, "kmeans", accs=(0.5, 0.5, 0.5))]
    for name in ("board.csv", "board.md"):
        board(records, tmp_path / name)
    assert rules(tmp_path) == []
    for name in ("table.csv", "table.md"):
        table_1(records, tmp_path / name)
    linted = lint(tmp_path)
    assert {finding.rule for finding in linted.findings} == {"missing cell"}
    assert (linted.records, linted.tables) == (6, 4)


@pytest.mark.parametrize("name", ["t.csv", "t.md"])
def test_every_number_of_ours_is_read_back_as_it_was_written(save: Save, tmp_path: Path, name: str) -> None:
    (written,) = read_tables(table_1(seeds(save), tmp_path / name).parent)
    lowest, average = (shown for shown in written.numbers if shown.metric == "acc")
    digits = 6 if name == "t.csv" else 1
    mean, std = 100 * np.mean(ACCS), 100 * np.std(ACCS, ddof=1)
    assert (lowest.value, lowest.std, lowest.best) == pytest.approx((round(mean, digits), round(std, digits), 95.0))
    assert (lowest.dataset, lowest.preset, lowest.protocol, lowest.n, lowest.expected) == ("mnist", "paper", "full", 3, "full")
    assert (average.value, average.std, average.std_over) == pytest.approx((round(mean - 2, digits), 3.0, "sub-heads"))


def test_cells_without_a_run_are_named_row_by_row_alike_in_both_forms(save: Save, tmp_path: Path) -> None:
    records = seeds(save)
    told = []
    for name in ("t.csv", "t.md"):
        table_1(records, tmp_path / name)
        told.append({finding.text for finding in lint(tmp_path).findings})
        (tmp_path / name).unlink()
    assert "DEC has no run on stl10, cifar10, cifar100-20, mnist." in told[0]
    assert "IIC (lowest-loss sub-head) has no run on stl10, cifar10, cifar100-20." in told[0]
    assert told[0] == told[1]


@pytest.mark.parametrize(("name", "before", "after"), [
    ("b.md", "| 3 | 87.0 ± 7.5", "| 1 | 87.0 ± 7.5"), ("t.md", "n=3, best 95.0", "n=1"),
])  # fmt: skip
def test_a_spread_of_one_seed_is_found(save: Save, tmp_path: Path, name: str, before: str, after: str) -> None:
    write = board if name.startswith("b") else table_1
    edited(write(seeds(save), tmp_path / name), before, after)
    assert rules(tmp_path).count("spread of one seed") == 1


@pytest.mark.parametrize(("name", "before"), [("b.md", "| 87.0 ± 7.5"), ("t.md", "ours 87.0 ± 7.5")])
def test_a_best_that_stands_as_a_mean_is_found_without_any_record(save: Save, tmp_path: Path, name: str, before: str) -> None:
    (tmp_path / "alone").mkdir()
    path = (board if name.startswith("b") else table_1)(seeds(save), tmp_path / "alone" / name)
    edited(path, before, before.replace("87.0", "95.0"))
    assert rules(path.parent).count("best of n as a mean") == 1


def test_a_best_that_stands_without_its_spread_is_found_by_the_records(save: Save, tmp_path: Path) -> None:
    path = board(seeds(save), tmp_path / "b.csv")
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    for name, value in (("acc", "95.0"), ("acc_std", ""), ("acc_best", "")):
        rows[1][rows[0].index(name)] = value
    path.write_text("\n".join(map(",".join, rows)) + "\n", encoding="utf-8")
    assert [(f.rule, f.text) for f in lint(tmp_path).findings] == [
        ("best of n as a mean", "leaderboard, iic on mnist: 95 is the best of its 3 seeds.")
    ]


def test_the_choice_of_labels_is_told_from_the_methods_own(save: Save, tmp_path: Path) -> None:
    records = [save(seed=seed, acc=acc, oracle=acc + 0.04) for seed, acc in enumerate((0.8, 0.82, 0.9))]
    edited(board(records, tmp_path / "b.md"), "84.0 ± 5.3", "88.0 ± 5.3")
    assert rules(tmp_path) == ["labels' choice as own"]


def test_a_number_that_no_record_bears_out_is_found(save: Save, tmp_path: Path) -> None:
    records = seeds(save)
    board(records, tmp_path / "b.md")
    edited(tmp_path / "b.md", "87.0 ± 7.5", "86.0 ± 7.5")
    assert rules(tmp_path) == ["not from these records"]
    board(records[:2], tmp_path / "b.md")  # made before the third seed came
    assert rules(tmp_path) == ["not from these records"]


def test_no_sample_is_taken_for_a_best_in_the_place_of_its_mean() -> None:
    random = np.random.default_rng(0)
    for _ in range(3000):
        values = random.normal(50, 10 ** random.uniform(-2, 1), size=random.integers(2, 9))
        if random.random() < 0.5:
            values[1:] = values.max()  # the mean comes as near to the best as it can
        mean, std, best = (round(float(each), 1) for each in (np.mean(values), np.std(values, ddof=1), max(values)))
        shown = Shown("", "", "", "", len(values), "", "acc", mean, std, best, "seeds", 0.05, "")
        assert not _is_best(shown)
    assert _is_best(replace(shown, n=5, value=90.0, std=2.0, best=90.0))


def test_a_number_under_another_protocol_than_the_published_ones_is_found(save: Save, tmp_path: Path) -> None:
    records = [*seeds(save, "scan", "mnist"), *seeds(save, "scan", "cifar10", protocol="split")]
    for name in ("t.csv", "t.md"):
        path = table_1(records, tmp_path / name)
        here = [finding for finding in lint(tmp_path).findings if finding.where == str(path)]
        mixed = [finding.text for finding in here if finding.rule == "mixed protocols"]
        assert mixed == ["Table 1, SCAN on mnist: ours is under full, the published numbers of the row under split."]


def test_methods_that_share_no_protocol_are_found(save: Save, tmp_path: Path) -> None:
    seeds(save, "iic")
    seeds(save, "scan", protocol="split")
    assert [f.text for f in lint(tmp_path).findings if f.rule == "mixed protocols"] == [
        "on mnist there is no protocol that all methods share (full: iic; split: scan)."
    ]
    seeds(save, "iic", protocol="split")
    assert rules(tmp_path) == []


def test_methods_that_share_no_copy_of_the_data_are_found(save: Save, tmp_path: Path) -> None:
    seeds(save, "iic", data_fingerprint="a" * 64)
    seeds(save, "dec", data_fingerprint="b" * 64)
    assert rules(tmp_path) == ["mixed data"]


def test_mixed_metric_versions_are_found_with_the_command_that_mends_them(save: Save, tmp_path: Path) -> None:
    seeds(save, metrics_version=1)
    seeds(save, "dec", metrics_version=2)
    (finding,) = lint(tmp_path).findings
    told = f"version 1 in 3, version 2 in 3 records. Make them one: bench rescore --out {tmp_path}"
    assert str(finding) == f"{tmp_path}: mixed metric versions: {told}"


def test_a_data_set_that_a_method_lacks_is_found_within_its_budget(save: Save, tmp_path: Path) -> None:
    seeds(save, "iic", "mnist")
    seeds(save, "iic", "usps")
    seeds(save, "dec", "mnist")
    seeds(save, "dec", "cifar10", preset="short")
    assert [f.text for f in lint(tmp_path).findings if f.rule == "missing cell"] == [
        "dec (budget paper, protocol full) has no run on usps, on which others have."
    ]


def test_failed_runs_and_damaged_records_are_found(save: Save, tmp_path: Path) -> None:
    seeds(save)
    save(seed=7, status="failed", error={"type": "Diverged", "message": "not finite"})
    (save(seed=8).folder / "record.json").write_text("{", encoding="utf-8")
    assert sorted(rules(tmp_path)) == ["damaged record", "unfinished run"]
    assert lint(tmp_path).records == 5
