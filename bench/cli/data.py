"""`bench data`: which data sets are here, preparing them, and proving that they are as they were prepared."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .help import examples
from .options import DataRoot, complete_datasets

if TYPE_CHECKING:
    from ...datasets.preparation.manifest import Manifest

_COLUMNS = ("name", "images", "shape", "classes", "size", "state", "where", "licence")
_STATES = {"prepared": "ready", "originals": "here, not prepared", "package": "ready", "absent": "not here"}

Names = Annotated[
    list[str] | None,
    typer.Argument(help="Data sets: names, folder:PATH, npz:PATH or NAME@sample.", autocompletion=complete_datasets),
]

data = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")


def add_to(app: typer.Typer) -> None:
    app.add_typer(
        data,
        name="data",
        help="List, prepare and verify data sets.",
        epilog=examples("bench data list", "bench data prepare mnist --download", "bench data verify mnist"),
    )


@data.command("list", epilog=examples("bench data list", "bench data list --json", "bench data list | cut -f1,6"))
def list_data(
    data_root: DataRoot = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all that is known of each.")] = False,
) -> None:
    """List the data sets: images, shape, classes, licence, size, and whether they are on this machine.

    ready: prepared, or part of a package. here, not prepared: its original files are in a data root, and the first run
    prepares them. The size is that of the download, in MB.
    """
    rows = _rows(data_root)
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False, default=str))
    elif sys.stdout.isatty():
        _draw(rows)
    else:
        for row in rows:
            typer.echo("\t".join(_cell(row[column]) for column in _COLUMNS))


@data.command(
    "prepare",
    epilog=examples(
        "bench data prepare mnist --download",
        "bench data prepare stl10 --from stl10_binary.tar.gz",
        "bench data prepare cifar10 --from arrays/cifar10",
        "bench data prepare folder:photos@64",
        "bench data prepare --sample",
    ),
)
def prepare_data(
    names: Names = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="PATH",
            help="Original files (archive or folder), torchvision's layout, an image folder, or npz arrays.",
            show_default="the data roots",
        ),
    ] = None,
    sample: Annotated[
        bool,
        typer.Option("--sample", help="A small stand-in instead, NAME@sample: real images where they are here, else generated."),
    ] = False,
    download: Annotated[bool, typer.Option("--download", help="Fetch what is not here.")] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Accept a copy that lacks splits or images; every result on it says so.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Prepare anew what is prepared.")] = False,
    data_root: DataRoot = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results only.")] = False,
) -> None:
    """Turn original files into memory-mapped arrays with checksums, once; runs then start in a moment.

    They go to DIR/prepared, or to the user's cache if DIR cannot be written to.

    Without names, --sample makes a stand-in of every data set that does not come with a package.
    """
    from rich.console import Console

    from ...datasets.preparation.manifest import read_manifest
    from ...datasets.preparation.prepare import prepare
    from ..data_progress import DataProgress

    wanted = _wanted(names or [], sample)
    if source is not None and len(wanted) > 1:
        raise typer.BadParameter("one data set at a time can be read --from a path")
    console, progress = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False)
    for name in wanted:
        with DataProgress(progress, name, quiet=quiet) as shown:
            folder = prepare(name, source=source, root=data_root, download=download, partial=partial, force=force, progress=shown)
        _told(console, read_manifest(folder), folder, name)


@data.command("verify", epilog=examples("bench data verify cifar10", "bench data verify"))
def verify_data(
    names: Names = None, data_root: DataRoot = None, quiet: Annotated[bool, typer.Option("--quiet", "-q")] = False
) -> None:
    """Read every byte of prepared data again and compare its checksums; all that is prepared if no name is given.

    Leaves with 1 if something was changed; what is damaged is prepared again with: bench data prepare NAME --force
    """
    from rich.console import Console

    from ...datasets.catalogue import datasets
    from ...datasets.errors import DataError
    from ...datasets.names import parse
    from ...datasets.places import all_stores, find_store
    from ...datasets.preparation.store import verify_store
    from ..data_progress import DataProgress
    from .errors import say

    stores = {}
    for name in names or ():
        found = find_store(parse(name), datasets.card(name), data_root)
        if found is None:
            raise DataError(f"{name} is not prepared, so there is nothing to verify. Prepare it: bench data prepare {name}")
        stores[found] = None
    console, progress, damaged = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False), 0
    for folder in stores if names else all_stores(data_root):
        try:
            with DataProgress(progress, folder.name, quiet=quiet) as shown:
                manifest = verify_store(folder, shown)
        except DataError as error:
            say(str(error))
            damaged += 1
            continue
        total = sum(array.bytes for array in manifest.arrays.values())
        console.print(f"[green]ok[/green]  {manifest.name}: {len(manifest.arrays)} files, {total / 1e6:,.1f} MB, {folder}")
    if damaged:
        raise typer.Exit(1)


def _wanted(names: list[str], sample: bool) -> list[str]:
    from ...datasets.catalogue import datasets
    from ...datasets.names import OWN, SAMPLE, parse

    if not names and not sample:
        raise typer.BadParameter("name a data set, or ask for --sample")
    if not names:
        cards = {name: datasets.card(name) for name in datasets.names() if name.partition(":")[0] not in OWN}
        names = [name for name, card in cards.items() if "layouts" in card and "store" not in card]
    if not sample:
        return names
    for name in names:
        if parse(name).path is not None:
            raise typer.BadParameter(f"{name} is your own data; samples are made of the named data sets")
    return [name if name.endswith(SAMPLE) else name + SAMPLE for name in names]


def _rows(data_root: Path | None) -> list[dict[str, Any]]:
    from ...datasets.catalogue import datasets
    from ...datasets.places import sample_stores, state

    rows = []
    for name in [*datasets.names(), *sample_stores(data_root)]:
        card = datasets.card(name)
        found = state(name, card, data_root)
        about = {"images": None, "shape": None, "classes": None, "licence": None, "size_mb": None, **card, "name": name}
        rows.append({**about, "size": about["size_mb"], "state": _STATES[found.kind], "where": found.where})
    return rows


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return "x".join(map(str, value))
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)


def _draw(rows: list[dict[str, Any]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Data sets", title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for column in _COLUMNS[:-1]:
        right = column in ("images", "classes", "size")
        table.add_column("MB" if column == "size" else column, justify="right" if right else "left", no_wrap=column != "where")
    styles = {"ready": "green", "here, not prepared": "yellow", "not here": "dim"}
    for row in rows:
        cells = [_cell(row[column]) for column in _COLUMNS[:-1]]
        state = _COLUMNS.index("state")
        cells[state] = f"[{styles[cells[state]]}]{cells[state]}[/]"
        table.add_row(*cells)
    Console().print(table, "[dim]More about one, with its licence: bench show NAME[/dim]")


def _told(console: Any, manifest: Manifest, folder: Path, name: str) -> None:
    """What was prepared, and where the picture of it is."""
    shape = "x".join(map(str, manifest.arrays["images"].shape[1:]))
    total = sum(split.count for split in manifest.splits.values())
    console.print(f"[bold cyan]{name}[/bold cyan]  {total:,} images of {shape}, {len(manifest.class_names)} classes, in {folder}")
    for split, about in manifest.splits.items():
        original = "the original pixels, by checksum" if about.verified else f"read as {manifest.origin.form}"
        console.print(f"  {split:<12} {about.count:>9,} images  {original}")
    for note in manifest.notes:
        console.print(f"  [yellow]note[/yellow] {note}")
    console.print(f"  [dim]picture: {folder / 'preview.png'}[/dim]")
