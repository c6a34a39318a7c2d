"""`bench export`: records into one archive, to share or to keep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import say
from .help import examples
from .options import Out, Quiet, complete_datasets, complete_methods, output_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...results.record import Record

ENDINGS = (".tar.gz", ".tgz")


def add_to(app: typer.Typer) -> None:
    lines = (
        "bench export results.tar.gz",
        "bench export iic.tar.gz --method iic --dataset digits --weights",
        "bench export sweep.tar.gz --out results/sweeps/mine",
    )
    app.command("export", epilog=examples(*lines))(export_records)


def export_records(
    file: Annotated[Path, typer.Argument(metavar="FILE.tar.gz", help="Archive to write.")],
    method: Annotated[
        list[str] | None,
        typer.Option("--method", "-m", help="Only this method; may be repeated.", autocompletion=complete_methods),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", "-d", help="Only this data set; may be repeated.", autocompletion=complete_datasets),
    ] = None,
    weights: Annotated[bool, typer.Option("--weights", help="With the networks' weights, which are most of the bytes.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")] = False,
    out: Out = None,
    quiet: Quiet = False,
) -> None:
    """Pack records into one archive, every file as it is; bench import unpacks it.

    Records of sweeps under the folder are packed too. What is not finished is left out.

    The recorded command lines and the names of data folders are in it: look at them before you publish it.
    """
    from rich.console import Console

    from ...results.record import RecordError
    from ..data_progress import DataProgress
    from ..exchange import pack, read_all, record_folders

    if not file.name.endswith(ENDINGS):
        raise typer.BadParameter(f"{file.name!r} does not end in {' or '.join(ENDINGS)}.", param_hint="FILE.tar.gz")
    if file.exists() and not force:
        raise typer.BadParameter(f"{file} is there already. Replace it with --force, or name another.", param_hint="FILE.tar.gz")
    folder = output_folder(out)
    found = read_all(record_folders(folder))
    for line in found.damaged:
        say(line)
    records = [record for record in found.finished if _asked(record, method, dataset)]
    if not records:
        raise RecordError(f"No finished record to pack in {folder}. See what is there: bench leaderboard --out {folder}")
    with DataProgress(Console(stderr=True, highlight=False), quiet=quiet) as shown:
        size = pack(records, folder, file, weights=weights, progress=shown)
    unfinished = f", {found.unfinished} unfinished left out" if found.unfinished else ""
    typer.echo(f"packed {len(records)} records, {size / 1e6:.1f} MB: {file}{unfinished}")
    raise typer.Exit(1 if found.damaged else 0)


def _asked(record: Record, methods: Sequence[str] | None, datasets: Sequence[str] | None) -> bool:
    spec = record.spec
    return (not methods or spec.get("method") in methods) and (not datasets or spec.get("dataset") in datasets)
