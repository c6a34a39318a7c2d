"""Prepared data on disk: memory-mapped arrays and a manifest in one folder, written as a whole or not at all.

    prepared/cifar10/manifest.json   what is there, with checksums
    prepared/cifar10/images.npy      uint8 (N, C, H, W), all splits one after the other
    prepared/cifar10/labels.npy      int64 (N,), or int16 (N, H, W) for segmentation
    prepared/cifar10/extents.npy     int32 (N, 2), only where images of several sizes share one frame

Opening a store checks the manifest's own checksum and the size of every file, and reads no pixel.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shlex
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import DataError
from ..source import Chunk, Part, Progress, silent
from ..splits import Split, check_labels
from .manifest import FILE, ArrayFile, Manifest, SplitRange, read_manifest

READ_AT_A_TIME = 8 * 2**20  # bytes


class ArrayWriter:
    """Writes one `.npy` file in order, with its checksum and that of each split.

    Plain writes instead of a writable memory map: on a full disk a map kills the process, a write raises.
    """

    def __init__(self, path: Path, dtype: str, shape: tuple[int, ...]) -> None:
        self.path, self.dtype, self.shape = path, np.dtype(dtype), shape
        self.digest, self.part, self.rows = hashlib.sha256(), hashlib.sha256(), 0
        self.file: IO[bytes] = path.open("wb")
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self.file, header)  # pyright: ignore[reportArgumentType]
        self.file.flush()
        self.digest.update(path.read_bytes())

    def append(self, array: np.ndarray) -> None:
        """The next rows. Raises `DataError` if they have another shape than the file."""
        if array.shape[1:] != self.shape[1:]:
            raise DataError(f"All {self.path.stem} must have the shape {self.shape[1:]}, got {array.shape[1:]}.")
        content = np.ascontiguousarray(array, self.dtype).data
        self.file.write(content)
        self.digest.update(content)
        self.part.update(content)
        self.rows += len(array)

    def end_of_split(self) -> str:
        """SHA-256 of the rows since the last call."""
        digest, self.part = self.part.hexdigest(), hashlib.sha256()
        return digest

    def close(self) -> ArrayFile:
        """Flush to the disk."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        size = self.path.stat().st_size
        return ArrayFile(file=self.path.name, dtype=self.dtype.str, shape=self.shape, bytes=size, sha256=self.digest.hexdigest())


def write_arrays(
    folder: Path,
    parts: Iterable[Part],
    class_names: tuple[str, ...],
    shape: tuple[int, ...] | None = None,
    progress: Progress = silent,
) -> tuple[dict[str, ArrayFile], dict[str, SplitRange]]:
    """Write the images and labels of `parts` into `folder`: what the manifest says of the arrays and of the splits.

    Args:
        folder: where the files are made.
        parts: in the order in which they are stored.
        class_names: names of the labels 0..C-1.
        shape: (C, H, W) that all images must have; the first image's if None.
        progress: told how many images are written.

    Raises:
        DataError: a part gives another number of images than it says, images of several shapes, or a label out of range.
        OSError: the disk refuses.
    """
    parts = list(parts)
    total, writers, splits, done = sum(part.count for part in parts), {}, {}, 0
    try:
        for part in parts:
            start, counts = done, np.zeros(len(class_names) + 1, np.int64)
            for chunk in _chunks(part):
                writers = writers or _writers(folder, chunk, total, shape)
                counts += _checked_counts(chunk, part, len(class_names), writers)
                for name, writer in writers.items():
                    writer.append(getattr(chunk, name))
                done += len(chunk.images)
                progress("preparing", done, total)
            if done - start != part.count:
                raise DataError(f"The split {part.split} holds {done - start:,} images where {part.count:,} were expected.")
            digests = {name: writer.end_of_split() for name, writer in writers.items()}
            splits[part.split] = SplitRange(
                start=start, count=part.count, per_class=tuple(counts[1:].tolist()), unknown=int(counts[0]),
                images_sha256=digests["images"], labels_sha256=digests["labels"], verified=part.verified,
                subsets={name: tuple(rows.tolist()) for name, rows in part.subsets.items()},
            )  # fmt: skip
        return {name: writer.close() for name, writer in writers.items()}, splits
    finally:
        for writer in writers.values():
            writer.file.close()


def _chunks(part: Part) -> Iterator[Chunk]:
    """The chunks of `part`; a file of the source that cannot be read is told apart from a disk that cannot be written."""
    try:
        yield from part.chunks()
    except OSError as error:
        where = error.filename or f"The source of the split {part.split}"
        raise DataError(f"{where} cannot be read ({error.strerror or error}). Mend that, or give a sound copy.") from error


