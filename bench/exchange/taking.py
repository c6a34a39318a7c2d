"""From a bundle to records beside ours: proven, merged, and nothing of ours overwritten."""

from __future__ import annotations

import filecmp
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from ...datasets.files.archives import unpack
from ...datasets.source import Progress, silent
from ...results.origin import ORIGIN
from ...results.record import Record, RecordError, now, read_record, write_json
from ..spec import TrialSpec
from .folders import FILES, RECORD, SWEEPS, WEIGHTS, disk, read_all, record_folders
from .inspection import Arrival, inspect
from .manifest import Manifest, read_manifest, sum_of

MOST_BYTES = 1 << 40
Here: TypeAlias = dict[tuple[Path, str], list[Path]]


@dataclass
class Taken:
    """What became of the records in a bundle.

    Attributes:
        lab: the laboratory that ran them; None for our own, and where there is no manifest.
        folders: of all that are here now, whether they came or had been here.
        came: how many were not here before.
        refused: one line for each that was not taken, because another record is in its place.
        not_recomputed: how many came with metrics that could not be computed again, for want of labels.
        is_verified: whether there was a manifest to go by.
        sha256: of the bundle.
    """

    lab: str | None = None
    folders: list[Path] = field(default_factory=list)
    came: int = 0
    refused: list[str] = field(default_factory=list)
    not_recomputed: int = 0
    is_verified: bool = True
    sha256: str = ""


def take(archive: Path, out: Path, *, lab: str | None = None, unverified: bool = False, progress: Progress = silent) -> Taken:
    """Merge a bundle's records into `out`: all of it is proven before anything is taken, and what is here stays as it is.

    Records of another laboratory get folders of their own, with `@LAB` at the end and an origin.json in it, whether or not
    there is a record of the same spec here. What is the same run by its times is never doubled, whoever sends it. Only the files
    of records are taken; a record appears at once, whole.

    Args:
        archive: made by `pack`.
        out: folder of records.
        lab: our own name; a bundle of this laboratory's holds our own records. None: every bundle is another's.
        unverified: take an archive without a manifest too; its records count as our own.
        progress: told how far it is.

    Raises:
        DataError: the archive is damaged, cut short, unsafe or none, or there is no room.
        RecordError: the bundle was changed or forged, or has no manifest, or the disk refuses.
    """
    with disk(out):
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".import-", dir=out) as hidden:
            content = Path(hidden) / "content"
            unpack(archive, content, limit_bytes=MOST_BYTES, progress=progress)
            manifest = read_manifest(content, archive.name)
            if manifest is not None:
                return _merge(archive, content, manifest, out, lab, progress)
            return _take_unverified(archive, content, out, unverified)


def _merge(archive: Path, content: Path, manifest: Manifest, out: Path, lab: str | None, progress: Progress) -> Taken:
    folders = record_folders(out)
    ours = [record for record in read_all(folders).finished if record.lab is None]
    arrivals = inspect(content, manifest, archive.name, ours, progress)
    taken = Taken(lab=None if manifest.lab == lab else manifest.lab, sha256=sum_of(archive).sha256)
    here, about = _by_trial(folders), {"lab": manifest.lab, "bundle": archive.name, "sha256": taken.sha256, "imported": now()}
    for arrival in arrivals:
        origin = {**about, "metrics": "recomputed" if arrival.has_labels else "not recomputed"} if taken.lab else None
        _settle(arrival, _place(arrival, out, taken.lab), here, taken, origin)
    return taken


def _by_trial(folders: Iterable[Path]) -> Here:
    """Record folders by the folder they are in and the identity at the end of their names, whoever ran them."""
    here: Here = {}
    for folder in folders:
        here.setdefault((folder.parent, folder.name.partition("@")[0].rpartition("-")[2]), []).append(folder)
    return here


