"""New metrics for old runs: the metrics of records computed again from their stored labels, without any training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

from ..results.metrics import METRICS_VERSION
from ..results.record import Record, RecordError, RecordWriter, now, read_record
from ..results.scoring import recompute
from .lock import exclusive

Outcome = Literal["rescored", "unchanged", "no labels", "unfinished"]
HISTORY = "metrics_history"
ROUNDING = 1e-9  # of a metric: other versions of NumPy and SciPy add up in another order


@dataclass(frozen=True)
class Rescored:
    """What became of one record.

    Attributes:
        record: as it is now; of a dry run, as it was.
        outcome: `rescored` (of a dry run: would be), `unchanged`, or why nothing could be done.
        changes: by `selection metric` the value before and the one now, of numbers; None where there was or is none.
    """

    record: Record
    outcome: Outcome
    changes: Mapping[str, tuple[float | None, float | None]]


def rescore(record: Record, *, dry_run: bool = False) -> Rescored:
    """Compute the metrics of `record` again from its labels.npz, and write them into its record.json in one step.

    What they replace is kept in the record under `metrics_history`: a list with `metrics_version`, `metrics`,
    `selection_gap`, the version of clusterbench that replaced them and the time. A record whose metrics agree and whose
    metrics version is today's is not touched. Nothing but these fields changes; the epochs' rows stay as they were.

    Args:
        record: as `read_record` gave it.
        dry_run: compute and compare, write nothing.

    Raises:
        RecordError: labels.npz is damaged or does not fit the record, another process runs the trial, the metrics are of a
            newer version than this code has, or the disk refuses.
    """
    if not record.metrics:
        return Rescored(record, "unfinished", {})
    if not (record.folder / "labels.npz").exists():
        return Rescored(record, "no labels", {})
    if (record.metrics_version or 0) > METRICS_VERSION:
        raise RecordError(
            f"{record.folder.name} has metrics of version {record.metrics_version}; this clusterbench computes version "
            f"{METRICS_VERSION}. Upgrade it to rescore the record."
        )
    metrics = recompute(record)
    changes = dict(_changes(record.metrics, metrics))
    if not changes and record.metrics_version == METRICS_VERSION:
        return Rescored(record, "unchanged", {})
    return Rescored(record if dry_run else _replaced(record, metrics), "rescored", changes)


def _replaced(record: Record, metrics: Mapping[str, Any]) -> Record:
    with exclusive(record.folder):
        stored = read_record(record.folder)
        if stored.metrics != record.metrics:
            raise RecordError(f"{record.folder.name} was changed by another process meanwhile. Run bench rescore again.")
        before = {"metrics_version": stored.metrics_version, "metrics": stored.metrics, "selection_gap": stored.selection_gap}
        history = [*getattr(stored, HISTORY, []), {**before, "replaced": now(), "by": version("clusterbench")}]
        fields = {"metrics_version": METRICS_VERSION, "metrics": metrics, "selection_gap": _gap(metrics), HISTORY: history}
        return RecordWriter(record.folder).update(**fields)


def _gap(metrics: Mapping[str, Any]) -> float | None:
    oracle, own = (metrics.get(name, {}).get("acc") for name in ("oracle", "own-loss"))
    return None if oracle is None or own is None else oracle - own


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, tuple[float | None, float | None]]]:
    """Numbers that appeared, went, or differ by more than rounding, by their dotted names below the selection."""
    for selection in after:
        old, new = dict(_numbers(before[selection])), dict(_numbers(after[selection]))
        for name in dict.fromkeys([*old, *new]):
            if not _same(was := old.get(name), now_ := new.get(name)):
                yield f"{selection} {name}", (was, now_)


def _numbers(value: Any, name: str = "") -> Iterator[tuple[str, float | None]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _numbers(each, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for index, each in enumerate(value):
            yield from _numbers(each, f"{name}[{index}]")
    elif value is None or isinstance(value, (int, float)):
        yield name, value


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=ROUNDING, abs_tol=ROUNDING)
