"""Arrays that people saved with numpy, as one data set: `npz:PATH`, or a named data set unpacked by somebody.

PATH is one .npz file, or a folder that holds `all.npz`, or `train.npz`, `test.npz` and `unlabeled.npz` (any of them). Each
file holds `images`, uint8 (N, H, W) or (N, H, W, C) with C = 1 (grey), 3 (RGB) or 4 (RGB and infrared), and as it likes
`labels`, any integers (N,) with -1 for not known, and `class_names`, the names of the labels 0, 1, ...:

    np.savez("train.npz", images=images, labels=labels, class_names=np.array(["cat", "dog"]))

Nothing is ever unpickled. Images are read as a stream, whether the file is compressed or not.
"""

from __future__ import annotations

import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from .catalogue import register
from .errors import DataError
from .files.conventions import known_order, splits_among
from .source import Chunk, Part, Progress, Recipe, Source

CHUNK_BYTES = 4 << 20
LARGEST_IMAGE = 256 << 20
"""Bytes of one image beyond which it is refused: a few compressed bytes may claim any size."""
LARGEST_NAMES = 16 << 20
CHANNELS = (1, 3, 4)
READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True)
class _Header:
    """What the head of one array in the file says."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype


@dataclass(frozen=True, eq=False)
class _File:
    """One .npz file: `shape` (C, H, W) of its `count` images, `labels` int64 (count,), and the names it gives to classes."""

    split: str
    path: Path
    count: int
    shape: tuple[int, int, int]
    labels: np.ndarray
    class_names: tuple[str, ...] | None


def read_arrays(
    path: Path,
    progress: Progress,
    *,
    shape: Sequence[int] | None = None,
    class_names: Sequence[str] | None = None,
) -> Source | None:
    """The data set in the .npz file, or in the folder of .npz files, `path`; None if there is none of either.

    Labels are read and checked at once, images while chunks are asked for. Files without `class_names` number their
    classes 0..C-1, where C - 1 is the largest label.

    Args:
        path: the file or the folder.
        progress: told how many images of a part have been read.
        shape: (C, H, W) that the images must have; None for any.
        class_names: of the labels 0..C-1, where they are known. Classes that the files name in another order are
            renumbered; other names are kept, with a note.

    Raises:
        DataError: a file is damaged or unreadable, lacks `images`, or holds something else than said above.
    """
    found = _files(path)
    if not found:
        return None
    files = [_look(split, file) for split, file in found.items()]
    notes = _check_shapes(files, None if shape is None else tuple(shape))
    stated = _stated_names(files)
    if stated is None:
        names = _numbers(files) if class_names is None else tuple(class_names)
        order = list(range(len(names)))
    else:
        order, names, renamed = known_order(stated, class_names)
        notes = (*notes, *renamed)
    for file in files:
        _check_range(file, len(names))
    renumbered = np.array([*order, -1], np.int64)  # the label -1 takes the last place
    parts = [_part(file, renumbered[file.labels], progress) for file in files]
    return Source("arrays", path, tuple(parts), names, notes=notes)


def _files(path: Path) -> dict[str, Path]:
    """Split -> file. Empty if there is no such file."""
    if path.is_file():
        return {"all": path} if path.suffix.lower() == ".npz" else {}
    if not path.is_dir():
        return {}
    try:
        stems = {file.stem: file for file in sorted(path.iterdir()) if file.suffix.lower() == ".npz" and file.is_file()}
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}). Mend that, or give another folder.") from error
    splits = {split: stems[stem] for split, stem in splits_among(stems, path).items()}
    if "all" in stems and splits:
        other = next(iter(splits.values())).name
        raise DataError(f"{path} holds both all.npz and {other}, so some images would count twice. Keep one or the other.")
    return {"all": stems["all"]} if "all" in stems else splits


def _look(split: str, path: Path) -> _File:
    """Everything of one file but its pixels."""
    with _opened(path) as archive:
        members = archive.namelist()
        if "images.npy" not in members:
            keys = ", ".join(name.removesuffix(".npy") for name in members[:8]) or "nothing"
            raise DataError(f"{path} holds no array 'images', but {keys}. Save it with np.savez(path, images=..., labels=...).")
        with _member(archive, path, "images") as (_, header):
            shape = _image_shape(path, header)
        count = header.shape[0]
        labels = _labels(archive, path, count) if "labels.npy" in members else np.full(count, -1, np.int64)
        names = _names(archive, path) if "class_names.npy" in members else None
    return _File(split, path, count, shape, labels, names)


def _image_shape(path: Path, header: _Header) -> tuple[int, int, int]:
    """(C, H, W) of one image of an array of images."""
    dtype, shape = header.dtype, header.shape
    if dtype.kind == "f":
        advice = "images.round().astype('uint8') if they are 0..255, (255 * images).round().astype('uint8') if they are 0..1"
        raise DataError(f"{path}: images are {dtype}, not uint8. Save {advice}.")
    if dtype != np.uint8:
        raise DataError(f"{path}: images are {dtype}, not uint8. Bring their values to 0..255 and save images.astype('uint8').")
    if len(shape) == 4 and shape[1] in CHANNELS and shape[3] not in CHANNELS:
        raise DataError(f"{path}: images have the shape {shape}, channels first. Save images.transpose(0, 2, 3, 1).")
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in CHANNELS):
        raise DataError(f"{path}: images have the shape {shape}. Save them as (N, H, W), or (N, H, W, C) with C = 1, 3 or 4.")
    if 0 in shape:
        raise DataError(f"{path}: images are empty, of shape {shape}. Save at least one image, or remove the file.")
    if math.prod(shape[1:]) > LARGEST_IMAGE:
        raise DataError(f"{path}: one image of {shape[1]}x{shape[2]} pixels is too large. Cut or shrink the images.")
    return (shape[3] if len(shape) == 4 else 1), shape[1], shape[2]


def _labels(archive: zipfile.ZipFile, path: Path, count: int) -> np.ndarray:
    """The labels as int64 (count,), none of them below -1."""
    with _member(archive, path, "labels") as (stream, header):
        if header.dtype.kind not in "iu":
            raise DataError(f"{path}: labels are {header.dtype}, not integers. Number the classes 0, 1, ... and save those.")
        if header.shape != (count,):
            raise DataError(f"{path}: {count} images, but labels of shape {header.shape}. Save one label for each image.")
        labels = np.frombuffer(_exactly(stream, count * header.dtype.itemsize, path), header.dtype)
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < -1 or highest > np.iinfo(np.int64).max:
        wrong = lowest if lowest < -1 else highest
        raise DataError(f"{path}: label {wrong} is out of range. Number the classes 0, 1, ..., and -1 where it is not known.")
    return labels.astype(np.int64)


def _names(archive: zipfile.ZipFile, path: Path) -> tuple[str, ...]:
    with _member(archive, path, "class_names") as (stream, header):
        if header.dtype.kind not in "US" or len(header.shape) != 1:
            raise DataError(
                f"{path}: class_names are {header.dtype} of shape {header.shape}, not a list of text. "
                "Save class_names=np.array(names, dtype=str)."
            )
        size = header.shape[0] * header.dtype.itemsize
        if size > LARGEST_NAMES:
            raise DataError(f"{path}: class_names take {size} bytes, which cannot be right. Save shorter names.")
        if size == 0:
            return ("",) * header.shape[0]
        names = np.frombuffer(_exactly(stream, size, path), header.dtype)
    return tuple(name.decode("utf-8") if isinstance(name, bytes) else str(name) for name in names.tolist())


def _check_shapes(files: Sequence[_File], wanted: tuple[int, ...] | None) -> tuple[str, ...]:
    """Refuse images of another shape than `wanted` or than each other's; what to note of the shape."""
    first = files[0]
    for file in files:
        if wanted is not None and file.shape != wanted:
            raise DataError(f"{file.path}: images have (C, H, W) = {file.shape}, expected {wanted}. Give the original images.")
        if file.shape != first.shape:
            raise DataError(
                f"{file.path}: images have (C, H, W) = {file.shape}, but those of {first.path.name} have {first.shape}. "
                "Bring all to one shape."
            )
    return ("four channels are taken for RGB and infrared",) if wanted is None and first.shape[0] == 4 else ()


