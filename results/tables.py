"""The paper's tables with the published numbers beside ours."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .grid import NONE, Cell, Footnotes, Line, Row, Section, Table, duration, line, percent, points
from .groups import Group, deviations, group_records, preferred, split_counted, why_left_out
from .published import Published, published
from .record import Record

TABLE_1 = ("stl10", "cifar10", "cifar100-20", "mnist")
BEYOND_TABLE_1 = ("SCAN", "IMC-SwAV")  # later systems, from their own pages
AVERAGE_OF_HEADS = "average of sub-heads"
LABELS = {"lowest-loss sub-head": "IIC (lowest-loss sub-head)", AVERAGE_OF_HEADS: "IIC (average of sub-heads ± STD)"}
FACTS = (
    *("table", "row", "method", "dataset", "kind", "source", "value", "std", "std_over", "n", "preset", "protocol"),
    *("best", "oracle", "selection_gap", "seconds", "images", "notes"),
)
CAPTION = (
    "ACC in %. The first line of a cell is the published number, the second ours: mean ± sample standard deviation over seeds, "
    "for the sub-head that the method's own loss prefers (no label chose anything); then budget, protocol, number of seeds and "
    "the best of them (which it takes labels to find), and the mean time of a seed. † marks what differs from the published "
    "setting."
)
WITH_LABELS = "Chosen with labels (epoch and sub-head of the best labelled score: never in the table, never ranked)"


@dataclass(frozen=True)
class _System:
    """A row: its label, and the published numbers that belong to it on any data set."""

    label: str
    numbers: tuple[Published, ...]

    @property
    def method(self) -> str | None:
        return self.numbers[0].method

    @property
    def protocol(self) -> str:
        return self.numbers[0].protocol

    @property
    def averages_heads(self) -> bool:
        return self.numbers[0].aggregate == AVERAGE_OF_HEADS

    @property
    def common_notes(self) -> tuple[str, ...]:
        """Caveats of every number in the row: they go to the label."""
        first, *others = (number.notes for number in self.numbers)
        return tuple(note for note in first if all(note in notes for notes in others))


def table1(
    records: Iterable[Record],
    datasets: Sequence[str] | None = None,
    *,
    methods: Collection[str] | None = None,
    known_datasets: Collection[str] | None = None,
    leaks: Mapping[str, Sequence[str]] | None = None,
) -> Table:
    """Table 1 of the IIC paper (unsupervised image clustering), continued with SCAN and IMC-SwAV.

    A cell is filled by one group of runs that agree in everything but the seed; `groups.preferred` has the rule for
    which, and a footnote says where there are others. Nothing is averaged across groups.

    Args:
        records: any records; those of other tasks are passed over, unfinished and failed ones are listed, never averaged.
        datasets: columns to show beside the paper's four and those that have labelled runs.
        methods: names that can be run here; if given, no command is offered for others.
        known_datasets: likewise for data sets.
        leaks: by method, what its published protocol lets in from the test images or their labels; said at the row's label.
    """
    clustering = [record for record in records if record.spec.get("task", "clustering") == "clustering"]
    counted, left_out = split_counted(clustering)
    groups = [group for group in group_records(counted) if group.is_labelled]
    systems = _systems()
    named = {system.method for system in systems}
    build = _Build(
        _columns((group for group in groups if group.spec["method"] in named), datasets or ()),
        groups,
        methods,
        known_datasets,
        leaks or {},
    )
    rows = tuple(build.row(system) for system in systems)
    elsewhere = sorted({group.spec["method"] for group in groups} - named)
    sections = (
        Section("To fill: cells without a run", tuple(dict.fromkeys(build.to_fill)), code=True),
        Section(WITH_LABELS, tuple(dict.fromkeys(build.oracle))),
        Section("Not averaged", tuple(why_left_out(record) for record in left_out)),
        Section("Runs of methods without a row here: see bench leaderboard", tuple(elsewhere)),
    )
    return Table(
        title="Table 1 of the IIC paper: unsupervised image clustering, published and reproduced",
        caption=CAPTION,
        columns=("Method", *build.datasets),
        rows=rows,
        footnotes=build.footnotes.texts,
        sections=tuple(section for section in sections if section.lines),
        facts=tuple(build.facts),
    )


def _columns(groups: Iterable[Group], asked: Sequence[str]) -> tuple[str, ...]:
    with_runs = sorted({group.spec["dataset"] for group in groups})
    return tuple(dict.fromkeys([*TABLE_1, *asked, *with_runs]))


def _systems() -> list[_System]:
    rows: dict[tuple[str, str], list[Published]] = {}
    for number in published(table=1):
        rows.setdefault((number.system, number.aggregate), []).append(number)
    listed = [_System(LABELS.get(aggregate, system), tuple(numbers)) for (system, aggregate), numbers in rows.items()]
    return listed + [_System(system, tuple(published(table="", system=system, metric="acc"))) for system in BEYOND_TABLE_1]


@dataclass
class _Build:
    """Makes the rows one after the other, and collects what they say outside their cells."""

    datasets: tuple[str, ...]
    groups: list[Group]
    methods: Collection[str] | None
    known_datasets: Collection[str] | None
    leaks: Mapping[str, Sequence[str]]
    footnotes: Footnotes = field(default_factory=Footnotes)
    facts: list[dict[str, Any]] = field(default_factory=list)
    to_fill: list[str] = field(default_factory=list)
    oracle: list[str] = field(default_factory=list)

    def row(self, system: _System) -> Row:
        notes = [_sentence(note) for note in system.common_notes]
        if system.label in BEYOND_TABLE_1:
            sources = " and ".join(dict.fromkeys(number.source for number in system.numbers))
            notes.insert(0, f"From the {sources}: trained on the training part, reported on the test part (protocol split).")
        notes += [f"A leak of the published protocol: {text.rstrip('.')}." for text in self.leaks.get(system.method or "", ())]
        label = Line(system.label, self.footnotes.marks(*notes))
        return Row(((label,), *(self._cell(system, dataset) for dataset in self.datasets)))

    def _cell(self, system: _System, dataset: str) -> Cell:
        printed = self._published(system, dataset)
        found = [group for group in self.groups if (group.spec["method"], group.spec["dataset"]) == (system.method, dataset)]
        if not found:
            self._offer(system, dataset)
            return (*printed, Line("no run", role="detail"))
        chosen, *others = preferred(found, system.protocol)
        return (*printed, *self._ours(system, chosen, others))

    def _offer(self, system: _System, dataset: str) -> None:
        can_run = self.methods is None or system.method in self.methods
        if can_run and (self.known_datasets is None or dataset in self.known_datasets):
            self.to_fill.append(f"bench run --method {system.method} --dataset {dataset}")

    def _published(self, system: _System, dataset: str) -> tuple[Line, ...]:
        numbers = [number for number in system.numbers if number.dataset == dataset]
        if not numbers:
            return line(NONE, "published")
        averages_first = sorted(numbers, key=lambda number: number.aggregate == "best")
        return tuple(self._printed(system, number) for number in averages_first)

    def _printed(self, system: _System, number: Published) -> Line:
        notes = [_sentence(note) for note in number.notes if note not in system.common_notes]
        notes += _later_versions(system, number)
        if system.label in BEYOND_TABLE_1 and number.source != system.numbers[0].source:
            notes.append(f"From the {number.source}.")
        self._keep(
            system,
            number.dataset,
            kind="published",
            source=number.source,
            value=number.value,
            std=number.std,
            std_over=None if number.std is None else "sub-heads",
            protocol=number.protocol,
            notes="; ".join([number.aggregate, *number.notes]),
        )
        spread = f" ± {number.std_text}" if number.std_text else ""
        aggregate = f" {number.aggregate}" if number.aggregate in ("avg", "best") else ""
        return Line(f"{number.text}{spread}{aggregate}", self.footnotes.marks(*notes), "published")

    def _ours(self, system: _System, group: Group, others: Sequence[Group]) -> tuple[Line, ...]:
        spec, notes = group.spec, _departures(system, group)
        if others:
            listed = "; ".join(other.name for other in others)
            notes.append(f"Other runs of {spec['method']} on {spec['dataset']} are not in this cell: {listed}.")
        value = self._value(system, group, notes)
        self._tell_oracle(group)
        best = f", best {percent(group.best.score('acc'))}" if group.best and group.n > 1 and not system.averages_heads else ""
        setting = Line(f"{spec['preset']}, {spec['protocol']}, n={group.n}{best}", role="detail")
        return (
            Line(value, self.footnotes.marks(*notes), "ours"),
            setting,
            Line(duration(group.cost("total_seconds")), role="detail"),
        )

    def _value(self, system: _System, group: Group, notes: list[str]) -> str:
        """The printed number of a group, and its fact."""
        own, heads, within = group.spread("acc"), group.heads("acc_mean"), group.heads("acc_std")
        shown = heads if system.averages_heads else own
        if shown is None:
            return NONE
        std, text = shown.std, shown.in_percent
        if system.averages_heads and within is not None:
            std, text = within.mean, f"{percent(shown.mean)} ± {percent(within.mean)}"
            over_seeds = "" if shown.std is None else f"; over seeds it is {percent(shown.std)}"
            notes.append(f"± over the sub-heads of one network (mean over seeds), as the paper has it{over_seeds}.")
        self._note_fact(system, group, shown.mean, std, notes)
        return text

    def _note_fact(self, system: _System, group: Group, mean: float, std: float | None, notes: list[str]) -> None:
        spec, oracle = group.spec, group.spread("acc", "oracle")
        self._keep(
            system,
            spec["dataset"],
            kind="reproduced",
            source="runs",
            value=points(mean),
            std=points(std),
            std_over=None if std is None else "sub-heads" if system.averages_heads else "seeds",
            n=group.n,
            preset=spec["preset"],
            protocol=spec["protocol"],
            best=points(group.best and group.best.score("acc")),
            oracle=points(oracle and oracle.mean),
            selection_gap=points(group.selection_gap),
            seconds=group.cost("total_seconds"),
            images=group.cost("images"),
            notes=" ".join(notes),
        )

    def _keep(self, system: _System, dataset: str, **known: Any) -> None:
        about = {"table": 1, "row": system.label, "method": system.method, "dataset": dataset}
        self.facts.append({**dict.fromkeys(FACTS), **about, **known})

    def _tell_oracle(self, group: Group) -> None:
        oracle, gap = group.spread("acc", "oracle"), group.selection_gap
        if oracle is not None and gap is not None:
            named = f"{group.spec['method']} on {group.spec['dataset']}"
            self.oracle.append(
                f"{named}: ACC {oracle.in_percent}, {100 * gap:+.1f} points over the choice by own loss (n={group.n})"
            )


def _departures(system: _System, group: Group) -> list[str]:
    """What differs from the published setting, and what else a reader must know."""
    spec, told = group.spec, []
    if not spec["preset"].startswith("paper"):
        told.append(f"Budget {spec['preset']}, not paper: bench show {spec['method']} lists what it changes.")
    if spec["protocol"] != system.protocol:
        told.append(f"Protocol {spec['protocol']}; the published numbers of the row are under {system.protocol}.")
    return told + deviations(group)


def _later_versions(system: _System, number: Published) -> list[str]:
    """What the results page of the same paper gives instead of a number in its table."""
    if number.table != "1" or system.averages_heads:
        return []
    pages = published(table="", system=number.system, dataset=number.dataset, metric=number.metric)
    other = [page for page in pages if page.value != number.value and "finetune" not in page.note]
    return [f"The {page.source} gives {page.text}{f' ({page.note})' if page.note else ''}." for page in other]


def _sentence(note: str) -> str:
    return f"{note[0].upper()}{note[1:]}."
