"""What the page says of one run: settings, provenance and scores of all, curves and confusion of those that there is room for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..figures.confusion import by_class
from ..figures.facts import class_names
from ..figures.jobs import Cannot
from ..figures.naming import Naming
from ..figures.predictions import arrays_of, counts_and_naming
from ..files import RecordError
from ..record import Record
from ..unlabelled import chosen_clusters, cluster_sizes
from .packing import Pieces

POINTS = 120  # of a curve: more than a chart of this width shows
MOST_CLASSES = 30  # of a confusion matrix that a reader still overlooks
MOST_PAIRS = 40
DIGITS = 5
Sampler = Callable[[Record, Mapping[str, np.ndarray], int], Sequence[str]]
"""Pictures (data URIs) of images of each cluster of a record. Raises `Cannot` where they are not to be had."""


def basics(record: Record, repeat: str, pieces: Pieces) -> dict[str, Any]:
    """What every run has: its settings, provenance, scores by selection, cost, and the command that `repeat`s it."""
    provenance = {name: value for name, value in record.provenance.items() if name != "command"}
    return {
        "config": pieces.share(record.spec.get("config") or {}),
        "provenance": pieces.share(provenance),
        "spec": {name: value for name, value in record.spec.items() if name not in ("config", "overrides")},
        "changed": record.spec.get("overrides") or {},
        "metrics": {selection: _scalars(scores) for selection, scores in record.metrics.items()},
        "mapping": record.mapping,
        "cost": record.cost,
        "created": record.created,
        "finished": record.finished,
        "progress": [record.epochs_done, record.planned_epochs],
        "stopReason": record.stop_reason,
        "error": record.error,
        "notices": record.diagnostics.get("notices") or [],
        "origin": record.origin,
        "typed": record.provenance.get("command"),
        "repeat": repeat,
    }


def extras(record: Record, sampler: Sampler | None) -> dict[str, Any]:
    """Curves, confusion and clusters of a run, each with why where it is not to be had; `sampler` adds images."""
    found: dict[str, Any] = {"curve": None, "confusion": None, "clusters": None, "lacking": []}
    try:
        found["curve"] = curve(record.epochs())
        arrays = arrays_of(record, "own-loss")
        found |= _predicted(record, arrays)
        if sampler is not None and found["clusters"]:
            pictures = sampler(record, arrays, len(found["clusters"]))
            found["clusters"] = [{**row, "picture": text} for row, text in zip(found["clusters"], pictures, strict=True)]
    except (Cannot, RecordError, KeyError) as lacking:
        found["lacking"].append(lacking.why if isinstance(lacking, Cannot) else str(lacking))
    return found


def curve(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Lists over at most `POINTS` epochs: `epoch`, `criterion`, `acc` and `nmi` of the chosen sub-head, and the ACC of the worst
    (`low`) and the best one (`high`); with the `floor` that the criterion cannot fall below. None for a method without epochs."""
    if len(rows) < 2:
        return None
    kept = [rows[index] for index in np.unique(np.linspace(0, len(rows) - 1, min(len(rows), POINTS)).round().astype(int))]
    heads = [[value for value in row.get("acc") or () if value is not None] for row in kept]
    return {
        "epoch": [row.get("epoch") for row in kept],
        "criterion": [_rounded(row.get("criterion")) for row in kept],
        "acc": [_chosen(row, "acc") for row in kept],
        "nmi": [_chosen(row, "nmi") for row in kept],
        "low": [_rounded(min(each)) if each else None for each in heads],
        "high": [_rounded(max(each)) if each else None for each in heads],
        "floor": _rounded((kept[-1].get("loss_floors") or {}).get("criterion")),
    }


def _predicted(record: Record, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    if record.score("acc") is None:
        return {"clusters": _sizes(record, arrays)}
    counts, naming = counts_and_naming(record, "own-loss", arrays)
    names = class_names(record, counts.shape[1])
    return {"confusion": confusion(by_class(counts, naming), names), "clusters": clusters(counts, naming, names)}


def confusion(matrix: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """A matrix of counts, int (C, C) or (C, C + 1) with `no class` last; of many classes only what is most often mistaken."""
    if len(names) <= MOST_CLASSES:
        return {"names": list(names), "matrix": matrix.tolist()}
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    places = zip(*np.unravel_index(order, wrong.shape), strict=True)
    given = [*names, "no class"]
    pairs = [[names[row], given[column], int(wrong[row, column]), int(matrix[row].sum())] for row, column in places]
    return {"names": list(names), "pairs": [pair for pair in pairs if pair[2]]}


def clusters(counts: np.ndarray, naming: Naming, names: Sequence[str]) -> list[dict[str, Any]]:
    """Each cluster of int (K, C) counts: its `name` ("" for none), what is in it, and the share of its most frequent class."""
    sizes = counts.sum(axis=1)
    return [
        {
            "name": names[naming.classes[cluster]] if naming.classes[cluster] >= 0 else "",
            "size": int(sizes[cluster]),
            "mostly": names[int(row.argmax())] if sizes[cluster] else "",
            "share": _rounded(row.max() / sizes[cluster]) if sizes[cluster] else None,
        }
        for cluster, row in enumerate(counts)
    ]


def _sizes(record: Record, arrays: Mapping[str, np.ndarray]) -> list[dict[str, Any]] | None:
    found = chosen_clusters(arrays)
    if found is None:
        return None
    return [{"name": "", "size": int(size)} for size in cluster_sizes(found, int(record.spec["n_clusters"]))]


def _chosen(row: Mapping[str, Any], metric: str) -> float | None:
    values, head = row.get(metric) or [], row.get("chosen_head") or 0
    return _rounded(values[head]) if head < len(values) else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), DIGITS)


def _scalars(scores: Mapping[str, Any]) -> dict[str, Any]:
    """The scores of a selection, those of single sub-heads left out."""
    heads = scores.get("heads") or {}
    plain = {name: value for name, value in scores.items() if not isinstance(value, (dict, list))}
    return {**plain, "headsMean": heads.get("acc_mean"), "headsStd": heads.get("acc_std"), "heads": heads.get("n")}
