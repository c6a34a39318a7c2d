"""How many labels, and how many clusters, a good map from clusters to classes takes (Ji et al., ICCV 2019, Figure 6)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from ..groups import Group, Spread, spread_of
from ..record import Record, Selection
from .facts import facts, file_stem, n_classes
from .jobs import Cannot, Drawn, Job, Request
from .style import MARKERS, class_colours, entitle, new_figure

KIND = "label-fractions"
PROTOCOL = "semi-supervised"


def jobs(request: Request) -> list[Job]:
    """A figure for each data set that was scored with a map found on the labels of other images."""
    groups = [group for group in request.groups if _is_mapped(group)]
    datasets = dict.fromkeys(group.spec["dataset"] for group in groups)
    return [Job(KIND, file_stem(KIND, name), lambda name=name: draw(_on(groups, name), request.selection)) for name in datasets]


def draw(groups: Sequence[Group], selection: Selection) -> Drawn:
    """Left: accuracy against the share of the labels that the map saw; right: against the number of clusters."""
    with_fractions = [group for group in groups if fractions(group, selection)]
    series = [each for each in by_clusters(groups) if len(each) > 1]
    if not with_fractions and not series:
        raise Cannot("no record has accuracies by share of labels, and no setting was run with several numbers of clusters")
    n_panels = bool(with_fractions) + bool(series)
    figure = new_figure(5.2 * n_panels + 0.2, 4.3)
    panels = list(figure.subplots(1, n_panels, squeeze=False)[0])
    if with_fractions:
        _draw_fractions(panels[0], with_fractions, selection)
    if series:
        _draw_clusters(panels[-1], series, selection)
    for axes in panels:
        axes.set_ylabel("ACC %")
        axes.legend(loc="best")
    dataset = groups[0].spec["dataset"]
    drawn = list({id(group): group for group in [*with_fractions, *(group for each in series for group in each)]}.values())
    told = "Bars: sample standard deviation over the seeds, or for a single seed that over random draws of the labels."
    records = [record for group in drawn for record in group.records]
    entitle(figure, f"Few labels and many clusters: {dataset}", facts(records, selection, told))
    return Drawn(figure, f"accuracy on {dataset} against share of labels and number of clusters, {len(records)} records")


def fractions(group: Group, selection: Selection) -> list[tuple[float, Spread]]:
    """(share of the labels, accuracy) in the order of the shares, for the shares that every seed has.

    The spread is over the seeds; that of a single seed is over its draws of the labels.
    """
    by_seed = [{row["fraction"]: row for row in _rows(record, selection)} for record in group.records]
    shared = sorted(set.intersection(*(set(rows) for rows in by_seed)))
    found = []
    for fraction in shared:
        spread = spread_of([rows[fraction]["acc_mean"] for rows in by_seed])
        if spread is not None:
            found.append((fraction, spread if group.n > 1 else Spread(spread.mean, by_seed[0][fraction].get("acc_std"), 1)))
    return found


def by_clusters(groups: Iterable[Group]) -> list[list[Group]]:
    """The groups that agree in everything but the number of clusters, each list in the order of that number."""
    series: dict[str, list[Group]] = {}
    for group in groups:
        spec = {name: value for name, value in group.spec.items() if name != "n_clusters"}
        spec["overrides"] = {name: value for name, value in (spec.get("overrides") or {}).items() if name != "n_clusters"}
        series.setdefault(json.dumps(spec, sort_keys=True, default=str), []).append(group)
    return [sorted(each, key=lambda group: group.spec["n_clusters"]) for each in series.values()]


def _is_mapped(group: Group) -> bool:
    """Whether clusters were mapped to classes by the labels of other images than those that are scored."""
    kind = (group.records[0].mapping or {}).get("kind")
    return group.spec.get("protocol") == PROTOCOL and group.is_labelled and kind != "identity"


def _on(groups: Iterable[Group], dataset: str) -> list[Group]:
    there = (group for group in groups if group.spec["dataset"] == dataset)
    return sorted(there, key=lambda group: (_setting(group), group.spec["n_clusters"]))


def _rows(record: Record, selection: Selection) -> list[dict[str, Any]]:
    return record.metrics.get(selection, {}).get("label_fractions") or []


def _draw_fractions(axes: Any, groups: Sequence[Group], selection: Selection) -> None:
    shares = {fraction for group in groups for fraction, _ in fractions(group, selection)}
    for group, colour, marker in zip(groups, class_colours(len(groups)), _markers(len(groups)), strict=True):
        found = fractions(group, selection)
        x, spreads = [100 * fraction for fraction, _ in found], [spread for _, spread in found]
        _draw_line(axes, x, spreads, colour, marker, f"{_setting(group)}, {group.spec['n_clusters']} clusters")
    axes.set_xscale("log")
    axes.set_xticks([100 * share for share in sorted(shares)], [f"{100 * share:g}" for share in sorted(shares)])
    axes.minorticks_off()
    axes.set_xlabel("% of the labels that find the map")
    axes.set_title("Accuracy against share of labels", loc="left")


def _draw_clusters(axes: Any, series: Sequence[Sequence[Group]], selection: Selection) -> None:
    for groups, colour, marker in zip(series, class_colours(len(series)), _markers(len(series)), strict=True):
        x = [100 * group.spec["n_clusters"] / n_classes(group.records[0]) for group in groups]
        spreads = [spread for group in groups if (spread := group.spread("acc", selection)) is not None]
        _draw_line(axes, x, spreads, colour, marker, _setting(groups[0]))
    axes.set_xlabel("clusters, in % of the classes")
    axes.set_title("Accuracy against number of clusters, all labels", loc="left")


def _draw_line(axes: Any, x: Sequence[float], spreads: Sequence[Spread], colour: str, marker: str, label: str) -> None:
    means, errors = [100 * each.mean for each in spreads], [100 * (each.std or 0) for each in spreads]
    axes.errorbar(x, means, yerr=errors, color=colour, marker=marker, markersize=5, capsize=2.5, linewidth=1.6, label=label)


def _markers(n: int) -> list[str]:
    return [MARKERS[i % len(MARKERS)] for i in range(n)]


def _setting(group: Group) -> str:
    changed = {name: value for name, value in (group.spec.get("overrides") or {}).items() if name != "n_clusters"}
    return ", ".join([group.spec["method"], str(group.spec["preset"]), *(f"{name}={value}" for name, value in changed.items())])