def _writers(folder: Path, chunk: Chunk, total: int, shape: tuple[int, ...] | None) -> dict[str, ArrayWriter]:
    if shape is not None and chunk.images.shape[1:] != shape:
        found, wanted = (" x ".join(map(str, sides)) for sides in (chunk.images.shape[1:], shape))
        raise DataError(f"The images are {found}, this data set has {wanted}. Give the original images.")
    per_pixel = chunk.labels.ndim == 3
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {
        "images": ("|u1", (total, *chunk.images.shape[1:])),
        "labels": ("<i2" if per_pixel else "<i8", (total, *chunk.labels.shape[1:])),
    }
    if chunk.extents is not None:
        shapes["extents"] = ("<i4", (total, 2))
    return {name: ArrayWriter(folder / f"{name}.npy", *about) for name, about in shapes.items()}


def _checked_counts(chunk: Chunk, part: Part, n_classes: int, writers: dict[str, ArrayWriter]) -> np.ndarray:
    """Labels by value, -1 first. Raises `DataError` for a chunk that does not hold what it must."""
    images, labels = chunk.images, chunk.labels
    fits = images.dtype == np.uint8 and images.ndim == 4 and len(labels) == len(images) and labels.dtype.kind == "i"
    if not fits or ("extents" in writers) != (chunk.extents is not None):
        raise DataError(
            f"The split {part.split} has images {images.dtype} {images.shape} with labels {labels.dtype} {labels.shape}: "
            "a reader must give uint8 (n, C, H, W) with signed labels, and extents for all chunks or none."
        )
    if labels.size:
        check_labels(labels, n_classes, f"The split {part.split}")
    return np.bincount(labels.ravel().astype(np.int64) + 1, minlength=n_classes + 1)


def open_store(folder: Path) -> tuple[Manifest, Split]:
    """The manifest and all images and labels of a prepared data set, memory-mapped copy-on-write.

    All processes of a machine share the pages; what one of them writes stays its own. Raises `DataError` if the manifest
    or the size of a file is not as it was written.
    """
    manifest = read_manifest(folder)
    for array in manifest.arrays.values():
        path = folder / array.file
        try:
            size = path.stat().st_size
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}). {_again(manifest)}") from None
        if size != array.bytes:
            raise DataError(f"{path} has {size:,} bytes instead of {array.bytes:,}. {_again(manifest)}")
    arrays = {name: np.load(folder / array.file, mmap_mode="c") for name, array in manifest.arrays.items()}
    return manifest, Split(arrays["images"], arrays["labels"], arrays.get("extents"))


def verify_store(folder: Path, progress: Progress = silent) -> Manifest:
    """Read every byte of a prepared data set again. Raises `DataError` naming the file that is not as it was written."""
    manifest, _ = open_store(folder)
    total, done = sum(array.bytes for array in manifest.arrays.values()), 0
    for array in manifest.arrays.values():
        path, digest = folder / array.file, hashlib.sha256()
        try:
            with path.open("rb") as file:
                while content := file.read(READ_AT_A_TIME):
                    digest.update(content)
                    done += len(content)
                    progress(f"reading {array.file}", done, total)
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}). {_again(manifest)}") from None
        if digest.hexdigest() != array.sha256:
            found = f"SHA-256 {digest.hexdigest()[:12]}..., written {array.sha256[:12]}..."
            raise DataError(f"{path} was changed after it was written ({found}). {_again(manifest)}")
    return manifest


@contextmanager
def all_or_nothing(folder: Path) -> Iterator[Path]:
    """A folder to write into that takes the place of `folder` at the end, or disappears if the body raises.

    What a killed process left is deleted. The caller holds the lock of `folder`. Raises `DataError` if the disk is full
    or refuses.
    """
    partial, old = (folder.parent / f".{folder.name}.{what}" for what in ("partial", "old"))
    try:
        _remove(partial)
        if old.exists() and not folder.exists():  # killed between the two renames below
            old.rename(folder)
        _remove(old)
        partial.mkdir(parents=True)
        yield partial
        _flush_folder(partial)
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
        _flush_folder(folder.parent)
        _remove(old)
    except OSError as error:
        _remove(partial)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(folder.parent).free / 2**30
            where = f"The disk of {folder.parent} is full ({free:.1f} GiB left)"
            raise DataError(f"{where}. Make room, or prepare elsewhere with --data-root DIR.") from error
        raise DataError(f"{folder} cannot be written ({error.strerror or error}). Choose another --data-root DIR.") from error
    except BaseException:
        _remove(partial)
        raise


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """The last file of a store."""
    with (folder / FILE).open("w", encoding="utf-8") as file:
        file.write(manifest.as_text())
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _again(manifest: Manifest) -> str:
    return f"Prepare the data set again: bench data prepare {shlex.quote(manifest.name)} --force"


def describe(manifest: Manifest) -> dict[str, Any]:
    """What a record says of a prepared data set: its origin, and its splits with sizes and checksums."""
    splits = {
        name: {"count": split.count, "images_sha256": split.images_sha256, "labels_sha256": split.labels_sha256,
               "original": split.verified}
        for name, split in manifest.splits.items()
    }  # fmt: skip
    return {"form": manifest.origin.form, "preparation": manifest.version, "splits": splits}
