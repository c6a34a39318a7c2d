"""A table in a terminal, laid out for the width there is. Imported only where something is printed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from .grid import Cell, Line, Row, Table

GAP = 2  # blanks between two columns
_STYLES = {"ours": "", "detail": "dim", "published": "italic", "": ""}


class InTerminal:
    """What `rich.console.Console.print` takes: the table, a part for each heading, then what stands under it."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        table = self.table
        widths = _widths(table, options.max_width)
        yield Text(table.title, style="bold")
        for heading, rows in groupby(table.rows, key=lambda row: row.group):
            yield Text(f"\n{heading}" if heading else "", style="italic")
            yield _grid(table, rows, widths)
        yield Text(f"\n{table.caption}", style="dim")
        yield from (_hanging(f"{number:>3}  ", note) for number, note in enumerate(table.footnotes, start=1))
        for section in table.sections:
            yield Text(f"\n{section.title}", style="bold")
            yield from (_hanging("  ", text, "cyan" if section.code else "") for text in section.lines)


def _grid(table: Table, rows: Iterable[Row], widths: list[int | None]) -> RichTable:
    grid = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for index, (column, width) in enumerate(zip(table.columns, widths, strict=True)):
        grid.add_column(Text(column), justify="left" if index < table.labels else "right", overflow="fold", width=width)
    for row in rows:
        grid.add_row(*(Text("\n").join(map(_line, cell)) for cell in row.cells))
    return grid


def _widths(table: Table, available: int) -> list[int | None]:
    """The width of each column: enough for its longest word, and an equal share of what more its longest line would need.

    Equal widths keep the parts under different headings aligned, and whole words readable. None (rich decides, and breaks
    words) where not even the words have room.
    """
    columns = [[(Line(name),), *(row.cells[index] for row in table.rows)] for index, name in enumerate(table.columns)]
    widths, wished = [_longest_word(cells) for cells in columns], [_longest_line(cells) for cells in columns]
    room = available - sum(widths) - GAP * (len(widths) - 1)
    if room < 0:
        return [None] * len(widths)
    needs = [wish - width for wish, width in zip(wished, widths, strict=True)]
    share = min(1.0, room / max(1, sum(needs)))
    return [width + int(need * share) for width, need in zip(widths, needs, strict=True)]


def _longest_line(cells: list[Cell]) -> int:
    return max(_line(line).cell_len for cell in cells for line in cell)


def _longest_word(cells: list[Cell]) -> int:
    return max(Text(word).cell_len for cell in cells for line in cell for word in _line(line).plain.split() or [""])


def _line(line: Line) -> Text:
    marks = (f" {line.mark_text}" if line.marks else "", "yellow" if line.role == "ours" else "dim")
    return Text.assemble((line.text, "bold" if line.best else _STYLES[line.role]), marks)


def _hanging(lead: str, text: str, style: str = "") -> RenderableType:
    """`lead` and `text` beside each other, later lines of the text under its first."""
    beside = RichTable.grid()
    beside.add_column(width=len(lead), no_wrap=True)
    beside.add_column(overflow="fold")
    beside.add_row(Text(lead), Text(text, style=style))
    return beside
