"""`bench run`: trials of methods on data sets."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from .execution_options import ChannelsLast, Compile, CudaGraphs, Fused, execution_of
from .help import examples
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
    StorageUri,
    placement_of,
)
from .values import parse_duration, parse_seeds

_EXAMPLES = examples(
    "bench run --method iic --dataset digits",
    "bench run --method iic --dataset digits --seeds 5 --set lr=0.001",
    "bench run --method iic --method kmeans --dataset digits --seeds 0,1,2 --out results",
    "bench run --method iic --dataset mnist --download --time-limit 20m",
    "bench run --method iic --dataset digits --config settings.yaml --force",
)


class Protocol(str, Enum):
    FULL = "full"
    SPLIT = "split"
    SEMI_SUPERVISED = "semi-supervised"


PROTOCOL_HELP = (
    "full: train and score on all images; split: train on train, score on test; "
    "semi-supervised: the same, with the labels of train for the map from clusters to classes."
)


def add_to(app: typer.Typer) -> None:
    app.command("run", epilog=_EXAMPLES)(run)


def run(
    method: Annotated[
        list[str],
        typer.Option(
            "--method",
            "-m",
            help="Method of bench list methods, or sklearn:PATH, a clusterer by its class; may be repeated.",
            autocompletion=complete_methods,
            rich_help_panel="What",
        ),
    ],
    dataset: Annotated[
        list[str],
        typer.Option(
            "--dataset",
            "-d",
            help="Data set, folder:PATH or npz:PATH; may be repeated.",
            autocompletion=complete_datasets,
            rich_help_panel="What",
        ),
    ],
    seeds: Annotated[
        str,
        typer.Option(
            help="A number of seeds (5 means 0 to 4) or a list of seeds (0,1,2; '7,' is seed 7 alone).", rich_help_panel="What"
        ),
    ] = "0,",
    protocol: Annotated[
        Protocol,
        typer.Option(help=PROTOCOL_HELP, rich_help_panel="What"),
    ] = Protocol.FULL,
    preset: Annotated[
        str,
        typer.Option(
            help="paper (the published settings), short (minutes), smoke (seconds), or another that 'bench show METHOD' lists.",
            rich_help_panel="Settings",
        ),
    ] = "short",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="One setting, over preset and file; may be repeated.", rich_help_panel="Settings"
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML file of settings, such as a record's config.yaml.", rich_help_panel="Settings"),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Short for --set epochs=N.", rich_help_panel="Settings")] = None,
    clusters: Annotated[
        int | None, typer.Option(min=2, help="Clusters to find.", show_default="as many as classes", rich_help_panel="Settings")
    ] = None,
    time_limit: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Stop a trial's training after 90s, 10m or 1h30m.", rich_help_panel="Settings"),
    ] = None,
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
    storage: StorageUri = None,
    force: Force = False,
    quiet: Quiet = False,
    svg: Svg = None,
) -> None:
    """Run methods on data sets and print the results.

    Several methods, data sets and seeds make a product of trials, which run side by side on Ray; one alone runs in this process.

    What is complete is not run again, what was interrupted goes on where it stopped.

    Results go to standard output, progress to standard error.
    """
    from rich.console import Console

    from ...methods.kit.artefacts import use_root
    from ..terminal import waiting

    use_root(cache_root)
    chosen_seeds, time_limit_s = parse_seeds(seeds), parse_duration(time_limit)
    placement = placement_of(address, cpus_per_trial, gpus_per_trial, memory_per_trial, max_concurrent)
    with waiting(Console(stderr=True), "loading torch", silent=quiet):
        from .many import RunOptions, run_all
        from .plan import Asked

    asked = Asked(
        methods=method,
        datasets=dataset,
        seeds=chosen_seeds,
        preset=preset,
        settings=set_ or (),
        config_file=config,
        epochs=epochs,
        clusters=clusters,
        time_limit_s=time_limit_s,
        protocol=protocol.value,
        data_root=data_root,
        download=download,
    )
    options = RunOptions(
        out=output_folder(out),
        device=device,
        data_root=data_root,
        mlflow=mlflow,
        memory_share=memory_share,
        snapshots=snapshots,
        force=force,
        quiet=quiet,
        retries=retries,
        placement=placement,
        stacked_seeds=stacked_seeds,
        execution=execution_of(compiled, cuda_graphs, fused, channels_last),
        svg=svg,
        storage=storage,
        said={"out": out, "data_root": data_root},
    )
    raise typer.Exit(run_all([asked], options))
