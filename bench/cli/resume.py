"""`bench resume`: the last command again, which goes on where it stopped."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import say
from .help import examples
from .options import Out, output_folder

if TYPE_CHECKING:
    from ...results.record import Record
    from ..last_run import Command

FORCE = "--force"


def add_to(app: typer.Typer) -> None:
    app.command("resume", epilog=examples("bench resume", "bench resume --out results", "bench resume --list"))(resume)


def resume(
    out: Out = None,
    only_list: Annotated[
        bool, typer.Option("--list", help="Print the last commands and the trials that were left unfinished; run nothing.")
    ] = False,
) -> None:
    """Run the last command of an output folder again: what is complete stays, what was interrupted goes on.

    It runs with the same words in the same folder as before. Where no command is remembered, the trials that were left
    unfinished are listed, each with the command that goes on with it.
    """
    folder = output_folder(out)
    if only_list:
        _list(folder)
        return
    from ..last_run import recall

    command = recall(folder)
    if command is None:
        raise typer.Exit(_without_command(folder))
    _check(command, folder)
    words = [word for word in command.words if word != FORCE]
    say(f"again: bench {shlex.join(words)} (first given {command.when} in {command.cwd})")
    if FORCE in command.words:
        say(f"{FORCE} is left out: it would throw away what is done")
    from .app import main

    with _as_if_typed(words, command.cwd, folder):
        raise typer.Exit(main(words))


def _check(command: Command, folder: Path) -> None:
    """Raise `RecordError` for a command that would not do here and now what it did."""
    from ...results.record import RecordError

    by_hand = f"Give the command yourself: {command.line}"
    if command.lacks_password:
        raise RecordError(f"The last command named a password, which is not kept. {by_hand}")
    if not Path(command.cwd).is_dir():
        raise RecordError(f"The last command ran in {command.cwd}, which is no longer there. {by_hand}")
    if not Path(command.out).exists() or not folder.samefile(command.out):
        raise RecordError(f"{folder} was {command.out} when the last command ran, and would not be found by it. {by_hand}")


@contextmanager
def _as_if_typed(words: Sequence[str], cwd: str, out: Path) -> Iterator[None]:
    """The command line, folder and output folder of this process are those of the other command."""
    before = (sys.argv, Path.cwd(), os.environ.get("CLUSTERBENCH_OUT"))
    os.environ["CLUSTERBENCH_OUT"] = str(out.absolute())
    sys.argv = [sys.argv[0], *words]
    os.chdir(cwd)
    try:
        yield
    finally:
        sys.argv = before[0]
        os.chdir(before[1])
        if before[2] is None:
            del os.environ["CLUSTERBENCH_OUT"]
        else:
            os.environ["CLUSTERBENCH_OUT"] = before[2]


def _list(folder: Path) -> None:
    from ..last_run import history

    commands, left = history(folder), _unfinished(folder)
    for command in commands:
        typer.echo(f"{command.when}\t{command.line}\t{command.cwd}")
    for record in left:
        typer.echo(f"{record.created}\t{_command_for(record, folder)}\t{_how_far(record)}")
    if not commands and not left:
        say(f"{folder} remembers no command and holds no trial that was left unfinished.")


def _without_command(folder: Path) -> int:
    """Say what may be resumed instead, and return the exit code: nothing was."""
    left = _unfinished(folder)
    if not left:
        say(f"{folder} remembers no command and holds no trial that was left unfinished. Name another folder with --out.")
        return 1
    say(f"{folder} remembers no command. These trials were left unfinished; each line goes on with one:")
    for record in left:
        typer.echo(_command_for(record, folder))
    return 1


def _unfinished(folder: Path) -> list[Record]:
    """The records of our own trials that were interrupted or killed, or are running now; oldest first."""
    from ...results.record import scan_records
    from ..trial_folder import INTERRUPTED

    records, damaged = scan_records(folder)
    for error in damaged:
        say(str(error))
    left = (record for record in records if record.status == "running" or record.stop_reason == INTERRUPTED)
    return [record for record in left if record.lab is None]


def _how_far(record: Record) -> str:
    name = f"{record.spec['method']} on {record.spec['dataset']}, seed {record.spec['seed']}"
    how = "interrupted or still running" if record.status == "running" else "interrupted"
    return f"{name}: {how} after epoch {len(record.epochs())}"


def _command_for(record: Record, out: Path) -> str:
    """The `bench run` line that finds this very trial: its settings come from the record's own config.yaml."""
    from ..config import WITHOUT_PRESETS

    spec = record.spec
    words = ["bench", "run", "--method", spec["method"], "--dataset", spec["dataset"], "--seeds", f"{spec['seed']},"]
    if spec["preset"] != WITHOUT_PRESETS:
        words += ["--preset", spec["preset"]]
    if spec["protocol"] != "full":
        words += ["--protocol", spec["protocol"]]
    if spec.get("time_limit_s"):
        words += ["--time-limit", f"{spec['time_limit_s']:.12g}s"]
    return shlex.join([*words, "--config", str(record.folder / "config.yaml"), "--out", str(out)])
