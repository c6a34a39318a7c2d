"""A table as data: what stands in it, before any renderer decides how it looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["", "published", "ours", "detail"]
NONE = "-"  # a cell that has nothing to say


@dataclass(frozen=True)
class Line:
    """One line of a cell.

    Attributes:
        text: plain text, not escaped for any format.
        marks: numbers of the footnotes that belong to it, from 1.
        role: `published`, `ours`, `detail` (small print), or "" for anything else. Marked lines of ours get a dagger.
        best: significantly better than what it stands beside: the one thing that is set in bold.
    """

    text: str
    marks: tuple[int, ...] = ()
    role: Role = ""
    best: bool = False

    @property
    def mark_text(self) -> str:
        """The marks as printed: `†1,3` where ours deviates, `2` elsewhere, "" without any."""
        if not self.marks:
            return ""
        return ("†" if self.role == "ours" else "") + ",".join(map(str, self.marks))


Cell = tuple[Line, ...]


@dataclass(frozen=True)
class Row:
    """Cells from left to right; rows that follow each other with the same `group` stand under one heading."""

    cells: tuple[Cell, ...]
    group: str = ""


@dataclass(frozen=True)
class Section:
    """A titled list under the table; `code` if its lines are commands to paste."""

    title: str
    lines: tuple[str, ...]
    code: bool = False


@dataclass(frozen=True)
class Table:
    """A table with what belongs under it.

    Attributes:
        title, caption: a line, and how to read the cells.
        columns: headings; the first `labels` columns hold text, the others numbers.
        rows: each with as many cells as there are columns.
        footnotes: texts; mark 1 is the first.
        sections: lists under the footnotes; those without lines are left out.
        facts: the same content for machines, one mapping per number; all have the same keys.
    """

    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    footnotes: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()
    facts: tuple[Mapping[str, Any], ...] = ()
    labels: int = 1


class Footnotes:
    """Numbers texts as they come; a text that comes again keeps its number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def marks(self, *texts: str) -> tuple[int, ...]:
        """The numbers of `texts`, ascending, each once."""
        return tuple(sorted({self._numbers.setdefault(text, len(self._numbers) + 1) for text in texts}))

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts in the order of their numbers."""
        return tuple(self._numbers)


def line(text: str, role: Role = "", marks: tuple[int, ...] = ()) -> Cell:
    """A cell of one line."""
    return (Line(text, marks, role),)


def percent(share: float | None, digits: int = 1) -> str:
    """A share in [0, 1] as a number of percent without the sign: 0.8612 is `86.1`."""
    return NONE if share is None else f"{100 * share:.{digits}f}"


def points(share: float | None) -> float | None:
    """A share in [0, 1] in percent, for facts; without the last digits that only binary rounding makes."""
    return None if share is None else round(100 * share, 10)


def duration(seconds: float | None) -> str:
    """`0.4 s`, `48 s`, `3 min 20 s`, `1 h 05 min`."""
    if seconds is None:
        return NONE
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