def _settle(arrival: Arrival, target: Path, here: Here, taken: Taken, origin: dict[str, Any] | None) -> None:
    """Put a record in its place, unless it is here already or its place is taken."""
    record, sweep = arrival.record, target.parent
    own_sweep = sweep.with_name(arrival.sweep) if arrival.sweep else sweep
    folders = (folder for place in dict.fromkeys((sweep, own_sweep)) for folder in here.get((place, record.id), ()))
    try:
        same_spec = [read_record(folder) for folder in folders]
    except RecordError as error:
        taken.refused.append(str(error))
        return
    if same_run := next((each for each in same_spec if _is_same_run(each, record)), None):
        _keep(same_run, record, taken)
    elif in_place := next((each for each in same_spec if each.lab == taken.lab), None):
        whose = f"of {taken.lab}" if taken.lab else "of yours"
        taken.refused.append(f"{in_place.folder} is another run {whose} of that trial and was left as it is.")
    else:
        _move(record.folder, target, origin)
        taken.folders.append(target)
        taken.came += 1
        taken.not_recomputed += bool(record.metrics) and not arrival.has_labels


def _is_same_run(one: Record, other: Record) -> bool:
    return (one.created, one.finished) == (other.created, other.finished)


def _keep(here: Record, came: Record, taken: Taken) -> None:
    """Leave a run that is here already, which may lack its weights or labels."""
    if not filecmp.cmp(came.folder / RECORD, here.folder / RECORD, shallow=False):
        taken.refused.append(f"{here.folder} tells another story of that run and was left as it is; deleted, it makes room.")
        return
    if here.lab == taken.lab:  # nobody else adds to it
        _add_missing(came.folder, here.folder)
    taken.folders.append(here.folder)


def _place(arrival: Arrival, out: Path, lab: str | None) -> Path:
    """The name follows from the spec, which was checked, and not from the bundle."""
    mark = f"@{lab}" if lab else ""
    name = f"{TrialSpec.model_validate(arrival.record.spec).folder_name()}{mark}"
    return out / SWEEPS / f"{arrival.sweep}{mark}" / name if arrival.sweep else out / name


def _move(source: Path, target: Path, origin: dict[str, Any] | None) -> None:
    """Put a record's files into `target`; what makes it a record comes last, after what says whose it is."""
    target.mkdir(parents=True, exist_ok=True)
    if origin:
        write_json(target / ORIGIN, origin)
    for name in (*FILES[1:], *WEIGHTS, RECORD):
        if (source / name).is_file():
            (source / name).replace(target / name)


def _add_missing(source: Path, target: Path) -> None:
    """The same record, which may lack its weights or labels here."""
    for name in (*FILES, *WEIGHTS):
        if (source / name).is_file() and not (target / name).exists():
            (source / name).replace(target / name)


def _take_unverified(archive: Path, content: Path, out: Path, unverified: bool) -> Taken:
    """What archives were before they had a manifest: folders of records, under their own names, taken as our own."""
    paths = sorted(content.rglob(f"*/{RECORD}"))
    if not paths:
        raise RecordError(f"{archive} holds no record. Make a bundle of records with bench export.")
    if not unverified:
        raise RecordError(
            f"{archive} has no manifest, so nothing in it can be checked: it was packed by an older version, or is forged. "
            "Have it packed again with bench export, or take it as your own records all the same with --unverified."
        )
    taken = Taken(is_verified=False, sha256=sum_of(archive).sha256)
    for path in paths:
        _take_as_it_is(path.parent, out / _old_place(path.parent.relative_to(content)), taken)
    return taken


def _old_place(inside: Path) -> Path:
    """Where a folder of the archive belongs: in its sweep, else directly among the records, whatever is around it."""
    *around, name = inside.parts
    return Path(*around[-2:], name) if around[-2:-1] == [SWEEPS] else Path(name)


def _take_as_it_is(source: Path, target: Path, taken: Taken) -> None:
    try:
        read_record(source)
        if not (target / RECORD).exists():
            _move(source, target, None)
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
