"""Sample images with bars of their cluster probabilities, right and wrong ones (Ji et al., ICCV 2019, Figure 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..record import Record
from .facts import class_names, facts, n_classes
from .jobs import Drawn, Job, Request
from .naming import Naming
from .pixels import shown
from .predictions import arrays_of, counts_and_naming
from .simplex import has_any, snapshots_of
from .style import BLUE, FACTS_ROOM, FAINT, TITLE_ROOM, VERMILLION, entitle, new_figure, plain_axes, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KIND = "bars"
COLUMNS, MOST = 5, 10  # cells in a row, and of each sort
BARS = 4  # the most probable clusters
LONGEST = 11  # characters of a name
# In inches: side of an image, room for its name above, width of its bars, room right of and below them, and for headings.
IMAGE, NAME, BARS_WIDE, GAP_RIGHT, GAP_BELOW, HEADING, MARGIN = 0.82, 0.2, 0.62, 0.2, 0.14, 0.26, 0.12


def jobs(request: Request) -> list[Job]:
    """A figure for each setting of image clustering: of its trial with the median accuracy, or of each trial."""
    return request.trials(KIND, draw, has_any, request.may_have_probabilities)


def draw(record: Record, request: Request) -> Drawn:
    """Images whose most probable cluster stands for their class, and others, with the probabilities of the last epoch."""
    kept = snapshots_of(record)
    arrays = arrays_of(record)
    _, naming = counts_and_naming(record, "last", arrays)
    truth, values = np.asarray(arrays["truth"])[kept.rows], kept.values[-1].astype(np.float64)
    right = naming.classes[values.argmax(axis=1)] == truth
    known = truth >= 0
    sorts = [sample(right & known, truth), sample(~right & known, truth)]
    images = request.images(record, kept.rows[np.concatenate(sorts)])
    pictures = dict(zip(np.concatenate(sorts).tolist(), shown(images), strict=True))
    share = right[known].mean()
    headings = (f"✓  clustered as their class ({100 * share:.1f} % of the sample)", f"✗  not ({100 * (1 - share):.1f} %)")
    names = class_names(record, n_classes(record))

    def cell(place: int, left: Any, middle: Any) -> None:
        _draw_image(left, pictures[place], names[truth[place]])
        _draw_bars(middle, values[place], int(truth[place]), naming, names)

    longest = min(LONGEST, max(map(len, naming.names(names))))
    figure = _draw_cells(sorts, headings, 0.12 + 0.06 * longest, cell)
    spec = record.spec
    name = f"{spec['method']} on {spec['dataset']}, {spec['preset']} preset, seed {spec['seed']}"
    told = f"Above an image its class; bars: its {BARS} most probable clusters in %, named by their match with the classes "
    told += "(blue: the true class, red: another). "
    told += "Nothing was picked by hand: the first images of each class in the stored order."
    entitle(figure, f"What the clusters say of images: {name}", facts([record], "last", told))
    return Drawn(figure, f"cluster probabilities of sample images, right and wrong ones, of {name}")


def sample(which: np.ndarray, truth: np.ndarray, most: int = MOST) -> np.ndarray:
    """Positions of up to `most` images, class by class: the first of each class, then the second of each, until there are enough.

    Args:
        which: bool (n,), the images to choose from.
        truth: int (n,), their classes.
        most: of more classes than this, the lowest ones are represented.
    """
    places = np.flatnonzero(which)
    classes = truth[places]
    turn = np.array([np.count_nonzero(classes[:i] == label) for i, label in enumerate(classes)], dtype=int)
    taken = places[np.lexsort((classes, turn))[:most]]
    return taken[np.lexsort((taken, truth[taken]))]


def _draw_cells(
    sorts: Sequence[np.ndarray], headings: Sequence[str], names_wide: float, cell: Callable[[int, Any, Any], None]
) -> Figure:
    """The sorts one below the other, each with its heading and its images in rows.

    Args:
        sorts: positions of the images of each sort.
        headings: one for each.
        names_wide: inches between an image and its bars.
        cell: draws one image, from its position, into two axes: for its picture and for its bars.
    """
    rows = [-(-len(places) // COLUMNS) for places in sorts]
    wide, high = IMAGE + names_wide + BARS_WIDE + GAP_RIGHT, NAME + IMAGE + GAP_BELOW
    width = COLUMNS * wide + 2 * MARGIN
    height = sum(rows) * high + len(sorts) * (HEADING + GAP_BELOW) + TITLE_ROOM + FACTS_ROOM
    figure = new_figure(width, height, by_hand=True)

    def axes_at(left: float, top: float, inches: float) -> Any:
        return figure.add_axes((left / width, 1 - (top + IMAGE) / height, inches / width, IMAGE / height))

    above = TITLE_ROOM
    for places, heading, count in zip(sorts, headings, rows, strict=True):
        figure.text(MARGIN / width, 1 - above / height, heading if len(places) else f"{heading}: none", fontsize=9.5, va="top")
        above += HEADING
        for number, place in enumerate(places.tolist()):
            left, top = MARGIN + wide * (number % COLUMNS), above + high * (number // COLUMNS) + NAME
            cell(place, axes_at(left, top, IMAGE), axes_at(left + IMAGE + names_wide, top, BARS_WIDE))
        above += count * high + GAP_BELOW
    return figure


def _draw_image(axes: Any, picture: np.ndarray, name: str) -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set_title(*shortened([name], LONGEST + 2), fontsize=8, pad=2)
    plain_axes(axes)


def _draw_bars(axes: Any, values: np.ndarray, truth: int, naming: Naming, names: Sequence[str]) -> None:
    """The most probable clusters from above; the colour says of each whether it stands for the true class."""
    first = np.argsort(-values, kind="stable")[:BARS]
    labels = shortened([naming.names(names)[cluster] for cluster in first], LONGEST)
    colours = [BLUE if naming.classes[cluster] == truth else VERMILLION for cluster in first]
    axes.barh(range(len(first)), values[first], color=colours, height=0.62)
    for position, value in enumerate(values[first]):
        axes.text(value + 0.03, position, f"{100 * value:.0f}", va="center", fontsize=6.5, color=FAINT)
    axes.set_yticks(range(len(first)), labels, fontsize=6.5)
    axes.set_xlim(0, 1.3)
    axes.set_ylim(BARS - 0.5, -0.5)
    axes.set_xticks([])
    axes.tick_params(length=0, pad=2)
    axes.grid(False)
    axes.spines["bottom"].set_visible(False)
