"""An unpacked bundle, looked at before anything of it is taken: one reason for every file or record that is not as it must be."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...datasets.source import Progress
from ...results.record import Record, RecordError, read_record
from .evidence import TrueLabels, doubts
from .folders import FILES, LABELS, SWEEPS, WEIGHTS
from .manifest import MANIFEST, Manifest, sum_of

PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
SHOWN = 3


@dataclass(frozen=True)
class Arrival:
    """A record of a bundle.

    Attributes:
        record: as it lies unpacked.
        sweep: name of the sweep that it belongs to, or None.
        has_labels: whether its metrics, if it has any, were computed again from its labels.
    """

    record: Record
    sweep: str | None
    has_labels: bool


def inspect(content: Path, manifest: Manifest, bundle: str, ours: Sequence[Record], progress: Progress) -> list[Arrival]:
    """The records of a bundle that is what was packed and whose records speak the truth about themselves.

    Args:
        content: the folder that the bundle was unpacked into.
        manifest: the one in it.
        bundle: what messages call it.
        ours: sound records, to compare true labels with.
        progress: told how many files and records were looked at.

    Raises:
        RecordError: anything is not as it must be; nothing of the bundle should be taken. The first few reasons are told.
    """
    _refuse(bundle, _wrong_files(content, manifest, progress))
    folders = sorted({PurePosixPath(name).parent for name in manifest.files})
    if not folders:
        raise RecordError(f"{bundle} holds no record. Make a bundle of records with bench export.")
    truths, arrivals, reasons = TrueLabels(ours), [], []
    for number, folder in enumerate(folders, start=1):
        try:
            record = read_record(content / folder)
        except (RecordError, RecursionError) as error:
            reasons.append(str(error))
        else:
            reasons += [f"{str(folder)!r}: {doubt}" for doubt in doubts(record, truths)]
            sweep = folder.parts[1] if len(folder.parts) > 1 else None
            arrivals.append(Arrival(record, sweep, (content / folder / LABELS).is_file()))
        progress("checking records", number, len(folders))
    _refuse(bundle, [reason.replace(f"{content}{os.sep}", "") for reason in [*reasons, *_doubles(arrivals)]])
    return arrivals


def _wrong_files(content: Path, manifest: Manifest, progress: Progress) -> list[str]:
    """What is in the bundle and not in its manifest, or the other way round, or differs, or does not belong in a bundle."""
    there = {path.relative_to(content).as_posix() for path in content.rglob("*") if path.is_file()} - {MANIFEST}
    listed = manifest.files.keys()
    reasons = [f"it holds {name!r}, which its manifest does not list" for name in sorted(there - listed)]
    reasons += [f"its manifest lists {name!r}, which it lacks" for name in sorted(listed - there)]
    reasons += [f"{name!r} is no file of a record" for name in sorted(listed) if not _belongs(name)]
    for number, name in enumerate(sorted(there & listed), start=1):
        reasons += _changed(content, name, manifest)
        progress("checking checksums", number, len(listed))
    return reasons


def _belongs(name: str) -> bool:
    """`FOLDER/record.json` or `sweeps/NAME/FOLDER/record.json`, or another file of a record in their places."""
    parts = PurePosixPath(name).parts
    if len(parts) not in (2, 4) or parts[-1] not in (*FILES, *WEIGHTS) or parts[-2].startswith("."):
        return False
    return parts[0] != SWEEPS if len(parts) == 2 else parts[0] == SWEEPS and bool(PLAIN_NAME.fullmatch(parts[1]))


def _changed(content: Path, name: str, manifest: Manifest) -> Iterator[str]:
    found, listed = sum_of(content / name), manifest.files[name]
    if found != listed:
        sums = f"SHA-256 {found.sha256[:12]}..., in the manifest {listed.sha256[:12]}..."
        yield f"{name!r} is not the file that was packed ({sums})"


def _doubles(arrivals: Sequence[Arrival]) -> Iterator[str]:
    seen: dict[tuple[str | None, str], str] = {}
    for arrival in arrivals:
        name = arrival.record.folder.name
        first = seen.setdefault((arrival.sweep, arrival.record.id), name)
        if first != name:
            yield f"{name!r} and {first!r} are records of one trial"


def _refuse(bundle: str, reasons: Sequence[str]) -> None:
    if not reasons:
        return
    more = f"; and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else ""
    told = "; ".join(reasons[:SHOWN])
    raise RecordError(f"{bundle} is refused, and nothing of it was taken: {told}{more}. Ask the laboratory for a sound one.")
