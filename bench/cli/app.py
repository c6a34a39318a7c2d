"""`bench`: the commands put together, and what a user sees when one of them cannot do what was asked."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from . import (
    cache,
    compare,
    data,
    doctor,
    export,
    figures,
    import_,
    leaderboard,
    lint,
    list,
    predict,
    profile,
    rescore,
    resume,
    run,
    sheet,
    show,
    suite,
    sweep,
    tables,
    typed,
    ui,
)
from .errors import one_line, say
from .help import examples

app = typer.Typer(
    name="bench",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "bench run --method iic --dataset digits",
        "bench run --method iic --method kmeans --dataset digits --seeds 5",
        "bench suite run table1 --dry-run",
        "bench sweep --method iic --dataset digits --samples 20",
        "bench data prepare cifar10 --download",
        "bench show iic",
        "bench tables 1 --format markdown",
        "bench doctor",
    ),
)
for command in (
    *(run, suite, sweep, resume, list, show, tables, leaderboard, figures, sheet, predict, compare, rescore, lint, ui),
    *(import_, export, data, cache, profile, doctor),
):
    command.add_to(app)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"clusterbench {version('clusterbench')}")
        raise typer.Exit()


@app.callback()
def bench(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the whole traceback of an error. May stand anywhere in the line.")
    ] = False,
) -> None:
    """Which image-clustering method is better, on which data, at what cost?

    One trial is one method on one data set with one seed. It leaves a record; tables and the leaderboard are made from records.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

    Args:
        arguments: the words after `bench`; those of the process by default.
    """
    words = [*(sys.argv[1:] if arguments is None else arguments)]
    debug = "--debug" in words
    typed.words.set(tuple(words))
    try:
        app(args=[word for word in words if word != "--debug"], prog_name="bench")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except Exception as error:
        if debug:
            raise
        say(one_line(error))
        return 1
    return 0
