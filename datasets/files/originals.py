"""What the readers of original files share: finding them, holding them against their checksums, errors of one line."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from ..errors import DataError
from ..source import Chunk, Part, Progress
from .archives import readable

ADVICE = "Delete it and fetch it again, or give a sound copy with --from PATH."
BLOCK = 1 << 22  # bytes read at a time, and about what a chunk of images holds


def variant(folder: Path, name: str) -> Path | None:
    """The file `name` in `folder`, unpacked if it is there, else with `.gz` added, else None. Never a folder of that name."""
    with readable(str(folder)):
        return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def missing(folder: Path, names: Collection[str]) -> list[str]:
    """Those of the files `names` that `folder` does not hold."""
    return [name for name in names if variant(folder, name) is None]


def find_folder(path: Path, names: Collection[str], *inside: str) -> Path | None:
    """Where most of the files `names` lie, each as it is or with `.gz` added.

    Args:
        path: a folder, or one of these files.
        names: file names.
        inside: folders in `path` that are looked into before `path` itself.

    Returns:
        One of the folders, or None if none of them holds any of the files.
    """
    if path.is_file():
        return path.parent if path.name.removesuffix(".gz") in names else None
    folders = [*(path / inner for inner in inside), path]
    best = min(folders, key=lambda folder: len(missing(folder, names)))  # the first of equals
    return best if len(missing(best, names)) < len(names) else None


def find_file(path: Path, name: str) -> Path | None:
    """The file `name` in the folder `path`, or `path` if it is that file."""
    return next((file for file in (path, path / name) if file.name == name and file.is_file()), None)


def open_unpacked(path: Path) -> IO[bytes]:
    """The file for reading; what is packed in it if it ends in `.gz`."""
    return cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def check_file(path: Path, md5: str, progress: Progress) -> None:
    """Read a file as it is, a block at a time.

    Raises:
        DataError: it cannot be read, or is not what `md5` is the checksum of.
    """
    with readable(str(path)), path.open("rb") as file:
        _check(file, path, path.stat().st_size, md5, progress)


def check_content(path: Path, md5: str, progress: Progress) -> int:
    """Read a file, unpacked if it ends in `.gz`, a block at a time, and return its length in bytes. Raises as `check_file`."""
    with readable(str(path)), open_unpacked(path) as file:
        return _check(file, path, 0 if path.suffix == ".gz" else path.stat().st_size, md5, progress)


def _check(file: IO[bytes], path: Path, total: int, md5: str, progress: Progress) -> int:
    digest, length = hashlib.md5(usedforsecurity=False), 0
    while block := file.read(BLOCK):
        digest.update(block)
        length += len(block)
        progress(f"checking {path.name}", length, total)
    _compare(path, digest.hexdigest(), md5, length)
    return length


def read_content(path: Path, md5: str) -> bytes:
    """What is in a file, unpacked if it ends in `.gz`. Raises as `check_file`."""
    with readable(str(path)), open_unpacked(path) as file:
        content = file.read()
    _compare(path, hashlib.md5(content, usedforsecurity=False).hexdigest(), md5, len(content))
    return content


def _compare(path: Path, found: str, md5: str, length: int) -> None:
    if found != md5:
        raise DataError(f"{path} is not the original file or is cut short ({length:,} bytes, MD5 {found}, not {md5}). {ADVICE}")


def check_labels(path: Path, labels: np.ndarray, images: int, classes: int) -> None:
    """Raises `DataError` unless there are as many `labels` as `images`, all of them in 0..classes-1."""
    if len(labels) != images:
        raise DataError(f"{path} holds {len(labels):,} labels for {images:,} images. {ADVICE}")
    strange = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(strange):
        raise DataError(f"{path} gives image {strange[0]} a label that none of the {classes} classes has. {ADVICE}")


def array_part(split: str, images: np.ndarray, labels: np.ndarray) -> Part:
    """A verified part whose images (N, C, H, W) and labels (N,) are in memory; its chunks share that memory."""
    step = max(1, BLOCK // max(1, images[:1].nbytes))

    def chunks() -> Iterator[Chunk]:
        for start in range(0, len(images), step):
            yield Chunk(images[start : start + step], labels[start : start + step])

    return Part(split, len(images), chunks, verified=True)


def checked_files(card: dict[str, Any], names: Collection[str]) -> dict[str, str]:
    """The card's checksums of the files `names`, as `Source.files` has them."""
    return {name: f"md5:{card['md5'][name]}" for name in names}
