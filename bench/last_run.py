"""The commands that worked on an output folder, remembered in it, so that the last one can be taken up again."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..results.files import RecordError, refusals, write_json
from .redaction import HIDDEN, without_passwords

FILE = Path(".bench", "last-run.json")
SCHEMA = 1
KEPT = 20


class Command(BaseModel):
    """One command line.

    Attributes:
        words: what stood after `bench`; passwords in addresses are left out.
        cwd: the folder it ran in.
        out: the output folder then.
        when: ISO 8601, UTC.
    """

    model_config = ConfigDict(frozen=True)

    words: tuple[str, ...] = Field(min_length=1)
    cwd: str
    out: str
    when: str

    @property
    def line(self) -> str:
        """As a shell takes it."""
        return f"bench {shlex.join(self.words)}"

    @property
    def lacks_password(self) -> bool:
        return any(HIDDEN in word for word in self.words)


def remember(words: Sequence[str], out: Path) -> None:
    """Write down that the command line `words` (without `bench`) is working on `out`, after those before it.

    The same command is kept once, at its latest. Raises `RecordError` if the disk refuses.
    """
    command = Command(
        words=tuple(map(without_passwords, words)),
        cwd=os.getcwd(),
        out=str(out.absolute()),
        when=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    path = out / FILE
    try:
        before = history(out)
    except RecordError:  # damaged: nothing in it can be resumed, and the new command must not suffer for it
        before = []
    others = [each for each in before if (each.words, each.cwd) != (command.words, command.cwd)]
    with refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    commands = [each.model_dump() for each in [command, *others][:KEPT]]
    write_json(path, {"schema": SCHEMA, "commands": commands})


def recall(out: Path) -> Command | None:
    """The last command that worked on `out`; None if none is remembered. Raises `RecordError` if the file is damaged."""
    return next(iter(history(out)), None)


def history(out: Path) -> list[Command]:
    """The commands that worked on `out`, the last one first. Raises `RecordError` if the file is damaged."""
    path = out / FILE
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] > SCHEMA:
            raise RecordError(f"{path} was written by a newer clusterbench. Upgrade this one to resume from it.")
        return [Command.model_validate(each) for each in content["commands"]]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise RecordError(f"Cannot read {path}: {error.strerror or error}.") from None
    except (ValueError, KeyError, TypeError, ValidationError):
        raise RecordError(f"{path} is damaged. Delete it, and give the command itself again: what is done is kept.") from None
