"""Table 1 of the IIC paper (unsupervised image clustering), continued with SCAN and IMC-SwAV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ..published import Published, published
from .cells import Runs
from .rows import AVERAGE_OF_HEADS, SHARES, Entry, Here, Sheet

DATASETS = ("stl10", "cifar10", "cifar100-20", "mnist")
LATER = ("SCAN", "IMC-SwAV")  # systems that came after the paper, from their own pages
LOWEST_LOSS = "lowest-loss sub-head"
LABELS = {LOWEST_LOSS: "IIC (lowest-loss sub-head)", AVERAGE_OF_HEADS: "IIC (average of sub-heads ± STD)"}
TITLE = "Table 1 of the IIC paper: unsupervised image clustering, published and reproduced"


def sheets(runs: Runs, datasets: Sequence[str], here: Here) -> Iterator[Sheet]:
    """The table; then the data sets and the metrics that only later pages report."""
    rows = _rows()
    columns = tuple(dict.fromkeys([*DATASETS, *datasets, *runs.datasets_of(rows)]))
    yield Sheet(1, TITLE, columns, rows, tells_others=True)
    later = tuple(row for row in rows if row.label in LATER)
    beyond = _datasets(number for row in later for number in row.numbers if number.our_dataset not in columns)
    if beyond:
        reporting = tuple(row for row in later if any(row.published_on(name) for name in beyond))
        yield Sheet(1, "Table 1 continued: data sets that only later systems report", beyond, reporting, is_main=False)
    further = tuple(_further_metrics())
    measured = _datasets(number for row in further for number in row.numbers)
    yield Sheet(1, "Table 1 continued: NMI and ARI, where a page has them", measured, further, is_main=False)


def _rows() -> tuple[Entry, ...]:
    rows: dict[tuple[str, str], list[Published]] = {}
    for number in published(table=1):
        rows.setdefault((number.system, number.aggregate), []).append(number)
    rows["IIC", LOWEST_LOSS] += [number for number in published(table="", system="IIC", metric="acc") if _clusters(number)]
    listed = [_entry(LABELS.get(aggregate, system), numbers) for (system, aggregate), numbers in rows.items()]
    return (*listed, *(_entry(system, published(table="", system=system, metric="acc")) for system in LATER))


def _further_metrics() -> Iterator[Entry]:
    for metric in SHARES:
        for system in ("IIC", *LATER):
            numbers = published(table="", system=system, metric=metric)
            if numbers:
                yield replace(_entry(system, numbers), group=metric.upper(), offered=False)


def _entry(label: str, numbers: Sequence[Published]) -> Entry:
    first = numbers[0]
    is_second_of_iic = first.aggregate == AVERAGE_OF_HEADS  # the same runs as the row above it
    return Entry(label, tuple(numbers), first.method, protocol=first.protocol, metric=first.metric, offered=not is_second_of_iic)


def _clusters(number: Published) -> bool:
    return "finetune" not in number.note


def _datasets(numbers: Iterable[Published]) -> tuple[str, ...]:
    """Their data sets: the table's in its order, then the others, short names first (imagenet-50 before imagenet-100)."""
    named = {number.our_dataset for number in numbers}
    return (*(name for name in DATASETS if name in named), *sorted(named - {*DATASETS}, key=lambda name: (len(name), name)))
