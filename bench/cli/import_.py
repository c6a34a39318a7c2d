"""`bench import`: records into MLflow, from folders or from a laboratory's bundle, as often as one likes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import one_line, say
from .export import LAB
from .help import examples
from .options import Mlflow, Out, Quiet, output_folder

if TYPE_CHECKING:
    from ..exchange.folders import Found
    from ..exchange.taking import Taken

BUNDLES = "Bundles"
GIVES_UP_AFTER = 3  # refusals in a row: the store is away, and every further try costs seconds


def add_to(app: typer.Typer) -> None:
    lines = (
        "bench import",
        "bench import --out results --mlflow http://127.0.0.1:5000",
        "bench import runs/laptop runs/cluster --experiment comparison",
        "bench import oxford.tar.gz --mlflow off",
        "bench import our-cluster.tar.gz --lab cambridge",
    )
    app.command("import", epilog=examples(*lines))(import_records)


def import_records(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DIR|FILE]",
            help="Folders of records, or bundles made by bench export, which are merged into --out first.",
            show_default="--out",
        ),
    ] = None,
    mlflow: Mlflow = "",
    experiment: Annotated[
        str, typer.Option(metavar="NAME", help="MLflow experiment; made if missing.", rich_help_panel="Where")
    ] = "clusterbench",
    lab: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", envvar=LAB, help="Your laboratory: its bundles hold your own records.", rich_help_panel=BUNDLES
        ),
    ] = None,
    sha256: Annotated[
        str | None,
        typer.Option(
            "--sha256",
            metavar="HEX",
            help="Take the one bundle only if this is its SHA-256, as told by its sender.",
            rich_help_panel=BUNDLES,
        ),
    ] = None,
    unverified: Annotated[
        bool,
        typer.Option(
            "--unverified", help="Take an archive without a manifest too, unchecked, as your own.", rich_help_panel=BUNDLES
        ),
    ] = False,
    out: Out = None,
    quiet: Quiet = False,
) -> None:
    """Merge another laboratory's bundle into your records, and feed records to MLflow.

    A bundle is taken whole or not at all. It is refused, with the reason, if:

    - a checksum is wrong, or a file is there that is not in the manifest;

    - a record's id is not the hash of its spec;

    - metrics do not follow from the label vectors beside them, or from the epochs;

    - true labels are not those of your own records on the same data.

    Its records lie beside yours in folders that end in @LAB, and are shown side by side, never averaged.

    No record on disk is overwritten or doubled. MLflow gets what it lacks, and nothing twice.

    Records that are not finished are passed over.
    """
    from ...results.record import RecordError
    from ..exchange.folders import read_all, record_folders
    from ..tracking import store_uri

    folder = output_folder(out)
    uri = store_uri(mlflow, folder)
    folders: list[Path] = []
    refused = 0
    bundles = [source for source in sources or () if source.is_file()]
    if sha256 is not None and len(bundles) != 1:
        raise typer.BadParameter("It is of one bundle; name one.", param_hint="--sha256")
    for source in sources or [folder]:
        if source.is_file():
            _check_sum(source, sha256)
            taken = _merge(source, folder, lab, unverified, quiet)
            folders += taken.folders
            refused += len(taken.refused)
        elif source.is_dir():
            folders += record_folders(source)
        else:
            raise RecordError(f"{source} is neither a folder of records nor a bundle of them.")
    if not folders and not refused:
        say(f"no record in {', '.join(map(str, sources or [folder]))}. Make one: bench run --method iic --dataset digits")
    found = read_all(dict.fromkeys(path.resolve() for path in folders))
    for line in found.damaged:
        say(line)
    if found.unfinished:
        say(f"{found.unfinished} not finished and passed over; the command that began them goes on with them")
    failed = 0 if uri is None else _feed(found, uri, experiment, quiet)
    raise typer.Exit(1 if failed or found.damaged or refused else 0)


def _check_sum(bundle: Path, promised: str | None) -> None:
    """Raise `RecordError` for a bundle that is not the one that was promised."""
    if promised is None:
        return
    from ...results.record import RecordError
    from ..exchange.manifest import sum_of

    found = sum_of(bundle).sha256
    if found != promised.strip().lower():
        raise RecordError(f"{bundle} is refused: its SHA-256 is {found}, not what you gave. Fetch it again.")


def _merge(bundle: Path, out: Path, lab: str | None, unverified: bool, quiet: bool) -> Taken:
    from rich.console import Console

    from ..data_progress import DataProgress
    from ..exchange.taking import take

    with DataProgress(Console(stderr=True, highlight=False), quiet=quiet) as shown:
        taken = take(bundle, out, lab=lab, unverified=unverified, progress=shown)
    if not taken.is_verified:
        say(f"{bundle.name} has no manifest: nothing in it was checked, and its records count as your own")
    for line in taken.refused:
        say(line)
    if taken.not_recomputed:
        say(f"{taken.not_recomputed} came without label vectors, so their metrics could not be computed again")
    here, whose = len(taken.folders) - taken.came, f"of {taken.lab}" if taken.lab else "your own"
    typer.echo(f"{bundle.name}: {taken.came} new, {here} here already, {len(taken.refused)} left out; in {out}, {whose}")
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
