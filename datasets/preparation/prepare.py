"""From original files to memory-mapped arrays, once: checked against the card, written all or nothing."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from .. import roots
from ..catalogue import datasets
from ..errors import DataError
from ..names import DatasetName, parse
from ..places import find_originals, find_store, has_originals, store_target
from ..source import Part, Progress, Source, silent
from ..splits import Dataset, Split
from .finding import find_source
from .manifest import Manifest, Origin, SplitRange, read_manifest
from .preview import save_preview
from .store import all_or_nothing, describe, open_store, write_arrays, write_manifest

ORIGINAL = "original"  # on a card: these pixels are the original ones
GENERATED = "generated"  # form of a source that was drawn, not read
OWN_VERSION = 1  # of the preparation of a user's own images


def load_prepared(name: str, *, root: Path | str | None = None, download: bool = False, progress: Progress = silent) -> Dataset:
    """The data set `name` from its prepared arrays, which are made first if they are not there or out of date.

    Raises `NotFound` or `DataError`.
    """
    ready = open_prepared(name, root=root)
    if ready is not None:
        return ready
    manifest, whole = open_store(prepare(name, root=root, download=download, progress=progress))
    return view(parse(name), datasets.card(name), manifest, whole)


def open_prepared(name: str, *, root: Path | str | None = None) -> Dataset | None:
    """The data set `name` from its prepared arrays; None if they are not there or out of date. Nothing is prepared.

    Raises `NotFound` or `DataError`.
    """
    parsed, card = parse(name), datasets.card(name)
    folder = _usable_store(parsed, card, root)
    if folder is None:
        return None
    manifest, whole = open_store(folder)
    return view(parsed, card, manifest, whole)


def prepare(
    name: str,
    *,
    source: Path | None = None,
    root: Path | str | None = None,
    download: bool = False,
    partial: bool = False,
    force: bool = False,
    progress: Progress = silent,
) -> Path:
    """Write the arrays of `name` and return their folder. Nothing is done if they are there and up to date.

    Args:
        name: as `catalogue.load` takes it.
        source: a folder or archive to read; else the data roots are searched.
        root: a data root that is searched first, and written to if it can be.
        download: fetch the original files if they are not here.
        partial: accept a copy that lacks splits or images; results on it say so.
        force: write them anew even if they are there.
        progress: told how far it has come.

    Raises:
        NotFound: there is no such data set.
        DataError: its files are missing, damaged or not those of this data set, or the disk refuses.
    """
    parsed, card = parse(name), datasets.card(name)
    if "store" in card:  # a view is prepared with the arrays that it looks at
        parsed, card = parse(str(card["store"])), datasets.card(str(card["store"]))
    target = store_target(parsed, card, root)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target, progress) as waited:
        ready = None if force and not waited else _sound_store(parsed, card, root)
        if ready is not None and source is None:
            return ready
        with _scratch(target) as scratch:
            found = find_source(parsed, card, source, root, download, scratch, progress)
            found = replace(found, parts=_in_order(found, card))
            notes = () if parsed.path or parsed.is_sample else check_against_card(found, parsed.base, card, partial)
            _write(parsed, card, found, notes, target, progress)
    return target


def view(parsed: DatasetName, card: Mapping[str, Any], manifest: Manifest, whole: Split) -> Dataset:
    """The data set over prepared arrays: all of their labels, or those that its card makes of them."""
    splits = {name: _split(whole, split) for name, split in manifest.splits.items()}
    label_map = card.get("label_map")
    return Dataset(
        parsed.public,
        splits,
        tuple(card["class_names"]) if label_map else manifest.class_names,
        notes=manifest.notes,
        card=card if parsed.path is None else {},
        whole=whole,
        renamed=np.array([*label_map, -1], np.int16) if label_map else None,
        fingerprints=manifest.fingerprints_of(parsed.base),
        about=describe(manifest),
    )


def _split(whole: Split, about: SplitRange) -> Split:
    subsets = {name: np.array(rows, np.int64) for name, rows in about.subsets.items()}
    return replace(whole.rows(about.start, about.start + about.count), subsets=subsets)


def check_against_card(source: Source, base: str, card: Mapping[str, Any], partial: bool) -> tuple[str, ...]:
    """Notes on where `source` differs from the data set as it was published.

    Raises `DataError` for that unless `partial`, and in any case for splits and classes that the data set does not have.
    """
    wanted: Mapping[str, int] = card["splits"]
    counts = {part.split: part.count for part in source.parts}
    foreign = [name for name in counts if name not in wanted]
    if foreign:
        raise DataError(f"{source.where} holds a split {foreign[0]!r}; {base} has {', '.join(wanted)}. Rename or remove it.")
    differing = [
        f"{counts[name]:,} of {count:,} images of {name}" if name in counts else f"no {name} ({count:,} images)"
        for name, count in wanted.items()
        if counts.get(name) != count
    ]
    classes = len(card.get("label_map", ())) or card["classes"]
    if source.class_names and len(source.class_names) != classes:
        raise DataError(f"{source.where} holds {len(source.class_names)} classes; {base} has {classes}.")
    if differing and not partial:
        accept = f"bench data prepare {base} --from {shlex.quote(str(source.where))} --partial"
        raise DataError(
            f"{source.where} is not {base} as it was published: it has {' and '.join(differing)}. Give the whole of it, or "
            f"accept what is there, noted in every result: {accept}"
        )
    return (f"partial: {', '.join(differing)}",) if differing else ()


def _write(
    parsed: DatasetName,
    card: Mapping[str, Any],
    source: Source,
    notes: tuple[str, ...],
    target: Path,
    progress: Progress,
) -> None:
    shape = None if parsed.path or parsed.is_sample else tuple(card["shape"])
    with all_or_nothing(target) as folder:
        arrays, splits = write_arrays(folder, source.parts, source.class_names, shape, progress)
        splits, doubts = _confirmed(splits, card, source) if shape else (splits, ())
        manifest = Manifest(
            name=parsed.public if parsed.path or parsed.is_sample else target.name,
            version=_version(card),
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            task=str(card.get("task", "clustering")),
            origin=Origin(
                form=source.form, where=str(source.where.absolute()), files=dict(source.files), stamp=_stamp(parsed.path)
            ),
            licence=str(card.get("licence", "the owner's")),
            notes=(*source.notes, *notes, *doubts),
            class_names=source.class_names,
            splits=splits,
            arrays=arrays,
            fingerprints={},
        )
        write_manifest(folder, manifest)
        progress("computing checksums", 0, 0)
        fingerprints = dict(_fingerprints(parsed, folder))
        write_manifest(folder, manifest.model_copy(update={"fingerprints": fingerprints}))
        save_preview(folder / "preview.png", open_store(folder)[1], len(source.class_names))


def _confirmed(
    splits: Mapping[str, SplitRange], card: Mapping[str, Any], source: Source
) -> tuple[dict[str, SplitRange], tuple[str, ...]]:
    """The splits, marked as original where a checksum proves it, and a note for each where none does."""
    known: Mapping[str, Any] = card.get("checksums") or {}
    confirmed, notes = {}, []
    for name, split in splits.items():
        variants: Mapping[str, str] = known.get(name, {})
        verdict = variants.get(split.images_sha256)
        original = split.verified or verdict == ORIGINAL
        confirmed[name] = split.model_copy(update={"verified": original})
        if not original:
            notes.append(f"{name}: {verdict or f'not confirmed by checksum to be the original pixels (read as {source.form})'}")
    return confirmed, tuple(notes)


def _fingerprints(parsed: DatasetName, folder: Path) -> Iterator[tuple[str, str]]:
    """The fingerprint of every view of the arrays under every protocol that this copy has the splits for."""
    manifest, whole = open_store(folder)
    for base in _views(parsed):
        card = datasets.card(parsed.public if parsed.path or parsed.is_sample else base)
        dataset = view(replace(parsed, base=base), card, manifest, whole)
        for protocol, scheme in dataset.protocols.items():
            if scheme.main and scheme.scored:
                yield f"{base}/{protocol}", dataset.fingerprint(protocol)  # pyright: ignore[reportArgumentType]


def _views(parsed: DatasetName) -> list[str]:
    if parsed.path is not None or parsed.is_sample:
        return [parsed.base]
    return [name for name in datasets.names() if parsed.base in (name, datasets.card(name).get("store"))]


def _sound_store(parsed: DatasetName, card: Mapping[str, Any], root: Path | str | None) -> Path | None:
    """The prepared arrays if they can be used; damaged ones are about to be replaced."""
    try:
        folder = _usable_store(parsed, card, root)
        if folder is not None:
            open_store(folder)
    except DataError:
        return None
    return folder


def _usable_store(parsed: DatasetName, card: Mapping[str, Any], root: Path | str | None) -> Path | None:
    """The prepared arrays, unless a data root that comes before them holds other originals, or they are out of date."""
    folder = find_store(parsed, card, root)
    if folder is None:
        return None
    manifest = read_manifest(folder)
    if parsed.path is not None:
        if not parsed.path.exists():
            raise DataError(f"There is no {parsed.path} (its images were prepared in {folder}).")
        return folder if manifest.origin.stamp == _stamp(parsed.path) else None
    if manifest.version != _version(card):
        return None
    if parsed.is_sample:
        whole, drawn = datasets.card(parsed.base), manifest.origin.form == GENERATED
        return None if drawn and find_originals(parsed.base, whole, root) else folder  # real images are worth more
    own_root = folder.parents[1]
    for data_root in roots.data_roots(root):
        if data_root == own_root:
            break
        if has_originals(parsed.base, card, data_root):
            return folder if Path(manifest.origin.where).is_relative_to(data_root.absolute()) else None
    return folder


def _in_order(source: Source, card: Mapping[str, Any]) -> tuple[Part, ...]:
    """The parts as the card orders its splits, so that those of one role stand one after the other."""
    order: dict[str, int] = {name: position for position, name in enumerate(card.get("splits", ()))}
    return tuple(sorted(source.parts, key=lambda part: order.get(part.split, len(order))))


def _version(card: Mapping[str, Any]) -> int:
    return int(card.get("version", OWN_VERSION))


def _stamp(path: Path | None) -> str | None:
    """A digest of the names, sizes and times of a user's own files."""
    if path is None:
        return None
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(Path(top) / name for top, _, names in os.walk(path) for name in names)
    for file in files:
        about = file.stat()
        digest.update(f"{file.relative_to(path)}\0{about.st_size}\0{about.st_mtime_ns}\n".encode())
    return digest.hexdigest()


@contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """An empty folder beside `target` that does not outlive the context, nor the next one if the process is killed."""
    folder = target.parent / f".{target.name}.unpacked"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _alone(target: Path, progress: Progress) -> Iterator[bool]:
    """Hold the lock of `target`; whether another process had it and was waited for."""
    lock, waited = FileLock(target.parent / f".{target.name}.lock"), False
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waited = True
            progress(f"waiting for another process that prepares {target.name}", 0, 0)
            lock.acquire()
        yield waited
    except PermissionError as error:
        raise DataError(f"{target.parent} cannot be written ({error.strerror}). Choose another --data-root DIR.") from error
    finally:
        lock.release()
