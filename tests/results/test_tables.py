"""Table 1: each number in its cell, and nothing averaged that does not belong together."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clusterbench.results.grid import Cell, Table
from clusterbench.results.published import published
from clusterbench.results.record import Record
from clusterbench.results.tables import table1

MakeRecord = Callable[..., Record]
LOWEST, AVERAGE = "IIC (lowest-loss sub-head)", "IIC (average of sub-heads ± STD)"


def cell(table: Table, row: str | None, dataset: str) -> Cell:
    (found,) = [each for each in table.rows if each.cells[0][0].text == row]
    return found.cells[table.columns.index(dataset)]


def texts(cell: Cell, role: str) -> list[str]:
    return [line.text for line in cell if line.role == role]


def notes(table: Table, cell: Cell, role: str = "ours") -> list[str]:
    return [table.footnotes[mark - 1] for line in cell if line.role == role for mark in line.marks]


def section(table: Table, begin: str) -> tuple[str, ...]:
    return next((each.lines for each in table.sections if each.title.startswith(begin)), ())


def test_every_published_number_of_table_1_stands_in_its_cell() -> None:
    table, of_iic = table1([]), {"lowest-loss sub-head": LOWEST, "average of sub-heads": AVERAGE}
    for number in published(table=1):
        row = of_iic.get(number.aggregate, number.system)
        printed = f"{number.text} ± {number.std_text}" if number.std_text else number.text
        assert texts(cell(table, row, number.dataset), "published") == [printed]


@pytest.mark.parametrize("system", ["SCAN", "IMC-SwAV"])
def test_later_systems_follow_with_every_number_of_their_pages(system: str) -> None:
    numbers = [row for row in published(table="", system=system, metric="acc") if row.method]
    table = table1([], sorted({row.dataset for row in numbers}))
    for number in numbers:
        assert f"{number.text} {number.aggregate}" in texts(cell(table, system, number.dataset), "published")
    assert len(numbers) >= 8


def test_rows_come_in_the_papers_order_with_iic_twice_and_then_the_later_systems() -> None:
    rows = [row.cells[0][0].text for row in table1([]).rows]
    assert rows[:3] == ["Random network", "K-means", "Spectral clustering"]
    assert rows[-5:] == ["ADC", LOWEST, AVERAGE, "SCAN", "IMC-SwAV"]
    assert len(rows) == 19


def test_notes_of_the_paper_stand_at_the_label_and_at_the_cell() -> None:
    table = table1([])
    (deepcluster,) = [row.cells[0][0] for row in table.rows if row.cells[0][0].text == "DeepCluster"]
    assert [table.footnotes[mark - 1] for mark in deepcluster.marks] == [
        "Kmeans-based.", "Needs k-means.", "Run by the IIC authors with the original code.",
    ]  # fmt: skip
    assert notes(table, cell(table, LOWEST, "stl10"), "published") == [
        "The results page of the IIC paper gives 61.0 (later version of the paper)."
    ]
    assert not any("88.8" in note for note in table.footnotes)  # that number is a fine-tuned classifier's


def test_ours_stands_under_the_published_number(make_record: MakeRecord) -> None:
    table = table1([make_record(seed=seed, acc=acc) for seed, acc in enumerate([0.96, 0.97, 0.98])])
    lowest = cell(table, LOWEST, "mnist")
    assert [line.text for line in lowest] == ["99.2", "97.0 ± 1.0", "paper, full, n=3, best 98.0", "1 min 30 s"]
    assert notes(table, lowest) == []


def test_what_a_published_protocol_leaks_is_said_at_the_label_of_its_row_alone() -> None:
    table = table1([], leaks={"scan": ("an epoch chosen on test images",)})
    note = table.footnotes.index("A leak of the published protocol: an epoch chosen on test images.") + 1
    assert [row.cells[0][0].text for row in table.rows if note in row.cells[0][0].marks] == ["SCAN"]


def test_the_average_row_takes_the_sub_heads(make_record: MakeRecord) -> None:
    table = table1([make_record(seed=seed, acc=acc) for seed, acc in enumerate([0.96, 0.97, 0.98])])
    average = cell(table, AVERAGE, "mnist")
    assert texts(average, "ours") == ["95.0 ± 3.0"]  # heads are 0.02 below, 0.03 apart
    assert "over seeds it is 1.0" in notes(table, average)[0]


def test_one_seed_has_no_spread_and_says_so(make_record: MakeRecord) -> None:
    table = table1([make_record("kmeans", acc=0.5342)])
    assert texts(cell(table, "K-means", "mnist"), "ours") == ["53.4"]
    assert notes(table, cell(table, "K-means", "mnist")) == ["1 seed: no spread is known."]


def test_budgets_are_not_mixed_and_the_other_group_is_told(make_record: MakeRecord) -> None:
    short = [make_record(seed=seed, preset="short", acc=0.6) for seed in range(5)]
    table = table1([*short, make_record(preset="paper", acc=0.9), make_record(preset="short", protocol="split", acc=0.1)])
    lowest = cell(table, LOWEST, "mnist")
    assert texts(lowest, "ours") == ["90.0"]
    assert "Other runs of iic on mnist are not in this cell: short, full, n=5; short, split, n=1." in notes(table, lowest)


def test_a_lesser_budget_and_another_protocol_get_a_dagger(make_record: MakeRecord) -> None:
    table = table1([make_record(seed=seed, preset="short", protocol="split") for seed in range(3)])
    lowest = cell(table, LOWEST, "mnist")
    assert notes(table, lowest) == [
        "Budget short, not paper: bench show iic lists what it changes.",
        "Protocol split; the published numbers of the row are under full.",
    ]
    assert lowest[1].mark_text.startswith("†")


def test_split_is_no_deviation_where_the_published_number_is_split(make_record: MakeRecord) -> None:
    table = table1([make_record("scan", "cifar10", seed=seed, protocol="split") for seed in range(3)])
    assert notes(table, cell(table, "SCAN", "cifar10")) == []


def test_a_failed_seed_is_reported_not_averaged(make_record: MakeRecord) -> None:
    failed = make_record(seed=2, acc=0.1, status="failed", error={"type": "Diverged", "message": "no"})
    table = table1([make_record(seed=0, acc=0.9), make_record(seed=1, acc=0.9), failed])
    assert texts(cell(table, LOWEST, "mnist"), "ours") == ["90.0 ± 0.0"]
    assert section(table, "Not averaged") == ("iic-mnist-paper-s2: failed after 3 of 3 epochs (Diverged: no)",)


def test_a_cell_without_a_run_says_so_and_offers_the_command(make_record: MakeRecord) -> None:
    table = table1([make_record("kmeans")])
    assert "no run" in texts(cell(table, LOWEST, "mnist"), "detail")
    commands = section(table, "To fill")
    assert "bench run --method iic --dataset mnist" in commands
    assert "bench run --method kmeans --dataset mnist" not in commands
    assert len(commands) == len(set(commands)) == 18 * 4 - 1  # IIC stands in two rows


def test_only_what_can_be_run_is_offered() -> None:
    table = table1([], ["digits"], methods=["iic", "kmeans"], known_datasets=["digits", "mnist"])
    assert section(table, "To fill") == tuple(
        f"bench run --method {method} --dataset {dataset}" for method in ("kmeans", "iic") for dataset in ("mnist", "digits")
    )


def test_data_sets_with_runs_and_those_asked_for_get_columns(make_record: MakeRecord) -> None:
    unlabelled = make_record("kmeans", "folder:pets", acc=None)
    elsewhere = make_record("their-method", "usps")
    table = table1([make_record("kmeans", "digits"), unlabelled, elsewhere], ["tiny-imagenet", "mnist"])
    assert table.columns == ("Method", "stl10", "cifar10", "cifar100-20", "mnist", "tiny-imagenet", "digits")
    assert section(table, "Runs of methods without a row") == ("their-method",)


def test_other_tasks_are_passed_over(make_record: MakeRecord) -> None:
    assert table1([make_record(task="segmentation", status="failed")]) == table1([])


def test_the_oracle_is_shown_as_what_it_is_and_fills_no_cell(make_record: MakeRecord) -> None:
    table = table1([make_record(acc=0.9, oracle=0.95)])
    assert section(table, "Chosen with labels") == ("iic on mnist: ACC 95.0, +5.0 points over the choice by own loss (n=1)",)
    assert not any("95.0" in line.text for row in table.rows for each in row.cells for line in each)


def test_facts_hold_the_table_for_machines(make_record: MakeRecord) -> None:
    table = table1([make_record(seed=seed, acc=acc, oracle=0.99) for seed, acc in enumerate([0.96, 0.97, 0.98])])
    reproduced = [fact for fact in table.facts if fact["kind"] == "reproduced"]
    assert [(fact["row"], fact["value"], fact["std_over"]) for fact in reproduced] == [
        (LOWEST, 97.0, "seeds"),
        (AVERAGE, 95.0, "sub-heads"),
    ]
    assert reproduced[0]["std"] == pytest.approx(1.0) and reproduced[0]["selection_gap"] == pytest.approx(2.0)
    scan_and_imc = 6 + 8
    assert len([fact for fact in table.facts if fact["kind"] == "published"]) == 68 + scan_and_imc
    assert len({tuple(fact) for fact in table.facts}) == 1
