"""`bench list`: the names there are, from cards alone."""

from __future__ import annotations

import json
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from .help import examples
from .options import DataRoot

Row = dict[str, Any]


class Kind(str, Enum):
    METHODS = "methods"
    DATASETS = "datasets"
    SUITES = "suites"


def add_to(app: typer.Typer) -> None:
    app.command("list", epilog=examples("bench list methods", "bench list datasets --json", "bench list methods | cut -f1"))(
        list_names
    )


def list_names(
    kind: Annotated[Kind | None, typer.Argument(help="What to list; everything if left out.")] = None,
    data_root: DataRoot = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all that is known of each.")] = False,
) -> None:
    """List the methods, data sets and suites by name.

    In a terminal it draws tables; in a pipe it writes a line each, tab-separated, the name first.
    """
    kinds = [kind] if kind else [*Kind]
    listed = {each.value: _ROWS[each](data_root) for each in kinds}
    if as_json:
        typer.echo(json.dumps(listed[kind.value] if kind else listed, indent=2, ensure_ascii=False, default=str))
    elif sys.stdout.isatty():
        for name, rows in listed.items():
            _draw(name, rows)
    else:
        for name, rows in listed.items():
            for row in rows:
                typer.echo("\t".join(str(row[column]) for column in ("name", *_COLUMNS[name])))


def _method_rows(data_root: Path | None) -> list[Row]:
    from ...methods.registry import methods

    rows = []
    cards = {name: methods.card(name) for name in methods.names()}
    for name, card in {**cards, **methods.families}.items():
        rows.append({"presets": " ".join(card.get("presets", {})), "task": "clustering", **_plain(card), "name": name})
    return rows


def _dataset_rows(data_root: Path | None) -> list[Row]:
    from ...datasets.catalogue import datasets, present

    rows = []
    for name in datasets.names():
        card = datasets.card(name)
        rows.append({"images": "?", "classes": "?", **card, "name": name, "here": present(name, data_root) or "no"})
    return rows


def _suite_rows(data_root: Path | None) -> list[Row]:
    from ..suites import suites

    about = ("name", "title", "summary", "methods", "datasets", "trials")
    return [{**{key: getattr(suite, key) for key in about}, "command": suite.command()} for suite in suites().values()]


def _plain(card: Row) -> Row:
    """A method's card without the settings of its presets, which `bench show` prints."""
    return {key: value for key, value in card.items() if key not in ("presets", "search_space")}


def _draw(kind: str, rows: list[Row]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(title=_TITLES[kind], title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("name", style="cyan", no_wrap=True)
    for column in _COLUMNS[kind]:
        table.add_column(column, justify="right" if column in _NUMBERS else "left", no_wrap=column in _NUMBERS)
    for row in rows:
        table.add_row(row["name"], *(f"{row[c]:,}" if isinstance(row[c], int) else str(row[c]) for c in _COLUMNS[kind]))
    Console().print(table, f"[dim]More about one: bench show {rows[0]['name']}[/dim]" if rows else "none")


_ROWS = {Kind.METHODS: _method_rows, Kind.DATASETS: _dataset_rows, Kind.SUITES: _suite_rows}
_TITLES = {"methods": "Methods", "datasets": "Data sets", "suites": "Suites"}
_COLUMNS = {
    "methods": ("title", "task", "summary"),
    "datasets": ("images", "classes", "here", "summary"),
    "suites": ("trials", "title", "summary"),
}
_NUMBERS = {"images", "classes", "trials"}
