"""`bench leaderboard`: all runs, best first, as a table or as a page to look around in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import say
from .help import examples
from .options import DataRoot, OnlyDataset, OnlyMethod, Out, output_folder
from .output import FormatOption, OutputOption, check_datasets, leaks, write

if TYPE_CHECKING:
    from ...results.figures.jobs import ImagesOf
    from ...results.record import Record

SAMPLES, FEW = 8, 1000


def add_to(app: typer.Typer) -> None:
    lines = (
        "bench leaderboard",
        "bench leaderboard --dataset digits --format csv",
        "bench leaderboard --html board.html",
        "bench leaderboard --html digits.html --dataset digits --samples 20 --out results",
    )
    app.command("leaderboard", epilog=examples(*lines))(leaderboard)


def leaderboard(
    dataset: OnlyDataset = None,
    method: OnlyMethod = None,
    form: FormatOption = None,
    output: OutputOption = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a page to look around in: filters, tiers, accuracy against cost, curves, every run. One file.",
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="In the page: of how many settings one run shows images of its clusters, where their data is on this machine.",
            show_default=f"{SAMPLES}, and none of more than {FEW:,} runs",
        ),
    ] = None,
    out: Out = None,
    data_root: DataRoot = None,
) -> None:
    """Rank the runs on record by accuracy, within each data set and protocol.

    Mean and standard deviation over seeds of the head that the method's own loss chose: no label chose anything.
    What the seeds cannot tell apart shares a tier.
    """
    from ...results.record import scan_records

    folder = output_folder(out)
    records, damaged = scan_records(folder)
    for error in damaged:
        say(str(error))
    check_datasets(dataset or (), records)
    if html is not None:
        wanted = [record for record in records if _is_asked_for(record, dataset, method)]
        _write_page(wanted, [str(error) for error in damaged], html, samples, data_root)
        if form is None and output is None:
            return
    from ...results.leaderboard import leaderboard as board

    table = board(records, datasets=dataset, methods=method, leaks=leaks())
    if not table.rows:
        what = dataset[0] if dataset else "digits"
        say(f"no finished run to rank in {folder}. Make one: bench run --method iic --dataset {what}")
    write(table, form, output)


def _is_asked_for(record: Record, datasets: Sequence[str] | None, methods: Sequence[str] | None) -> bool:
    spec = record.spec
    return (not datasets or spec.get("dataset") in datasets) and (not methods or spec.get("method") in methods)


@cache
def _images(data_root: Path | None) -> ImagesOf:
    """What gives images; it loads torch, so it is made only when a run is to show some."""
    from .figure_sources import ImageSource

    return ImageSource(data_root)


def _write_page(records: list[Record], damaged: list[str], file: Path, samples: int | None, data_root: Path | None) -> None:
    from ...results.collector import uncollected
    from ...results.files import RecordError, replace_file
    from ...results.page.build import page
    from ..run_line import run_line

    if not records:
        raise RecordError("There is no record to make a page of. Make one: bench run --method iic --dataset digits")
    with uncollected():
        made = page(
            records,
            repeat=lambda record: run_line(record.spec, f"{record.spec['seed']},"),
            images=lambda *asked: _images(data_root)(*asked),  # noqa: PLW0108 - not made before it is called
            samples=(SAMPLES if len(records) <= FEW else 0) if samples is None else samples,
            damaged=damaged,
        )
    replace_file(file, made.html.encode())
    for reason in made.no_images:
        say(f"sample images left out: {reason}")
    left = made.runs - made.detailed
    told = f"; curves and matrices of {left:,} are left out, see the page" if left else ""
    pictures = f", {made.pictured} with sample images" if made.pictured else ""
    say(f"wrote {file}: {made.runs:,} runs of {made.settings:,} settings{pictures}, {len(made.html) / 1e6:.1f} MB{told}")
