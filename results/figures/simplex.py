"""Cluster probabilities by epoch in the polygon of the clusters (Ji et al., ICCV 2019, Figure 3)."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, pi
from typing import Any

import numpy as np

from ..metrics import count_pairs
from ..record import Record
from .facts import class_names, command, facts, n_classes
from .jobs import Cannot, Drawn, Job, Request
from .naming import Naming
from .pixels import place, shown, weighted_means
from .predictions import arrays_of, counts_and_naming
from .probabilities import FILE, Probabilities
from .style import FAINT, GRID, class_colours, entitle, new_figure, plain_axes, shortened

KIND = "simplex"
MOST_PANELS, PANELS_IN_A_ROW, PANEL = 6, 3, 3.5  # the last in inches
MOST_CORNERS_WITH_IMAGES = 30
MOST_NAMED_CORNERS, LONGEST = 12, 12  # corners that each have a name of their own; characters of a name
JITTER = 0.06


def jobs(request: Request) -> list[Job]:
    """A figure for each setting of image clustering: of its trial with the median accuracy, or of each trial."""
    return request.trials(KIND, draw, has_several, request.may_have_probabilities)


def has_any(record: Record) -> bool:
    """Whether cluster probabilities are kept."""
    return (record.folder / FILE).is_file()


def has_several(record: Record) -> bool:
    """Whether cluster probabilities of several epochs are kept."""
    found = Probabilities.read(record.folder)
    return found is not None and len(found.epochs) > 1


def draw(record: Record, request: Request) -> Drawn:
    """A panel for each of several epochs; an image is the mean of the corners, weighted by its cluster probabilities."""
    kept = snapshots_of(record)
    if len(kept.epochs) < 2:
        raise Cannot("only the last epoch's cluster probabilities were kept", command(record, "--snapshots", "1", "--force"))
    arrays = arrays_of(record)
    _, final = counts_and_naming(record, "last", arrays)
    truth = np.asarray(arrays["truth"])[kept.rows]
    kept = kept.chosen(spread_epochs(kept.epochs))
    images, remarks = _images(record, request, kept.rows)
    figure, panels = _panels(len(kept.epochs))
    names = class_names(record, n_classes(record))
    for axes, epoch, head, values in zip(panels, kept.epochs, kept.heads, kept.values, strict=True):
        same = int(head) == int(kept.heads[-1])
        naming = final if same else Naming.of(count_pairs(values.argmax(axis=1), truth, values.shape[1], len(names))[:, :-1])
        _draw_panel(axes, values, truth, naming, images, names)
        heads = f", sub-head {head}" if len(set(kept.heads.tolist())) > 1 else ""
        axes.set_title(f"{'before training' if epoch == 0 else f'epoch {epoch}'}{heads}", loc="left")
    spec = record.spec
    name = f"{spec['method']} on {spec['dataset']}, {spec['preset']} preset, seed {spec['seed']}"
    told = _explained(len(truth), with_images=images is not None, heads=len(set(kept.heads.tolist())))
    entitle(figure, f"Cluster probabilities: {name}", facts([record], "last", told))
    return Drawn(figure, f"cluster probabilities by epoch of {name}", remarks)


def corners(k: int) -> np.ndarray:
    """The corners of the polygon: float (k, 2), clockwise on the unit circle from the top, as the authors drew theirs."""
    angles = 2 * pi * np.arange(k) / k
    return np.stack([np.sin(angles), np.cos(angles)], axis=1)


def points(probabilities: np.ndarray) -> np.ndarray:
    """Where images stand: float (n, 2), the mean of the corners weighted by the probabilities (n, K) of each image."""
    weights = probabilities.astype(np.float64)
    weights /= weights.sum(axis=1, keepdims=True)  # half precision leaves sums a little off 1
    return weights @ corners(weights.shape[1])


def _jitter(n: int) -> np.ndarray:
    """(n, 2): small steps in every direction, the same in every figure."""
    random = np.random.default_rng(0)
    length, angle = JITTER * np.sqrt(random.random(n)), 2 * pi * random.random(n)
    return np.stack([length * np.sin(angle), length * np.cos(angle)], axis=1)


def spread_epochs(epochs: Sequence[int] | np.ndarray, most: int = MOST_PANELS) -> np.ndarray:
    """Positions of at most `most` epochs: the first, the last, and between them ever wider apart, as learning slows down."""
    n = len(epochs)
    if n <= most:
        return np.arange(n)
    early = np.geomspace(1, n, most).round().astype(int) - 1  # the first ones may coincide
    return np.unique(np.maximum(early, np.arange(most)))


def snapshots_of(record: Record) -> Probabilities:
    """Those of a record. Raises `Cannot` if it has none."""
    kept = Probabilities.read(record.folder)
    if kept is None:
        raise Cannot("no cluster probabilities (snapshots.npz) are kept", command(record, "--snapshots", "1", "--force"))
    return kept


def _explained(n: int, with_images: bool, heads: int) -> str:
    told = [
        f"A dot: one of {n:,} scored images, in the colour of its true class, at the mean of the corners weighted by its",
        f"cluster probabilities; moved by up to {JITTER} of the radius, so that dots on one spot are seen.",
        "A corner: a cluster, named by its match with the classes after the last epoch"
        + (", with the average image weighted by its probability." if with_images else "."),
    ]
    if heads > 1:
        told.append("Panels of another sub-head than the last one's are matched by themselves.")
    return " ".join(told)


def _images(record: Record, request: Request, rows: np.ndarray) -> tuple[np.ndarray | None, tuple[Cannot, ...]]:
    """The sample's images, or why the figure has to do without them."""
    if record.spec["n_clusters"] > MOST_CORNERS_WITH_IMAGES:
        return None, ()
    try:
        return request.images(record, rows), ()
    except Cannot as missing:
        return None, (Cannot(f"drawn without average images: {missing.why}", missing.remedy),)


