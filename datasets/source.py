"""What a reader hands to the preparation: a data set as it lies in its original files, part by part, decoded lazily.

A reader is a function `(folder, progress) -> Source | None`. It looks for one data set in one folder, returns None if
there is nothing of it, and raises `DataError` with one line if what is there is damaged. Images are decoded only while
the preparation asks for chunks, so that a data set larger than memory can be prepared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told as `progress(what, done, total)`: `what` in a few words, then how many of how many (total 0: not known)."""


def silent(what: str, done: int, total: int) -> None:
    """The `Progress` that says nothing."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some consecutive images of a part.

    Attributes:
        images: uint8 (n, C, H, W), C = 1 (grey), 3 (RGB) or 4 (RGB and infrared); one shape in all chunks of a source.
        labels: int64 (n,), or per pixel int16 (n, H, W) for segmentation; -1 where not known or not to be judged.
        extents: int32 (n, 2), the height and width of the part of each image, from its upper left corner, that holds
            pixels, where images of several sizes share one frame (the rest is zero, its labels -1); None if all is image.
    """

    images: np.ndarray
    labels: np.ndarray
    extents: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Part:
    """One split as it is read.

    Attributes:
        split: its name: `train`, `test`, `unlabeled`, `all`, ...
        count: number of images, exactly as many as `chunks` will give.
        chunks: begins to read from the first image, each time it is called. A few megabytes a chunk are right. May raise
            `DataError` at any chunk.
        verified: whether every byte of it was checked against a published checksum of the original distribution. If not,
            the preparation compares the pixels with the checksums on the data set's card, and says in the notes of every
            result what could not be confirmed.
        subsets: rows (int64) of the parts of it that the data set itself names, as STL-10 its folds of labelled images.
    """

    split: str
    count: int
    chunks: Callable[[], Iterator[Chunk]]
    verified: bool = False
    subsets: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Source:
    """A data set as it was found.

    Attributes:
        form: `original files`, `torchvision's layout`, `image folder`, `arrays` or `generated`.
        where: the folder or file it is read from.
        parts: in the order in which their images are to be stored; the parts that a result is scored on come first.
        class_names: names of the labels 0..C-1.
        files: checksum of each file that was checked, e.g. `{"cifar-10-python.tar.gz": "md5:c58f30108f718f92721af3b95e74349a"}`.
        notes: what a reader must know beside every result on this copy (how the pixels were changed, what is missing).
    """

    form: str
    where: Path
    parts: tuple[Part, ...]
    class_names: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


Reader: TypeAlias = Callable[[Path, Progress], "Source | None"]
Downloader: TypeAlias = Callable[[Path, Progress], None]


@dataclass(frozen=True)
class Recipe:
    """How one of our data sets comes to be: registered under its name with `catalogue.register`.

    Attributes:
        read: finds and reads the original files, archived or unpacked, and torchvision's layout of them.
        download: fetches the original files into a folder where `read` finds them; None if that needs a registration.
        generic: whether the preparation may also take an image folder (`train/CLASS/*.png`, ...) and arrays
            (`train.npz`, ...), which it reads itself.
    """

    read: Reader
    download: Downloader | None = None
    generic: bool = True
