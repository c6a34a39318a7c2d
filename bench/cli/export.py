"""`bench export`: records into one bundle with checksums, to share or to keep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import say
from .help import examples
from .options import OnlyDataset, OnlyMethod, Out, Quiet, output_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...results.record import Record

ENDINGS = (".tar.gz", ".tgz")
LAB = "CLUSTERBENCH_LAB"


def add_to(app: typer.Typer) -> None:
    lines = (
        "bench export results.tar.gz --lab oxford",
        "bench export iic.tar.gz --lab oxford --method iic --dataset digits --weights",
        "bench export sweep.tar.gz --lab oxford --out results/sweeps/mine",
    )
    app.command("export", epilog=examples(*lines))(export_records)


def export_records(
    file: Annotated[Path, typer.Argument(metavar="FILE.tar.gz", help="Bundle to write.")],
    lab: Annotated[
        str | None,
        typer.Option(metavar="NAME", envvar=LAB, help="The laboratory that ran the records: how others will see them named."),
    ] = None,
    method: OnlyMethod = None,
    dataset: OnlyDataset = None,
    weights: Annotated[bool, typer.Option("--weights", help="With what bench predict needs: most of the bytes.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")] = False,
    out: Out = None,
    quiet: Quiet = False,
) -> None:
    """Pack your records into one bundle, for another laboratory's bench import.

    A manifest in it holds your laboratory's name and the checksum of every file.

    Every record is checked as the taker will check it. What is not finished, and what other laboratories ran, is left out.

    Records of sweeps under the folder are packed too.

    Tell the taker the SHA-256 that is printed by another way, and nobody can exchange the bundle.

    The recorded command lines and the names of data folders are in it: look at them before you publish it.
    """
    from rich.console import Console

    from ...results.record import RecordError
    from ..data_progress import DataProgress
    from ..exchange.folders import read_all, record_folders
    from ..exchange.manifest import checked_lab
    from ..exchange.packing import choose, pack

    if not file.name.endswith(ENDINGS):
        raise typer.BadParameter(f"{file.name!r} does not end in {' or '.join(ENDINGS)}.", param_hint="FILE.tar.gz")
    if file.exists() and not force:
        raise typer.BadParameter(f"{file} is there already. Replace it with --force, or name another.", param_hint="FILE.tar.gz")
    if not lab:
        raise typer.BadParameter(f"Say whose records these are: --lab NAME, or set ${LAB}.", param_hint="--lab")
    checked_lab(lab)
    folder = output_folder(out)
    found = read_all(record_folders(folder))
    for line in found.damaged:
        say(line)
    records = [record for record in found.finished if _asked(record, method, dataset)]
    if not records:
        raise RecordError(f"No finished record to pack in {folder}. See what is there: bench leaderboard --out {folder}")
    with DataProgress(Console(stderr=True, highlight=False), quiet=quiet) as shown:
        chosen = choose(records, shown)
        for line in chosen.left_out:
            say(line)
        if not chosen.records:
            raise RecordError(f"None of the {len(records)} records in {folder} can go into a bundle of yours.")
        packed = pack(chosen.records, folder, file, lab=lab, weights=weights, progress=shown)
    unfinished = f", {found.unfinished} unfinished left out" if found.unfinished else ""
    others = f", {chosen.of_others} of other laboratories left out" if chosen.of_others else ""
    typer.echo(f"packed {len(chosen.records)} records of {lab}, {packed.bytes / 1e6:.1f} MB: {file}{unfinished}{others}")
    typer.echo(f"SHA-256 {packed.sha256}")
    raise typer.Exit(1 if found.damaged or chosen.left_out else 0)


def _asked(record: Record, methods: Sequence[str] | None, datasets: Sequence[str] | None) -> bool:
    spec = record.spec
    return (not methods or spec.get("method") in methods) and (not datasets or spec.get("dataset") in datasets)
