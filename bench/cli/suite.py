"""`bench suite`: whole tables and figures of papers, and a user's own, as one command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .execution_options import ChannelsLast, Compile, CudaGraphs, Fused, execution_of
from .help import examples
from .list import Kind, list_names
from .options import (
    CacheRoot,
    DataRoot,
    Device,
    Download,
    Force,
    MemoryShare,
    Mlflow,
    Out,
    Quiet,
    Snapshots,
    Svg,
    complete_datasets,
    complete_methods,
    output_folder,
)
from .placement_options import (
    Address,
    CpusPerTrial,
    GpusPerTrial,
    MaxConcurrent,
    MemoryPerTrial,
    Retries,
    StackedSeeds,
    placement_of,
)
from .values import parse_seeds

if TYPE_CHECKING:
    from ..suite_plan import Cell
    from ..suites import Suite
    from .plan import Asked

suite = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")


def complete_suites(incomplete: str) -> list[str]:
    from ..suites import suites

    return [name for name in suites() if name.startswith(incomplete)]


Name = Annotated[
    str, typer.Argument(metavar="NAME|FILE", help="One of our suites, or a YAML file of yours.", autocompletion=complete_suites)
]


def add_to(app: typer.Typer) -> None:
    app.add_typer(
        suite,
        name="suite",
        help="List, show and run suites: the tables and figures of papers, or your own.",
        epilog=examples("bench suite list", "bench suite show table2", "bench suite run quick"),
    )


@suite.command("list", epilog=examples("bench suite list", "bench suite list --json"))
def list_suites(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all that is known of each.")] = False,
) -> None:
    """List our suites: name, trials, title, summary."""
    list_names(Kind.SUITES, None, as_json)


@suite.command("show", epilog=examples("bench suite show table2", "bench suite show mine.yaml"))
def show_suite(name: Name) -> None:
    """Show the runs of a suite, and what of it this version does not have."""
    from rich.console import Console, Group

    from ..suites import suite as find
    from ..terminal import emit
    from .show import of_suite

    emit(Console(highlight=False), Group(*of_suite(find(name))))


@suite.command(
    "run",
    epilog=examples(
        "bench suite run quick",
        "bench suite run table1 --dataset mnist --preset short --seeds 3",
        "bench suite run table2 --dry-run",
        "bench suite run mine.yaml --max-concurrent 4",
    ),
)
def run_suite(
    name: Name,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "-m",
            help="Only this method; may be repeated.",
            autocompletion=complete_methods,
            rich_help_panel="What",
        ),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            "-d",
            help="Only this data set; one that the suite does not name takes the place of all of its own. May be repeated.",
            autocompletion=complete_datasets,
            rich_help_panel="What",
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="paper, short or smoke, in place of the suite's own.", rich_help_panel="What")
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(help="A number of seeds or a list of them, in place of the suite's own.", rich_help_panel="What"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the trials, what is done and how long the rest may take; run nothing.")
    ] = False,
    device: Device = "auto",
    out: Out = None,
    data_root: DataRoot = None,
    memory_share: MemoryShare = 0.5,
    snapshots: Snapshots = None,
    cache_root: CacheRoot = None,
    download: Download = False,
    mlflow: Mlflow = "",
    address: Address = "local",
    cpus_per_trial: CpusPerTrial = 1,
    gpus_per_trial: GpusPerTrial = None,
    memory_per_trial: MemoryPerTrial = None,
    max_concurrent: MaxConcurrent = None,
    retries: Retries = 2,
    stacked_seeds: StackedSeeds = 1,
    compiled: Compile = False,
    cuda_graphs: CudaGraphs = False,
    fused: Fused = None,
    channels_last: ChannelsLast = True,
    force: Force = False,
    quiet: Quiet = False,
    svg: Svg = None,
) -> None:
    """Run all trials of a suite that are not done yet, and print the results.

    What this version does not have is listed and passed over; in your own file it is an error.

    Results go to standard output, progress to standard error.
    """
    from rich.console import Console

    from ...methods.kit.artefacts import use_root
    from ..suites import suite as find
    from ..terminal import waiting

    use_root(cache_root)
    chosen_seeds = None if seeds is None else parse_seeds(seeds)
    placement = placement_of(address, cpus_per_trial, gpus_per_trial, memory_per_trial, max_concurrent)
    whole = find(name)
    with waiting(Console(stderr=True, highlight=False), "loading torch", silent=quiet):
        from ..suite_plan import cells, select
        from .many import RunOptions, run_all
    part = select(whole, chosen_methods=method or (), chosen_datasets=dataset or (), preset=preset, seeds=chosen_seeds)
    planned, folder = cells(part), output_folder(out)
    if dry_run:
        from .suite_dry_run import tell

        tell(part, planned, folder, data_root, placement, force=force)
        return
    _check_any(part, planned, quiet=quiet)
    options = RunOptions(
        out=folder, device=device, data_root=data_root, mlflow=mlflow, memory_share=memory_share, snapshots=snapshots,
        force=force, quiet=quiet, retries=retries, placement=placement, stacked_seeds=stacked_seeds, svg=svg,
        execution=execution_of(compiled, cuda_graphs, fused, channels_last), said={"out": out, "data_root": data_root},
    )  # fmt: skip
    raise typer.Exit(run_all(asked(planned, data_root, download), options, title=f"{part.name}: {part.title}"))


def asked(planned: Sequence[Cell], data_root: Path | None, download: bool) -> list[Asked]:
    """What can be run of a suite as products: for each run, the data sets that have the same methods together."""
    from .plan import Asked

    able: dict[int, dict[str, list[str]]] = {}
    for cell in planned:
        if cell.resolved is not None:
            able.setdefault(cell.index, {}).setdefault(cell.dataset, []).append(cell.method)
    runs = {cell.index: cell.run for cell in planned}
    return [
        Asked(
            methods=methods,
            datasets=[name for name, its in by_dataset.items() if tuple(its) == methods],
            seeds=runs[index].seeds,
            preset=runs[index].preset,
            settings=runs[index].set_words,
            clusters=runs[index].clusters,
            time_limit_s=runs[index].time_limit,
            protocol=runs[index].protocol,
            data_root=data_root,
            download=download,
        )
        for index, by_dataset in able.items()
        for methods in dict.fromkeys(map(tuple, by_dataset.values()))
    ]


def _check_any(part: Suite, planned: Sequence[Cell], *, quiet: bool) -> None:
    """Say what is passed over. Raises `SpecError` if that is everything."""
    from ..spec import SpecError
    from .errors import say
    from .suite_dry_run import NOT_HERE, lacking

    absent = lacking(planned)
    if all(cell.resolved is None for cell in planned):
        why = "; ".join(f"{row.heading}: {row.why}" for row in absent) or "no run has what was chosen"
        raise SpecError(f"Nothing of the suite {part.name} can be run in this version ({why}).")
    for row in () if quiet else absent:
        say(f"{NOT_HERE}: {row.heading}, {row.preset} preset: {row.why}")