def _stated_names(files: Sequence[_File]) -> tuple[str, ...] | None:
    """The class names that the files give; None if none does."""
    naming = [file for file in files if file.class_names is not None]
    for file in naming[1:]:
        if file.class_names != naming[0].class_names:
            raise DataError(f"{file.path} and {naming[0].path.name} give different class_names. Save the same in both.")
    return naming[0].class_names if naming else None


def _numbers(files: Sequence[_File]) -> tuple[str, ...]:
    """`0`, `1`, ... for labels without names; none if no label is known."""
    highest, images = max(int(file.labels.max()) for file in files), sum(file.count for file in files)
    if highest >= images:
        raise DataError(
            f"{files[0].path.parent}: label {highest} among only {images} images. Number the classes 0, 1, ..., or save names."
        )
    return tuple(str(label) for label in range(highest + 1))


def _check_range(file: _File, n_classes: int) -> None:
    highest = int(file.labels.max())
    if highest >= n_classes:
        raise DataError(
            f"{file.path}: label {highest} is out of range, there are {n_classes} classes. Mend the labels or the class_names."
        )


def _part(file: _File, labels: np.ndarray, progress: Progress) -> Part:
    return Part(file.split, file.count, lambda: _chunks(file, labels, progress))


def _chunks(file: _File, labels: np.ndarray, progress: Progress) -> Iterator[Chunk]:
    channels, height, width = file.shape
    each = channels * height * width
    per_chunk = max(1, CHUNK_BYTES // each)
    with _opened(file.path) as archive, _member(archive, file.path, "images") as (stream, header):
        # the last image's first byte follows the first image's there, so nothing less than all is an image
        whole = _all_pixels(stream, header, file.path) if header.fortran else None
        for start in range(0, file.count, per_chunk):
            stop = min(start + per_chunk, file.count)
            if whole is None:
                pixels = np.frombuffer(_exactly(stream, (stop - start) * each, file.path), np.uint8)
            else:
                pixels = whole[start:stop]
            pixels = pixels.reshape(-1, height, width, channels)
            yield Chunk(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), labels[start:stop])  # (n, C, H, W)
            progress(f"reading {file.path.name}", stop, file.count)


