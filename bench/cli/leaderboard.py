"""`bench leaderboard`: all runs, best first."""

from __future__ import annotations

from typing import Annotated

import typer

from .errors import say
from .help import examples
from .options import Out, complete_datasets, complete_methods, output_folder
from .output import FormatOption, OutputOption, check_datasets, leaks, records_in, write


def add_to(app: typer.Typer) -> None:
    lines = (
        "bench leaderboard",
        "bench leaderboard --dataset digits --format csv",
        "bench leaderboard --out results --output board.html",
    )
    app.command("leaderboard", epilog=examples(*lines))(leaderboard)


def leaderboard(
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", "-d", help="Only this data set; may be repeated.", autocompletion=complete_datasets),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", "-m", help="Only this method; may be repeated.", autocompletion=complete_methods),
    ] = None,
    form: FormatOption = None,
    output: OutputOption = None,
    out: Out = None,
) -> None:
    """Rank the runs on record by accuracy, within each data set and protocol.

    Mean and standard deviation over seeds of the head that the method's own loss chose: no label chose anything.
    """
    from ...results.leaderboard import leaderboard as board

    folder = output_folder(out)
    records = records_in(folder)
    check_datasets(dataset or (), records)
    table = board(records, datasets=dataset, methods=method, leaks=leaks())
    if not table.rows:
        what = dataset[0] if dataset else "digits"
        say(f"no finished run to rank in {folder}. Make one: bench run --method iic --dataset {what}")
    write(table, form, output)
