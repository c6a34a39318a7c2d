"""Table 4 of the IIC paper: segmentation without labels, scored by pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..published import Published, published
from .cells import Runs
from .rows import Entry, Here, Sheet

DATASETS = ("coco-stuff-3", "coco-stuff", "potsdam-3", "potsdam")
TITLE = "Table 4 of the IIC paper: unsupervised segmentation, published and reproduced"
METRICS = {"pixel_acc": "ACC over pixels", "miou": "Mean IoU"}


def sheets(runs: Runs, datasets: Sequence[str], here: Here) -> Iterator[Sheet]:
    """The table; then the data sets and the metric that only the results page reports."""
    rows = _rows(here)
    columns = tuple(dict.fromkeys([*DATASETS, *datasets, *runs.datasets_of(rows)]))
    yield Sheet(4, TITLE, columns, rows, tells_others=True)
    later = published(table="", system="IIC", metric="miou") + [
        number for number in _pages() if number.our_dataset not in columns and number.metric == "pixel_acc"
    ]
    beyond = tuple(dict.fromkeys(number.our_dataset for number in later))
    further = tuple(
        replace(_entry("IIC", [number for number in later if number.metric == metric], here), group=heading)
        for metric, heading in METRICS.items()
        if any(number.metric == metric for number in later)
    )
    yield Sheet(4, "Table 4 continued: what only the results page of the IIC paper has", beyond, further, is_main=False)


def _rows(here: Here) -> tuple[Entry, ...]:
    systems = dict.fromkeys(number.system for number in published(table=4))
    later = {"IIC": [number for number in _pages() if number.metric == "pixel_acc"]}
    return tuple(_entry(system, published(table=4, system=system) + later.get(system, []), here) for system in systems)


def _pages() -> list[Published]:
    return [number for metric in METRICS for number in published(table="", system="IIC", metric=metric)]


def _entry(label: str, numbers: Sequence[Published], here: Here) -> Entry:
    method = numbers[0].method or ""
    return Entry(
        label, tuple(numbers), here.variants.get(method, method), task="segmentation", metric=numbers[0].metric,
        offered=numbers[0].metric == "pixel_acc",
    )  # fmt: skip
