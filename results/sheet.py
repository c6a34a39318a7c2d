"""A contact sheet of clusters: one HTML file with everything in it, that opens from the disk and needs no network or script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .data_uri import data_uri
from .files import replace_file

TEMPLATE = "sheet.html.j2"
LARGEST_SIDE = 96
PIXELS_SHOWN = 40
"""Images up to this many pixels a side are stored exactly and shown enlarged, pixel by pixel."""
MOST_PICTURES = 1_500
"""On one sheet: about 5 MB."""
MOST_SECTIONS = 300


@dataclass(frozen=True)
class Picture:
    """A thumbnail.

    Attributes:
        uri: the image itself, as a `data:` URI.
        side: pixels of its longer side.
        name: what it is called, plain text.
        confidence: probability of its cluster in [0, 1]; None if unknown.
    """

    uri: str
    side: int
    name: str
    confidence: float | None = None

    @property
    def is_small(self) -> bool:
        return self.side <= PIXELS_SHOWN


@dataclass(frozen=True)
class Strip:
    """A titled row of pictures."""

    title: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Cluster:
    """One cluster.

    Attributes:
        number: 0..K-1.
        size: images in it.
        share: of all images, in [0, 1].
        label: what it stands for, "" if nothing is known.
        confidence: mean probability of its images, in [0, 1], or None.
        facts: what else is known, a few words each.
        strips: its pictures.
    """

    number: int
    size: int
    share: float
    label: str = ""
    confidence: float | None = None
    facts: tuple[str, ...] = ()
    strips: tuple[Strip, ...] = ()


@dataclass(frozen=True)
class Sheet:
    """What stands on a sheet; all texts are plain, the template escapes them.

    Attributes:
        title, summary: a line each.
        facts: pairs of a name and a value.
        notes: what a reader must know beside it.
        clusters: all of them, the largest first; those beyond `MOST_SECTIONS` have no strips.
    """

    title: str
    summary: str
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    clusters: tuple[Cluster, ...]


def picture(pixels: np.ndarray, name: str, confidence: float | None = None) -> Picture:
    """A thumbnail of uint8 (C, H, W), C = 1, 3 or 4 (without infrared): PNG up to 40 pixels a side, JPEG of at most 96 above."""
    from PIL import Image

    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels[:3].transpose(1, 2, 0)))
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    form, options = ("PNG", {"optimize": True}) if max(image.size) <= PIXELS_SHOWN else ("JPEG", {"quality": 82})
    return Picture(data_uri(image, form, **options), max(image.size), name, confidence)


def strips(most: Sequence[Picture], least: Sequence[Picture], some: Sequence[Picture]) -> tuple[Strip, ...]:
    """The rows of one cluster; those without pictures are left out."""
    named = (("Most sure", most), ("Least sure", least), ("Some of them", some))
    return tuple(Strip(title, tuple(pictures)) for title, pictures in named if pictures)


def render(sheet: Sheet) -> str:
    """`sheet` as HTML."""
    from importlib.resources import files

    from jinja2 import Environment, StrictUndefined

    room = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    room.filters["percent"] = lambda share: f"{100 * share:.1f} %"
    template = room.from_string(files(__name__.rpartition(".")[0]).joinpath(TEMPLATE).read_text(encoding="utf-8"))
    largest = max((cluster.size for cluster in sheet.clusters), default=0) or 1
    return template.render(sheet=sheet, largest=largest, has_labels=any(cluster.label for cluster in sheet.clusters),
                           has_confidence=any(cluster.confidence is not None for cluster in sheet.clusters))  # fmt: skip


def write(sheet: Sheet, path: Path) -> int:
    """Write `sheet` into `path`, whole or not at all; its size in bytes. Raises `RecordError` if the disk refuses."""
    content = render(sheet).encode("utf-8", "replace")  # a file name that is no UTF-8 must not cost the sheet
    replace_file(path, content)
    return len(content)
