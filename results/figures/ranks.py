"""Average ranks over data sets: a critical-difference diagram (Demšar, JMLR 7, 2006) and what stands behind it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..groups import Group
from ..ranks import ALPHA, AverageRanks, average_ranks
from ..record import Selection
from .facts import facts, file_stem
from .jobs import Cannot, Drawn, Job, Request
from .style import BLACK, BLUE, FAINT, INK, entitle, new_figure

KIND = "ranks"
TASK = "clustering"


def jobs(request: Request) -> list[Job]:
    """A figure for each task, protocol and budget at which three methods share three data sets, with 3 seeds each."""
    settings: dict[tuple[str, str, str], list[Group]] = {}
    for group in request.groups:
        spec = group.spec
        settings.setdefault((spec.get("task", TASK), spec["protocol"], str(spec["preset"])), []).append(group)
    return [
        Job(
            KIND,
            file_stem(KIND, *_parts(*setting)),
            lambda setting=setting, groups=groups: draw(groups, *setting, request.selection),
        )
        for setting, groups in settings.items()
        if average_ranks(groups) is not None
    ]


def draw(groups: Iterable[Group], task: str, protocol: str, preset: str, selection: Selection) -> Drawn:
    """Above: the critical-difference diagram; below: each average rank with its interval, and the rank on each data set."""
    if selection == "oracle":
        raise Cannot("choices that labels made rank nothing: --selection own-loss or last")
    ranks = average_ranks(groups, selection=selection)
    if ranks is None:
        raise Cannot("three methods that share three data sets, with 3 seeds each, have no accuracy of this selection")
    m = len(ranks.names)
    figure = new_figure(7.6, 3.0 + 0.42 * m)
    above, below = figure.subplots(2, 1, height_ratios=[1.2 + 0.5 * (m // 2), 0.6 + 0.3 * m])
    _draw_diagram(above, ranks)
    _draw_intervals(below, ranks)
    records = [record for group in ranks.groups for record in group.records]
    entitle(
        figure, f"Average ranks over {len(ranks.datasets)} data sets: {preset} budget", facts(records, selection, _told(ranks))
    )
    return Drawn(
        figure, f"average ranks of {m} methods on {', '.join(ranks.datasets)}, {task}, protocol {protocol}, {preset} preset"
    )


def _parts(task: str, protocol: str, preset: str) -> list[str]:
    return [*([] if task == TASK else [task]), preset, *([] if protocol == "full" else [protocol])]


def _draw_diagram(axes: Any, ranks: AverageRanks) -> None:
    from scikit_posthocs import critical_difference_diagram

    averages = dict(zip(ranks.names, map(float, ranks.averages), strict=True))
    critical_difference_diagram(
        averages,
        ranks.pairs,
        alpha=ALPHA,
        ax=axes,
        label_fmt_left="{label}  {rank:.2f} ",
        label_fmt_right=" {rank:.2f}  {label}",
        marker_props={"color": BLUE, "s": 22},
        elbow_props={"color": INK, "linewidth": 0.8},
        crossbar_props={"color": BLACK, "linewidth": 3.2, "solid_capstyle": "round"},
        text_h_margin=0.04,
    )
    axes.grid(False)
    axes.spines["top"].set_visible(True)
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("Average rank, 1 is best; methods joined by a bar are not told apart (Nemenyi, 5 %)", loc="left", labelpad=6)
    _scale(axes, len(ranks.names))


def _draw_intervals(axes: Any, ranks: AverageRanks) -> None:
    places = np.arange(len(ranks.names))
    low, high = np.array(ranks.intervals).T
    axes.hlines(places, low, high, color=BLUE, linewidth=1.8)
    axes.plot(ranks.averages, places, "o", color=BLUE, markersize=5.5)
    across = np.linspace(-0.18, 0.18, len(ranks.datasets))  # so that equal ranks do not hide each other
    for row, shift in zip(ranks.ranks, across, strict=True):
        axes.plot(row, places + shift, "|", color=FAINT, markersize=6)
    axes.set_yticks(places, ranks.names)
    axes.set_ylim(len(ranks.names) - 0.5, -0.5)
    axes.set_xlabel("dot: average rank, with its 95 % bootstrap interval; strokes: the ranks on single data sets", loc="left")
    _scale(axes, len(ranks.names))


def _scale(axes: Any, n: int) -> None:
    axes.set_xlim(0.9, n + 0.1)
    axes.set_xticks(range(1, n + 1))


def _told(ranks: AverageRanks) -> str:
    found = f"Friedman's test: p = {ranks.p:.2g}"
    if ranks.p >= ALPHA:
        return f"{found}: no difference between the methods is shown, so none is looked for between pairs. {_HOW}"
    return f"{found}. Average ranks {ranks.critical_difference:.2f} or more apart differ (critical difference). {_HOW}"


_HOW = "Intervals: resampled data sets, in each resampled seeds. Only methods on all of the data sets, with at least 3 seeds."
