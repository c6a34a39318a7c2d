"""Table 3 of the IIC paper: classification of STL-10 with its labels, on top of what was learned without them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..published import Published, published
from .cells import Runs
from .rows import Entry, Here, Sheet, SuiteRow

DATASETS = ("stl10",)
TITLE = "Table 3 of the IIC paper: classification with labels, published and reproduced"
MULTI_FOLD = "multi-fold"
TEN_FOLDS = ", ten folds of 1,000 labels"
FOLD, BY_SEED = "fold", "by-seed"  # the setting that names a fold, and its value for a fold for each seed
OVER_FOLDS = "Ours is over seeds, each with its own fold: ten seeds go through all ten (bench suite run table3-folds)."
FRACTION, FROZEN = "label_fraction", "frozen_trunk"
OURS_ALONE = "Not in the paper."
TASK = "semi-supervised"


def sheets(runs: Runs, datasets: Sequence[str], here: Here) -> Iterator[Sheet]:
    """The table, with the data sets on which any of its rows has runs.

    Runs with a share of the labels have rows of their own: those of the suite, and others where there are such runs.
    """
    rows = [*_published_rows(here), *_extra_rows(here)]
    rows += _other_fractions(rows, runs)
    yield Sheet(3, TITLE, tuple(dict.fromkeys([*DATASETS, *datasets, *runs.datasets_of(rows)])), tuple(rows), tells_others=True)


def _published_rows(here: Here) -> Iterator[Entry]:
    """A row for every system, two where it has a number with all 5,000 labels and one over the ten folds of 1,000.

    A system that is known over the folds alone has a row with all labels too, where it can be run: the others stand there.
    """
    for system in dict.fromkeys(number.system for number in published(table=3)):
        numbers = published(table=3, system=system)
        folds = [number for number in numbers if MULTI_FOLD in number.notes]
        whole = [number for number in numbers if MULTI_FOLD not in number.notes]
        if whole:
            yield _entry(system, [*whole, *_later(system)], here)
        if folds:
            over_folds = _entry(system + TEN_FOLDS, folds, here, settings={FOLD: BY_SEED}, notes=(OVER_FOLDS,))
            if not whole and here.can_run(over_folds):
                yield replace(over_folds, label=system, numbers=(), settings={}, notes=())
            yield over_folds


def _extra_rows(here: Here) -> Iterator[Entry]:
    """The rows of the suite that no published number is about."""
    systems = {number.system for number in published(table=3)}
    methods = {number.method for number in published(table=3)}
    made = set[str]()
    for row in here.suites.get(3, ()):
        label = _label(row)
        is_published = not row.settings and (row.label in systems or row.method in methods)
        if not is_published and label not in made:
            made.add(label)
            offered = not {FRACTION, FROZEN} & row.settings.keys()  # many rows, which one line of the suite fills
            yield Entry(
                label, (), row.method, TASK, TASK,
                settings=row.settings, reserved=_reserved(here), notes=(OURS_ALONE,), offered=offered,
            )  # fmt: skip


def _other_fractions(rows: Sequence[Entry], runs: Runs) -> Iterator[Entry]:
    """For each row with all labels, rows of the shares that it has runs with and no row yet; the largest share first."""
    for entry in rows:
        if FRACTION in entry.settings:
            continue
        groups = runs.groups.get(entry.method or "", ())
        shares = {group.spec.get("overrides", {}).get(FRACTION) for group in groups} - {None, 1.0}
        for share in sorted(shares, reverse=True):
            settings = {**entry.settings, FRACTION: share}
            label, notes = entry.label + _share(settings), (OURS_ALONE,)
            row = replace(entry, label=label, numbers=(), settings=settings, notes=notes, offered=False)
            found = [group for group in groups if row.holds(group)]
            if found and not any(other.holds(group) for other in rows for group in found):
                yield row


def _label(row: SuiteRow) -> str:
    """Its own name, or that of the system, and what its settings change of it."""
    systems = {number.method: number.system for number in published(table=3)}
    probe = ", linear probe" if row.settings.get(FROZEN) else ""
    return (row.label or systems.get(row.method, row.method)) + ("" if row.label else probe) + _share(row.settings)


def _share(settings: Mapping[str, Any]) -> str:
    share = settings.get(FRACTION)
    return "" if share is None else f", {100 * share:g} % of the labels"


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
    return frozenset({FOLD, FRACTION, *(name for row in rows for name in row.settings)})
