"""`stl10`: the binary version, from the archive of 2.6 GB, which is read as a stream, or unpacked.

Its ten folds of 1,000 training images, for learning from few labels, are taken along where their file is there.
"""

from __future__ import annotations

import hashlib
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
FOLDS, FOLD_COUNT = "fold_indices.txt", 10  # a line of training images, counted from 0, for each fold; no checksum is published
IMAGE = 3 * 96 * 96  # bytes


@dataclass(frozen=True)
class Found:
    """The original files, wherever they lie: the length of each in bytes, and how to read one from its beginning.

    `texts` has what is in the files of labels and, where it is there, in that of the folds.
    """

    where: Path
    lengths: dict[str, int]
    texts: dict[str, bytes]
    open: Callable[[str], AbstractContextManager[IO[bytes]]]


def read_stl10(path: Path, progress: Progress) -> Source | None:
    """Splits `train` and `test` with labels, and `unlabeled`, as uint8 (N, 3, 96, 96), in the original order.

    The subsets `fold 0` to `fold 9` of `train` are the data set's own folds.

    Args:
        path: the archive, its folder when unpacked, one of its files, or a folder that holds the archive or its folder.

    Raises:
        DataError: a file is damaged, or half of a split is missing, or the folds are no parts of `train`.
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
    if FOLDS in found.texts:
        files[FOLDS] = f"sha256:{hashlib.sha256(found.texts[FOLDS]).hexdigest()}"
    return Source("original files", found.where, tuple(parts), tuple(card["class_names"]), files)


def _in_folder(folder: Path, progress: Progress) -> Found:
    md5: dict[str, str] = datasets.card("stl10")["md5"]
    paths = {name: path for name in FILES if (path := variant(folder, name))}
    lengths = {name: check_content(path, md5[name], progress) for name, path in paths.items()}
    texts = {name: read_content(paths[name], md5[name]) for name in LABELS.values() if name in paths}
    folds = variant(folder, FOLDS)
    if folds is not None:
        with readable(str(folds)), open_unpacked(folds) as file:
            texts[FOLDS] = file.read()
    return Found(folder, lengths, texts, lambda name: open_unpacked(paths[name]))


def _in_archive(archive: Path, progress: Progress) -> Found:
    check_file(archive, datasets.card("stl10")["md5"][ARCHIVE], progress)
    lengths, texts = {}, {}
    with open_archive(archive) as opened:
        for name, member in _members(opened):
            progress(f"listing {archive.name}", len(lengths), len(FILES))
            if name in (*LABELS.values(), FOLDS):
                texts[name] = opened.read(member)
            if name != FOLDS:
                lengths[name] = member.size
            if len(lengths) == len(FILES) and FOLDS in texts:
                break
    return Found(archive, lengths, texts, partial(_open_member, archive))


def _members(archive: Archive) -> Iterator[tuple[str, Member]]:
    """Those files of the archive that hold pixels, labels or folds; going on to the next unpacks what lies between."""
    names = {f"{FOLDER}/{name}": name for name in (*FILES, FOLDS)}
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
        labels = np.frombuffer(found.texts[LABELS[split]], np.uint8).astype(np.int64) - 1  # the file counts from 1
        check_labels(found.where / LABELS[split], labels, count, datasets.card("stl10")["classes"])
    subsets = _folds(found, count) if split == "train" and FOLDS in found.texts else {}
    return Part(split, count, partial(_chunks, found, PIXELS[split], labels), verified=True, subsets=subsets)


def _folds(found: Found, count: int) -> dict[str, np.ndarray]:
    """Rows of the `count` training images in each fold: int64, in the file's order."""
    where = found.where / FOLDS
    try:
        folds = [np.array(line.split(), np.int64) for line in found.texts[FOLDS].decode("ascii").splitlines() if line.strip()]
    except (ValueError, OverflowError):
        raise DataError(f"{where} holds something else than numbers. {ADVICE}") from None
    if len(folds) != FOLD_COUNT:
        raise DataError(f"{where} holds {len(folds)} folds instead of {FOLD_COUNT}. {ADVICE}")
    for number, rows in enumerate(folds):
        if rows.min() < 0 or rows.max() >= count or len(np.unique(rows)) < len(rows):
            raise DataError(f"{where}: fold {number} names an image twice, or one that train does not have. {ADVICE}")
    return {f"fold {number}": rows for number, rows in enumerate(folds)}


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
