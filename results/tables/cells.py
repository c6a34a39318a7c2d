"""From a sheet and the runs on record to a table: published numbers and ours in every cell."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..grid import NONE, Cell, Footnotes, Line, Row, Section, Table
from ..groups import Group, group_records, preferred, split_counted, why_left_out
from ..record import Record
from . import ours, printed
from .rows import Entry, Here, Sheet
from .significance import winners

FACTS = (
    *("table", "row", "method", "dataset", "metric", "unit", "kind", "source", "value", "std", "std_over", "low", "high", "n"),
    *("preset", "protocol", "is_best", "best", "oracle", "selection_gap", "seconds", "images", "notes"),
)
CAPTION = (
    "{what} The first lines of a cell are published numbers, what begins with 'ours' is of the runs on record ('lab NAME:' of "
    "another laboratory's): mean ± sample standard deviation over seeds, for the epoch and sub-head that the method's own loss "
    "prefers (no label chose anything); in brackets its bootstrap interval, from three seeds on, made for 95 % and too sure "
    "below six (75 % with three); then budget, protocol, number of seeds and the best of them (which it takes labels to find), "
    "and the mean time of a seed. Bold: significantly better than every other run of the column on the same data and protocol "
    "(t-tests, corrected by Holm); without bold nothing of the kind can be said. † marks what differs from the published setting."
)
CONTINUED = "{what} The rest as in the table before."
UNITS = {
    "acc": "ACC in %.",
    "pixel_acc": "ACC over pixels in %.",
    "miou": "Mean IoU in %.",
    "nmi": "NMI in [0, 1].",
    "ari": "ARI in [0, 1].",
}
WITH_LABELS = "Chosen with labels (epoch and sub-head of the best labelled score: never in the table, never ranked)"
TO_FILL = "To fill: the commands for the cells without a run (--preset short takes minutes where there is one)"


@dataclass(frozen=True)
class Runs:
    """Records in the form that tables need, made once for all of them.

    Attributes:
        groups: labelled groups of runs that count, by method.
        left_out: records that count for nothing.
    """

    groups: Mapping[str, Sequence[Group]]
    left_out: tuple[Record, ...]

    @classmethod
    def of(cls, records: Iterable[Record]) -> Runs:
        """Any records; unfinished and failed ones are kept apart, never averaged."""
        counted, left_out = split_counted(records)
        groups: dict[str, list[Group]] = {}
        for group in group_records(counted):
            if group.is_labelled:
                groups.setdefault(group.spec["method"], []).append(group)
        return cls(groups, tuple(left_out))

    def of_row(self, entry: Entry) -> list[Group]:
        """The groups that belong to a row."""
        return [group for group in self.groups.get(entry.method or "", ()) if entry.holds(group)]

    def datasets_of(self, entries: Iterable[Entry]) -> tuple[str, ...]:
        """The data sets on which any of these rows has runs, by name."""
        return tuple(sorted({group.spec["dataset"] for entry in entries for group in self.of_row(entry)}))

    def without_row(self, entries: Sequence[Entry]) -> tuple[str, ...]:
        """Methods with runs for the task of these rows that none of them is about."""
        named, tasks = {entry.method for entry in entries}, {entry.task for entry in entries}
        others = [groups[0] for method, groups in self.groups.items() if method not in named]
        return tuple(sorted(group.spec["method"] for group in others if group.spec.get("task", "clustering") in tasks))

    def not_averaged(self, entries: Sequence[Entry]) -> tuple[str, ...]:
        """A line for every run of these rows that failed or is not done."""
        return tuple(why_left_out(record) for record in self.left_out if any(entry.holds(Group((record,))) for entry in entries))


def build(sheet: Sheet, runs: Runs, here: Here) -> Table:
    """The table that a sheet describes.

    A cell is filled by one group of runs that agree in everything but the seed; `groups.preferred` has the rule for
    which, and a footnote says where there are others. Nothing is averaged across groups.
    """
    made = _Build(sheet, here, _fill(sheet, runs))
    rows = tuple(made.row(entry) for entry in sheet.rows)
    metrics = dict.fromkeys(entry.metric for entry in sheet.rows)
    sections = [Section(TO_FILL, made.to_fill(), code=True), Section(WITH_LABELS, tuple(dict.fromkeys(made.oracle)))]
    if sheet.is_main:
        sections.append(Section("Not averaged", runs.not_averaged(sheet.rows)))
    if sheet.tells_others:
        sections.append(Section("Runs of methods without a row here: see bench leaderboard", runs.without_row(sheet.rows)))
    return Table(
        title=sheet.title,
        caption=(CAPTION if sheet.is_main else CONTINUED).format(what=" ".join(UNITS[metric] for metric in metrics)),
        columns=(sheet.first, *sheet.columns),
        rows=rows,
        footnotes=made.footnotes.texts,
        sections=tuple(section for section in sections if section.lines),
        facts=tuple(made.facts),
    )


Filling = Mapping[tuple[int, str], Sequence[Group]]  # by place of the row and data set: the group in the cell, then the others


def _fill(sheet: Sheet, runs: Runs) -> Filling:
    """Which groups belong to which cell, the one that fills it first."""
    filling = {}
    for place, entry in enumerate(sheet.rows):
        by_dataset: dict[str, list[Group]] = {}
        for group in runs.of_row(entry):
            by_dataset.setdefault(group.spec["dataset"], []).append(group)
        filling |= {(place, name): preferred(groups, entry.protocol) for name, groups in by_dataset.items()}
    return filling


@dataclass
class _Build:
    """Makes the rows one after the other, and collects what they say outside their cells."""

    sheet: Sheet
    here: Here
    filling: Filling
    footnotes: Footnotes = field(default_factory=Footnotes)
    facts: list[dict[str, Any]] = field(default_factory=list)
    oracle: list[str] = field(default_factory=list)
    _missing: dict[int, list[str]] = field(default_factory=dict)
    _best: Collection[tuple[int, str]] = ()

    def __post_init__(self) -> None:
        rows = self.sheet.rows  # what is tested is the mean over seeds, not that over sub-heads
        cells = {(place, name) for place, name in self.filling if name in self.sheet.columns and not rows[place].averages_heads}
        self._best = winners({cell: self.filling[cell][0] for cell in cells}, [entry.measure for entry in rows])

    def row(self, entry: Entry) -> Row:
        place = self.sheet.rows.index(entry)
        marks = self.footnotes.marks(*printed.label_notes(entry), *entry.notes)
        return Row(((Line(entry.label, marks),), *(self._cell(place, entry, name) for name in self.sheet.columns)), entry.group)

    def to_fill(self) -> tuple[str, ...]:
        """The commands for the cells that stayed empty, all of a row in one where that is possible."""
        lines = [line for place, names in self._missing.items() for line in self.here.commands(self.sheet.rows[place], names)]
        whole = [f"bench suite run table{self.sheet.number}  # all of it"] if lines and self.sheet.is_main else []
        return tuple(dict.fromkeys([*whole, *lines]))

    def _cell(self, place: int, entry: Entry, dataset: str) -> Cell:
        lines = [self._published(entry, dataset, each) for each in printed.lines(entry, dataset)]
        above = tuple(lines) or (Line(NONE, role="published"),)
        groups = self.filling.get((place, dataset))
        if groups:
            return (*above, *self._ours(place, entry, groups))
        if not self.here.can_run(entry):
            return (*above, Line("no method", role="detail"))
        if entry.offered and (self.sheet.is_main or entry.published_on(dataset)):
            self._missing.setdefault(place, []).append(dataset)
        return (*above, Line("no run", role="detail"))

    def _published(self, entry: Entry, dataset: str, shown: printed.Printed) -> Line:
        for number in shown.numbers:
            self._keep(entry, dataset, **printed.fact(number))
        return Line(shown.text, self.footnotes.marks(*shown.notes), "published")

    def _ours(self, place: int, entry: Entry, groups: Sequence[Group]) -> Cell:
        """The first group, and the same spec run by other laboratories beside it; the rest are named in a footnote."""
        first, *others = groups
        beside = [each for each in others if each.lab != first.lab and each.spec == first.spec]
        rest = [each for each in others if each not in beside]
        lines = [self._of_group(place, entry, first, rest), *(self._of_group(place, entry, each, ()) for each in beside)]
        return tuple(line for each in lines for line in each)

    def _of_group(self, place: int, entry: Entry, group: Group, others: Sequence[Group]) -> Cell:
        is_best = self.filling[place, group.spec["dataset"]][0] is group and (place, group.spec["dataset"]) in self._best
        value = ours.value(entry, group)
        notes = [*ours.departures(entry, group), *ours.elsewhere(group, others), *value.notes]
        self._keep(entry, group.spec["dataset"], **ours.fact(group, value), is_best=is_best, notes=" ".join(notes))
        if entry.measure == "acc" and not entry.averages_heads:
            self.oracle += ours.with_labels(entry, group)
        whose = f"lab {group.lab}:" if group.lab else "ours"
        first = Line(f"{whose} {value.text}", self.footnotes.marks(*notes), "ours", is_best)
        return (first, *(Line(text, role="detail") for text in ours.details(entry, group, value)))

    def _keep(self, entry: Entry, dataset: str, **known: Any) -> None:
        about = {
            "table": self.sheet.number,
            "row": entry.label,
            "method": entry.method,
            "dataset": dataset,
            "metric": entry.metric,
        }
        self.facts.append({**dict.fromkeys(FACTS), **about, "unit": printed.unit(entry.metric), **known})
