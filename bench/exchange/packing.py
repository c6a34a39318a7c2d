"""From records to a bundle: one .tar.gz with a manifest."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import IO, cast

from ...datasets.source import Progress, silent
from ...results.record import Record, now
from .evidence import TrueLabels, doubts
from .folders import FILES, WEIGHTS, disk
from .manifest import MANIFEST, Manifest, Sum, Summing, checked_lab, sum_of

COMPRESSION = 6


@dataclass(frozen=True)
class Packed:
    """A bundle that was written: its size in bytes and its SHA-256, which the sender can tell whoever takes it."""

    bytes: int
    sha256: str


@dataclass
class Chosen:
    """What of some records goes into a bundle.

    Attributes:
        records: ours, each trial once.
        of_others: how many other laboratories ran; their own bundles can be passed on instead.
        left_out: one line for each of ours that whoever takes the bundle would refuse.
    """

    records: list[Record] = field(default_factory=list)
    of_others: int = 0
    left_out: list[str] = field(default_factory=list)


def choose(records: Sequence[Record], progress: Progress = silent) -> Chosen:
    """Look at records as whoever takes the bundle will, and leave out what would have the whole bundle refused."""
    chosen = Chosen()
    truths, seen = TrueLabels(record for record in records if record.lab is None), dict[tuple[Path, str], str]()
    for number, record in enumerate(records, start=1):
        progress("checking records", number, len(records))
        if record.lab is not None:
            chosen.of_others += 1
        elif reasons := doubts(record, truths):
            chosen.left_out.append(f"{record.folder} is left out: {'; '.join(reasons)}")
        elif first := seen.get((record.folder.parent, record.id)):
            chosen.left_out.append(f"{record.folder} is left out: {first} is a record of the same trial")
        else:
            seen[record.folder.parent, record.id] = record.folder.name
            chosen.records.append(record)
    return chosen


def pack(
    records: Sequence[Record], out: Path, archive: Path, *, lab: str, weights: bool = False, progress: Progress = silent
) -> Packed:
    """Write records into a bundle, each under its folder's name relative to `out`, every file as it is.

    The bundle appears at once when it is whole.

    Args:
        records: what to pack; their order does not matter.
        out: the folder that they lie in.
        archive: the file to write; replaced if it is there.
        lab: the laboratory that ran them.
        weights: with what predicting takes (networks and the like), which is most of the bytes.
        progress: told how many records are in.

    Raises:
        RecordError: the name of the laboratory cannot be one, or the disk refuses.
    """
    checked_lab(lab)
    unfinished = archive.with_name(f".{archive.name}.tmp")
    try:
        with disk(archive):
            with tarfile.open(unfinished, "w:gz", compresslevel=COMPRESSION) as packed:
                sums: dict[str, Sum] = {}
                for number, folder in enumerate(sorted(record.folder for record in records), start=1):
                    for path in (folder / name for name in (*FILES, *(WEIGHTS if weights else ()))):
                        if path.is_file():
                            name = path.relative_to(out).as_posix()
                            sums[name] = _add(packed, path, name)
                    progress("packing records", number, len(records))
                _add_manifest(packed, lab, sums)
            unfinished.replace(archive)
            whole = sum_of(archive)
    finally:
        unfinished.unlink(missing_ok=True)
    return Packed(whole.bytes, whole.sha256)


def _add(packed: tarfile.TarFile, path: Path, name: str) -> Sum:
    """Pack a file; the sum is of the very bytes that were packed, whatever is written into the file meanwhile."""
    with path.open("rb") as file:
        entry, about = tarfile.TarInfo(name), os.fstat(file.fileno())  # a TarInfo of our own tells no user and no permissions
        entry.size, entry.mtime = about.st_size, int(about.st_mtime)
        summing = Summing(file)
        packed.addfile(entry, cast(IO[bytes], summing))  # tarfile asks for nothing but `read`
    return summing.sum


def _add_manifest(packed: tarfile.TarFile, lab: str, sums: dict[str, Sum]) -> None:
    manifest = Manifest(lab=lab, made=now(), clusterbench=version("clusterbench"), files=sums).sealed()
    content = manifest.model_dump_json(indent=2).encode()
    entry = tarfile.TarInfo(MANIFEST)
    entry.size = len(content)
    packed.addfile(entry, io.BytesIO(content))
