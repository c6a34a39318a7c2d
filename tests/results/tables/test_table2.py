"""Table 2: a run of IIC belongs to the row whose settings it has, and to no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from clusterbench.results.grid import Table
from clusterbench.results.record import Record
from clusterbench.results.tables import Here, SuiteRow, tables

MakeRecord = Callable[..., Record]
BOTH = {"passes": ["auxiliary", "main"]}
FULL, SINGLE, CLUSTERS, ALONE = "Full setting", "Single sub-head (h = 1)", "No auxiliary overclustering", "No auxiliary head"
SUITE = [
    SuiteRow(CLUSTERS, "iic", {**BOTH, "auxiliary_clusters": 10}),
    SuiteRow(ALONE, "iic", {"passes": ["main"]}),
    SuiteRow(SINGLE, "iic", {**BOTH, "sub_heads": 1}),
    SuiteRow(FULL, "iic", BOTH),
]
CONFIG = {**BOTH, "sub_heads": 5, "auxiliary_clusters": 70, "network": {"width": 8}, "epochs": 3}


def table2(*records: Record) -> Table:
    (table,) = tables(records, [2], {2: ["mnist"]}, Here(suites={2: SUITE}))
    return table


def filled(table: Table) -> list[str]:
    column = table.columns.index("mnist")
    return [row.cells[0][0].text for row in table.rows if any(line.role == "ours" for line in row.cells[column])]


@pytest.mark.parametrize(
    ("changed", "rows"),
    [
        ({}, [FULL]),
        ({"sub_heads": 1}, [SINGLE]),
        ({"auxiliary_clusters": 10}, [CLUSTERS]),
        ({"passes": ["main"]}, [ALONE]),
        ({"epochs": 9}, [FULL]),
        ({"sub_heads": 1, "epochs": 9}, [SINGLE]),
        ({"sub_heads": 2}, []),
        ({"sub_heads": 1, "auxiliary_clusters": 10}, []),
    ],
)
def test_a_run_belongs_to_the_row_of_what_it_changed(make_record: MakeRecord, changed: dict[str, Any], rows: list[str]) -> None:
    assert filled(table2(make_record(config={**CONFIG, **changed}, overrides=changed))) == rows


def test_a_preset_that_leaves_something_out_by_itself_belongs_to_that_row_too(make_record: MakeRecord) -> None:
    assert filled(table2(make_record(config={**CONFIG, "sub_heads": 1}))) == [SINGLE, FULL]


def test_runs_of_other_methods_and_tasks_fill_nothing(make_record: MakeRecord) -> None:
    others = [make_record("kmeans", config=CONFIG), make_record(task="segmentation", config=CONFIG)]
    assert filled(table2(*others)) == []


def test_what_a_row_is_about_is_no_deviation_and_what_else_was_changed_is(look: Any, make_record: MakeRecord) -> None:
    changed = {"sub_heads": 1, "epochs": 9}
    table = table2(*(make_record(seed=seed, config={**CONFIG, **changed}, overrides=changed) for seed in range(3)))
    assert look.notes(table, look.cell(table, SINGLE, "mnist")) == ["Changed settings: epochs=9."]


def test_every_published_row_is_there_without_the_suite_and_those_of_the_suite_that_are_ours_alone(look: Any) -> None:
    (bare,) = tables([], [2])
    assert [row.cells[0][0].text for row in bare.rows][-1] == FULL
    assert look.texts(look.cell(bare, FULL, "stl10"), "detail") == ["no method"]
    with_suite = table2()
    assert [row.cells[0][0].text for row in with_suite.rows][:4] == [CLUSTERS, ALONE, SINGLE, FULL]
    (label,) = look.cell(with_suite, ALONE, "Setting")
    assert look.footnotes(with_suite, label) == ["Not in the paper."]
    assert look.texts(look.cell(with_suite, ALONE, "stl10"), "published") == ["-"]


def test_a_data_set_is_a_column_by_itself_where_two_settings_were_run_on_it(make_record: MakeRecord) -> None:
    def columns(*records: Record) -> tuple[str, ...]:
        return tables(records, [2], here=Here(suites={2: SUITE}))[0].columns

    full = make_record(dataset="usps", config=CONFIG)
    single = make_record(dataset="usps", config={**CONFIG, "sub_heads": 1}, overrides={"sub_heads": 1})
    assert columns(full) == ("Setting", "stl10")
    assert columns(full, single) == ("Setting", "stl10", "usps")
