"""Runs that may be averaged: those whose specs agree in everything but the seed.

Nothing is ever averaged across presets, protocols, changed settings, configurations, copies of the data, versions of a
method or of the metrics, or laboratories.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from .differences import without
from .grid import percent
from .record import Record, Selection

PRESETS = ("paper", "paper-semi-supervised", "half-hour", "short", "smoke")  # best first; any other name comes after them
ENOUGH_SEEDS = 3


@dataclass(frozen=True)
class Spread:
    """Mean of `n` values, and their sample standard deviation (ddof 1); one value has no spread."""

    mean: float
    std: float | None
    n: int

    @property
    def in_percent(self) -> str:
        """`86.1 ± 2.0`, or `86.1` for one value."""
        return percent(self.mean) if self.std is None else f"{percent(self.mean)} ± {percent(self.std)}"


@dataclass(frozen=True)
class Group:
    """The seeds of one setting, at least one, in the order of the seeds."""

    records: tuple[Record, ...]

    @property
    def spec(self) -> dict[str, Any]:
        """What all its records have in common: the spec without the seed. `overrides` are those of the seed with the fewest."""
        least_changed = min(self.records, key=lambda record: len(record.spec.get("overrides") or {}))
        return {name: value for name, value in least_changed.spec.items() if name != "seed"}

    @property
    def lab(self) -> str | None:
        """The laboratory that ran it, of an imported bundle; None for our own."""
        return self.records[0].lab

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.records)

    @property
    def is_labelled(self) -> bool:
        """Whether accuracy could be measured."""
        return all(record.score("acc") is not None for record in self.records)

    def spread(self, metric: str, selection: Selection = "own-loss") -> Spread | None:
        """A metric over the seeds; None unless every seed has it."""
        return spread_of([record.score(metric, selection) for record in self.records])

    @property
    def best(self) -> Record | None:
        """The seed with the best own-loss ACC, as papers print beside the average; labels chose it. None without labels."""
        scored = [(score, record) for record in self.records if (score := record.score("acc")) is not None]
        return max(scored, key=lambda each: each[0])[1] if scored else None

    def heads(self, name: str) -> Spread | None:
        """An entry of the own-loss selection's summary over sub-heads (`acc_mean`, `acc_std`, ...) over the seeds."""
        return spread_of([record.metrics.get("own-loss", {}).get("heads", {}).get(name) for record in self.records])

    @property
    def selection_gap(self) -> float | None:
        """Mean ACC of the oracle choice (which sees the labels) minus that of the own-loss choice."""
        oracle, own = self.spread("acc", "oracle"), self.spread("acc")
        return None if oracle is None or own is None else oracle.mean - own.mean

    def cost(self, name: str) -> float | None:
        """Mean cost of a seed, e.g. `total_seconds` or `images`."""
        spread = spread_of([record.cost.get(name) for record in self.records])
        return spread and spread.mean

    @property
    def name(self) -> str:
        """What tells it from other groups of the same cell: `short, split, n=5, changed epochs=3 (lab oxford)`."""
        changed = "".join(f", changed {key}={value}" for key, value in (self.spec.get("overrides") or {}).items())
        return f"{self.spec.get('preset')}, {self.spec.get('protocol')}, n={self.n}{changed}{lab_suffix(self.lab)}"


def lab_suffix(lab: str | None) -> str:
    """What a name shows beside it of another laboratory: ` (lab oxford)`; nothing for our own."""
    return f" (lab {lab})" if lab else ""


