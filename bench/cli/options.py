"""Options that several commands share, and the names a shell completes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def complete_methods(incomplete: str) -> list[str]:
    from ...methods.registry import methods

    return [name for name in methods.names() if name.startswith(incomplete)]


def complete_datasets(incomplete: str) -> list[str]:
    from ...datasets.catalogue import datasets

    return [name for name in datasets.names() if name.startswith(incomplete)]


def complete_names(incomplete: str) -> list[str]:
    """Everything `bench show` knows."""
    from ..suites import suites

    return [
        *complete_methods(incomplete),
        *complete_datasets(incomplete),
        *(name for name in suites() if name.startswith(incomplete)),
    ]


def output_folder(given: Path | None) -> Path:
    """Where records are: `--out`, else $CLUSTERBENCH_OUT, else ./bench-results."""
    import os

    return given or Path(os.environ.get("CLUSTERBENCH_OUT") or "bench-results")


DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        metavar="DIR",
        rich_help_panel="Where",
        help="Folder of data sets, searched before $CLUSTERBENCH_DATA and the user's cache.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="DIR",
        rich_help_panel="Where",
        help="Folder of the records.",
        show_default="$CLUSTERBENCH_OUT or ./bench-results",
    ),
]
