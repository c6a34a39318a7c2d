"""What must not stand in one folder of results: `lint` names each thing that makes its numbers incomparable or misleading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

from .groups import Group, group_records, split_counted, why_left_out
from .record import Record, scan_records
from .written_tables import OVER_HEADS, Shown, Written, read_tables

MEASURES = {"acc": "acc", "pixel_acc": "acc", "miou": "miou", "nmi": "nmi", "ari": "ari"}  # of tables: of records
EXACT = 1e-6  # numbers in CSV are not rounded; in percent
NAMED = 4


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        rule: its name: `damaged record`, `mixed metric versions`, `mixed protocols`, `mixed data`, `missing cell`,
            `unfinished run`, `spread of one seed`, `best of n as a mean`, `labels' choice as own`, `not from these records`.
        where: the file or folder.
        text: what it is and what to do.
    """

    rule: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.rule}: {self.text}"


@dataclass(frozen=True)
class Linted:
    """What was looked at, and what was found."""

    findings: tuple[Finding, ...]
    records: int
    tables: int


def lint(folder: Path) -> Linted:
    """Look through the records directly in `folder`, and through the tables in CSV or Markdown that we wrote into it or below.

    A record is damaged, was not finished, or has metrics of another version than others. A data set has no protocol, or no copy
    of the data, that all its methods share. A method lacks a data set that others of its budget have. A table shows a spread of
    one seed, the best of several seeds as their mean, a choice by labels as the method's own, a number under another protocol
    than the published ones beside it, a cell without a run, or a number that does not follow from the records beside it.
    """
    records, damaged = scan_records(folder)
    counted, left_out = split_counted(records)
    tables = list(read_tables(folder))
    groups = group_records(counted)
    findings = [
        *(Finding("damaged record", str(folder), str(error)) for error in damaged),
        *(Finding("unfinished run", str(folder), f"{why_left_out(record)}.") for record in left_out),
        *_mixed_versions(folder, counted),
        *_mixed(folder, groups),
        *_missing(folder, groups),
        *(finding for table in tables for finding in _in_table(table, groups)),
    ]
    return Linted(tuple(findings), len(records) + len(damaged), len(tables))


def _mixed_versions(folder: Path, records: Iterable[Record]) -> Iterator[Finding]:
    versions = Counter(record.metrics_version for record in records)
    if len(versions) > 1:
        told = ", ".join(f"version {version} in {n}" for version, n in sorted(versions.items(), key=str))
        yield Finding("mixed metric versions", str(folder), f"{told} records. Make them one: bench rescore --out {folder}")


def _mixed(folder: Path, groups: Sequence[Group]) -> Iterator[Finding]:
    """Data sets on which no protocol, or no copy of the data, is common to all methods of a task."""
    for task, dataset in dict.fromkeys((group.spec.get("task"), group.spec["dataset"]) for group in groups):
        rivals = [group for group in groups if (group.spec.get("task"), group.spec["dataset"]) == (task, dataset)]
        for rule, name, of in (("mixed protocols", "protocol", "protocol"), ("mixed data", "copy", "data_fingerprint")):
            by_value: dict[str, set[str]] = {}
            for group in rivals:
                by_value.setdefault(str(group.spec.get(of)), set()).add(group.spec["method"])
            if not any(methods == set().union(*by_value.values()) for methods in by_value.values()):
                told = "; ".join(f"{value[:16]}: {', '.join(sorted(methods))}" for value, methods in by_value.items())
                yield Finding(rule, str(folder), f"on {dataset} there is no {name} that all methods share ({told}).")


def _missing(folder: Path, groups: Sequence[Group]) -> Iterator[Finding]:
    """Methods without a run on a data set that others of the same task, protocol and budget have."""
    blocks: dict[tuple[str, str, str], list[Group]] = {}
    for group in groups:
        spec = group.spec
        blocks.setdefault((str(spec.get("task")), spec["protocol"], str(spec.get("preset"))), []).append(group)
    for (_, protocol, preset), members in blocks.items():
        datasets = dict.fromkeys(group.spec["dataset"] for group in members)
        for method in dict.fromkeys(group.spec["method"] for group in members):
            has = {group.spec["dataset"] for group in members if group.spec["method"] == method}
            lacking = [dataset for dataset in datasets if dataset not in has]
            if lacking:
                told = f"{method} (budget {preset}, protocol {protocol}) has no run on {_some(lacking)}, on which others have."
                yield Finding("missing cell", str(folder), told)


def _in_table(table: Written, groups: Sequence[Group]) -> Iterator[Finding]:
    where = str(table.path)
    for row, columns in table.empty.items():
        yield Finding("missing cell", where, f"{row} has no run on {_some(columns)}.")
    for shown in table.numbers:
        yield from (Finding(rule, where, f"{shown.where}: {text}") for rule, text in _of_number(shown, groups))


def _of_number(shown: Shown, groups: Sequence[Group]) -> Iterator[tuple[str, str]]:
    if shown.expected and shown.protocol != shown.expected:
        yield "mixed protocols", f"ours is under {shown.protocol}, the published numbers of the row under {shown.expected}."
    if shown.n == 1 and shown.std is not None and shown.std_over != OVER_HEADS:
        yield "spread of one seed", f"± {shown.std:.4g} stands beside n=1."
        return
    by_records = list(_against(shown, groups))
    yield from by_records
    if not by_records and _is_best(shown):
        told = f"{shown.value:.6g} ± {shown.std:.4g} of {shown.n} seeds"
        yield "best of n as a mean", f"{told} cannot be a mean if their best is {shown.best:.6g}."


def _is_best(shown: Shown) -> bool:
    """Whether the best is nearer to the number than it can be to the mean: at least std / sqrt(n) of n values.

    That is the least for given n and standard deviation (ddof 1): all values but one are equal, and it lies below them.
    """
    of_seeds = shown.n > 1 and shown.std_over != OVER_HEADS and MEASURES.get(shown.metric) == "acc"
    if shown.best is None or shown.std is None or not of_seeds:
        return False
    slack = 2 * shown.rounding + EXACT
    return shown.best - shown.value + slack < (shown.std - shown.rounding) / sqrt(shown.n)


def _against(shown: Shown, groups: Sequence[Group]) -> Iterator[tuple[str, str]]:
    """What the records say of a number: nothing where there are none of its method on its data set."""
    measure = MEASURES.get(shown.metric)
    alike = [group for group in groups if (group.spec["method"], group.spec["dataset"]) == (shown.method, shown.dataset)]
    if not alike or measure is None:
        return
    meant = [g for g in alike if (g.spec.get("preset"), g.spec["protocol"], g.n) == (shown.preset, shown.protocol, shown.n)]
    if any(_near(shown, mean) for group in meant for mean in _means(group, measure, shown.std_over)):
        return
    if any(_near(shown, max(_scores(group, measure), default=None)) for group in meant):
        yield "best of n as a mean", f"{shown.value:.6g} is the best of its {shown.n} seeds."
    elif any(_near(shown, spread.mean) for group in meant if (spread := group.spread(measure, "oracle"))):
        yield "labels' choice as own", f"{shown.value:.6g} is what a choice by labels has (oracle)."
    else:
        told = _some([f"n={g.n}, {g.spec.get('preset')}, {g.spec['protocol']}: {_in_percent(g, measure)}" for g in alike])
        claimed = f"{shown.value:.6g} of {shown.n} seeds ({shown.preset}, {shown.protocol})"
        yield "not from these records", f"{claimed}; there are {told}."


def _means(group: Group, measure: str, std_over: str) -> Iterator[float]:
    spread = group.heads(f"{measure}_mean") if std_over == OVER_HEADS else group.spread(measure)
    if spread is not None:
        yield spread.mean


def _scores(group: Group, measure: str) -> list[float]:
    return [score for record in group.records if (score := record.score(measure)) is not None]


def _near(shown: Shown, share: float | None) -> bool:
    """Whether a number is that share, in percent or in [0, 1]."""
    scales = (1, 100) if shown.metric in ("nmi", "ari") else (100,)
    return share is not None and any(abs(shown.value - scale * share) <= shown.rounding + EXACT for scale in scales)


def _in_percent(group: Group, measure: str) -> str:
    spread = group.spread(measure)
    return spread.in_percent if spread else "not measured"


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
