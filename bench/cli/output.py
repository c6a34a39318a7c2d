"""A table to the terminal or into a file, in the format that was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import say

if TYPE_CHECKING:
    from ...results.grid import Table
    from ...results.record import Record


class Format(str, Enum):
    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    CSV = "csv"
    LATEX = "latex"
    HTML = "html"


FILE_WIDTH = 200
_BY_SUFFIX = {".md": Format.MARKDOWN, ".csv": Format.CSV, ".tex": Format.LATEX, ".html": Format.HTML, ".txt": Format.TERMINAL}
FormatOption = Annotated[
    Format | None,
    typer.Option(
        "--format", "-f", help="Format of the table.", show_default="by the ending of --output; terminal, or markdown in a pipe"
    ),
]
OutputOption = Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Write the table into this file.")]


def write(table: Table | Sequence[Table], asked: Format | None, output: Path | None) -> None:
    """Print a table, or several one after the other, or write them into `output`."""
    from rich.console import Console

    form, tables = asked or _guess(output), [*table] if isinstance(table, Sequence) else [table]
    if form is Format.TERMINAL and output is None:
        from ...results.render import terminal

        Console(highlight=False).print(*map(terminal, tables), sep="\n\n")
        return
    text = _render(tables, form)
    if output is None:
        typer.echo(text.rstrip("\n"))
        return
    output.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    say(f"wrote {output}")


def records_in(out: Path) -> list[Record]:
    """The records to make tables of; a line on standard error for each that cannot be read."""
    from ...results.record import scan_records

    records, damaged = scan_records(out)
    for error in damaged:
        say(str(error))
    return records


def leaks() -> dict[str, list[str]]:
    """By method, what its published protocol lets in from the test images or their labels, from the cards."""
    from ...methods.registry import methods

    told = {name: methods.card(name).get("leaks") or [] for name in methods.names()}
    return {name: [texts] if isinstance(texts, str) else texts for name, texts in told.items()}


def check_datasets(asked: Sequence[str], records: Iterable[Record], also: Iterable[str] = ()) -> None:
    """Raise `NotFound` for a data set that neither we nor any record knows."""
    from ...datasets.catalogue import datasets
    from ...datasets.names import parse
    from ...datasets.registry import not_found

    known = list(dict.fromkeys([*datasets.names(), *also, *(record.spec["dataset"] for record in records)]))
    for name in asked:
        if not {name, parse(name).base} & set(known):  # the part or sample of a known one
            raise not_found("data set", name, known, "bench list datasets")


def _guess(output: Path | None) -> Format:
    import sys

    if output is None:
        return Format.TERMINAL if sys.stdout.isatty() else Format.MARKDOWN
    if output.suffix not in _BY_SUFFIX:
        raise typer.BadParameter(
            f"{output.name!r} does not end in {', '.join(_BY_SUFFIX)}; say the format with --format.", param_hint="--output"
        )
    return _BY_SUFFIX[output.suffix]


def _render(tables: Sequence[Table], form: Format) -> str:
    from ...results import render

    if form is not Format.TERMINAL:
        return render.joined(tables, form.value)
    from ..terminal import plain

    return "\n".join(plain(render.terminal(table), FILE_WIDTH) for table in tables)
