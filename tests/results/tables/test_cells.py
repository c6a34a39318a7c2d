"""What stands in a cell: ours under the published number, and nothing averaged that does not belong together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from clusterbench.results.grid import Table
from clusterbench.results.record import Record
from clusterbench.results.tables import Entry, Here, tables

MakeRecord = Callable[..., Record]
LOWEST, AVERAGE = "IIC (lowest-loss sub-head)", "IIC (average of sub-heads ± STD)"


def table1(records: Sequence[Record] = (), datasets: Sequence[str] = (), here: Here | None = None) -> Table:
    return tables(records, [1], {1: datasets}, here)[0]


def commands(entry: Entry, missing: Sequence[str]) -> list[str]:
    return [f"fill {entry.method}: {' '.join(missing)}"]


def test_rows_come_in_the_papers_order_with_iic_twice_and_then_the_later_systems() -> None:
    rows = [row.cells[0][0].text for row in table1().rows]
    assert rows[:3] == ["Random network", "K-means", "Spectral clustering"]
    assert rows[-5:] == ["ADC", LOWEST, AVERAGE, "SCAN", "IMC-SwAV"]
    assert len(rows) == 19


def test_ours_stands_under_the_published_numbers(look: Any, make_record: MakeRecord) -> None:
    table = table1([make_record(seed=seed, acc=acc) for seed, acc in enumerate([0.96, 0.97, 0.98])])
    lowest = look.cell(table, LOWEST, "mnist")
    shown = ["99.2", "99.3 page", "ours 97.0 ± 1.0", "[96.0, 98.0]", "paper, full, n=3, best 98.0", "1 min 30 s"]
    assert [line.text for line in lowest] == shown
    assert look.notes(table, lowest) == []


def test_the_average_row_takes_the_sub_heads(look: Any, make_record: MakeRecord) -> None:
    table = table1([make_record(seed=seed, acc=acc) for seed, acc in enumerate([0.96, 0.97, 0.98])])
    average = look.cell(table, AVERAGE, "mnist")
    assert look.texts(average, "ours") == ["ours 95.0 ± 3.0"]  # heads are 0.02 below, 0.03 apart
    assert "over seeds it is 1.0" in look.notes(table, average)[0]
    assert not any(text.startswith("[") for text in look.texts(average, "detail"))


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_seeds_claim_nothing(look: Any, make_record: MakeRecord, n: int) -> None:
    table = table1([make_record("kmeans", seed=seed, acc=0.5342) for seed in range(n)])
    cell = look.cell(table, "K-means", "mnist")
    assert look.texts(cell, "ours") == ["ours 53.4" if n == 1 else "ours 53.4 ± 0.0"]
    assert not any(text.startswith("[") for text in look.texts(cell, "detail"))
    assert look.notes(table, cell) == ["1 seed: no spread is known." if n == 1 else "2 seeds: too few for a claim."]


def test_budgets_are_not_mixed_and_the_other_group_is_told(look: Any, make_record: MakeRecord) -> None:
    short = [make_record(seed=seed, preset="short", acc=0.6) for seed in range(5)]
    table = table1([*short, make_record(preset="paper", acc=0.9), make_record(preset="short", protocol="split", acc=0.1)])
    lowest = look.cell(table, LOWEST, "mnist")
    assert look.texts(lowest, "ours") == ["ours 90.0"]
    assert "Other runs of iic on mnist are not in this cell: short, full, n=5; short, split, n=1." in look.notes(table, lowest)


def test_a_lesser_budget_and_another_protocol_get_a_dagger(look: Any, make_record: MakeRecord) -> None:
    table = table1([make_record(seed=seed, preset="short", protocol="split") for seed in range(3)])
    lowest = look.cell(table, LOWEST, "mnist")
    assert look.notes(table, lowest) == [
        "Budget short, not paper: bench show iic lists what it changes.",
        "Protocol split; the published numbers of the row are under full.",
    ]
    assert [line.mark_text[0] for line in lowest if line.role == "ours"] == ["†"]


def test_split_is_no_deviation_where_the_published_number_is_split(look: Any, make_record: MakeRecord) -> None:
    table = table1([make_record("scan", "cifar10", seed=seed, protocol="split") for seed in range(3)])
    assert look.notes(table, look.cell(table, "SCAN", "cifar10")) == []


def test_runs_whose_clusters_were_named_by_labels_fill_no_cell(look: Any, make_record: MakeRecord) -> None:
    table = table1([make_record(protocol="semi-supervised", acc=0.99)])
    assert look.texts(look.cell(table, LOWEST, "mnist"), "ours") == []


def test_a_failed_seed_is_reported_not_averaged(look: Any, make_record: MakeRecord) -> None:
    failed = make_record(seed=2, acc=0.1, status="failed", error={"type": "Diverged", "message": "no"})
    table = table1([make_record(seed=0, acc=0.9), make_record(seed=1, acc=0.9), failed])
    assert look.texts(look.cell(table, LOWEST, "mnist"), "ours") == ["ours 90.0 ± 0.0"]
    assert look.section(table, "Not averaged") == ("iic-mnist-paper-s2: failed after 3 of 3 epochs (Diverged: no)",)


def test_a_cell_without_a_run_says_so_and_its_row_offers_the_command_once(look: Any, make_record: MakeRecord) -> None:
    table = table1([make_record("kmeans")], here=Here(commands=commands))
    offered = look.section(table, "To fill")
    assert look.texts(look.cell(table, LOWEST, "mnist"), "detail") == ["no run"]
    assert offered[0] == "bench suite run table1  # all of it"
    assert "fill kmeans: stl10 cifar10 cifar100-20" in offered
    assert offered.count("fill iic: stl10 cifar10 cifar100-20 mnist") == 1  # IIC stands in two rows
    assert len(offered) == 1 + 18


def test_a_method_that_is_not_here_is_named_as_such_and_offered_nothing(look: Any) -> None:
    table = table1(here=Here(methods={"kmeans": "clustering"}, commands=commands))
    assert look.texts(look.cell(table, "JULE", "mnist"), "detail") == ["no method"]
    assert look.section(table, "To fill")[1:] == ("fill kmeans: stl10 cifar10 cifar100-20 mnist",)


def test_data_sets_with_runs_and_those_asked_for_get_columns(look: Any, make_record: MakeRecord) -> None:
    unlabelled = make_record("kmeans", "folder:pets", acc=None)
    elsewhere = make_record("their-method", "usps")
    table = table1([make_record("kmeans", "digits"), unlabelled, elsewhere], ["tiny-imagenet", "mnist"])
    assert table.columns == ("Method", "stl10", "cifar10", "cifar100-20", "mnist", "tiny-imagenet", "digits")
    assert look.section(table, "Runs of methods without a row") == ("their-method",)


def test_a_column_of_the_table_is_not_shown_again_after_it() -> None:
    _, continued, _ = tables([], [1], {1: ["tiny-imagenet"]})
    assert continued.columns == ("Method", "imagenet", "imagenet-50", "imagenet-100", "imagenet-200")
    assert [row.cells[0][0].text for row in continued.rows] == ["SCAN"]


def test_other_tasks_are_passed_over(make_record: MakeRecord) -> None:
    assert tables([make_record(task="segmentation", status="failed")], [1]) == tables([], [1])


def test_the_oracle_is_shown_as_what_it_is_and_fills_no_cell(look: Any, make_record: MakeRecord) -> None:
    table = table1([make_record(acc=0.9, oracle=0.95)])
    assert look.section(table, "Chosen with labels") == (
        f"{LOWEST} on mnist: ACC 95.0, +5.0 points over the choice by own loss (n=1)",
    )
    assert not any("95.0" in line.text for row in table.rows for each in row.cells for line in each)


def test_shares_are_printed_and_kept_as_the_papers_print_them(look: Any, make_record: MakeRecord) -> None:
    *_, further = tables(
        [make_record("scan", "cifar10", protocol="split", seed=seed, acc=acc) for seed, acc in enumerate([0.8, 0.9])]
    )[:3]
    cell = look.cell(further, "SCAN", "cifar10", "NMI")
    assert look.texts(cell, "published") == ["0.787 avg", "0.797 best"]
    assert look.texts(cell, "ours") == ["ours 0.750 ± 0.071"]  # 0.1 below ACC
    (fact,) = look.facts(further, kind="reproduced", metric="nmi")
    assert (fact["unit"], fact["value"]) == ("share", pytest.approx(0.75))


def test_facts_hold_the_table_for_machines(look: Any, make_record: MakeRecord) -> None:
    table = table1([make_record(seed=seed, acc=acc, oracle=0.99) for seed, acc in enumerate([0.96, 0.97, 0.98])])
    lowest, average = look.facts(table, kind="reproduced")
    assert [(fact["row"], fact["value"], fact["std_over"], fact["unit"]) for fact in (lowest, average)] == [
        (LOWEST, 97.0, "seeds", "%"),
        (AVERAGE, 95.0, "sub-heads", "%"),
    ]
    assert lowest["std"] == pytest.approx(1.0) and lowest["selection_gap"] == pytest.approx(2.0)
    assert (lowest["low"], lowest["high"], lowest["is_best"]) == (pytest.approx(96.0), pytest.approx(98.0), False)
    assert len({tuple(fact) for each in tables([]) for fact in each.facts}) == 1


def test_another_laboratory_with_other_settings_is_told_beside_ours_and_never_averaged(
    look: Any, make_record: MakeRecord
) -> None:
    theirs = [make_record(seed=seed, acc=0.5, preset="short", origin={"lab": "oxford"}) for seed in range(3)]
    table = table1([*theirs, make_record(acc=0.9)])
    cell = look.cell(table, LOWEST, "mnist")
    assert look.texts(cell, "ours") == ["ours 90.0"]
    assert any("short, full, n=3 (lab oxford)" in note for note in look.notes(table, cell))


def test_bold_is_for_what_is_significantly_better_than_every_other_of_its_column(look: Any, make_record: MakeRecord) -> None:
    def seeds(method: str, *accuracies: float, **more: Any) -> list[Record]:
        return [make_record(method, seed=seed, acc=acc, **more) for seed, acc in enumerate(accuracies)]

    worse, near = seeds("kmeans", 0.50, 0.51, 0.52, 0.50), seeds("dec", 0.89, 0.95, 0.93, 0.87)
    iic = seeds("iic", 0.90, 0.91, 0.92, 0.91)
    assert look.bold(table1([*worse, *iic])) == [(LOWEST, "mnist")]  # not the mean over sub-heads, which was not tested
    assert look.bold(table1([*worse, *iic, *near])) == []
    assert look.bold(table1([*worse, *iic, *seeds("ae", 0.1, 0.1)])) == []  # two seeds: nobody is better for sure
    assert look.bold(table1([*iic, *seeds("kmeans", 0.5, 0.51, 0.52, protocol="split")])) == []  # no rival on the same terms
    assert look.bold(table1([*iic, *seeds("kmeans", 0.5, 0.51, 0.52, data_fingerprint="other")])) == []
