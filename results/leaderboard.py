"""The leaderboard: every group of runs, best label-free accuracy first, never two data sets or protocols in one ranking."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from .grid import NONE, Cell, Footnotes, Line, Row, Section, Table, duration, line, percent, points
from .groups import Group, Spread, contest, deviations, group_records, lab_suffix, preset_rank, split_counted, why_left_out
from .record import Record
from .statistics import Interval, best_of, mean_interval
from .tiers import Placed, tiers
from .unlabelled import confidence, silhouettes, stability

COLUMNS = ("Method", "Budget", "Tier", "n", "ACC", "Best", "NMI", "ARI", "Gap", "Clusters", "Time", "Images")
CAPTION = (
    "ACC, NMI and ARI in %: mean ± sample standard deviation over n seeds, for the sub-head and epoch that the method's own loss "
    "prefers; below it the 95 % bootstrap interval of the mean (of 3 to 5 seeds hardly more than their range). "
    "Tier: methods that their seeds do not tell apart by ACC share one (paired or Welch's t-tests of all pairs of a ranking, "
    "corrected by Holm, 5 %); below it the 95 % bootstrap interval of the rank. Fewer than 3 seeds: neither. "
    "Bold: significantly better than every other. "
    "Best: ACC of the best seed, which it takes labels to find; it ranks nothing. Gap: points of ACC that a choice by "
    "labels (oracle) would add; it ranks nothing. Clusters: used of asked for. Time and images: mean a seed. On label maps all "
    "of it is per pixel."
)
FACTS = (
    *("dataset", "protocol", "data_fingerprint", "method", "method_version", "lab", "preset", "overrides", "n", "seeds"),
    *("tier", "rank_low", "rank_high", "more_seeds", "acc", "acc_std", "acc_low", "acc_high", "acc_best", "best_seed"),
    *("nmi", "nmi_std", "ari", "ari_std", "ami", "many_to_one_acc", "oracle_acc", "selection_gap"),
    *("stability", "confidence", "silhouette", "clusters_used", "n_clusters", "seconds", "train_seconds", "images", "notes"),
)
LACKING = (
    "How many more seeds of each would likely tell neighbours apart (with a probability of 80 %, if the means and deviations so "
    "far are the true ones)"
)
UNLABELLED = "Without labels: agreement of the seeds (ARI of their pairs), mean confidence and silhouette. None of it is accuracy"
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
    ordered = sorted(groups, key=lambda group: (not group.is_labelled, headings[contest(group)], _place(group)))
    rivals = [list(each) for _, each in groupby(ordered, key=contest)]
    placed = {id(each.group): each for groups in rivals for each in tiers(groups)}
    best = {id(best_of(groups)) for groups in rivals}
    rows = tuple(_row(placed[id(group)], headings[contest(group)], footnotes, id(group) in best) for group in ordered)
    without_labels = [group for group in ordered if not group.is_labelled]
    sections = (
        Section(LACKING, tuple(filter(None, (_lacking(groups, placed, headings) for groups in rivals)))),
        Section(UNLABELLED, tuple(filter(None, map(_unlabelled, without_labels)))),
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
        facts=tuple(_fact(placed[id(group)]) for group in ordered),
        labels=2,
    )


def _wanted(record: Record, datasets: Collection[str] | None, methods: Collection[str] | None) -> bool:
    spec = record.spec
    return (not datasets or spec.get("dataset") in datasets) and (not methods or spec.get("method") in methods)


def _headings(groups: Iterable[Group]) -> dict[tuple[Any, ...], str]:
    """A heading for every contest; the checksum of the data is named where two contests differ in nothing else."""
    contests = sorted({contest(group) for group in groups}, key=str)
    plain = [each[:2] for each in contests]
    headings = {}
    for each in contests:
        dataset, protocol, fingerprint, is_labelled = each
        copy = f", data {str(fingerprint)[:8]}" if plain.count(each[:2]) > 1 else ""
        helped = ", labels of training images used" if protocol == "semi-supervised" else ""
        headings[each] = f"{dataset}, protocol {protocol}{helped}{copy}" + ("" if is_labelled else " (no labels, by name)")
    return headings


def _place(group: Group) -> tuple[Any, ...]:
    own, spec = group.spread("acc"), group.spec
    return -(own.mean if own else 0.0), spec["method"], preset_rank(spec.get("preset")), str(spec.get("overrides"))


def _row(placed: Placed, heading: str, footnotes: Footnotes, is_best: bool) -> Row:
    group = placed.group
    spec = group.spec
    cells = (
        (Line(spec["method"] + lab_suffix(group.lab), footnotes.marks(*deviations(group)), "ours"),),
        line(str(spec["preset"])),
        _tier(placed),
        line(str(group.n)),
        _accuracy(group, is_best),
        line(percent(group.best.score("acc")) if group.best and group.n > 1 else NONE),
        *(_spread(group, metric) for metric in ("nmi", "ari")),
        line(NONE if group.selection_gap is None else f"{100 * group.selection_gap:+.1f}"),
        line(_clusters(group)),
        line(duration(group.cost("total_seconds"))),
        line(_count(group.cost("images"))),
    )
    return Row(cells, heading)


def _tier(placed: Placed) -> Cell:
    if placed.tier is None:
        return line(NONE)
    ranks = dict.fromkeys((str(placed.rank_low), str(placed.rank_high)))
    return Line(str(placed.tier)), Line(f"rank {'-'.join(ranks)}", role="detail")


def _accuracy(group: Group, is_best: bool) -> Cell:
    spread, interval = group.spread("acc"), _interval(group)
    if spread is None:
        return line(NONE)
    mean = Line(spread.in_percent, best=is_best)
    return (mean,) if interval is None else (mean, Line("-".join(map(percent, interval)), role="detail"))


def _interval(group: Group) -> Interval | None:
    scores = [score for record in group.records if (score := record.score("acc")) is not None]
    return mean_interval(scores) if len(scores) == group.n else None


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
        budgets.setdefault(headings[contest(group)], set()).add(str(group.spec["preset"]))
    return tuple(f"{heading}: {', '.join(sorted(names, key=lambda name: (preset_rank(name), name)))}"
                 for heading, names in budgets.items() if len(names) > 1)  # fmt: skip


def _lacking(groups: Sequence[Group], placed: Mapping[int, Placed], headings: Mapping[tuple[Any, ...], str]) -> str:
    """One line on the neighbours of a ranking that are not told apart; "" if there are none."""
    names = _short_names(groups)
    pairs = [(each.before, each) for group in groups if (each := placed[id(group)]).before is not None and each.more_seeds != 0]
    told = [f"{names[id(before)]} | {names[id(each.group)]} {_more(each.more_seeds)}" for before, each in pairs]
    return f"{headings[contest(groups[0])]}: {'; '.join(told)}" if told else ""


def _more(seeds: int | None) -> str:
    return f"+{seeds}" if seeds is not None else "more than 1000"


def _short_names(groups: Sequence[Group]) -> dict[int, str]:
    """A name for each group by its `id()`: the method, with what else tells it apart where the method alone does not."""
    methods = [group.spec["method"] for group in groups]
    return {
        id(group): method if methods.count(method) == 1 else f"{method} ({group.name})"
        for group, method in zip(groups, methods, strict=True)
    }


def _unlabelled(group: Group) -> str:
    """One line on how well clusters hold that no label judges; "" where nothing of it was measured."""
    found = {"stability": stability(group), "confidence": confidence(group), "silhouette": silhouettes(group)}
    told = [f"{name} {_shares(spread)}" for name, spread in found.items() if spread is not None]
    return f"{group.spec['dataset']}, {group.spec['method']} ({group.name}): {', '.join(told)}" if told else ""


def _shares(spread: Spread) -> str:
    return f"{spread.mean:.2f}" if spread.std is None else f"{spread.mean:.2f} ± {spread.std:.2f}"


def _leaks(groups: Iterable[Group], leaks: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    names = dict.fromkeys(group.spec["method"] for group in groups)
    return tuple(f"{name}: {text}" for name in names for text in leaks.get(name, ()))


def _fact(placed: Placed) -> dict[str, Any]:
    group = placed.group
    spec, known = group.spec, {}
    for metric in ("acc", "nmi", "ari", "ami", "many_to_one_acc"):
        spread = group.spread(metric)
        known[metric] = points(spread and spread.mean)
        known[f"{metric}_std"] = points(spread and spread.std)
    oracle, used, interval = group.spread("acc", "oracle"), group.spread("clusters_used"), _interval(group)
    known |= {
        name: spec.get(name)
        for name in ("dataset", "protocol", "data_fingerprint", "method", "method_version", "preset", "n_clusters")
    }
    known |= {
        "overrides": "; ".join(f"{key}={value}" for key, value in (spec.get("overrides") or {}).items()),
        "lab": group.lab,
        "n": group.n,
        "tier": placed.tier,
        "rank_low": placed.rank_low,
        "rank_high": placed.rank_high,
        "more_seeds": placed.more_seeds,
        "acc_low": points(interval and interval.low),
        "acc_high": points(interval and interval.high),
        "stability": None if group.is_labelled else _mean(stability(group)),
        "confidence": _mean(confidence(group)),
        "silhouette": _mean(silhouettes(group)),
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


def _mean(spread: Spread | None) -> float | None:
    return None if spread is None else spread.mean
