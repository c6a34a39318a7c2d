"""`bench import`: records into MLflow, from folders or from an archive, as often as one likes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import one_line, say
from .help import examples
from .options import Mlflow, Out, Quiet, output_folder

if TYPE_CHECKING:
    from ..exchange import Found, Taken

GIVES_UP_AFTER = 3  # refusals in a row: the store is away, and every further try costs seconds


def add_to(app: typer.Typer) -> None:
    lines = (
        "bench import",
        "bench import --out results --mlflow http://127.0.0.1:5000",
        "bench import runs/laptop runs/cluster --experiment comparison",
        "bench import colleague.tar.gz --mlflow off",
    )
    app.command("import", epilog=examples(*lines))(import_records)


def import_records(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DIR|FILE]",
            help="Folders of records, or archives made by bench export, which are unpacked into --out first.",
            show_default="--out",
        ),
    ] = None,
    mlflow: Mlflow = "",
    experiment: Annotated[
        str, typer.Option(metavar="NAME", help="MLflow experiment; made if missing.", rich_help_panel="Where")
    ] = "clusterbench",
    out: Out = None,
    quiet: Quiet = False,
) -> None:
    """Feed records to MLflow: what did not arrive while they ran, or another store.

    Nothing is ever doubled: what is there already stays as it is. Records that are not finished are passed over.

    No record on disk is overwritten: an archive's record of another content under the same name is left out and named.
    """
    from ...results.record import RecordError
    from ..exchange import read_all, record_folders
    from ..tracking import store_uri

    folder = output_folder(out)
    uri = store_uri(mlflow, folder)
    folders: list[Path] = []
    refused = 0
    for source in sources or [folder]:
        if source.is_file():
            taken = _unpack(source, folder, quiet)
            folders += taken.folders
            refused += len(taken.refused)
        elif source.is_dir():
            folders += record_folders(source)
        else:
            raise RecordError(f"{source} is neither a folder of records nor an archive of them.")
    if not folders and not refused:
        say(f"no record in {', '.join(map(str, sources or [folder]))}. Make one: bench run --method iic --dataset digits")
    found = read_all(dict.fromkeys(path.resolve() for path in folders))
    for line in found.damaged:
        say(line)
    if found.unfinished:
        say(f"{found.unfinished} not finished and passed over; the command that began them goes on with them")
    failed = 0 if uri is None else _feed(found, uri, experiment, quiet)
    raise typer.Exit(1 if failed or found.damaged or refused else 0)


def _unpack(archive: Path, out: Path, quiet: bool) -> Taken:
    from rich.console import Console

    from ..data_progress import DataProgress
    from ..exchange import take

    with DataProgress(Console(stderr=True, highlight=False), quiet=quiet) as shown:
        taken = take(archive, out, progress=shown)
    for line in taken.refused:
        say(line)
    here = len(taken.folders) - taken.came
    typer.echo(f"{archive.name}: {taken.came} new, {here} here already, {len(taken.refused)} left out; in {out}")
    return taken


def _feed(found: Found, uri: str, experiment: str, quiet: bool) -> int:
    """Feed them, say how many went where, and return how many were refused."""
    from rich.console import Console

    from ...results.mlflow_sink import Store, masked
    from ..data_progress import DataProgress

    records = found.finished
    fed = there = failed = in_a_row = 0
    with DataProgress(Console(stderr=True, highlight=False), "MLflow", quiet=quiet) as shown:
        for number, (record, result) in enumerate(Store(uri, experiment).feed_all(records), start=1):
            shown("feeding records", number, len(records))
            if not isinstance(result, Exception):
                in_a_row, fed, there = 0, fed + result.is_new, there + (not result.is_new)
                continue
            failed, in_a_row = failed + 1, in_a_row + 1
            say(f"{record.folder.name}: {one_line(result)}")
            if in_a_row == GIVES_UP_AFTER and number < len(records):
                say(f"the other {len(records) - number} were not tried")
                failed += len(records) - number
                break
    failures = failed + len(found.damaged)
    typer.echo(f"fed {fed}, already there {there}, failed {failures}; in {masked(uri)}, experiment {experiment}")
    return failed
