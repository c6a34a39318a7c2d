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
    """Where records are: `--out`, else $CLUSTERBENCH_OUT, else ./bench-results. Raises `typer.BadParameter` for a URI."""
    import os
    import re

    folder = given or Path(os.environ.get("CLUSTERBENCH_OUT") or "bench-results")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(folder)):  # a Path has lost the second slash
        raise typer.BadParameter(
            f"{folder} is no folder. Records on a remote file system: bench run --storage URI. A sweep needs a folder that all "
            "nodes see, such as a mounted bucket.",
            param_hint="--out",
        )
    return folder


OnlyMethod = Annotated[
    list[str] | None,
    typer.Option("--method", "-m", help="Only this method; may be repeated.", autocompletion=complete_methods),
]
OnlyDataset = Annotated[
    list[str] | None,
    typer.Option("--dataset", "-d", help="Only this data set; may be repeated.", autocompletion=complete_datasets),
]
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
CacheRoot = Annotated[
    Path | None,
    typer.Option(
        "--cache-root",
        metavar="DIR",
        rich_help_panel="Where",
        help="Folder of what trials share: pretext networks, features, neighbours (bench cache list).",
        show_default="$CLUSTERBENCH_CACHE or the user's cache",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel="Where")]
Snapshots = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        rich_help_panel="Where",
        help="Keep the cluster probabilities of a sample every N epochs, for bench figures simplex.",
        show_default="only after the last epoch",
    ),
]
MemoryShare = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        rich_help_panel="Where",
        help="Share of the device's free memory that images may take; what does not fit is streamed from disk.",
    ),
]
Download = Annotated[bool, typer.Option("--download", help="Fetch data sets that are not here.", rich_help_panel="Where")]
Mlflow = Annotated[
    str,
    typer.Option(
        metavar="URI",
        envvar="MLFLOW_TRACKING_URI",
        help="MLflow tracking URI, or off.",
        show_default="an SQLite file beside the records",
        rich_help_panel="Where",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Run again what is complete, and begin anew what was interrupted.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results only.")]
Svg = Annotated[Path | None, typer.Option(metavar="FILE", help="Also draw the result as an SVG picture.")]
