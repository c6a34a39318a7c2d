"""What a table consists of before a single run is looked at: rows with their published numbers, and what the harness knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..differences import flat
from ..groups import Group
from ..published import Published

AVERAGE_OF_HEADS = "average of sub-heads"
SHARES = ("nmi", "ari")  # printed in [0, 1]; everything else in percent
OURS = {"pixel_acc": "acc"}  # metrics of the papers that records have under another name


@dataclass(frozen=True)
class Entry:
    """A row of a table.

    Attributes:
        label: what stands at its left.
        numbers: the published numbers of the row, on any data set; () for a row that is ours alone.
        method: as records name it; None if nothing here can fill the row.
        task, protocol: of the runs that belong to it, and of the published numbers.
        metric: as `published.csv` names it.
        group: heading of the rows that it stands among.
        settings: what makes a run one of this row, by dotted name, over its preset.
        reserved: settings that make other rows of the table: a run that changed one belongs to those.
        notes: remarks at the label.
        offered: whether the command that fills an empty cell is told here; rows that share their runs tell it once.
    """

    label: str
    numbers: tuple[Published, ...] = ()
    method: str | None = None
    task: str = "clustering"
    protocol: str = "full"
    metric: str = "acc"
    group: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    reserved: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    offered: bool = True

    @property
    def averages_heads(self) -> bool:
        """Whether the row is about the mean over the sub-heads of one network."""
        return bool(self.numbers) and self.numbers[0].aggregate == AVERAGE_OF_HEADS

    @property
    def measure(self) -> str:
        """The metric as records name it."""
        return OURS.get(self.metric, self.metric)

    def published_on(self, dataset: str) -> list[Published]:
        """Its published numbers on one data set."""
        return [number for number in self.numbers if number.our_dataset == dataset]

    def holds(self, group: Group) -> bool:
        """Whether a group of runs belongs to the row, on whatever data set.

        Labels that map clusters to classes make another task of it, so `semi-supervised` runs stand beside no others.
        """
        spec = group.spec
        if spec["method"] != self.method or spec.get("task", "clustering") != self.task:
            return False
        if (spec["protocol"] == "semi-supervised") != (self.protocol == "semi-supervised"):
            return False
        config = {**flat(spec.get("config") or {}), "n_clusters": spec.get("n_clusters")}
        as_asked = all(name in config and config[name] == value for name, value in self.settings.items())
        return as_asked and not (self.reserved - self.settings.keys()) & (spec.get("overrides") or {}).keys()


@dataclass(frozen=True)
class Sheet:
    """One table to be made.

    Attributes:
        number: of the table in the IIC paper.
        title: its heading.
        columns: data sets, by their names here.
        rows: from top to bottom.
        first: heading of the column of labels.
        is_main: not the continuation of another: it tells of failed runs and of the suite, and offers commands for every cell.
        tells_others: whether it names the methods of its task that have runs and no row.
    """

    number: int
    title: str
    columns: tuple[str, ...]
    rows: tuple[Entry, ...]
    first: str = "Method"
    is_main: bool = True
    tells_others: bool = False


@dataclass(frozen=True)
class SuiteRow:
    """A run of the suite that fills a table, as the harness has it.

    Attributes:
        label: its name, that of the published row where there is one; "" if the method's name says it all.
        method: as the suite writes it.
        settings: over the preset, by dotted name.
    """

    label: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def _offers_nothing(entry: Entry, datasets: Sequence[str]) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class Here:
    """What the harness knows and results may not ask it for.

    Attributes:
        suites: rows of the suites `table2` and `table3`, by the number of the table.
        methods: the methods that can be run, with their tasks; None if that is not known.
        variants: by method, its name for segmentation where that differs.
        commands: from a row and the data sets it has no run on to the command lines that make these runs.
    """

    suites: Mapping[int, Sequence[SuiteRow]] = field(default_factory=dict)
    methods: Mapping[str, str] | None = None
    variants: Mapping[str, str] = field(default_factory=dict)
    commands: Callable[[Entry, Sequence[str]], Sequence[str]] = _offers_nothing

    def can_run(self, entry: Entry) -> bool:
        """Whether there is a method for a row."""
        if self.methods is None or entry.method is None:
            return entry.method is not None
        return self.methods.get(entry.method) == entry.task
