"""The reproduced half of a cell: what one group of runs has to say in a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..grid import NONE, duration, percent, points
from ..groups import ENOUGH_SEEDS, Group, Spread, deviations, lab_suffix
from .rows import SHARES, Entry


@dataclass(frozen=True)
class Value:
    """The number of a group in one row.

    Attributes:
        text: as it is printed.
        shown: its mean over the seeds, a share in [0, 1]; None where nothing was measured.
        std, std_over: its spread and over what; None for a single seed.
        interval: both ends of the interval over seeds; None without a claim.
        metric: as the row names it.
        notes: what must be said beside it.
    """

    text: str
    shown: Spread | None
    std: float | None
    std_over: str | None
    interval: tuple[float, float] | None
    metric: str
    notes: tuple[str, ...] = ()


def value(entry: Entry, group: Group) -> Value:
    """The number that a group has under the metric of a row."""
    shown = group.heads("acc_mean") if entry.averages_heads else group.spread(entry.measure)
    if shown is None:
        return Value(NONE, None, None, None, None, entry.metric)
    interval = None if entry.averages_heads else _interval(group, entry.measure)
    within = group.heads("acc_std") if entry.averages_heads else None
    if within is None:
        return Value(
            _spread(shown, entry.metric), shown, shown.std, None if shown.std is None else "seeds", interval, entry.metric
        )
    over_seeds = "" if shown.std is None else f"; over seeds it is {percent(shown.std)}"
    note = f"± over the sub-heads of one network (mean over seeds), as the paper has it{over_seeds}."
    text = f"{percent(shown.mean)} ± {percent(within.mean)}"
    return Value(text, shown, within.mean, "sub-heads", None, entry.metric, (note,))


def details(entry: Entry, group: Group, shown: Value) -> list[str]:
    """The small print of a cell: interval, setting, time."""
    spec, with_best = group.spec, group.n > 1 and entry.measure == "acc" and not entry.averages_heads
    best = f", best {percent(group.best.score('acc'))}" if with_best and group.best else ""
    low_high = ", ".join(_number(end, entry.metric) for end in shown.interval or ())
    setting = f"{spec['preset']}, {spec['protocol']}, n={group.n}{best}"
    return [*([f"[{low_high}]"] if low_high else []), setting, duration(group.cost("total_seconds"))]


def departures(entry: Entry, group: Group) -> list[str]:
    """What differs from the published setting, and what else a reader must know."""
    spec, told = group.spec, []
    if not spec["preset"].startswith("paper"):
        told.append(f"Budget {spec['preset']}, not paper: bench show {spec['method']} lists what it changes.")
    if spec["protocol"] != entry.protocol:
        told.append(f"Protocol {spec['protocol']}; the published numbers of the row are under {entry.protocol}.")
    return told + deviations(group, own=entry.settings)


def elsewhere(group: Group, others: Sequence[Group]) -> list[str]:
    """Where a cell has more groups than the one it shows: which."""
    if not others:
        return []
    listed = "; ".join(other.name for other in others)
    return [f"Other runs of {group.spec['method']} on {group.spec['dataset']} are not in this cell: {listed}."]


def with_labels(entry: Entry, group: Group) -> list[str]:
    """What a choice by labels would have made of the runs."""
    oracle, gap = group.spread("acc", "oracle"), group.selection_gap
    if oracle is None or gap is None:
        return []
    named = f"{entry.label} on {group.spec['dataset']}{lab_suffix(group.lab)}"
    return [f"{named}: ACC {oracle.in_percent}, {100 * gap:+.1f} points over the choice by own loss (n={group.n})"]


def fact(group: Group, shown: Value) -> dict[str, Any]:
    """What a machine should know of a cell's number, in the unit of the published ones."""
    spec, oracle, low_high = group.spec, group.spread("acc", "oracle"), shown.interval or (None, None)
    return {
        "kind": "reproduced",
        "source": f"runs of {group.lab}" if group.lab else "runs",
        "value": _in_unit(shown.shown and shown.shown.mean, shown.metric),
        "std": _in_unit(shown.std, shown.metric),
        "std_over": shown.std_over,
        "low": _in_unit(low_high[0], shown.metric),
        "high": _in_unit(low_high[1], shown.metric),
        "n": group.n,
        "preset": spec["preset"],
        "protocol": spec["protocol"],
        "best": points(group.best and group.best.score("acc")),
        "oracle": points(oracle and oracle.mean),
        "selection_gap": points(group.selection_gap),
        "seconds": group.cost("total_seconds"),
        "images": group.cost("images"),
    }


def _interval(group: Group, measure: str) -> tuple[float, float] | None:
    values = [score for record in group.records if (score := record.score(measure)) is not None]
    if len(values) < max(ENOUGH_SEEDS, group.n):
        return None
    from ..statistics import mean_interval  # scipy.stats loads for a second: not for tables without enough seeds

    return mean_interval(values)


def _spread(spread: Spread, metric: str) -> str:
    return _number(spread.mean, metric) + ("" if spread.std is None else f" ± {_number(spread.std, metric)}")


def _number(share: float, metric: str) -> str:
    return f"{share:.3f}" if metric in SHARES else percent(share)


def _in_unit(share: float | None, metric: str) -> float | None:
    return share if metric in SHARES else points(share)
