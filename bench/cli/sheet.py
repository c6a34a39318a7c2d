"""`bench sheet`: what lies in a run's clusters, for data with labels and without."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import say
from .help import examples
from .options import DataRoot, Out, output_folder

if TYPE_CHECKING:
    from rich.table import Table

    from ..interpretation import Interpretation

_EXAMPLES = examples(
    "bench sheet iic-digits-short-s0",
    "bench sheet iic-digits-short-s0 --html sheet.html",
    "bench sheet bench-results/kmeans-folder_photos-short-s0-0ab097aa9c7a --html sheet.html",
)


def add_to(app: typer.Typer) -> None:
    app.command("sheet", epilog=_EXAMPLES)(sheet)


def sheet(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A record folder, or a part of its name that no other has.")],
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE.html", help="A contact sheet: sample images of every cluster in one file."),
    ] = None,
    out: Out = None,
    data_root: DataRoot = None,
) -> None:
    """Show what a run's clusters are like: sizes, confidence, silhouette, and whether other seeds find them again.

    None of it needs a label, and none of it is accuracy: a method can be sure, stable and wrong.

    confidence: the probability of an image's own cluster, where the method has one.

    silhouette: how much closer images are to their own cluster than to the next; on pixels unless the method has features.

    stability: agreement (ARI) between the seeds of the same setting that lie beside this run; bench run --seeds 5 makes some.

    found again: mean overlap of a cluster with the one most like it in other seeds; below 50 % it is an accident of the seed.
    """
    from rich.console import Console, Group
    from rich.text import Text

    from ...results.figures.jobs import Cannot
    from ..contact_sheet import sheet_of_run
    from ..interpretation import interpret
    from ..run_lookup import find_run
    from ..terminal import emit
    from .figure_sources import ImageSource

    images = ImageSource(data_root)
    found = interpret(find_run(run, output_folder(out)), images)
    facts, spec = _facts(found), found.record.spec
    title = Text(f"{spec['method']} on {spec['dataset']}, seed {spec['seed']} ({found.record.folder.name})", style="bold")
    emit(Console(highlight=False), Group(title, Text(), facts, Text(), _clusters(found)))
    for note in found.notes:
        say(note)
    if html is None:
        return
    if found.per_pixel:
        say("A contact sheet is of whole images, and this run labels pixels: see its maps with bench figures segmentation.")
        raise typer.Exit(1)
    from ...results.sheet import write

    try:
        size = write(sheet_of_run(found, images), html)
    except Cannot as reason:
        say(f"No contact sheet without the images: {reason}. Name their folder with --data-root.")
        raise typer.Exit(1) from None
    say(f"wrote {html} ({size / 1e6:.1f} MB)")


def _facts(found: Interpretation) -> Table:
    from rich.table import Table
    from rich.text import Text

    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in found.facts:
        facts.add_row(name, Text(value))
    return facts


def _clusters(found: Interpretation) -> Table:
    """A row for each cluster, the largest first, with the columns that something is known for."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from ..interpretation import largest_first

    sizes, sure, names = found.sizes.tolist(), found.confidence_by_cluster, found.class_names
    total = max(1, sum(sizes))
    columns = {
        "cluster": [str(cluster) for cluster in range(len(sizes))],
        "class": [name if size else "" for name, size in zip(names, sizes, strict=True)] if names else None,
        "pixels" if found.per_pixel else "images": [f"{size:,}" for size in sizes],
        "share": [f"{100 * size / total:.1f} %" for size in sizes],
        "confidence": [_or_none(value, "{:.3f}") for value in sure] if any(value is not None for value in sure) else None,
        "found again": [_or_none(value, "{:.0%}") for value in found.recurrence] if found.recurrence else None,
    }
    shown = {name: cells for name, cells in columns.items() if cells is not None}
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in shown:
        table.add_column(name, justify="left" if name in ("cluster", "class") else "right")
    for cluster in largest_first(sizes):
        table.add_row(*(cells[cluster] for cells in shown.values()))
    return table


def _or_none(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
