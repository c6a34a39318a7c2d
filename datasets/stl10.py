"""`stl10`: the binary version, from the archive of 2.6 GB, which is read as a stream, or unpacked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from .catalogue import datasets, register
from .errors import DataError
from .files.archives import Archive, Member, open_archive, readable
from .files.downloads import fetch
from .files.originals import (
    ADVICE,
    BLOCK,
    check_content,
    check_file,
    check_labels,
    checked_files,
    find_file,
    find_folder,
    missing,
    open_unpacked,
    read_content,
    variant,
)
from .source import Chunk, Part, Progress, Recipe, Source

ARCHIVE, FOLDER = "stl10_binary.tar.gz", "stl10_binary"
PIXELS = {"train": "train_X.bin", "test": "test_X.bin", "unlabeled": "unlabeled_X.bin"}
LABELS = {"train": "train_y.bin", "test": "test_y.bin"}
FILES = (*PIXELS.values(), *LABELS.values())
IMAGE = 3 * 96 * 96  # bytes


@dataclass(frozen=True)
class Found:
    """The original files, wherever they lie: the length of each in bytes, and how to read one from its beginning."""

    where: Path
    lengths: dict[str, int]
    labels: dict[str, bytes]
    open: Callable[[str], AbstractContextManager[IO[bytes]]]


def read_stl10(path: Path, progress: Progress) -> Source | None:
    """Splits `train` and `test` with labels, and `unlabeled`, as uint8 (N, 3, 96, 96), in the original order.

    Args:
        path: the archive, its folder when unpacked, one of its files, or a folder that holds the archive or its folder.

    Raises:
        DataError: a file is damaged, or half of a split is missing.
    """
    folder, archive = find_folder(path, FILES, FOLDER), find_file(path, ARCHIVE)
    if folder is not None and (archive is None or not missing(folder, FILES)):
        found, checked = _in_folder(folder, progress), None
    elif archive is not None:
        found, checked = _in_archive(archive, progress), [ARCHIVE]
    else:
        return None
    card = datasets.card("stl10")
    parts = [_part(found, split) for split in PIXELS if {PIXELS[split], LABELS.get(split)} & found.lengths.keys()]
    files = checked_files(card, checked or found.lengths)
    return Source("original files", found.where, tuple(parts), tuple(card["class_names"]), files)


def _in_folder(folder: Path, progress: Progress) -> Found:
    md5: dict[str, str] = datasets.card("stl10")["md5"]
    paths = {name: path for name in FILES if (path := variant(folder, name))}
    lengths = {name: check_content(path, md5[name], progress) for name, path in paths.items()}
    labels = {name: read_content(paths[name], md5[name]) for name in LABELS.values() if name in paths}
    return Found(folder, lengths, labels, lambda name: open_unpacked(paths[name]))


def _in_archive(archive: Path, progress: Progress) -> Found:
    check_file(archive, datasets.card("stl10")["md5"][ARCHIVE], progress)
    lengths, labels = {}, {}
    with open_archive(archive) as opened:
        for name, member in _members(opened):
            progress(f"listing {archive.name}", len(lengths), len(FILES))
            lengths[name] = member.size
            if name in LABELS.values():
                labels[name] = opened.read(member)
            if len(lengths) == len(FILES):
                break
    return Found(archive, lengths, labels, partial(_open_member, archive))


def _members(archive: Archive) -> Iterator[tuple[str, Member]]:
    """Those files of the archive that hold pixels or labels; going on to the next unpacks what lies between."""
    names = {f"{FOLDER}/{name}": name for name in FILES}
    return ((names[member.name], member) for member in archive if member.name in names)


@contextmanager
def _open_member(archive: Path, wanted: str) -> Iterator[IO[bytes]]:
    with open_archive(archive) as opened:
        yield opened.open(next(member for name, member in _members(opened) if name == wanted))


def _part(found: Found, split: str) -> Part:
    """Checks that pixels and labels belong together; the pixels are read when they are asked for."""
    absent = {PIXELS[split], LABELS.get(split, PIXELS[split])} - found.lengths.keys()
    if absent:
        raise DataError(f"{found.where} lacks {absent.pop()}, the other half of {split}. Add it, or fetch the data again.")
    count, rest = divmod(found.lengths[PIXELS[split]], IMAGE)
    if rest:
        raise DataError(f"{found.where / PIXELS[split]} ends within an image, {rest:,} of its {IMAGE:,} bytes in. {ADVICE}")
    labels = np.full(count, -1)
    if split in LABELS:
        labels = np.frombuffer(found.labels[LABELS[split]], np.uint8).astype(np.int64) - 1  # the file counts from 1
        check_labels(found.where / LABELS[split], labels, count, datasets.card("stl10")["classes"])
    return Part(split, count, partial(_chunks, found, PIXELS[split], labels), verified=True)


def _chunks(found: Found, name: str, labels: np.ndarray) -> Iterator[Chunk]:
    step = BLOCK // IMAGE
    with readable(str(found.where)), found.open(name) as file:
        for start in range(0, len(labels), step):
            some = labels[start : start + step]
            content = file.read(len(some) * IMAGE)
            if len(content) < len(some) * IMAGE:
                raise DataError(f"{found.where / name} has become shorter since it was checked. {ADVICE}")
            columns = np.frombuffer(content, np.uint8).reshape(-1, 3, 96, 96)  # column by column, as Matlab writes
            yield Chunk(np.ascontiguousarray(columns.swapaxes(2, 3)), some)


def download_stl10(root: Path, progress: Progress) -> None:
    """Fetch the archive from where torchvision's class has it, to where it expects it, with its checksum.

    The class itself would unpack it as well, which takes another 3 GB and, before Python 3.12, trusts its paths;
    `read_stl10` needs the archive only.

    Raises:
        DataError: it cannot be fetched.
    """
    from torchvision.datasets import STL10

    fetch(STL10.url, root / STL10.filename, md5=STL10.tgz_md5, progress=progress, what=STL10.filename)


register("stl10")(Recipe(read_stl10, download_stl10))
