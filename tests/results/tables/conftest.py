"""Ways to look at a table: one cell, its texts by role, the footnotes of its marks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from clusterbench.results.grid import Cell, Line, Table


@dataclass(frozen=True)
class Look:
    """Reads tables the way a person does."""

    def cell(self, table: Table, row: str, dataset: str, heading: str = "") -> Cell:
        (found,) = [each for each in table.rows if each.cells[0][0].text == row and each.group == heading]
        return found.cells[table.columns.index(dataset)]

    def texts(self, cell: Cell, role: str) -> list[str]:
        return [line.text for line in cell if line.role == role]

    def footnotes(self, table: Table, line: Line) -> list[str]:
        return [table.footnotes[mark - 1] for mark in line.marks]

    def notes(self, table: Table, cell: Cell, role: str = "ours") -> list[str]:
        return [note for line in cell if line.role == role for note in self.footnotes(table, line)]

    def section(self, table: Table, begin: str) -> tuple[str, ...]:
        return next((each.lines for each in table.sections if each.title.startswith(begin)), ())

    def facts(self, table: Table, /, **wanted: Any) -> list[Any]:
        return [fact for fact in table.facts if all(fact[name] == value for name, value in wanted.items())]

    def bold(self, table: Table) -> list[tuple[str, str]]:
        """(row, column) of every cell with something in bold."""
        return [
            (row.cells[0][0].text, column)
            for row in table.rows
            for column, cell in zip(table.columns, row.cells, strict=True)
            if any(line.best for line in cell)
        ]


@pytest.fixture
def look() -> Look:
    return Look()
