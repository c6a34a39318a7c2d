"""What the page says of a setting: the seeds of one specification, averaged, with what a reader must know beside the mean."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from ..files import plain
from ..groups import Group, deviations
from ..published import Published, published
from ..record import Record
from ..statistics import mean_interval
from ..tiers import Placed
from ..unlabelled import confidence, silhouettes, stability

METRICS = {"acc": "ACC", "nmi": "NMI", "ari": "ARI", "ami": "AMI", "many_to_one_acc": "many-to-one ACC", "miou": "mIoU"}
COSTS = {"total_seconds": "time a seed", "train_seconds": "training time a seed", "images": "images seen a seed"}
_SCALES = {"acc": 1, "pixel_acc": 1, "miou": 1, "nmi": 100, "ari": 100}  # of published numbers, to percent


def setting(group: Group, contest: int, dataset: str, placed: Mapping[str, Placed], tell_more: bool = True) -> dict[str, Any]:
    """One group of runs.

    Args:
        group: the seeds.
        contest: number of the contest that it is ranked in.
        dataset: name of the data set, with what tells its copy from others.
        placed: by metric, its place in that contest; {} where nothing is labelled.
        tell_more: also how many more seeds would tell it from the setting before it.
    """
    spec = group.spec
    return {
        "id": identity(group),
        "method": spec["method"] + (f" (lab {group.lab})" if group.lab else ""),
        "dataset": dataset,
        "protocol": spec.get("protocol"),
        "task": spec.get("task"),
        "budget": str(spec.get("preset")),
        "changed": [f"{name}={json.dumps(plain(value))}" for name, value in (spec.get("overrides") or {}).items()],
        "contest": contest,
        "labelled": group.is_labelled,
        "n": group.n,
        "scores": {metric: score for metric in METRICS if (score := _score(group, metric, placed.get(metric), tell_more))},
        "whyNot": placed["acc"].why_not if "acc" in placed else "",
        "best": group.best.score("acc") if group.best and group.n > 1 else None,
        "oracle": _mean(group, "acc", "oracle"),
        "last": _mean(group, "acc", "last"),
        "gap": group.selection_gap,
        "used": _mean(group, "clusters_used", "own-loss"),
        "clusters": spec.get("n_clusters"),
        "cost": {name: _range(group, name) for name in COSTS},
        "collapsed": sum(bool(record.diagnostics.get("collapsed")) for record in group.records),
        "hardware": sorted({hardware(record) for record in group.records}),
        "notes": deviations(group),
        "published": [_line(number) for number in _published(spec)],
        **({} if group.is_labelled else _without_labels(group)),
    }


def identity(group: Group) -> str:
    """Ten hex digits that stay the same as long as the setting does, so that a link to it does."""
    known = json.dumps([group.spec, group.records[0].metrics_version, group.lab], sort_keys=True, default=str)
    return hashlib.sha256(known.encode()).hexdigest()[:10]


def hardware(record: Record) -> str:
    """What a run's times were measured on: the GPU, or the processor and its threads."""
    found = record.provenance
    return str(found.get("gpu") or f"{found.get('cpu') or 'unknown processor'}, threads: {found.get('threads') or 'unknown'}")


def _score(group: Group, metric: str, placed: Placed | None, tell_more: bool) -> dict[str, Any] | None:
    spread = group.spread(metric)
    if spread is None:
        return None
    score: dict[str, Any] = {"mean": spread.mean, "std": spread.std}
    if placed is None:
        return score
    interval = mean_interval([value for record in group.records if (value := record.score(metric)) is not None])
    score |= {"low": interval and interval.low, "high": interval and interval.high, "tier": placed.tier}
    score["rank"] = [placed.rank_low, placed.rank_high]
    return {**score, "more": placed.more_seeds} if tell_more else score


def _mean(group: Group, metric: str, selection: Any) -> float | None:
    spread = group.spread(metric, selection)
    return spread and spread.mean


def _range(group: Group, name: str) -> list[float] | None:
    """[mean, lowest, highest] of a cost over the seeds."""
    values = [value for record in group.records if (value := record.cost.get(name)) is not None]
    return [fmean(values), min(values), max(values)] if len(values) == group.n else None


def _without_labels(group: Group) -> dict[str, Any]:
    found = {"stability": stability(group), "confidence": confidence(group), "silhouette": silhouettes(group)}
    return {name: spread and [spread.mean, spread.std] for name, spread in found.items()}


def _published(spec: Mapping[str, Any]) -> Sequence[Published]:
    method = str(spec["method"]).removesuffix("-segmentation")
    return [number for number in published(dataset=spec["dataset"]) if number.method == method and number.metric in _SCALES]


def _line(number: Published) -> str:
    name = METRICS.get(number.metric, "ACC")
    where = f"{number.source}, Table {number.table}" if number.table else number.source
    told = "; ".join([number.aggregate, f"protocol {number.protocol}", *number.notes])
    return f"{name} {number.value * _SCALES[number.metric]:g} ({where}; {told})"
