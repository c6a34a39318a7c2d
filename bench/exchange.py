"""Records on their way to other people: packed into one archive, and unpacked from one without overwriting anything."""

from __future__ import annotations

import errno
import filecmp
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..datasets.files.archives import unpack
from ..datasets.source import Progress, silent
from ..results.record import Record, RecordError, read_record

RECORD, SWEEPS = "record.json", "sweeps"
FILES, WEIGHTS = (RECORD, "config.yaml", "epochs.jsonl", "labels.npz", "snapshots.npz"), "model.safetensors"
MOST_BYTES = 1 << 40


@dataclass
class Taken:
    """What became of the records in an archive.

    Attributes:
        folders: of all that are here now, whether they came or had been here.
        came: how many were not here before.
        refused: one line for each that was not taken: damaged, or another record of that name is here.
    """

    folders: list[Path] = field(default_factory=list)
    came: int = 0
    refused: list[str] = field(default_factory=list)


def record_folders(root: Path) -> list[Path]:
    """Every folder with a record.json that is `root`, lies directly in it, or in one of its sweeps (`sweeps/NAME/`)."""
    patterns = (RECORD, f"*/{RECORD}", f"{SWEEPS}/*/*/{RECORD}")
    return [path.parent for pattern in patterns for path in sorted(root.glob(pattern))]


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


def pack(records: Sequence[Record], out: Path, archive: Path, *, weights: bool = False, progress: Progress = silent) -> int:
    """Write records into a .tar.gz, each under its folder's name relative to `out`, every file as it is.

    The archive appears at once when it is whole. Returns its size in bytes.

    Args:
        records: what to pack; their order does not matter.
        out: the folder that they lie in.
        archive: the file to write; replaced if it is there.
        weights: with the networks' weights, which are most of the bytes.
        progress: told how many records are in.

    Raises:
        RecordError: the disk refuses.
    """
    unfinished = archive.with_name(f".{archive.name}.tmp")
    try:
        with _disk(archive):
            with tarfile.open(unfinished, "w:gz", compresslevel=6, dereference=True) as packed:
                for number, folder in enumerate(sorted(record.folder for record in records), start=1):
                    for name in (*FILES, *((WEIGHTS,) if weights else ())):
                        if (folder / name).is_file():
                            packed.add(folder / name, str((folder / name).relative_to(out)), filter=_impersonal)
                    progress("packing records", number, len(records))
            unfinished.replace(archive)
    finally:
        unfinished.unlink(missing_ok=True)
    return archive.stat().st_size


def take(archive: Path, out: Path, *, progress: Progress = silent) -> Taken:
    """Unpack the records of an archive into `out`. One that is there already stays as it is, whatever the archive holds.

    Only the files of records are taken; a record appears at once, whole.

    Raises:
        DataError: the archive is damaged, unsafe or none, or there is no room.
        RecordError: the disk refuses.
    """
    taken = Taken()
    with _disk(out):
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".import-", dir=out) as hidden:
            content = Path(hidden) / "content"
            unpack(archive, content, limit_bytes=MOST_BYTES, progress=progress)
            for path in sorted(content.rglob(f"*/{RECORD}")):
                _take(path.parent, out / _place(path.parent.relative_to(content)), taken)
    if not (taken.folders or taken.refused):
        raise RecordError(f"{archive} holds no record. Make an archive of records with bench export.")
    return taken


def _place(inside: Path) -> Path:
    """Where a folder of the archive belongs: in its sweep, else directly among the records, whatever is around it."""
    *around, name = inside.parts
    return Path(*around[-2:], name) if around[-2:-1] == [SWEEPS] else Path(name)


def _take(source: Path, target: Path, taken: Taken) -> None:
    try:
        read_record(source)
        if not (target / RECORD).exists():
            _move(source, target)
            taken.came += 1
        elif filecmp.cmp(source / RECORD, target / RECORD, shallow=False):
            _add_missing(source, target)
        else:
            taken.refused.append(f"{target} holds another record of that name and was left as it is.")
            return
    except RecordError as error:
        taken.refused.append(str(error).replace(f"{source}", f"{target.name} in the archive"))
        return
    taken.folders.append(target)


def _move(source: Path, target: Path) -> None:
    """Put a record's files into `target`; what makes it a record comes last."""
    target.mkdir(parents=True, exist_ok=True)
    for name in (*FILES[1:], WEIGHTS, RECORD):
        if (source / name).is_file():
            (source / name).replace(target / name)


def _add_missing(source: Path, target: Path) -> None:
    """The same record, which may lack its weights or labels here."""
    for name in (*FILES, WEIGHTS):
        if (source / name).is_file() and not (target / name).exists():
            (source / name).replace(target / name)


def _impersonal(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o644
    return entry


@contextmanager
def _disk(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        advice = "Make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Choose another place"
        raise RecordError(f"{place} cannot be written ({error.strerror or error}). {advice}, then try again.") from None
