"""`bench tables`: a paper's table, with published and reproduced numbers side by side."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from .help import examples
from .options import Out, complete_datasets, output_folder
from .output import FormatOption, OutputOption, check_datasets, leaks, records_in, write

_EXAMPLES = examples(
    "bench tables 1",
    "bench tables 1 --format markdown > table1.md",
    "bench tables 1 --dataset digits --output table1.tex --out results",
)


class Number(str, Enum):
    one = "1"


def add_to(app: typer.Typer) -> None:
    app.command("tables", epilog=_EXAMPLES)(tables)


def tables(
    number: Annotated[Number, typer.Argument(help="1: unsupervised image clustering (IIC paper, Table 1).", metavar="NUMBER")],
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", "-d", help="Also show this data set; may be repeated.", autocompletion=complete_datasets),
    ] = None,
    form: FormatOption = None,
    output: OutputOption = None,
    out: Out = None,
) -> None:
    """Make a table of the IIC paper from the records: the published number and ours in every cell.

    Numbers of other budgets, protocols or changed settings are never averaged, and marked where they stand.
    """
    from ...datasets.catalogue import datasets
    from ...methods.registry import methods
    from ...results.tables import TABLE_1, table1

    records = records_in(output_folder(out))
    check_datasets(dataset or (), records, TABLE_1)
    known = {"methods": methods.names(), "known_datasets": datasets.names(), "leaks": leaks()}
    write(table1(records, dataset or (), **known), form, output)
