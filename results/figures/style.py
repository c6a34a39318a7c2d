"""How all figures look: colours that colour-blind readers tell apart, light background, facts in small print below."""

from __future__ import annotations

import colorsys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import replace_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
SKY, VERMILLION, YELLOW, BLACK = "#56B4E9", "#D55E00", "#F0E442", "#000000"
INK, FAINT, GRID, IGNORED = "#222222", "#595959", "#E6E6E6", "#DDDDDD"
# The eight of Okabe and Ito, then at each place the colour farthest from all before it, for the least of the CIE Lab
# distances under normal vision and the three dichromacies (Machado et al. 2009).
COLOURS = (
    *(BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, YELLOW, BLACK),
    *("#7F0DF2", "#5F2E0D", "#3E3E5F", "#A0E290", "#F20D4E", "#B14EF2", "#4E0D6F", "#3E3EB1", "#5F6F3E", "#6F0D2E"),
    *("#A03E0D", "#F2C15F", "#7F5F6F", "#B10D90", "#B1B1A0", "#0DE2F2", "#6FB16F", "#907FE2", "#C1A04E", "#F20DC1"),
)
MARKERS = "osD^vPX<>*"
DPI = 150
REGULAR, BOLD = 0.6, 0.68  # how wide a character of DejaVu Sans is on average, in sizes
TITLE_ROOM, FACTS_ROOM = 0.42, 0.72  # inches: one line above, four below
_SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # wide and in every matplotlib: where a viewer lacks it, others need less room
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.labelsize": 8.5,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "white",
    "svg.fonttype": "none",  # text stays text: it can be searched, read aloud and edited
    "svg.hashsalt": "clusterbench",  # the same picture is the same file
}


def class_colours(n: int) -> list[str]:
    """A colour for each of `n` classes, the same in every figure; after the 28th not every eye tells all of them apart."""
    return [COLOURS[i] if i < len(COLOURS) else _further_colour(i) for i in range(n)]


def _further_colour(number: int) -> str:
    """Hues by the golden section, so that any few in a row are far apart, in changing strength and brightness."""
    hue, strength, brightness = number * 0.618034 % 1, 0.4 + 0.15 * (number % 4), 0.5 + 0.15 * (number // 4 % 3)
    return "#" + "".join(f"{round(255 * part):02X}" for part in colorsys.hsv_to_rgb(hue, strength, brightness))


@contextmanager
def styled() -> Iterator[None]:
    """Figures made and saved inside look like ours; matplotlib's own settings are left as they were."""
    import matplotlib

    with matplotlib.rc_context(_SETTINGS):
        yield


def new_figure(width: float, height: float, by_hand: bool = False) -> Figure:
    """An empty figure of `width` x `height` inches; it belongs to no window and no pyplot.

    It finds its own layout, unless axes are placed `by_hand`, which must leave room for `entitle`: `TITLE_ROOM` above and
    `FACTS_ROOM` below.
    """
    from matplotlib.figure import Figure

    if by_hand:
        return Figure(figsize=(width, height))
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.08, w_pad=0.06)  # type: ignore[union-attr] - it is the constrained one
    return figure


def entitle(figure: Figure, title: str, facts: str) -> None:
    """Put a title above the figure and its facts in small print below, broken to its width."""
    width, height = figure.get_size_inches()
    placed = figure.get_layout_engine() is None
    above, below = ({"y": 1 - 0.08 / height}, {"y": 0.08 / height}) if placed else ({}, {})
    figure.suptitle(_wrapped(title, width, 11, BOLD), x=0.08 / width, ha="left", fontsize=11, fontweight="bold", **above)
    figure.supxlabel(_wrapped(facts, width, 7.5, REGULAR), x=0.08 / width, ha="left", fontsize=7.5, color=FAINT, **below)


def save(figure: Figure, path: Path) -> None:
    """Write the figure in the format that `path` ends in, in one step. Raises `RecordError` if the disk refuses."""
    form = path.suffix[1:]
    metadata: dict[str, Any] = {"svg": {"Date": None}, "png": {"Software": None}}[form]
    replace_file(path, lambda file: figure.savefig(file, format=form, dpi=DPI, metadata=metadata))


def plain_axes(axes: Any) -> None:
    """Axes that only hold an image: no frame, no ticks, no grid."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def shortened(names: Sequence[str], longest: int) -> list[str]:
    """Names of at most `longest` characters, cut ones ending in an ellipsis."""
    return [name if len(name) <= longest else name[: longest - 1].rstrip() + "…" for name in names]


def _wrapped(text: str, inches: float, points: float, wide: float) -> str:
    """`text` broken into lines of `inches`, for characters that are `wide` times their size of `points`."""
    characters = int(inches * 72 / (wide * points))
    return "\n".join(line for paragraph in text.split("\n") for line in textwrap.wrap(paragraph, characters))
