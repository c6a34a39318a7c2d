"""`bench run`: trials, one after the other in this process."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from .help import examples
from .options import DataRoot, Out, complete_datasets, complete_methods, output_folder
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


def add_to(app: typer.Typer) -> None:
    app.command("run", epilog=_EXAMPLES)(run)


def run(
    method: Annotated[
        list[str],
        typer.Option("--method", "-m", help="Method; may be repeated.", autocompletion=complete_methods, rich_help_panel="What"),
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
        typer.Option(help="full: train and score on all images; split: train on train, score on test.", rich_help_panel="What"),
    ] = Protocol.FULL,
    preset: Annotated[
        str, typer.Option(help="paper (the published settings), short (minutes) or smoke (seconds).", rich_help_panel="Settings")
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
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel="Where")] = "auto",
    out: Out = None,
    data_root: DataRoot = None,
    memory_share: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            rich_help_panel="Where",
            help="Share of the device's free memory that images may take; what does not fit is streamed from disk.",
        ),
    ] = 0.5,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch data sets that are not here.", rich_help_panel="Where")
    ] = False,
    mlflow: Annotated[
        str,
        typer.Option(
            metavar="URI",
            envvar="MLFLOW_TRACKING_URI",
            help="MLflow tracking URI, or off.",
            show_default="an SQLite file beside the records",
            rich_help_panel="Where",
        ),
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Run again what is complete, and begin anew what was interrupted.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results only.")] = False,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Also draw the result as an SVG picture.")] = None,
) -> None:
    """Run methods on data sets and print the results.

    Several methods, data sets and seeds make a product of trials.

    What is complete is not run again, what was interrupted goes on where it stopped.

    Results go to standard output, progress to standard error.
    """
    from rich.console import Console

    from ..terminal import waiting

    chosen_seeds, time_limit_s = parse_seeds(seeds), parse_duration(time_limit)
    progress = Console(stderr=True, highlight=False)
    with waiting(progress, "loading torch", silent=quiet):
        from ..data_progress import DataProgress
        from ..devices import keep_freed_memory, resolve_device, set_threads
        from .batch import Batch
        from .plan import Asked, plan
        from .tracking import Tracking
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
    where, folder = resolve_device(device), output_folder(out)
    set_threads()
    keep_freed_memory()
    tracking = Tracking(mlflow, folder, quiet=quiet)
    said = {"out": out, "data_root": data_root}
    with DataProgress(progress, quiet=quiet) as shown:
        trials = plan(asked, shown)
    batch = Batch(trials, folder, where, tracking, force=force, quiet=quiet, memory_share=memory_share, said=said)
    raise typer.Exit(batch.run(svg))
