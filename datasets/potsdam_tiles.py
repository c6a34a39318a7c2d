"""Potsdam as IIC's authors distribute it: tiles as MATLAB files `imgs/N.mat` and `gt/N.mat`, and three lists of N."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from .errors import DataError
from .files.file_sets import SOUND_COPY, FileSet, damaged, in_folder
from .source import Chunk, Part, Source

LISTS = {"labelled_train": "labelled_train.txt", "labelled_test": "labelled_test.txt", "unlabelled": "unlabelled_train.txt"}
TILES_PER_CHUNK = 25
NAME = re.compile(r"(\d+)\.mat")


def read_authors(home: Path, tile: int, class_names: tuple[str, ...]) -> Source | None:
    """The parts by the authors' lists and in their order; None if `home` holds no list or no folder `imgs`.

    Raises:
        DataError: a list names a tile that is not there; while reading, a tile is damaged or of another size.
    """
    lists = {split: home / name for split, name in LISTS.items() if (home / name).is_file()}
    images = in_folder(home / "imgs", NAME)
    if not lists or images is None:
        return None
    labels = in_folder(home / "gt", NAME) or FileSet(home / "gt", {})
    parts = []
    for split, path in lists.items():
        names = _listed(path)
        judged = None if split == "unlabelled" else labels
        _check_present(path, names, [images] if judged is None else [images, judged])
        parts.append(Part(split, len(names), partial(_chunks, images, judged, names, tile, len(class_names))))
    return Source("original files", home, tuple(part for part in parts if part.count), class_names)


def _listed(path: Path) -> list[str]:
    try:
        names = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(str(path), error) from error
    wrong = next((name for name in names if not name.isdigit()), None)
    if wrong is not None:
        raise DataError(f"{path} lists {wrong[:40]!r}, which is no number of a tile. {SOUND_COPY}")
    return names


def _check_present(path: Path, names: Sequence[str], needed: Sequence[FileSet]) -> None:
    for files in needed:
        missing = [name for name in names if name not in files]
        if missing:
            lacking = f"{files.where} lacks {len(missing):,} of the {len(names):,} tiles that {path.name} lists"
            raise DataError(f"{lacking}, first {missing[0]}.mat. {SOUND_COPY}")


def _chunks(images: FileSet, labels: FileSet | None, names: Sequence[str], tile: int, classes: int) -> Iterator[Chunk]:
    with images.reader() as read_image, (labels or images).reader() as read_label:
        for start in range(0, len(names), TILES_PER_CHUNK):
            some = names[start : start + TILES_PER_CHUNK]
            pixels = [_pixels(images.title(name), read_image(name), tile) for name in some]
            maps = np.full((len(some), tile, tile), -1, np.int16)
            if labels is not None:
                maps[:] = [_label_map(labels.title(name), read_label(name), tile, classes) for name in some]
            yield Chunk(np.ascontiguousarray(np.stack(pixels).transpose(0, 3, 1, 2)), maps)


def _pixels(title: str, content: bytes, tile: int) -> np.ndarray:
    """uint8 (tile, tile, 4): red, green, blue, infrared."""
    return _array(title, content, "img", lambda array: array.dtype == np.uint8 and array.shape == (tile, tile, 4))


def _label_map(title: str, content: bytes, tile: int, classes: int) -> np.ndarray:
    labels = _array(title, content, "gt", lambda array: array.dtype.kind in "iu" and array.shape == (tile, tile))
    if labels.min() < 0 or labels.max() >= classes:
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise DataError(f"{title} holds the label {wrong}, outside 0..{classes - 1}. {SOUND_COPY}")
    return labels


def _array(title: str, content: bytes, key: str, is_right: Callable[[np.ndarray], bool]) -> np.ndarray:
    """The variable `key` of a MATLAB file."""
    from scipy.io import loadmat

    try:
        array = np.asarray(loadmat(io.BytesIO(content), variable_names=[key])[key])
    except Exception as error:  # scipy raises whatever a damaged file leads its parser to
        raise damaged(title, error) from error
    if not is_right(array):
        raise DataError(f"{title} holds {key!r} as {array.dtype} {array.shape}, unlike the authors' tiles. {SOUND_COPY}")
    return array
