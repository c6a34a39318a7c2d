"""`bench profile`: what a training step spends its time on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .help import examples
from .options import DataRoot, Device, Download, Quiet, complete_datasets, complete_methods
from .run import PROTOCOL_HELP, Protocol

if TYPE_CHECKING:
    from ...datasets.source import Progress
    from ..profile.report import Profile

_EXAMPLES = examples(
    "bench profile --method iic --dataset mnist",
    "bench profile --method iic --method ae --method gan --threads 1",
    "bench profile --method iic --dataset cifar10 --preset paper --device cuda --json --output iic.json",
    "bench profile --method scan --set pretext.epochs=1 --after-epoch 1 --images 2000",
    "bench profile --method cutout --dataset mnist --protocol semi-supervised",
    "bench profile --method iic --trace iic-trace.json",
    "bench profile --method dec --flame dec.html --threads 1",
    "bench profile --suite --quick",
    "bench profile --suite --only steps --only growth --threads 1 --output this-machine.json",
)


def add_to(app: typer.Typer) -> None:
    app.command("profile", epilog=_EXAMPLES)(profile)


def profile(
    context: typer.Context,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", "-m", help="Method that trains a network; may be repeated.", autocompletion=complete_methods),
    ] = None,
    dataset: Annotated[
        str, typer.Option("--dataset", "-d", help="Data set to train on.", autocompletion=complete_datasets)
    ] = "digits",
    protocol: Annotated[Protocol, typer.Option(help=PROTOCOL_HELP)] = Protocol.FULL,
    preset: Annotated[str, typer.Option(help="paper, short, smoke, or another that 'bench show METHOD' lists.")] = "short",
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting; may be repeated.")] = None,
    steps: Annotated[int, typer.Option(min=3, help="Steps to measure of each kind.")] = 20,
    after_epoch: Annotated[
        int, typer.Option(min=0, help="Train so many epochs first: for methods whose later epochs do something else.")
    ] = 0,
    images: Annotated[
        int | None, typer.Option(min=2, help="Train on so many images, so that epochs are short.", show_default="all")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; one alone is timed by processor time.", show_default="all cores")
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Write a trace of three steps, for chrome://tracing or ui.perfetto.dev."),
    ] = None,
    flame: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Draw which call inside which takes how long, over three steps, as a page."),
    ] = None,
    suite: Annotated[
        bool, typer.Option("--suite", help="Run all benchmarks instead: every method's steps, rival forms, start-up, growth.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="The suite at tiny sizes, to see that it works.")] = False,
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="One benchmark of the suite; may be repeated.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Also write the JSON into this file; of a suite, beside what it holds."),
    ] = None,
    device: Device = "auto",
    data_root: DataRoot = None,
    download: Download = False,
    quiet: Quiet = False,
) -> None:
    """Measure the training steps of a method: whole steps beside the network's bare arithmetic, and what the difference is.

    Runs the training as bench run does for some steps, without scoring or records, then leaves it. Ratios of one run can be
    compared; times of different runs only on a quiet machine. With --suite: all benchmarks, and with --output the file in which
    their figures are kept.
    """
    from rich.console import Console

    from ..data_progress import DataProgress
    from ..devices import resolve_device, set_threads
    from ..profile.report import show
    from ..profile.run import profile_method
    from ..terminal import emit
    from .plan import Asked, plan

    if suite:
        from .profile_suite import run

        run(context, Console(highlight=False), output=output, as_json=as_json)
        return
    if quick or only:
        raise typer.BadParameter("Only with --suite.", param_hint="--quick" if quick else "--only")
    if not method:
        raise typer.BadParameter("Name a method, or run all benchmarks with --suite.", param_hint="--method")
    for name, file in (("trace", trace), ("flame", flame)):
        if file is not None and len(method) > 1:
            raise typer.BadParameter(f"A {name} is of one method.", param_hint=f"--{name}")
    where = resolve_device(device)
    set_threads(threads)
    asked = Asked(
        method, (dataset,), preset=preset, settings=set_ or (), protocol=protocol.value, data_root=data_root, download=download
    )
    found: list[Profile] = []
    with DataProgress(Console(stderr=True, highlight=False), quiet=quiet) as shown:
        for trial in plan(asked, shown):
            one = profile_method(
                trial.spec,
                trial.data,
                device=where,
                steps=steps,
                images=images,
                after_epoch=after_epoch,
                trace=trace,
                flame=flame,
                progress=_named(trial.spec.method, shown),
            )
            found.append(one)
    text = json.dumps([each.as_dict() for each in found], indent=2)
    if output is not None:
        output.write_text(text + "\n", encoding="utf-8")
    if as_json:
        typer.echo(text)
    else:
        emit(Console(highlight=False), show(found))


def _named(method: str, progress: Progress) -> Progress:
    return lambda what, done, total: progress(f"{method}: {what}", done, total)