def _all_pixels(stream: IO[bytes], header: _Header, path: Path) -> np.ndarray:
    content = _exactly(stream, math.prod(header.shape), path)
    return np.frombuffer(content, np.uint8).reshape(header.shape, order="F")


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, where whatever goes wrong inside the block becomes a `DataError` that names it."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, struct.error) as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise DataError(f"{path} is damaged or cut short ({reason}). Save it again, or give a sound copy.") from error
    except (RuntimeError, ValueError) as error:  # encrypted, an unknown compression, no array
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{path} holds what numpy does not write ({reason}). Save it with np.savez.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}). Mend that, or give another file.") from error


@contextmanager
def _member(archive: zipfile.ZipFile, path: Path, key: str) -> Iterator[tuple[IO[bytes], _Header]]:
    """The stream of the array `key` at its first value, and what its head says of it."""
    with archive.open(f"{key}.npy") as stream:
        version = npy.read_magic(stream)
        if version not in READERS:  # 3.0 is for fields with names beyond Latin-1
            raise ValueError(f"{key} is in version {version} of numpy's format")
        header = _Header(*READERS[version](stream))
        if header.dtype.hasobject:
            kind = "class_names=np.array(names, dtype=str)" if key == "class_names" else f"{key} as an array of numbers"
            raise DataError(f"{path}: {key} hold Python objects, which are never unpickled here. Save {kind}.")
        held = archive.getinfo(f"{key}.npy").file_size - stream.tell()
        if held != math.prod(header.shape) * header.dtype.itemsize:
            raise zipfile.BadZipFile(f"{key} of shape {header.shape} and type {header.dtype} cannot have {held} bytes")
        yield stream, header


def _exactly(stream: IO[bytes], size: int, path: Path) -> bytes:
    content = stream.read(size)
    if len(content) != size:
        raise DataError(f"{path} is cut short: {size - len(content)} bytes are missing. Save it again, or give a sound copy.")
    return content


register("npz:PATH")(Recipe(read_arrays, generic=False))
