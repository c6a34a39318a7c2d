"""`bench sweep`: many samples of a method's settings, and the best of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .help import examples
from .options import (
    CacheRoot,
    DataRoot,
    Download,
    MemoryShare,
    Mlflow,
    Out,
    Quiet,
    complete_datasets,
    complete_methods,
    output_folder,
)
from .placement_options import Address, CpusPerTrial, GpusPerTrial, MaxConcurrent, MemoryPerTrial, placement_of
from .run import PROTOCOL_HELP, Protocol
from .values import parse_duration, parse_seeds

_EXAMPLES = examples(
    "bench sweep --method iic --dataset digits --samples 30",
    "bench sweep --method iic --dataset mnist --samples 50 --seeds 3 --space space.yaml --time-limit 8h",
    "bench sweep --method kmeans --dataset digits --samples 15 --search random --scheduler none --oracle acc",
)


def add_to(app: typer.Typer) -> None:
    app.command("sweep", epilog=_EXAMPLES)(sweep)


def sweep(
    method: Annotated[
        str, typer.Option("--method", "-m", help="Method.", autocompletion=complete_methods, rich_help_panel="What")
    ],
    dataset: Annotated[
        str,
        typer.Option(
            "--dataset",
            "-d",
            help="Data set, folder:PATH or npz:PATH.",
            autocompletion=complete_datasets,
            rich_help_panel="What",
        ),
    ],
    samples: Annotated[int, typer.Option(min=1, help="Samples in all; more of them go on with the same sweep.")] = 20,
    space: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default="the space in the method's card",
            help="YAML file with a line for each setting, such as: lr: {log_uniform: [1e-4, 1e-2]}. "
            "Kinds: uniform, log_uniform, int_uniform, log_int_uniform, quantised, choice.",
        ),
    ] = None,
    search: Annotated[str, typer.Option(help="optuna (learns from the samples before) or random.")] = "optuna",
    scheduler: Annotated[str, typer.Option(help="asha (ends the worse two thirds early) or none.")] = "asha",
    oracle: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC",
            help="Let labels judge: acc, nmi or ari. The result is marked as an oracle's.",
            show_default="the method's own criterion, without labels",
        ),
    ] = None,
    search_seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    seeds: Annotated[
        str, typer.Option(help="Seeds of each sample: how many (3 means 0 to 2) or a list.", rich_help_panel="What")
    ] = "0,",
    protocol: Annotated[
        Protocol,
        typer.Option(help=PROTOCOL_HELP, rich_help_panel="What"),
    ] = Protocol.FULL,
    preset: Annotated[str, typer.Option(help="Settings that the samples start from.", rich_help_panel="Settings")] = "short",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="One setting for all samples, which is then not swept; may be repeated.",
            rich_help_panel="Settings",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML file of settings that the samples start from.", rich_help_panel="Settings"),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Short for --set epochs=N.", rich_help_panel="Settings")] = None,
    clusters: Annotated[
        int | None, typer.Option(min=2, help="Clusters to find.", show_default="as many as classes", rich_help_panel="Settings")
    ] = None,
    time_limit: Annotated[
        str | None, typer.Option(metavar="TIME", help="Stop the whole sweep after 90s, 10m or 1h30m; it can be gone on with.")
    ] = None,
    out: Out = None,
    data_root: DataRoot = None,
    memory_share: MemoryShare = 0.5,
    cache_root: CacheRoot = None,
    download: Download = False,
    mlflow: Mlflow = "",
    address: Address = "local",
    cpus_per_trial: CpusPerTrial = 1,
    gpus_per_trial: GpusPerTrial = None,
    memory_per_trial: MemoryPerTrial = None,
    max_concurrent: MaxConcurrent = None,
    quiet: Quiet = False,
) -> None:
    """Search for the best settings of a method on a data set, without labels unless asked otherwise.

    A sample is one choice of settings, trained with every seed. Its objective is the method's own criterion at the last
    epoch, the mean over the seeds; accuracies are told for comparison and take no part. Criteria compare only as far as
    all samples are judged by the same loss: settings that change the loss itself can win without better clusters.

    Records, sweep.json, a report and pictures lie in sweeps/ under the folder of records. The same command goes on where
    it stopped.
    """
    from rich.console import Console

    from ...methods.kit.artefacts import use_root
    from ..terminal import waiting

    use_root(cache_root)
    chosen_seeds, limit, folder = parse_seeds(seeds), parse_duration(time_limit), output_folder(out)
    if gpus_per_trial == "auto":
        raise typer.BadParameter("a sweep's samples differ in what they need; give a number", param_hint="--gpus-per-trial")
    if address == "none":
        raise typer.BadParameter("a sweep runs on Ray; for one sample at a time say --max-concurrent 1", param_hint="--address")
    placement = placement_of(address, cpus_per_trial, gpus_per_trial, memory_per_trial, max_concurrent)
    progress = Console(stderr=True, highlight=False)
    with waiting(progress, "loading torch", silent=quiet):
        from ..scheduling.placement import set_environment

        set_environment(address)
        from ..data_progress import DataProgress
        from ..last_run import remember
        from ..sweep.plan import SweepPlan, Ways
        from . import typed
        from .plan import Asked, plan
        from .sweep_output import conduct
    asked = Asked(
        methods=[method],
        datasets=[dataset],
        seeds=chosen_seeds,
        preset=preset,
        settings=set_ or (),
        config_file=config,
        epochs=epochs,
        clusters=clusters,
        protocol=protocol.value,
        data_root=data_root,
        download=download,
    )
    ways = Ways(samples, space, oracle, search, search_seed, scheduler, preset_first=True)
    ways.check()
    with DataProgress(progress, quiet=quiet) as shown:
        trials = plan(asked, shown)
    planned = SweepPlan(asked, ways, trials)
    if typed.words.get():
        remember(typed.words.get(), folder)
    code = conduct(
        planned,
        folder,
        placement,
        data_root=data_root,
        memory_share=memory_share,
        time_limit_s=limit,
        mlflow=mlflow,
        quiet=quiet,
    )
    raise typer.Exit(code)
