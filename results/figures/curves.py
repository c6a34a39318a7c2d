"""Loss and accuracy by epoch: all seeds of one setting, their sub-heads, and the authors' own curve where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Any, TypeAlias

import numpy as np

from ..authors_curves import Point, authors_curves
from ..groups import Group
from ..record import Record
from .facts import facts
from .jobs import Cannot, Drawn, Job, Request, group_stems
from .style import BLACK, BLUE, FAINT, GREEN, ORANGE, PURPLE, VERMILLION, entitle, new_figure

KIND = "curves"
LOSS_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, VERMILLION)
Row: TypeAlias = dict[str, Any]  # of epochs.jsonl


def jobs(request: Request) -> list[Job]:
    """A figure for each setting, with all its seeds."""
    named = zip(group_stems(KIND, request.groups), request.groups, strict=True)
    return [Job(KIND, stem, lambda group=group: draw(group)) for stem, group in named]


def draw(group: Group) -> Drawn:
    """Left: the losses, each against the lowest value it can have where that is known. Right: accuracy, if there are labels."""
    epochs = [record.epochs() for record in group.records]
    if min(map(len, epochs)) < 2:
        raise Cannot("there is only one epoch, which makes no curve")
    panels = [_draw_losses] if epochs[0][0]["losses"] else []
    panels += [_draw_accuracy] if group.is_labelled else []
    if not panels:
        raise Cannot("there is neither a loss nor an accuracy to draw")
    figure = new_figure(5.2 * len(panels) + 0.2, 4.3)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        panel(axes, group, epochs)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    spec = group.spec
    name = f"{spec['method']} on {spec['dataset']}, {spec['preset']} preset, {group.n} seed{'s' if group.n > 1 else ''}"
    entitle(figure, f"Learning curves: {name}", facts(group.records, None, *_explained(group, epochs)))
    return Drawn(figure, f"loss and accuracy by epoch of {name}")


def loss_bounds(record: Record, row: Row) -> dict[str, tuple[float, str]]:
    """The lowest value that each loss can have, and how it is written, by the name of the loss, where it is known.

    Of the information loss that is (1 - 2 lambda) ln K: one-hot, consistent and balanced predictions reach it.

    Args:
        record: the trial.
        row: of its epochs; newer ones say the bounds themselves.
    """
    config = record.spec.get("config") or {}
    bounds = {name: (float(value), _minus(f"{value:.3f}")) for name, value in (row.get("loss_floors") or {}).items()}
    if "entropy_weight" in config:
        bounds["main"] = _bound(config["entropy_weight"], record.spec["n_clusters"])
    if {"auxiliary_entropy_weight", "auxiliary_clusters"} <= config.keys():
        bounds["auxiliary"] = _bound(config["auxiliary_entropy_weight"], config["auxiliary_clusters"])
    return bounds


def authors_run(group: Group) -> tuple[Point, ...]:
    """What the authors' log says of their run on the same data in the same protocol; () if there is none."""
    spec = group.spec
    runs = authors_curves(spec["dataset"]) if spec["method"] == "iic" and spec["protocol"] == "full" else {}
    return next(iter(runs.values()), ())


def _bound(weight: float, k: int) -> tuple[float, str]:
    times = 2 * weight - 1
    value = -times * log(k)
    return value, _minus(f"-{'' if times == 1 else f'{times:g} '}ln {k} = {value:.3f}")


def _minus(text: str) -> str:
    """With true minus signs, as axes have them."""
    return text.replace("-", "\N{MINUS SIGN}")


def _draw_losses(axes: Any, group: Group, epochs: Sequence[Sequence[Row]]) -> None:
    bounds, lowest = loss_bounds(group.records[0], epochs[0][0]), []
    names = sorted(epochs[0][0]["losses"], key=lambda name: name != "main")
    for name, colour in zip(names, LOSS_COLOURS, strict=False):
        by_seed = [np.array([np.atleast_1d(row["losses"][name]) for row in rows], float) for rows in epochs]  # (E, H) each
        _draw_heads(axes, by_seed, colour)
        _draw_mean(axes, [values.mean(axis=1) for values in by_seed], colour, f"{name} head" if name in bounds else name)
        if name in bounds:
            lowest.append(_draw_bound(axes, *bounds[name], colour))
    bottom, top = axes.get_ylim()
    axes.set_ylim(min([bottom, *(value - 0.07 * (top - bottom) for value in lowest)]), top)  # room for the words below a line
    axes.set_title("Training loss", loc="left")
    axes.set_ylabel("loss (nats)" if bounds else "loss")
    axes.legend(loc="upper right")  # losses fall: that corner is empty, and "best" does not look at the bounds