def _panels(n: int) -> tuple[Any, list[Any]]:
    columns = min(n, PANELS_IN_A_ROW)
    rows = ceil(n / columns)
    figure = new_figure(PANEL * columns, (PANEL + 0.2) * rows + 0.7)
    panels = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for axes in panels[n:]:
        axes.set_visible(False)
    return figure, panels[:n]


def _draw_panel(
    axes: Any, values: np.ndarray, truth: np.ndarray, naming: Naming, images: np.ndarray | None, names: Sequence[str]
) -> None:
    order, colours = naming.order, [*class_colours(len(names)), FAINT]  # the last for an unknown class
    values = values[:, order]
    k, at = len(order), points(values) + _jitter(len(values))
    outline = np.concatenate([corners(k), corners(k)[:1]])
    axes.plot(*outline.T, color=GRID, linewidth=1, zorder=1)
    axes.scatter(*at.T, s=5, c=[colours[label] for label in truth], alpha=0.75, linewidths=0, rasterized=True, zorder=2)
    averages = None if images is None else shown(weighted_means(images, values))
    named = shortened([naming.names(names)[cluster] for cluster in order], LONGEST)
    side = 0.0 if averages is None else min(0.36, 4.4 / k)
    if averages is not None:
        for position, label in enumerate(naming.nearest[order]):
            x, y = _beside(corners(k)[position], side)
            place(axes, averages[position], (x, y), side, colours[label])
    (_name_corners if k <= MOST_NAMED_CORNERS else _name_classes)(axes, named, side)
    reach = 1.62 if k <= MOST_NAMED_CORNERS else 2.05
    axes.set_aspect("equal")
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    plain_axes(axes)


def _beside(corner: np.ndarray, side: float) -> tuple[float, float]:
    """Where the average image of a corner has its middle."""
    x, y = corner * (1.08 + 0.75 * side)
    return float(x), float(y)


def _name_corners(axes: Any, names: Sequence[str], side: float) -> None:
    """A name above or below each corner's image, on the side away from the dots."""
    for corner, name in zip(corners(len(names)), names, strict=True):
        x, y = _beside(corner, side)
        upper = y > 0.5
        beyond = (side / 2 + 0.03) * (1 if upper else -1)
        axes.text(x, y + beyond if side else y, name, ha="center", va="bottom" if upper else "top", fontsize=7)


def _name_classes(axes: Any, names: Sequence[str], side: float) -> None:
    """Where corners are many, one name for all neighbours of one class, written outwards."""
    k, start = len(names), 0
    while start < k:
        end = start + next((step for step, name in enumerate(names[start:]) if name != names[start]), k - start)
        angle = 90 - 360 * ((start + end - 1) / 2) / k  # degrees, anticlockwise from the right
        x, y = (1.12 + 1.35 * side) * np.cos(np.radians(angle)), (1.12 + 1.35 * side) * np.sin(np.radians(angle))
        left = np.cos(np.radians(angle)) < -1e-9
        turned = {"rotation": angle + 180 if left else angle, "rotation_mode": "anchor"}
        axes.text(x, y, names[start], ha="right" if left else "left", va="center", fontsize=6.5, **turned)
        start = end
