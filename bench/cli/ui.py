"""`bench ui`: MLflow's own interface on the records' store."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from .errors import say
from .help import examples
from .options import Mlflow, Out, output_folder


def add_to(app: typer.Typer) -> None:
    app.command("ui", epilog=examples("bench ui", "bench ui --out results --port 8080"))(ui)


def ui(
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port on this machine.", show_default="5000 if it is free, else any that is"),
    ] = None,
    mlflow: Mlflow = "",
    out: Out = None,
) -> None:
    """Start MLflow's interface on the store beside the records; Ctrl-C ends it.

    It listens on this machine only. Runs that are not in the store yet are delivered by bench import.
    """
    from rich.console import Console

    from ...results.mlflow_link import masked
    from ...results.record import RecordError
    from ..interface import check_store, free_port, served
    from ..terminal import waiting
    from ..tracking import store_uri

    folder = output_folder(out)
    uri = store_uri(mlflow, folder)
    if uri is None:
        raise typer.BadParameter("off names no store.", param_hint="--mlflow")
    check_store(uri, folder)
    ended = None
    with _interruptible(), served(uri, free_port(port)) as server:
        with waiting(Console(stderr=True, highlight=False), "starting MLflow"):
            server.wait_until_it_answers()
        typer.echo(f"MLflow shows {masked(uri)} at {server.address} (Ctrl-C ends it)")
        ended = server.wait()
    if ended is not None:
        raise RecordError(f"MLflow's server ended by itself with exit code {ended}.")
    say("stopped")


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C, and a polite request to end (SIGTERM), end what is inside and nothing else."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
