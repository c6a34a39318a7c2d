"""Every line of `published.csv` stands in the cell it belongs to, once, with all that must be known beside it."""

from __future__ import annotations

import csv
from importlib.resources import files
from typing import Any

import pytest

from clusterbench.results.grid import Table
from clusterbench.results.published import Published, published
from clusterbench.results.tables import tables
from clusterbench.results.tables.caveats import caveats

with files("clusterbench.results").joinpath("published.csv").open(encoding="utf-8") as _file:
    NUMBERS = list(csv.DictReader(_file))
TABLES = tables([])
SUB_HEADS = {
    "lowest-loss sub-head": "IIC (lowest-loss sub-head)",
    "average of sub-heads": "IIC (average of sub-heads ± STD)",
}


def place(number: dict[str, str]) -> tuple[str, str, str]:
    """(number of the table, row, heading of the rows) where a reader of the sources would look."""
    table, system, metric = number["table"], number["system"], number["metric"]
    if table:
        folds = ", ten folds of 1,000 labels" if "multi-fold" in number["note"] else ""
        return table, SUB_HEADS.get(number["aggregate"], system + folds), ""
    if "finetune" in number["note"]:
        return "3", "IIC plus finetune", ""
    if metric in ("pixel_acc", "miou"):
        later = number["dataset"] in ("coco-stuff-27", "coco-stuff-171")
        return "4", "IIC", {"pixel_acc": "ACC over pixels", "miou": "Mean IoU"}[metric] if later else ""
    if metric in ("nmi", "ari"):
        return "1", system, metric.upper()
    return "1", "IIC (lowest-loss sub-head)" if system == "IIC" else system, ""


def table_of(number: dict[str, str]) -> Table:
    """The one table that has the row and the column of a number."""
    (table, row, heading), dataset = place(number), number["dataset"].replace("coco-stuff-15", "coco-stuff")
    (found,) = [
        each
        for each in TABLES
        if each.title.startswith(f"Table {table} ") and dataset in each.columns
        and any((line.cells[0][0].text, line.group) == (row, heading) for line in each.rows)
    ]  # fmt: skip
    return found


def name(number: dict[str, str]) -> str:
    return "-".join(number[key] for key in ("table", "system", "dataset", "metric", "value"))


@pytest.mark.parametrize("number", NUMBERS, ids=name)
def test_a_published_number_stands_in_its_cell(look: Any, number: dict[str, str]) -> None:
    (_, row, heading), dataset = place(number), number["dataset"].replace("coco-stuff-15", "coco-stuff")
    found = table_of(number)
    shown = [text.split() for text in look.texts(look.cell(found, row, dataset, heading), "published")]
    spread = ["±", number["std"]] if number["std"] else []
    assert any(words[: 1 + len(spread)] == [number["value"], *spread] for words in shown)
    facts = look.facts(found, kind="published", row=row, dataset=dataset, metric=number["metric"], source=number["source"])
    told = [(fact["value"], fact["notes"].partition(".")[0]) for fact in facts]
    assert told.count((float(number["value"]), number["aggregate"])) == 1


def test_no_number_stands_anywhere_else(look: Any) -> None:
    assert sum(len(look.facts(table, kind="published")) for table in TABLES) == len(NUMBERS) == 163


@pytest.mark.parametrize("number", published(), ids=lambda row: f"{row.table}-{row.system}-{row.dataset}-{row.metric}-{row.text}")
def test_what_must_be_known_of_a_number_is_a_footnote_at_it_or_at_its_row(look: Any, number: Published) -> None:
    _, row, heading = place(vars(number))
    found = table_of(vars(number))
    (label,) = look.cell(found, row, found.columns[0], heading)
    cell = look.cell(found, row, number.our_dataset, heading)
    assert {*caveats(number)} <= {*look.footnotes(found, label), *look.notes(found, cell, "published")}


@pytest.mark.parametrize(
    ("table", "row", "dataset", "told"),
    [
        (0, "DEC", "stl10", "HOG"),
        (0, "ADC", "stl10", "The best run; the mean is about 47.8"),
        (0, "DAC", "cifar10", "chosen with labels; the last has 51.8"),
        (0, "IIC (lowest-loss sub-head)", "mnist", "never trains the auxiliary head"),
        (0, "IIC (lowest-loss sub-head)", "stl10", "Later version of the paper."),
        (0, "IIC (average of sub-heads ± STD)", "cifar10", "Batch norm took its statistics from each batch of scored images"),
        (0, "SCAN", "cifar100-20", "The best of ten runs; labels chose it."),
    ],
)
def test_a_known_flaw_is_told_where_the_number_stands(look: Any, table: int, row: str, dataset: str, told: str) -> None:
    found = TABLES[table]
    assert any(told in note for note in look.notes(found, look.cell(found, row, dataset), "published"))


@pytest.mark.parametrize("row", ["Doersch 2015", "Isola 2016", "DeepCluster"])
def test_the_rows_with_one_pixel_a_batch_say_so(look: Any, row: str) -> None:
    (table,) = [each for each in TABLES if each.title.startswith("Table 4 of")]
    (label,) = [line.cells[0][0] for line in table.rows if line.cells[0][0].text == row]
    assert any("one pixel of each batch" in note for note in look.footnotes(table, label))


def test_the_page_that_mixes_up_potsdam_is_told_at_its_number(look: Any) -> None:
    (table,) = [each for each in TABLES if each.title.startswith("Table 4 of")]
    (_, mixed) = [line for line in look.cell(table, "IIC", "potsdam-3") if line.role == "published"]
    assert mixed.text == "45.4 page"
    assert any("this page mixes them up" in note for note in look.footnotes(table, mixed))