def _draw_bound(axes: Any, value: float, formula: str, colour: str) -> float:
    axes.axhline(value, color=colour, linestyle=(0, (1, 1.5)), linewidth=1.4)
    where = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": "right", "va": "top"}
    axes.annotate(f"lowest possible: {formula}", (1, value), (-3, -3), color=FAINT, fontsize=8, **where)
    return value


def _draw_accuracy(axes: Any, group: Group, epochs: Sequence[Sequence[Row]]) -> None:
    by_seed = [100 * np.array([row["acc"] for row in rows], float) for rows in epochs]  # (E, H) each
    chosen = [_of_chosen_heads(values, rows) for values, rows in zip(by_seed, epochs, strict=True)]
    _draw_heads(axes, by_seed, BLUE)
    has_heads = by_seed[0].shape[1] > 1
    _draw_mean(axes, chosen, BLUE, "sub-head of lowest loss" if has_heads else group.spec["method"])
    if has_heads:
        means = _together([values.mean(axis=1) for values in by_seed]).mean(axis=0)
        axes.plot(range(1, len(means) + 1), means, color=BLUE, linestyle="--", linewidth=1.4, label="mean of sub-heads")
    theirs = _draw_authors(axes, authors_run(group), max(map(len, epochs)))
    axes.set_title("Accuracy against labels (not seen in training)", loc="left")
    axes.set_ylabel("ACC %")
    lowest = min([float(values.min()) for values in by_seed] + theirs)
    axes.set_ylim(max(0, 10 * ((lowest - 3) // 10)), 100)
    axes.legend(loc="best")


def _draw_authors(axes: Any, run: Sequence[Point], last_epoch: int) -> list[float]:
    """The authors' accuracies, in view as far as ours go; those in view."""
    shown = []
    for name, style, label in (("best", "-", "best sub-head by labels"), ("mean", "--", "mean of sub-heads")):
        points = [(point.epoch, getattr(point, name)) for point in run if point.epoch and getattr(point, name) is not None]
        if points:
            look = {"color": BLACK, "linestyle": style, "linewidth": 1.1, "marker": "o", "markersize": 3}
            axes.plot(*zip(*points, strict=True), **look, label=f"authors' run {run[0].run}: {label}")
            shown += [acc for epoch, acc in points if epoch <= last_epoch]
    if run:
        axes.set_xlim(1 - 0.04 * last_epoch, 1.03 * last_epoch)
    return shown


def _of_chosen_heads(values: np.ndarray, rows: Sequence[Row]) -> np.ndarray:
    """(E,) of (E, H): in each epoch the value of the sub-head that the method's own loss chose."""
    return values[np.arange(len(rows)), [row["chosen_head"] for row in rows]]


def _draw_heads(axes: Any, by_seed: Sequence[np.ndarray], colour: str) -> None:
    """Every sub-head of every seed as a thin line, if there are several."""
    for values in by_seed:
        if values.shape[1] > 1:
            axes.plot(range(1, len(values) + 1), values, color=colour, linewidth=0.6, alpha=0.35)


def _draw_mean(axes: Any, by_seed: Sequence[np.ndarray], colour: str, label: str) -> None:
    """The mean over seeds as a line with a band of one sample standard deviation, as far as all seeds go."""
    values = _together(by_seed)
    numbers, mean = np.arange(1, values.shape[1] + 1), values.mean(axis=0)
    axes.plot(numbers, mean, color=colour, linewidth=2, label=label)
    if len(values) > 1:
        spread = values.std(axis=0, ddof=1)
        axes.fill_between(numbers, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)


def _together(by_seed: Sequence[np.ndarray]) -> np.ndarray:
    """(seeds, E) of the epochs that all seeds have."""
    shortest = min(map(len, by_seed))
    return np.stack([values[:shortest] for values in by_seed])


def _explained(group: Group, epochs: Sequence[Sequence[Row]]) -> list[str]:
    thick = "Thick lines: mean over the seeds; band: their sample standard deviation." if group.n > 1 else ""
    thin = "Thin lines: single sub-heads." if len(epochs[0][0]["acc"]) > 1 else ""
    authors = "Black: the log of the authors' own run at the paper's settings; its epochs are not those of other presets."
    told = " ".join(filter(None, (thick, thin, authors if group.is_labelled and authors_run(group) else "")))
    return [told] if told else []
