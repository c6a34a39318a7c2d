"""Small real stand-ins for Potsdam and COCO-Stuff, from image files with label maps in a folder `segmentation`.

`potsdam` in it holds crops of at least 400x400 pixels in RGB (`images/*.png`, `labels/*.png`, `classes.json`), `coco_stuff`
whole photographs in the folders `train` and `val` (`images/*.jpg`, `labels/*.png`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..coco_stuff import frame_chunks
from ..coco_stuff_names import VALUE_NAMES
from ..errors import DataError
from ..files.file_sets import SOUND_COPY, FileSet, damaged, decoded, in_folder
from ..potsdam import TILE, class_names, halved
from ..source import Chunk, Part, Progress, Source

PHOTOGRAPH, MAP = re.compile(r"(.+)\.(?:jpg|png)"), re.compile(r"(.+)\.png")
TILES_A_SIDE = 3
ALIASES = {"boundary/unlabelled (ignore)": -1, "clutter/background": 5}


def read_segmentation_sample(name: str, folder: Path, progress: Progress) -> Source | None:
    """The sample of `potsdam`, `coco-stuff` or one of their views, with or without `@sample` behind its name.

    The labels are those that the data set's own reader stores, so that a view's label map fits. Potsdam: (n, 3, 200, 200),
    without infrared, from each crop's upper left quarter-size square nine tiles that overlap; the first row of them is
    labelled_train, the second labelled_test, the third unlabelled, so that every protocol has its splits. COCO-Stuff: as the
    data set itself, but without its choice of images.

    Args:
        folder: a data root with the folder `segmentation`, that folder, or the one of this data set in it.

    Returns:
        None if the files are not there, or `name` is another data set.

    Raises:
        DataError: they are damaged.
    """
    base = name.removesuffix("@sample")
    if base.startswith("potsdam"):
        return next(filter(None, map(_potsdam, _homes(folder, "potsdam"))), None)
    if base.startswith("coco-stuff"):
        return next(filter(None, map(_coco_stuff, _homes(folder, "coco_stuff"))), None)
    return None


def _homes(folder: Path, kind: str) -> list[Path]:
    own = [folder] if folder.name == kind and folder.parent.name == "segmentation" else []
    beside = [folder / kind] if folder.name == "segmentation" else []
    return [*own, *beside, folder / "segmentation" / kind]


def _potsdam(home: Path) -> Source | None:
    pair = _pair(home)
    if pair is None:
        return None
    images, labels = pair
    values = _value_map(home / "classes.json")
    splits = ("labelled_train", "labelled_test", "unlabelled")
    parts = tuple(
        Part(split, TILES_A_SIDE * len(images), partial(_tiles, images, labels, values, row, split != "unlabelled"))
        for row, split in enumerate(splits)
    )
    note = (
        f"{len(images)} crop(s) of Potsdam without infrared, halved, in overlapping tiles, one row of them to a split: "
        "too little, and too much alike, for a result"
    )
    return Source("original files", home, parts, class_names(), notes=(note,))


def _tiles(images: FileSet, labels: FileSet, values: np.ndarray, row: int, is_labelled: bool) -> Iterator[Chunk]:
    with images.reader() as read_image, labels.reader() as read_labels:
        for name in images.entries:
            pixels = decoded(images.title(name), read_image(name)).convert("RGB")
            maps = decoded(labels.title(name), read_labels(name))
            if maps.mode not in ("L", "P") or maps.size != pixels.size or min(pixels.size) < 2 * TILE:
                raise DataError(f"{labels.title(name)} is no label map of an image of at least {2 * TILE} pixels. {SOUND_COPY}")
            chunk = _row_of_tiles(halved(_even(np.asarray(pixels))), values[_even(np.asarray(maps))[::2, ::2]], row)
            yield chunk if is_labelled else Chunk(chunk.images, np.full_like(chunk.labels, -1))


def _even(pixels: np.ndarray) -> np.ndarray:
    return pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2]


def _row_of_tiles(image: np.ndarray, labels: np.ndarray, row: int) -> Chunk:
    """Three tiles of (H, W, 3) and (H, W), evenly spaced from edge to edge; the rows are spaced likewise."""
    tops, lefts = ([round(step * (side - TILE) / (TILES_A_SIDE - 1)) for step in range(TILES_A_SIDE)] for side in labels.shape)
    windows = [(slice(tops[row], tops[row] + TILE), slice(left, left + TILE)) for left in lefts]
    pixels = np.stack([image[window].transpose(2, 0, 1) for window in windows])
    return Chunk(pixels, np.stack([labels[window] for window in windows]))


def _value_map(path: Path) -> np.ndarray:
    """int16 (256,): the label of each value of the label maps, by the names of the classes; -1 for a value of no class."""
    known = {**{name: label for label, name in enumerate(class_names())}, **ALIASES}
    values = np.full(256, -1, np.int16)
    try:
        listed: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["classes"]
        for about in listed:
            values[about["value"]] = known[about["name"]]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise damaged(str(path), error) from error
    return values


def _coco_stuff(home: Path) -> Source | None:
    pairs = {split: pair for split in ("train", "val") if (pair := _pair(home / split)) is not None}
    if not pairs:
        return None
    parts = tuple(
        Part(split, len(images), partial(frame_chunks, images, labels, list(images.entries)))
        for split, (images, labels) in pairs.items()
    )
    note = f"{sum(part.count for part in parts)} photographs of COCO, not chosen by their share of stuff: too little for a result"
    return Source("original files", home, parts, VALUE_NAMES, notes=(note,))


def _pair(home: Path) -> tuple[FileSet, FileSet] | None:
    """The images and label maps of one folder; None if either is not there. Raises `DataError` if one lacks its partner."""
    images, labels = in_folder(home / "images", PHOTOGRAPH), in_folder(home / "labels", MAP)
    if images is None or labels is None:
        return None
    alone = next((name for name in images.entries if name not in labels), None)
    if alone is not None:
        raise DataError(f"{home} has no label map {alone}.png for its image {images.entries[alone]}. {SOUND_COPY}")
    return images, labels
