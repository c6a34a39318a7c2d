"""A folder of image files of any number and any size, read as a stream: what labels images needs no more than a part at a time.

Unlike a data set (`image_folder.py`) nothing is looked at beforehand, no folder means a class, and a bad file is an answer like
any other: it is reported and stops nothing.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .errors import DataError
from .files.decoding import Decoder, Encoded, Header, conversion_notes, in_threads, probe
from .image_folder import PASSED_OVER, SUFFIXES

PER_TASK = 16  # files that a thread decodes at a time


@dataclass(frozen=True, eq=False)
class Item:
    """One file of the folder.

    Attributes:
        name: its path below the folder, with forward slashes.
        pixels: uint8 (C, H, W), or None where the file is bad.
        header: of a good file, what it was before it was brought to this shape.
        problem: of a bad file, one line on what is wrong.
    """

    name: str
    pixels: np.ndarray | None = None
    header: Header | None = None
    problem: str = ""


@dataclass
class Seen:
    """What a stream has met so far.

    Attributes:
        images, bad: good image files, and bad ones.
        others: files that are no images by their name, by suffix.
        resized: images of another size than they are brought to.
    """

    images: int = 0
    bad: int = 0
    resized: int = 0
    others: Counter[str] = field(default_factory=Counter)
    kinds: Counter[Header] = field(default_factory=Counter)

    def add(self, item: Item, shape: tuple[int, int, int]) -> None:
        """Count `item`, which is to be of `shape` (C, H, W)."""
        if item.header is None:
            self.bad += 1
            return
        self.images += 1
        self.resized += (item.header.height, item.header.width) != shape[1:]
        self.kinds[replace(item.header, height=0, width=0)] += 1

    def notes(self, shape: tuple[int, int, int]) -> tuple[str, ...]:
        """What bringing the images to `shape` (C, H, W) changed, and what was passed over, a line each."""
        channels, height, width = shape
        lines = []
        if self.resized:
            size = f"{height}x{width}"
            lines.append(
                f"{self.resized:,} of {self.images:,} images resized to {size} and centre cut, as the run saw its images"
            )
        lines += conversion_notes(self.kinds.elements(), channels)
        if self.others:
            kinds = ", ".join(suffix or "without suffix" for suffix in sorted(self.others)[:5])
            lines.append(f"passed over, as no images by their names: {self.others.total():,} files ({kinds})")
        return tuple(lines)


def stream(folder: Path, shape: tuple[int, int, int], seen: Seen) -> Iterator[Item]:
    """Every image file of `folder` and the folders in it, brought to `shape`, in the order of their names.

    Images of another size are resized until they just cover it, and cut to their centre. In memory are the names in the
    folders that lead to the present one, and a few tens of images.

    Args:
        folder: where to look. Hidden files and folders are passed over, links that lead in a circle followed once.
        shape: (C, H, W), C = 1 (grey) or 3 (RGB).
        seen: counts what comes.

    Raises:
        DataError: `folder` cannot be read, or the shape is of no images in files.
    """
    if not folder.is_dir():
        kind = "is a file. Give the folder that it lies in" if folder.exists() else "does not exist. Give a folder of images"
        raise DataError(f"{folder} {kind}.")
    if shape[0] not in (1, 3):
        raise DataError(f"The run saw images of {shape[0]} channels, which files of images do not have. Choose another run.")
    decoder = Decoder(shape, fit="crop")

    def decode_some(entries: list[tuple[str, str]]) -> list[Item]:
        return [_item(path, name, folder, decoder) for path, name in entries]

    entries = _walk(str(folder), str(folder), {_identity(str(folder))}, seen)
    for items in in_threads(decode_some, entries, PER_TASK):
        for item in items:
            seen.add(item, shape)
            yield item


def _item(path: str, problem: str, folder: Path, decoder: Decoder) -> Item:
    name = os.path.relpath(path, folder).replace(os.sep, "/")
    if problem:
        return Item(name, problem=problem)
    if not os.path.isfile(path):  # a pipe would be waited for without end
        return Item(name, problem="is missing or is no file")
    try:
        with open(path, "rb") as file:
            encoded = Encoded(name, file.read())
        header = probe(encoded)
        return Item(name, decoder.decode(encoded), header)
    except DataError as error:
        return Item(name, problem=" ".join(str(error).removeprefix(f"{name} ").split()))
    except OSError as error:
        return Item(name, problem=f"cannot be read ({error.strerror or error})")


def _walk(folder: str, top: str, seen_folders: set[tuple[int, int]], seen: Seen) -> Iterator[tuple[str, str]]:
    """Pairs of a path and, where a folder cannot be read, why; files before folders, each in the order of names."""
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry.name, entry.is_dir()) for entry in found if not _is_hidden(entry.name))
    except OSError as error:
        if folder == top:
            raise DataError(f"{folder} cannot be read ({error.strerror or error}). Mend that, or give another folder.") from error
        yield folder, f"the folder cannot be read ({error.strerror or error})"
        return
    for name, is_folder in entries:
        suffix = os.path.splitext(name)[1].lower()
        if not is_folder and suffix in SUFFIXES:
            yield os.path.join(folder, name), ""
        elif not is_folder:
            seen.others[suffix] += 1
    for name, is_folder in entries:
        inside = os.path.join(folder, name)
        if is_folder and (identity := _identity(inside)) not in seen_folders:
            seen_folders.add(identity)
            yield from _walk(inside, top, seen_folders, seen)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in PASSED_OVER


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino
