"""The leaderboard: every group of runs, best label-free accuracy first, never two data sets or protocols in one ranking."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from .grid import NONE, Cell, Footnotes, Line, Row, Section, Table, duration, line, percent, points
from .groups import Group, deviations, group_records, preset_rank, split_counted, why_left_out
from .record import Record

COLUMNS = ("Method", "Budget", "n", "ACC", "Best", "NMI", "ARI", "Gap", "Clusters", "Time", "Images")
CAPTION = (
    "ACC, NMI and ARI in %: mean ± sample standard deviation over n seeds, for the sub-head and epoch that the method's own loss "
    "prefers. Best: ACC of the best seed, which it takes labels to find; it ranks nothing. Gap: points of ACC that a choice by "
    "labels (oracle) would add; it ranks nothing. Clusters: used of asked for. Time and images: mean a seed. On label maps all "
    "of it is per pixel."
)
FACTS = (
    *("dataset", "protocol", "data_fingerprint", "method", "method_version", "preset", "overrides", "n", "seeds"),
    *("acc", "acc_std", "acc_best", "best_seed", "nmi", "nmi_std", "ari", "ari_std", "ami", "many_to_one_acc"),
    *("oracle_acc", "selection_gap", "clusters_used", "n_clusters", "seconds", "train_seconds", "images", "notes"),
)
LEAKS = "What the published numbers of these methods took from the test images or their labels"


def leaderboard(
    records: Iterable[Record],
    *,
    datasets: Collection[str] | None = None,
    methods: Collection[str] | None = None,
    leaks: Mapping[str, Sequence[str]] | None = None,
) -> Table:
    """All groups of finished runs, sorted by mean own-loss ACC within data set and protocol.

    Data sets without labels come last, sorted by name. Where one ranking holds several budgets, a line under
    the table says so.

    Args:
        records: any records; unfinished and failed ones listed, never averaged.
        datasets, methods: show only these; all if None or empty.
        leaks: by method, what its published protocol lets in from the test images or their labels.
    """
    wanted = [record for record in records if _wanted(record, datasets, methods)]
    counted, left_out = split_counted(wanted)
    groups = group_records(counted)
    footnotes, headings = Footnotes(), _headings(groups)
    ordered = sorted(groups, key=lambda group: (not group.is_labelled, headings[_contest(group)], _place(group)))
    rows = tuple(_row(group, headings[_contest(group)], footnotes) for group in ordered)
    sections = (
        Section(
            "Mixed budgets: these rankings compare what each budget bought, not the methods alone", _mixed(ordered, headings)
        ),
        Section(LEAKS, _leaks(ordered, leaks or {})),
        Section("Not averaged", tuple(why_left_out(record) for record in left_out)),
    )
    return Table(
        title="Leaderboard",
        caption=CAPTION,
        columns=COLUMNS,
        rows=rows,
        footnotes=footnotes.texts,
        sections=tuple(section for section in sections if section.lines),
        facts=tuple(_fact(group) for group in ordered),
        labels=2,
    )


def _wanted(record: Record, datasets: Collection[str] | None, methods: Collection[str] | None) -> bool:
    spec = record.spec
    return (not datasets or spec.get("dataset") in datasets) and (not methods or spec.get("method") in methods)


def _contest(group: Group) -> tuple[Any, ...]:
    """Groups are ranked against each other only where this agrees: the very same images and labels, used in the same way."""
    spec = group.spec
    return spec["dataset"], spec["protocol"], spec.get("data_fingerprint"), group.is_labelled


def _headings(groups: Iterable[Group]) -> dict[tuple[Any, ...], str]:
    """A heading for every contest; the checksum of the data is named where two contests differ in nothing else."""
    contests = sorted({_contest(group) for group in groups}, key=str)
    plain = [contest[:2] for contest in contests]
    headings = {}
    for contest in contests:
        dataset, protocol, fingerprint, is_labelled = contest
        copy = f", data {str(fingerprint)[:8]}" if plain.count(contest[:2]) > 1 else ""
        helped = ", labels of training images used" if protocol == "semi-supervised" else ""
        headings[contest] = f"{dataset}, protocol {protocol}{helped}{copy}" + ("" if is_labelled else " (no labels, by name)")
    return headings


def _place(group: Group) -> tuple[Any, ...]:
    own, spec = group.spread("acc"), group.spec
    return -(own.mean if own else 0.0), spec["method"], preset_rank(spec.get("preset")), str(spec.get("overrides"))


def _row(group: Group, heading: str, footnotes: Footnotes) -> Row:
    spec = group.spec
    cells = (
        (Line(spec["method"], footnotes.marks(*deviations(group)), "ours"),),
        line(str(spec["preset"])),
        line(str(group.n)),
        _spread(group, "acc"),
        line(percent(group.best.score("acc")) if group.best and group.n > 1 else NONE),
        *(_spread(group, metric) for metric in ("nmi", "ari")),
        line(NONE if group.selection_gap is None else f"{100 * group.selection_gap:+.1f}"),
        line(_clusters(group)),
        line(duration(group.cost("total_seconds"))),
        line(_count(group.cost("images"))),
    )
    return Row(cells, heading)


def _spread(group: Group, metric: str) -> Cell:
    spread = group.spread(metric)
    return line(NONE if spread is None else spread.in_percent)


def _clusters(group: Group) -> str:
    used = group.spread("clusters_used")
    return NONE if used is None else f"{used.mean:.3g} of {group.spec['n_clusters']}"


def _count(images: float | None) -> str:
    """`48,300`, `3.1 M`."""
    if images is None:
        return NONE
    return f"{images / 1e6:,.1f} M" if images >= 1e6 else f"{images:,.0f}"


def _mixed(groups: Iterable[Group], headings: dict[tuple[Any, ...], str]) -> tuple[str, ...]:
    budgets: dict[str, set[str]] = {}
    for group in groups:
        budgets.setdefault(headings[_contest(group)], set()).add(str(group.spec["preset"]))
    return tuple(f"{heading}: {', '.join(sorted(names, key=lambda name: (preset_rank(name), name)))}"
                 for heading, names in budgets.items() if len(names) > 1)  # fmt: skip


def _leaks(groups: Iterable[Group], leaks: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    names = dict.fromkeys(group.spec["method"] for group in groups)
    return tuple(f"{name}: {text}" for name in names for text in leaks.get(name, ()))


def _fact(group: Group) -> dict[str, Any]:
    spec, known = group.spec, {}
    for metric in ("acc", "nmi", "ari", "ami", "many_to_one_acc"):
        spread = group.spread(metric)
        known[metric] = points(spread and spread.mean)
        known[f"{metric}_std"] = points(spread and spread.std)
    oracle, used = group.spread("acc", "oracle"), group.spread("clusters_used")
    known |= {
        name: spec.get(name)
        for name in ("dataset", "protocol", "data_fingerprint", "method", "method_version", "preset", "n_clusters")
    }
    known |= {
        "overrides": "; ".join(f"{key}={value}" for key, value in (spec.get("overrides") or {}).items()),
        "n": group.n,
        "seeds": " ".join(str(record.spec.get("seed")) for record in group.records),
        "acc_best": points(group.best and group.best.score("acc")),
        "best_seed": group.best and group.best.spec.get("seed"),
        "oracle_acc": points(oracle and oracle.mean),
        "selection_gap": points(group.selection_gap),
        "clusters_used": used and used.mean,
        "seconds": group.cost("total_seconds"),
        "train_seconds": group.cost("train_seconds"),
        "images": group.cost("images"),
        "notes": " ".join(deviations(group)),
    }
    return {name: known[name] for name in FACTS}
