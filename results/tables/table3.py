"""Table 3 of the IIC paper: classification of STL-10 with its labels, on top of what was learned without them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..published import Published, published
from .cells import Runs
from .rows import Entry, Here, Sheet, SuiteRow

DATASETS = ("stl10",)
TITLE = "Table 3 of the IIC paper: classification with labels, published and reproduced"
MULTI_FOLD = "multi-fold"
TEN_FOLDS = ", ten folds of 1,000 labels"
FOLD = "fold"  # the setting that names one of them
ONE_FOLD = "Ours is the first of the ten folds (fold=0), the published number the mean of all."
OURS_ALONE = "Not in the paper."
TASK = "semi-supervised"


def sheets(runs: Runs, datasets: Sequence[str], here: Here) -> Iterator[Sheet]:
    """The table, with the data sets on which any of its rows has runs."""
    rows = (*_published_rows(here), *_extra_rows(here))
    yield Sheet(3, TITLE, tuple(dict.fromkeys([*DATASETS, *datasets, *runs.datasets_of(rows)])), rows, tells_others=True)


def _published_rows(here: Here) -> Iterator[Entry]:
    """A row for every system, two where it has a number with all 5,000 labels and one over the ten folds of 1,000."""
    for system in dict.fromkeys(number.system for number in published(table=3)):
        numbers = published(table=3, system=system)
        folds = [number for number in numbers if MULTI_FOLD in number.notes]
        whole = [number for number in numbers if MULTI_FOLD not in number.notes]
        if whole:
            yield _entry(system, [*whole, *_later(system)], here)
        if folds:
            yield _entry(system + TEN_FOLDS, folds, here, settings={FOLD: 0}, notes=(ONE_FOLD,))


def _extra_rows(here: Here) -> Iterator[Entry]:
    systems = {number.system for number in published(table=3)}
    methods = {number.method for number in published(table=3)}
    for row in here.suites.get(3, ()):
        if row.label not in systems and (row.label or row.method not in methods):
            method = row.method
            yield Entry(
                row.label or method, (), method, TASK, TASK, settings=row.settings, reserved=_reserved(here), notes=(OURS_ALONE,)
            )


def _entry(label: str, numbers: Sequence[Published], here: Here, settings: dict | None = None, notes: tuple = ()) -> Entry:
    method = numbers[0].method
    own = settings if here.can_run(Entry(label, method=method, task=TASK)) else None
    return Entry(
        label, tuple(numbers), method, TASK, TASK,
        settings=own or {}, reserved=_reserved(here), notes=notes if own else (),
    )  # fmt: skip


def _later(system: str) -> list[Published]:
    """What the results page has of the same system."""
    finetuned = [number for number in published(table="", system="IIC", metric="acc") if "finetune" in number.note]
    return finetuned if system == "IIC plus finetune" else []


def _reserved(here: Here) -> frozenset[str]:
    rows: Sequence[SuiteRow] = here.suites.get(3, ())
    return frozenset({FOLD, *(name for row in rows for name in row.settings)})
