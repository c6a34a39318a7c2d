"""What a benchmark of the suite found, whatever it measures: rows of figures, and the goals that they are held to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

Figure = str | int | float | None
NONE = "-"


@dataclass(frozen=True)
class Goal:
    """A figure beside what it should be: at most `limit`, or at least where `at_most` is False."""

    what: str
    value: float
    limit: float
    at_most: bool = True

    @property
    def is_met(self) -> bool:
        """Whether the value keeps to the limit."""
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def __str__(self) -> str:
        said = "met" if self.is_met else "MISSED"
        return f"{self.what}: {shown(self.value)}, {'at most' if self.at_most else 'at least'} {shown(self.limit)}: {said}"


@dataclass(frozen=True)
class Outcome:
    """One benchmark of the suite.

    Attributes:
        key: its name, as `--only` takes it.
        title: what was compared.
        settings: on what and how, for one who wants to repeat it.
        rows: figures by column, whose name holds the unit; None where there is nothing to measure. A column that only later rows
            have stands last.
        goals: what the figures are held to.
    """

    key: str
    title: str
    settings: str
    rows: tuple[dict[str, Figure], ...]
    goals: tuple[Goal, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns, in the order in which the rows have them."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row))

    def cells(self) -> Iterator[tuple[str, ...]]:
        """The rows as they are printed."""
        for row in self.rows:
            yield tuple(shown(row.get(name)) for name in self.columns)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "rows": list(self.rows), "goals": [asdict(goal) for goal in self.goals]}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Outcome:
        """From what `as_dict` made."""
        goals = tuple(Goal(**goal) for goal in content["goals"])
        return cls(**{**content, "rows": tuple(content["rows"]), "goals": goals})


def shown(value: Figure) -> str:
    """A figure with three digits that count, thousands apart; text as it is."""
    if value is None:
        return NONE
    if isinstance(value, str):
        return value
    size = abs(value)
    if isinstance(value, int) or size >= 100:
        return f"{value:,.0f}"
    return f"{value:.{2 if size >= 10 else 3}f}" if size >= 1e-3 or value == 0 else f"{value:.1e}"


def show(outcomes: Sequence[Outcome]) -> RenderableType:
    """All of them below each other, for a terminal."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    for outcome in outcomes:
        parts += [Text(outcome.title, style="bold"), Text(outcome.settings, style="dim"), _table(outcome)]
        parts += [Text(str(goal), style="green" if goal.is_met else "red") for goal in outcome.goals]
        parts.append(Text())
    return Group(*parts)


def _table(outcome: Outcome) -> RenderableType:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in outcome.columns:
        table.add_column(name, justify="left" if _is_text(outcome, name) else "right", no_wrap=True)
    for row in outcome.cells():
        table.add_row(*row)
    return table


def _is_text(outcome: Outcome, column: str) -> bool:
    return any(isinstance(row.get(column), str) for row in outcome.rows)


def markdown(outcome: Outcome) -> str:
    """A section of a page: heading, settings, table, goals."""
    columns = outcome.columns
    ruler = ("---" if _is_text(outcome, name) else "--:" for name in columns)
    lines = [columns, tuple(ruler), *outcome.cells()]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    goals = "".join(f"* {goal}\n" for goal in outcome.goals)
    return f"## {outcome.title}\n\n{outcome.settings}\n\n{table}\n" + (f"\n{goals}" if goals else "")
