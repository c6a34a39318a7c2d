"""`bench doctor`: what works on this machine."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from .help import examples
from .options import DataRoot, Out, output_folder

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def add_to(app: typer.Typer) -> None:
    app.command("doctor", epilog=examples("bench doctor", "bench doctor --ray", "bench doctor --json"))(doctor)


def doctor(
    out: Out = None,
    data_root: DataRoot = None,
    ray: Annotated[bool, typer.Option("--ray", help="Also start a local Ray and run a task on it (about 15 s).")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check this machine: Python, packages, devices, Ray, MLflow, data sets, output folder, terminal.

    Leaves with 1 if something fails that trials cannot do without; a warning concerns something beside them.
    """
    from dataclasses import asdict

    from rich.console import Console
    from rich.text import Text

    from ..doctor import checks

    console, failed, found = Console(soft_wrap=True, highlight=False), False, []
    for check in checks(output_folder(out), data_root, start_ray=ray):
        failed |= check.status == "fail"
        found.append(asdict(check))
        if not as_json:
            console.print(Text.assemble((f"{check.status:<5}", _STYLES[check.status]), f"{check.name:<13} ", check.found))
            if check.status != "ok" and check.advice:
                console.print(Text(f"{'':<19} {check.advice}", style="dim"))
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    if failed:
        raise typer.Exit(1)
