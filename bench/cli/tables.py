"""`bench tables`: a paper's tables, with published and reproduced numbers side by side."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from .help import examples
from .options import Out, complete_datasets, output_folder
from .output import FormatOption, OutputOption, check_datasets, records_in, write

_EXAMPLES = examples(
    "bench tables 1",
    "bench tables all --format markdown > tables.md",
    "bench tables 2 --dataset mnist",
    "bench tables 4 --output table4.html --out results",
)


class Number(str, Enum):
    ONE = "1"
    TWO = "2"
    THREE = "3"
    FOUR = "4"
    ALL = "all"


_NUMBER_HELP = (
    "1: image clustering without labels, with SCAN and IMC-SwAV after it; 2: parts of IIC left out; "
    "3: classification with labels; 4: segmentation without labels; all: one after the other."
)


def add_to(app: typer.Typer) -> None:
    app.command("tables", epilog=_EXAMPLES)(tables)


def tables(
    number: Annotated[Number, typer.Argument(help=_NUMBER_HELP, metavar="NUMBER")],
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", "-d", help="Also show this data set; may be repeated.", autocompletion=complete_datasets),
    ] = None,
    form: FormatOption = None,
    output: OutputOption = None,
    out: Out = None,
) -> None:
    """Make tables of the IIC paper from the records: the published number and ours in every cell.

    Under each stand the caveats of the published numbers, what differs in ours, and the commands for the cells without a run.
    Numbers of other budgets, protocols or changed settings are never averaged, and marked where they stand. CSV has one line a
    number, unrounded.
    """
    from ...results.collector import uncollected
    from ...results.published import published
    from ...results.tables import TABLES
    from ...results.tables import tables as make
    from .table_sources import columns, here

    wanted = list(TABLES) if number is Number.ALL else [int(number.value)]
    records = records_in(output_folder(out))
    check_datasets(dataset or (), records, {row.our_dataset for row in published()})
    with uncollected():
        made = make(records, wanted, columns(dataset or (), wanted), here())
    write(made, form, output)
