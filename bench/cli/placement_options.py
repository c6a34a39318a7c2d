"""The options that say where trials run, for every command that runs several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from ..scheduling.placement import Placement

_PANEL = "Many trials"

Address = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS",
        help="Ray: local (this command's own), auto (this machine's cluster), HOST:PORT, ray://HOST:PORT (from outside); "
        "none: one after the other.",
        rich_help_panel=_PANEL,
    ),
]
CpusPerTrial = Annotated[
    int, typer.Option(min=1, help="Cores of each trial, and the threads it computes with.", rich_help_panel=_PANEL)
]
GpusPerTrial = Annotated[
    str | None,
    typer.Option(
        metavar="SHARE",
        help="GPUs of each trial; 0.25 lets four share one; auto measures a trial first and packs by that.",
        show_default="1 where there are any",
        rich_help_panel=_PANEL,
    ),
]
MemoryPerTrial = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Main memory set aside for each, such as 4G.", rich_help_panel=_PANEL)
]
MaxConcurrent = Annotated[
    int | None, typer.Option(min=1, help="Trials at a time.", show_default="as many as fit", rich_help_panel=_PANEL)
]
Retries = Annotated[
    int,
    typer.Option(min=0, help="How often a trial that breaks is taken up again from its last checkpoint.", rich_help_panel=_PANEL),
]
StackedSeeds = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="N",
        help="Train so many seeds of a trial at once in this process, as one network of N groups (small networks on a GPU).",
        show_default="one at a time",
        rich_help_panel=_PANEL,
    ),
]
StorageUri = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URI",
        help="Remote folder of the records, such as s3://bucket/folder, mirrored by every node; instead of --out.",
        rich_help_panel=_PANEL,
    ),
]


def gpu_share(text: str | None) -> float | Literal["auto"] | None:
    """`auto`, a number of at least 0, or None. Raises `typer.BadParameter` for anything else."""
    if text is None:
        return None
    if text == "auto":
        return "auto"
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1000 or (share > 1 and share != int(share)):
        raise typer.BadParameter(f"--gpus-per-trial takes auto, a fraction of a GPU or a whole number of them, not {text!r}")
    return share


def memory_size(text: str | None) -> int | None:
    """Bytes of `4G`, `500M` or a plain number. Raises `typer.BadParameter` for anything else."""
    if text is None:
        return None
    units = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
    number, unit = (text[:-1], units[text[-1].upper()]) if text[-1:].upper() in units else (text, 1)
    try:
        size = int(float(number) * unit)
    except ValueError:
        size = 0
    if size <= 0:
        raise typer.BadParameter(f"--memory-per-trial takes a size such as 4G or 500M, not {text!r}")
    return size


def placement_of(
    address: str, cpus_per_trial: int, gpus_per_trial: str | None, memory_per_trial: str | None, max_concurrent: int | None
) -> Placement:
    """The placement that these options ask for. Raises `typer.BadParameter` for what cannot be read."""
    from ..scheduling.placement import Placement

    return Placement(address, cpus_per_trial, gpu_share(gpus_per_trial), memory_size(memory_per_trial), max_concurrent)
