"""`bench lint`: what in a folder of results is not comparable, not complete or not what it seems."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .errors import say
from .help import examples


def add_to(app: typer.Typer) -> None:
    app.command("lint", epilog=examples("bench lint bench-results", "bench lint results"))(lint)


def lint(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of records, tables, or both.")],
) -> None:
    """Refuse results that a reader would take for more than they are: one line for each finding, and exit code 1.

    In the records: damaged or unfinished ones, mixed metric versions, methods that share no protocol or no copy of the data,
    missing cells.

    In tables of bench tables and bench leaderboard (CSV or Markdown) in the folder: a spread of one seed, the best of n
    shown as a mean, a choice by labels shown as the method's own, other protocols than the published numbers', missing cells,
    numbers that do not follow from the records beside them.
    """
    from ...results.consistency import lint as look_through
    from ...results.record import RecordError

    if not folder.is_dir():
        raise RecordError(f"{folder} is no folder. Name one with records or tables, such as bench-results.")
    found = look_through(folder)
    if not (found.records or found.tables):
        raise RecordError(f"{folder} holds neither records nor tables that bench wrote. Make some: bench run --out {folder}")
    for finding in found.findings:
        typer.echo(str(finding))
    looked_at = f"{found.records} records and {found.tables} tables"
    say(f"{len(found.findings)} findings in {looked_at}" if found.findings else f"nothing found in {looked_at}")
    raise typer.Exit(1 if found.findings else 0)
