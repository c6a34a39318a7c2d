"""Which folders are records, and which of their files go into a bundle."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ...results.record import Record, RecordError, read_record

RECORD, SWEEPS = "record.json", "sweeps"
LABELS = "labels.npz"
FILES = (RECORD, "config.yaml", "epochs.jsonl", LABELS, "snapshots.npz")
WEIGHTS = ("model.safetensors", "trained.pt")  # most of the bytes


@dataclass
class Found:
    """The records in some folders.

    Attributes:
        finished: complete, stopped or failed; oldest first.
        unfinished: how many are running, or were killed.
        damaged: one line for each that cannot be read.
    """

    finished: list[Record] = field(default_factory=list)
    unfinished: int = 0
    damaged: list[str] = field(default_factory=list)


def record_folders(root: Path) -> list[Path]:
    """Every folder with a record.json that is `root`, lies directly in it, or in one of its sweeps (`sweeps/NAME/`)."""
    patterns = (RECORD, f"*/{RECORD}", f"{SWEEPS}/*/*/{RECORD}")
    return [path.parent for pattern in patterns for path in sorted(root.glob(pattern))]


def read_all(folders: Iterable[Path]) -> Found:
    """The records in these folders."""
    found = Found()
    for folder in folders:
        try:
            record = read_record(folder)
        except RecordError as error:
            found.damaged.append(str(error))
            continue
        if record.status == "running":
            found.unfinished += 1
        else:
            found.finished.append(record)
    found.finished.sort(key=lambda record: (record.created, record.id))
    return found


@contextmanager
def disk(place: Path) -> Iterator[None]:
    """Turn what the disk refuses at `place` into a `RecordError` that says what to do."""
    try:
        yield
    except OSError as error:
        advice = "Make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Choose another place"
        raise RecordError(f"{place} cannot be written ({error.strerror or error}). {advice}, then try again.") from None
