"""All kinds of figures: what the records allow, drawn into files one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..files import RecordError, refusals
from . import bars, confusion, curves, label_fractions, ranks, segmentation, simplex
from .jobs import Cannot, Drawn, Job, Request
from .style import save, styled

KINDS: Mapping[str, Callable[[Request], list[Job]]] = {
    module.KIND: module.jobs for module in (curves, confusion, simplex, bars, label_fractions, segmentation, ranks)
}
# What to say where no record is of the sort that a kind draws, with a command that makes one.
_NEEDS = {
    curves.KIND: ("there is no finished record", "bench run --method iic --dataset digits"),
    confusion.KIND: ("there is no finished record", "bench run --method iic --dataset digits"),
    simplex.KIND: (
        "there is no finished record of image clustering by a method with cluster probabilities",
        "bench run --method iic --dataset digits --snapshots 1",
    ),
    bars.KIND: (
        "there is no finished record of image clustering by a method with cluster probabilities",
        "bench run --method iic --dataset digits",
    ),
    label_fractions.KIND: (
        "there is no finished record whose clusters were named by labels of other images",
        "bench run --method iic --dataset mnist --protocol semi-supervised --clusters 25",
    ),
    ranks.KIND: (
        "no three methods share three data sets at one budget and protocol, with 3 seeds each",
        "bench suite run table1 --preset short --seeds 3",
    ),
    segmentation.KIND: ("there is no finished record of segmentation", "bench run --method iic --dataset potsdam-3"),
}


@dataclass(frozen=True)
class Outcome:
    """What became of a job: the files that were written, what they show, and what could not be drawn."""

    job: Job
    files: tuple[Path, ...] = ()
    shows: str = ""
    problems: tuple[Cannot, ...] = ()


def plan(kinds: Sequence[str], request: Request) -> list[Job]:
    """The jobs of `kinds` (of all if it is empty), kind by kind; one that says what it needs for a kind without any."""
    return [job for kind in kinds or KINDS for job in KINDS[kind](request) or [_nothing_for(kind)]]


def draw_all(jobs: Sequence[Job], folder: Path, forms: Sequence[str]) -> Iterator[Outcome]:
    """Draw the jobs into `folder`, which is made if there is anything to put in it.

    Args:
        jobs: what to draw.
        folder: where the files go; those of the same name are replaced.
        forms: endings of the files: `png`, `svg`.

    Raises `RecordError` if the disk refuses. A figure that cannot be drawn is told in its outcome.
    """
    for job in jobs:
        with styled():
            yield _drawn(job, folder, forms)


def _drawn(job: Job, folder: Path, forms: Sequence[str]) -> Outcome:
    try:
        drawn: Drawn = job.draw()
    except Cannot as problem:
        return Outcome(job, problems=(problem,))
    except RecordError as error:  # of one damaged record; the others stand
        return Outcome(job, problems=(Cannot(str(error)),))
    with refusals(folder):
        folder.mkdir(parents=True, exist_ok=True)
    files = tuple(folder / f"{job.stem}.{form}" for form in forms)
    for file in files:
        save(drawn.figure, file)
    return Outcome(job, files, drawn.shows, drawn.remarks)


def _nothing_for(kind: str) -> Job:
    def refuse() -> Drawn:
        raise Cannot(*_NEEDS[kind])

    return Job(kind, "", refuse)
