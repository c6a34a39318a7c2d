"""The confusion matrix of one trial after matching: which class is taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..record import Record
from .facts import class_names, facts
from .jobs import Drawn, Job, Request
from .naming import Naming
from .predictions import arrays_of, counts_and_naming, has_labels
from .style import GRID, INK, entitle, new_figure, shortened

KIND = "confusion"
NO_NAME = "no class"
MOST_WITH_COUNTS, MOST_WITH_RATES = 12, 30  # classes; more leave no room in a cell


def jobs(request: Request) -> list[Job]:
    """A figure for each setting: of its trial with the median accuracy, or of each trial."""
    return request.trials(KIND, draw, has_labels, lambda record: True)


def draw(record: Record, request: Request) -> Drawn:
    """Rows: the true class; columns: the class that its clusters stand for. Rates by row, and counts where they fit."""
    counts, naming = counts_and_naming(record, request.selection, arrays_of(record))
    matrix = by_class(counts, naming)
    names = class_names(record, counts.shape[1])
    spec = record.spec
    accuracy = np.trace(matrix) / matrix.sum()
    shows = f"{spec['method']} on {spec['dataset']}, {spec['preset']} preset, seed {spec['seed']} (ACC {100 * accuracy:.1f} %)"
    figure = new_figure(*_size(len(names)))
    _heat_map(figure, figure.subplots(), matrix, names)
    told = "A cell: how many % of the row's class, and how many in all." if len(names) <= MOST_WITH_COUNTS else ""
    entitle(figure, f"Confusion: {shows}", facts([record], request.selection, *([told] if told else [])))
    return Drawn(figure, f"confusion matrix of {shows}")


def by_class(counts: np.ndarray, naming: Naming) -> np.ndarray:
    """How often each class was given each class.

    Args:
        counts: integer (K, C), clusters in rows, classes in columns.
        naming: what the clusters stand for.

    Returns:
        int64 (C, C), the true class in rows, the given one in columns; (C, C + 1) with what was given none
        in the last column, if there is any.
    """
    n = counts.shape[1]
    given = np.zeros((n, n + 1), np.int64)
    np.add.at(given.T, naming.classes, counts)  # class -1 is the last column
    return given if given[:, -1].any() else given[:, :-1]


def _size(n: int) -> tuple[float, float]:
    side = min(max(4.6, 0.52 * n + 1.6), 14.0)
    return side + 0.9, side + 0.5


def _heat_map(figure: Any, axes: Any, matrix: np.ndarray, names: Sequence[str]) -> None:
    totals = matrix.sum(axis=1, keepdims=True)
    rates = 100 * matrix / np.maximum(totals, 1)
    image = axes.imshow(rates, cmap="Blues", vmin=0, vmax=100, aspect="auto" if matrix.shape[0] != matrix.shape[1] else None)
    shown = shortened(names, 22)
    columns = [*shown, *[NO_NAME] * (matrix.shape[1] - len(names))]
    small = {"fontsize": 8 if len(names) <= MOST_WITH_RATES else 5}
    axes.set_xticks(range(len(columns)), columns, rotation=0 if max(map(len, columns)) <= 3 else 60, **small)
    if max(map(len, columns)) > 3:
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), shown, **small)
    axes.set_xlabel("class that the cluster stands for")
    axes.set_ylabel("true class")
    axes.grid(False)
    axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.6)
    axes.tick_params(which="both", length=0)
    _write_cells(axes, matrix, rates)
    bar = figure.colorbar(image, ax=axes, fraction=0.045, pad=0.02)
    bar.set_label("% of the true class")
    bar.outline.set_visible(False)


def _write_cells(axes: Any, matrix: np.ndarray, rates: np.ndarray) -> None:
    n = len(matrix)
    if n > MOST_WITH_RATES:
        return
    for (row, column), count in np.ndenumerate(matrix):
        if not count:
            continue
        rate = rates[row, column]
        text = f"{rate:.0f}" if rate >= 1 else "<1"
        if n <= MOST_WITH_COUNTS:
            text += f"\n{count:,}"
        colour = "white" if rate > 50 else INK
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=7 if n <= MOST_WITH_COUNTS else 6)
