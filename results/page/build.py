"""The leaderboard page: everything in one HTML file that loads nothing and opens from disk."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from ..figures.jobs import Cannot, ImagesOf, median_record
from ..groups import contest
from ..record import Record, now
from .board import Board
from .details import Sampler, basics, extras
from .packing import Pieces, pack
from .samples import Strips

MOST_BYTES = 14_500_000
MOST_DETAILED = 1000
"""Runs with curves and matrices: median seeds first, and all of those if they are more. Keeps 10,000 runs under ten seconds."""
SAMPLES = 8
STYLES = ("tables.css", "charts.css", "page.css")
SCRIPTS = (
    *("dom", "store", "table", "chart", "scatter", "lines", "board", "board_table", "board_below"),
    *("runs", "setting", "run", "predictions", "about", "main"),
)


@dataclass(frozen=True)
class Page:
    """A page and what it holds.

    Attributes:
        html: the whole file.
        runs, settings: how many are listed.
        detailed: how many runs have their curves and matrices in it.
        pictured: how many have sample images.
        no_images: why runs that were to have sample images have none, each reason once.
    """

    html: str
    runs: int
    settings: int
    detailed: int
    pictured: int
    no_images: tuple[str, ...]


def page(
    records: Iterable[Record],
    *,
    repeat: Callable[[Record], str],
    images: ImagesOf | None = None,
    samples: int = SAMPLES,
    damaged: Sequence[str] = (),
    made: str | None = None,
) -> Page:
    """The page of all `records`, at most `MOST_BYTES` long but for what every run must have.

    Curves, confusion matrices and clusters come for the seed with the median accuracy of every setting first, then for the
    other runs, until there are `MOST_DETAILED` or the page is full; the page says of the others that they are left out.

    Args:
        records: any; unfinished and failed ones are listed, never averaged.
        repeat: gives the command that runs a record's trial again.
        images: gives the scored images of a record; None leaves sample images out.
        samples: of how many settings the median seed shows sample images, the best of every data set first.
        damaged: a line for each record that could not be read.
        made: time of making in ISO 8601; now by default.
    """
    board = Board(records)
    medians = [median_record(group.records, "own-loss") for group in board.groups]
    number = {id(record): place for place, record in enumerate(board.records)}
    first = Pieces()
    for place, record in enumerate(board.records):
        first.add(place, basics(record, repeat(record), first))
    first.close()
    content = board.content()
    content |= {"made": made or now(), "version": version("clusterbench"), "damaged": list(damaged)}
    strips = _Chosen(Strips(images), _to_picture(board, medians)[:samples]) if images else None
    median_places = [number[id(record)] for record in medians]
    rest = [place for place in range(len(board.records)) if place not in set(median_places)]
    room = MOST_BYTES - first.size - len(pack(content)) - len(_static())
    detailed = [*median_places, *rest[: max(0, MOST_DETAILED - len(median_places))]]
    second = _details(board.records, detailed, strips, room)
    content |= {"median": median_places, "pieces": [_places(pieces, len(board.records)) for pieces in (first, second)]}
    pictured, problems = (len(strips.pictured), tuple(dict.fromkeys(strips.problems))) if strips else (0, ())
    html = _render(pack(content), first.texts, second.texts)
    return Page(html, len(board.records), len(board.groups), len(second.place), pictured, problems)


class _Chosen:
    """The strips of chosen records only; keeps why others have none."""

    def __init__(self, strips: Sampler, records: Iterable[Record]) -> None:
        self._strips, self._chosen = strips, {id(record) for record in records}
        self.pictured: list[Record] = []
        self.problems: list[str] = []

    def wants(self, record: Record) -> bool:
        return id(record) in self._chosen

    def __call__(self, record: Record, arrays: object, n_clusters: int) -> Sequence[str]:
        try:
            found = self._strips(record, arrays, n_clusters)  # type: ignore[arg-type] - passed on as it came
        except Cannot as problem:
            self.problems.append(problem.why)
            raise
        self.pictured.append(record)
        return found


def _to_picture(board: Board, medians: Sequence[Record]) -> list[Record]:
    """Median seeds that keep their predictions of whole images: the best setting of every contest, then the second of each."""
    turns: dict[tuple[object, ...], int] = {}
    ranked = []
    for group, record in zip(board.groups, medians, strict=True):
        if record.spec.get("task") != "segmentation" and (record.folder / "labels.npz").is_file():
            own = contest(group)
            turns[own] = turns.get(own, 0) + 1
            ranked.append((turns[own], len(ranked), record))
    return [record for _, _, record in sorted(ranked, key=lambda each: each[:2])]


def _details(records: Sequence[Record], order: Iterable[int], strips: _Chosen | None, room: int) -> Pieces:
    """Curves and matrices of the runs in `order`, until there is no more room."""
    pieces = Pieces()
    for place in order:
        record = records[place]
        if pieces.size > room:
            break
        pieces.add(place, extras(record, strips if strips and strips.wants(record) else None))
    pieces.close()
    return pieces


def _places(pieces: Pieces, runs: int) -> list[int]:
    return [pieces.place.get(run, -1) for run in range(runs)]


@cache
def _static() -> str:
    return _script() + _style() + _text("page.html.j2")


@cache
def _style() -> str:
    return "".join(map(_text, STYLES))


@cache
def _script() -> str:
    parts = "\n".join(_text(f"{name}.js") for name in SCRIPTS)
    return f'"use strict";\n{{\n{parts}}}\n'


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _render(board: str, basics: Sequence[str], details: Sequence[str]) -> str:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(_text("page.html.j2"))
    script = _script()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return template.render(
        board=board,
        pieces=[("basics", basics), ("details", details)],
        script=Markup(script),
        script_hash=digest,
        style=Markup(_style()),
    )
