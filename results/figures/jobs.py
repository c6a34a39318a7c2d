"""What can be drawn: jobs, one for each figure, and what it takes to plan them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..groups import Group, group_records
from ..record import Record, Selection
from .facts import file_stem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Test: TypeAlias = Callable[[Record], bool]


class Cannot(Exception):
    """A figure that cannot be drawn: why not, and the command that would make it possible ("" if there is none)."""

    def __init__(self, why: str, remedy: str = "") -> None:
        super().__init__(why)
        self.why, self.remedy = why, remedy


ImagesOf: TypeAlias = Callable[[Record, np.ndarray], np.ndarray]
"""The scored images of a record at the given rows, uint8 (n, C, H, W). Raises `Cannot` where they are not to be had."""


@dataclass(frozen=True)
class Drawn:
    """A figure, one line on what it shows, and what is missing from it."""

    figure: Figure
    shows: str
    remarks: tuple[Cannot, ...] = ()


@dataclass(frozen=True)
class Job:
    """One figure that may be drawn.

    Attributes:
        kind: `curves`, `confusion`, ...
        stem: name of its file without the ending.
        draw: draws it, or raises `Cannot`, or `RecordError` for a damaged record.
    """

    kind: str
    stem: str
    draw: Callable[[], Drawn]


@dataclass(frozen=True)
class Request:
    """What figures are asked of.

    Attributes:
        records: those whose results count.
        images: gives the images of a record.
        selection: whose predictions and metrics are drawn.
        gives_probabilities: whether the method of a record has cluster probabilities to keep.
        every_seed: draw what shows one trial for each record, not only for the one with the median accuracy of its group.
    """

    records: Sequence[Record]
    images: ImagesOf
    selection: Selection = "own-loss"
    gives_probabilities: Test = lambda record: True
    every_seed: bool = False

    @cached_property
    def groups(self) -> list[Group]:
        """The records whose specs agree in everything but the seed, in the order of their names."""
        return sorted(group_records(self.records), key=lambda group: (_stem(group.records[0]), group.records[0].id))

    def shown(self, group: Group, has: Test) -> list[Record]:
        """The records of a group that stand for it where one trial is shown.

        Args:
            group: the seeds of one setting.
            has: whether a record holds what the figure needs. Where none does, one is given all the same, to say so.
        """
        able = [record for record in group.records if has(record)] or list(group.records[:1])
        return able if self.every_seed else [median_record(able, self.selection)]

    def may_have_probabilities(self, record: Record) -> bool:
        """Whether a record is of image clustering by a method with cluster probabilities."""
        return record.spec.get("task") != "segmentation" and self.gives_probabilities(record)

    def trials(self, kind: str, draw: Callable[[Record, Request], Drawn], has: Test, of: Test) -> list[Job]:
        """A job for each trial that is shown, of the groups that `of` says the figure is for."""
        records = [record for group in self.groups if of(group.records[0]) for record in self.shown(group, has)]
        return [Job(kind, file_stem(kind, record.folder.name), lambda record=record: draw(record, self)) for record in records]


def median_record(records: Sequence[Record], selection: Selection) -> Record:
    """The record with the median accuracy, the lower one of two in the middle; the first where nothing is labelled."""
    ranked = [(score, place) for place, record in enumerate(records) if (score := record.score("acc", selection)) is not None]
    return records[sorted(ranked)[(len(ranked) - 1) // 2][1]] if ranked else records[0]


def group_stems(kind: str, groups: Sequence[Group]) -> list[str]:
    """A file name without ending for each group; where two would have one, the id of the first record tells them apart."""
    plain = [file_stem(kind, *_stem(group.records[0])) for group in groups]
    return [f"{stem}-{group.records[0].id}" if plain.count(stem) > 1 else stem for stem, group in zip(plain, groups, strict=True)]


def is_labelled(record: Record, selection: Selection) -> bool:
    """Whether accuracy was measured."""
    return record.score("acc", selection) is not None


def _stem(record: Record) -> tuple[str, ...]:
    spec = record.spec
    protocol = spec.get("protocol", "full")
    return (spec["method"], spec["dataset"], str(spec["preset"]), *([] if protocol == "full" else [protocol]))
