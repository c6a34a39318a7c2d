"""`bench compare`: two runs, methods or folders side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .help import examples
from .options import OnlyDataset, Out, complete_methods, output_folder
from .output import FormatOption, OutputOption, check_datasets, records_in, write

if TYPE_CHECKING:
    from ...results.comparison_pairs import Side
    from ...results.record import Record


def add_to(app: typer.Typer) -> None:
    lines = (
        "bench compare iic kmeans",
        "bench compare iic kmeans --dataset digits --format markdown",
        "bench compare results/before results/after",
        "bench compare iic-digits-short-s0 iic-digits-short-s1",
    )
    app.command("compare", epilog=examples(*lines))(compare)


def compare(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A", help="A method, a folder, or a run by any part of its name.", autocompletion=complete_methods
        ),
    ],
    b: Annotated[
        str, typer.Argument(metavar="B", help="The same; it need not be of the same kind.", autocompletion=complete_methods)
    ],
    dataset: OnlyDataset = None,
    form: FormatOption = None,
    output: OutputOption = None,
    out: Out = None,
) -> None:
    """Show what differs between A and B: scores, with the test over seeds; settings; packages and machine; data.

    A and B are methods (all their runs in --out), folders of records or single runs. Methods are compared on every data set and
    protocol that both were run on; folders setting by setting, as before and after a change of code.

    A test needs three seeds of each. It is paired where both have the same seeds, and corrected where there are several.
    """
    from ...results.comparison import comparison

    folder = output_folder(out)
    records = records_in(folder)
    sides = [_side(name, records, folder) for name in (a, b)]
    check_datasets(dataset or (), [record for side in sides for record in side.records])
    write(comparison(*(_on(side, dataset) for side in sides)), form, output)


def _side(name: str, records: Sequence[Record], out: Path) -> Side:
    """What a word means: a record's folder, a folder of records, a method that was run, or a part of a run's name."""
    from ...results.comparison_pairs import Side
    from ...results.record import RecordError, read_record
    from ..run_lookup import find_run

    path = Path(name)
    if (path / "record.json").is_file():
        return Side(name, "run", (read_record(path),))
    if path.is_dir() and any(path.glob("*/record.json")):
        return Side(name, "folder", tuple(records_in(path)))
    if of_method := tuple(record for record in records if record.spec.get("method") == name):
        return Side(name, "method", of_method)
    if _is_method(name):
        raise RecordError(f"There is no run of {name} in {out}. Make some: bench run --method {name} --dataset digits --seeds 3")
    record = find_run(name, out)
    return Side(record.folder.name, "run", (record,))


def _is_method(name: str) -> bool:
    from ...methods.registry import methods

    return name in methods


def _on(side: Side, datasets: Sequence[str] | None) -> Side:
    from dataclasses import replace

    if not datasets:
        return side
    return replace(side, records=tuple(record for record in side.records if record.spec.get("dataset") in datasets))
