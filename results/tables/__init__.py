"""The tables of the IIC paper with the published numbers beside ours: Table 1 to 4, each a module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..grid import Table
from ..record import Record
from . import table1, table2, table3, table4
from .cells import Runs, build
from .rows import Entry, Here, Sheet, SuiteRow

__all__ = ["TABLES", "Entry", "Here", "Sheet", "SuiteRow", "tables"]

TABLES = {1: table1, 2: table2, 3: table3, 4: table4}


def tables(
    records: Iterable[Record],
    numbers: Sequence[int] = (1, 2, 3, 4),
    datasets: Mapping[int, Sequence[str]] | None = None,
    here: Here | None = None,
) -> list[Table]:
    """Tables of the IIC paper; each is followed by what only later pages report of its task.

    Args:
        records: any records; those of other tasks are passed over, unfinished and failed ones are listed, never averaged.
        numbers: which tables, 1 to 4.
        datasets: by number of the table, columns to show beside the paper's and those that have labelled runs.
        here: what the harness knows of rows, methods and commands; without it no run belongs to Table 2, and nothing is offered.
    """
    runs, here, asked = Runs.of(records), here or Here(), datasets or {}
    sheets = (sheet for number in numbers for sheet in TABLES[number].sheets(runs, asked.get(number, ()), here))
    return [build(sheet, runs, here) for sheet in sheets]
