"""`bench profile --suite`: all benchmarks, the tables at the end, and the file that keeps them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console


TAKEN = ("suite", "quick", "only", "method", "threads", "device", "data_root", "download", "quiet", "output", "as_json")


def run(context: typer.Context, console: Console, *, output: Path | None, as_json: bool) -> None:
    """Run what the command line asks for; what is done is kept before the next benchmark begins.

    Raises:
        BadParameter: an option that means nothing to the suite, whose benchmarks have settings of their own.
        SpecError: an unknown benchmark, or a file that holds something else.
    """
    from rich.console import Console

    from ..data_progress import DataProgress
    from ..devices import resolve_device, set_threads
    from ..profile.outcome import Outcome, show
    from ..profile.suite import Report, machine, run_suite, write_report
    from ..profile.where import Where
    from ..terminal import emit

    _refuse_others(context)
    given: dict[str, Any] = context.params
    outcomes: list[Outcome] = []
    with DataProgress(Console(stderr=True, highlight=False), quiet=given["quiet"]) as shown:
        where = Where(
            resolve_device(given["device"]),
            set_threads(given["threads"]),
            given["data_root"],
            download=given["download"],
            quick=given["quick"],
            progress=shown,
        )
        about = machine(where)
        for outcome in run_suite(where, given["only"] or (), given["method"] or ()):
            outcomes.append(outcome)
            if output is not None:
                write_report(output, Report(about, (outcome,)))
    report = Report(about, tuple(outcomes))
    if as_json:
        typer.echo(json.dumps(report.as_dict(), indent=2))
    else:
        emit(console, show(report.outcomes), width=200)


def _refuse_others(context: typer.Context) -> None:
    for name in context.params:
        source = context.get_parameter_source(name)
        if name not in TAKEN and source is not None and source.name == "COMMANDLINE":
            option = f"--{name.strip('_').replace('_', '-')}"
            raise typer.BadParameter("Not with --suite, whose benchmarks have settings of their own.", param_hint=option)