def spread_of(values: list[float | None]) -> Spread | None:
    """Mean and sample standard deviation; None for an empty list or one with a missing value."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    return Spread(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None, len(known))


def split_counted(records: Iterable[Record]) -> tuple[list[Record], list[Record]]:
    """(records whose result counts, the others): complete ones and those that used up their time limit count."""
    counted, left_out = [], []
    for record in records:
        (counted if record.is_complete or _out_of_time(record) else left_out).append(record)
    return counted, left_out


def why_left_out(record: Record) -> str:
    """One line on a record that does not count: which one, and what became of it."""
    progress = f"after {record.epochs_done} of {record.planned_epochs} epochs"
    if record.status == "failed":
        error = record.error or {}
        message = " ".join(str(error.get("message", "")).split())
        return f"{record.folder.name}: failed {progress} ({error.get('type', 'unknown error')}: {message[:160]})"
    if record.status == "stopped":
        return f"{record.folder.name}: {record.stop_reason} {progress}; the same command goes on with it"
    return f"{record.folder.name}: still running, or killed, {progress}; the same command goes on with it"


def group_records(records: Iterable[Record]) -> list[Group]:
    """Groups of records that count, by everything in the spec except the seed.

    Of several records of one seed (the same trial from two folders) the newest is kept, a complete one before any that ran
    out of time.
    """
    groups: dict[str, dict[Any, Record]] = {}
    for record in sorted(records, key=lambda record: (record.is_complete, record.created)):
        groups.setdefault(_key(record), {})[record.spec.get("seed")] = record
    return [Group(tuple(seeds[seed] for seed in sorted(seeds, key=_seed_order))) for seeds in groups.values()]


def preferred(groups: Iterable[Group], protocol: str) -> list[Group]:
    """The groups that could fill one cell, the one that fills it first.

    The rule: budget (in the order of `PRESETS`, then any other), then the protocol of the published number, then unchanged
    settings before changed ones, then our own before other laboratories', then more seeds, then the newest.
    """

    def rank(group: Group) -> tuple[Any, ...]:
        spec = group.spec
        asked_for = spec.get("protocol") == protocol
        return preset_rank(spec.get("preset")), not asked_for, bool(spec.get("overrides")), group.lab is not None, -group.n

    newest_first = sorted(groups, key=lambda group: max(record.created for record in group.records), reverse=True)
    return sorted(newest_first, key=rank)


def contest(group: Group) -> tuple[Any, ...]:
    """Groups are ranked against each other only where this agrees: the very same images and labels, used in the same way."""
    spec = group.spec
    return spec["dataset"], spec["protocol"], spec.get("data_fingerprint"), group.is_labelled


def preset_rank(preset: str | None) -> int:
    """Place of a preset among `PRESETS`, after them for any other."""
    return PRESETS.index(preset) if preset in PRESETS else len(PRESETS)


def deviations(group: Group, own: Collection[str] = ()) -> list[str]:
    """What a reader must know beside the mean of a group: changed settings, few seeds, the data, early ends.

    Settings named in `own` are what the row is about, and no deviation.
    """
    spec, told = group.spec, []
    changed = [f"{key}={value}" for key, value in (spec.get("overrides") or {}).items() if key not in own]
    if changed:
        told.append(f"Changed settings: {', '.join(changed)}.")
    data = group.records[-1].provenance.get("data") or {}
    classes, clusters = data.get("n_classes"), spec.get("n_clusters")
    told += _labels_used(group) + _scored_images_used(group) + _other_predictions(group)
    if classes and clusters and clusters != classes and (group.records[-1].mapping or {}).get("kind") != "many-to-one":
        told.append(f"{clusters} clusters for {classes} classes: ACC matches at most {min(clusters, classes)} of them.")
    if group.n < ENOUGH_SEEDS:
        told.append("1 seed: no spread is known." if group.n == 1 else f"{group.n} seeds: too few for a claim.")
    told += [_early_end(record) for record in group.records if _out_of_time(record)]
    told += _reused(group)
    return [*told, *(f"Data: {note}" for note in dict.fromkeys(_data_notes(group)))]


def _labels_used(group: Group) -> list[str]:
    """Where labels of other images than the scored ones took part."""
    record = group.records[-1]
    mapping = record.mapping or {}
    if "chosen_with" not in record.metrics.get("oracle", {}):  # the map was found on the scored images
        return []
    splits = " and ".join(mapping["on"])
    if mapping["kind"] == "identity":
        return [f"Learned from the labels of {splits}: its predictions are classes."]
    return [f"The labels of {splits} mapped clusters to classes ({mapping['kind']})."]


def _scored_images_used(group: Group) -> list[str]:
    """Where the scored images took part, which trained nothing: a method's setting with the value `scored` says so."""
    spec = group.spec
    settings = [f"{name}=scored" for name, value in (spec.get("config") or {}).items() if value == "scored"]
    if not settings or spec.get("protocol") == "full":  # under full they are the training images
        return []
    return [f"The scored images took part in more than the scoring, without their labels ({', '.join(settings)})."]


def _other_predictions(group: Group) -> list[str]:
    """ACC of the method's other ways to predict, such as the published evaluation beside an honest one."""
    others = [record.metrics.get("own-loss", {}).get("other_predictions") or {} for record in group.records]
    spreads = {name: spread_of([each.get(name, {}).get("acc") for each in others]) for name in others[0]}
    return [f"Predicted another way ({name}): ACC {spread.in_percent}." for name, spread in spreads.items() if spread]


def _reused(group: Group) -> list[str]:
    """Where the cost of a seed is not all that its result took."""
    reusing = [record for record in group.records if record.cost.get("reused")]
    kinds = dict.fromkeys(name.partition("/")[0] for record in reusing for name in record.cost["reused"])
    if not reusing:
        return []
    whose = "Every seed" if len(reusing) == group.n else "Seed " + ", ".join(str(record.spec.get("seed")) for record in reusing)
    return [f"{whose} took {' and '.join(kinds)} that other trials had made: that cost is not in the time (cost.reused)."]


def _data_notes(group: Group) -> Iterable[str]:
    for record in group.records:
        yield from (record.provenance.get("data") or {}).get("notes") or ()


def _out_of_time(record: Record) -> bool:
    return record.status == "stopped" and record.stop_reason == "time limit"


def _early_end(record: Record) -> str:
    progress = f"after {record.epochs_done} of {record.planned_epochs} epochs"
    return f"Seed {record.spec.get('seed')} was stopped by its time limit {progress}."


def _key(record: Record) -> str:
    """What groups agree in.

    How a configuration came about (by the preset, or by `--set` before the preset had it) is no part, nor are settings that the
    method got later and that do what it did before.
    """
    spec = {name: value for name, value in record.spec.items() if name not in ("seed", "overrides", "later")}
    for addition in record.spec.get("later") or ():
        spec["config"] = without(spec["config"], addition)
    return json.dumps([spec, record.metrics_version, record.lab], sort_keys=True, default=str)


def _seed_order(seed: Any) -> tuple[bool, Any]:
    return (False, seed) if isinstance(seed, int) else (True, str(seed))
