"""Table 2 of the IIC paper: what each part of IIC brings on STL-10."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..published import published
from .cells import Runs
from .rows import Entry, Here, Sheet

DATASETS = ("stl10",)
TITLE = "Table 2 of the IIC paper: parts of IIC left out, published and reproduced"
OURS_ALONE = "Not in the paper."


def sheets(runs: Runs, datasets: Sequence[str], here: Here) -> Iterator[Sheet]:
    """The table, with the data sets on which more than one of its settings was run."""
    rows = _rows(here)
    run = Counter(name for row in rows for name in runs.datasets_of([row]))
    columns = tuple(dict.fromkeys([*DATASETS, *datasets, *(name for name in sorted(run) if run[name] > 1)]))
    yield Sheet(2, TITLE, columns, rows, first="Setting")


def _rows(here: Here) -> tuple[Entry, ...]:
    """The suite's runs in its order; a published row that no run makes comes after them, without any of ours."""
    suite = here.suites.get(2, ())
    reserved = frozenset(name for row in suite for name in row.settings)
    made = [_entry(row.label or row.method, row.method, row.settings, reserved) for row in suite]
    labels = {row.label for row in made}
    systems = dict.fromkeys(number.system for number in published(table=2))
    return (*made, *(_entry(system, None, {}, reserved) for system in systems if system not in labels))


def _entry(label: str, method: str | None, settings: Mapping[str, Any], reserved: frozenset[str]) -> Entry:
    numbers = tuple(published(table=2, system=label))
    return Entry(label, numbers, method, settings=settings, reserved=reserved, notes=() if numbers else (OURS_ALONE,))
