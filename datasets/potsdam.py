"""`potsdam` and `potsdam-3`: ISPRS aerial images, halved and cut into 200x200 tiles as IIC's authors did.

Two forms are read. The ISPRS originals: `top_potsdam_R_C_RGBIR.tif` and `top_potsdam_R_C_label.tif` in the folders or zip
archives they are distributed in. And the tiles of IIC's authors: `imgs/*.mat`, `gt/*.mat` and three lists of names.
Source: Ji, Henriques, Vedaldi, ICCV 2019, and the preparation script of its public code.

Halving is OpenCV's bilinear resize by exactly 0.5, which is the mean of 2x2 pixels, halves rounded up; of the labels it takes
the upper left of each 2x2. The authors drew the test tiles without a seed, so only their own lists give their split.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from . import potsdam_tiles
from .catalogue import datasets, register
from .errors import DataError
from .files import rgbir_tiff
from .files.file_sets import SOUND_COPY, FileSet, decoded, in_folder, in_zip
from .source import Chunk, Part, Progress, Recipe, Source

TILE = 200
TEST_SHARE = 0.1  # of all tiles, labelled or not
DRAW = "potsdam labelled_test 0"
TILES_PER_CHUNK = 25
COLOURS = ((255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0), (255, 0, 0))  # in the order of the classes
BOUNDARY = (0, 0, 0)

IMAGE = re.compile(r"top_potsdam_(\d+_\d+)_RGBIR\.tif")
LABEL = re.compile(r"top_potsdam_(\d+_\d+)_label(?:_no_?Boundary)?\.tif", re.IGNORECASE)
IMAGE_FOLDERS = ("4_Ortho_RGBIR", "2_Ortho_RGBIR")
LABEL_FOLDERS = (
    "5_Labels_for_participants",
    "5_Labels_all",
    "5_Labels_for_participants_no_Boundary",
    "5_Labels_all_noBoundary",
)  # the first that is there counts: the published results are on labels without eroded boundaries
PARTICIPANTS = frozenset(
    [f"{row}_{column}" for row in (2, 3, 4, 5) for column in (10, 11, 12)]
    + [f"{row}_{column}" for row in (6, 7) for column in range(7, 13)]
)
"""The 24 images whose labels the contest gave to its participants; later distributions hold the labels of all 38."""
PACKED = ("Potsdam.tar.gz", "Potsdam.zip")


def read_potsdam(folder: Path, progress: Progress, *, tile: int = TILE) -> Source | None:
    """The tiles as uint8 (n, 4, tile, tile), R, G, B, infrared, with int16 labels (n, tile, tile), -1 where not judged.

    Args:
        folder: a data root, the folder that holds the folders or archives, one of these, or an archive.
        tile: side of a tile in pixels, after halving.

    Raises:
        DataError: an image is damaged, of a size that is no multiple of two tiles, or lacks its label.
    """
    for home in _homes(folder):
        found = potsdam_tiles.read_authors(home, tile, class_names()) or _read_isprs(home, progress, tile)
        if found is not None:
            return found
    for home in _homes(folder):
        packed = next((home / name for name in PACKED if (home / name).is_file()), None)
        if packed is not None:
            raise DataError(f"{packed} must be unpacked first, as it is read in another order than it is packed in.")
    return None


def _homes(folder: Path) -> list[Path]:
    """The folders that may hold the data set's own folders."""
    inner = folder.is_file() or folder.name in (*IMAGE_FOLDERS, *LABEL_FOLDERS, "imgs", "gt")
    return [*([folder.parent] if inner else []), folder, *(folder / name for name in ("potsdam", "Potsdam", "POTSDAM"))]


@dataclass(frozen=True, eq=False)
class Originals:
    """The ISPRS images.

    Attributes:
        images, labels: by `R_C`.
        grids: rows and columns of tiles of each image, by `R_C`, in the order in which the images are stored.
        tile: side of a tile in pixels, after halving.
    """

    images: FileSet
    labels: FileSet | None
    grids: Mapping[str, tuple[int, int]]
    tile: int

    def tiles(self, labelled: bool) -> list[tuple[str, int]]:
        """Every tile of the images with, or without, labels: `R_C` and the position, row by row."""
        chosen = [name for name in self.grids if (self.labels is not None and name in self.labels) == labelled]
        return [(name, position) for name in chosen for position in range(int(np.prod(self.grids[name])))]

    def chunks(self, tiles: Sequence[tuple[str, int]]) -> Iterator[Chunk]:
        """These tiles, in this order. One image at a time is in memory."""
        for name in dict.fromkeys(name for name, _ in tiles):
            pixels = cut(halved(self._pixels(name)), self.tile).transpose(0, 3, 1, 2)  # (n, 4, tile, tile)
            labels = cut(self.label_map(name), self.tile)  # (n, tile, tile)
            wanted = [position for image, position in tiles if image == name]
            for start in range(0, len(wanted), TILES_PER_CHUNK):
                some = wanted[start : start + TILES_PER_CHUNK]
                yield Chunk(np.ascontiguousarray(pixels[some]), labels[some])

    def label_map(self, name: str) -> np.ndarray:
        """int16 (height / 2, width / 2), -1 where the image has no label."""
        rows, columns = self.grids[name]
        if self.labels is None or name not in self.labels:
            return np.full((rows * self.tile, columns * self.tile), -1, np.int16)
        return class_map(self.label_colours(name))

    def label_colours(self, name: str) -> np.ndarray:
        """uint8 (height / 2, width / 2, 3)."""
        assert self.labels is not None
        with self.labels.reader() as read:
            image = decoded(self.labels.title(name), read(name))
        rows, columns = (2 * self.tile * number for number in self.grids[name])
        if image.mode != "RGB" or image.size != (columns, rows):
            found = f"{image.width}x{image.height} in mode {image.mode}"
            raise DataError(f"{self.labels.title(name)} is {found}, its image {columns}x{rows}. {SOUND_COPY}")
        return np.asarray(image)[::2, ::2]

    def _pixels(self, name: str) -> np.ndarray:
        with self.images.reader() as read:
            return rgbir_tiff.four_bands(self.images.title(name), read(name))


def _read_isprs(home: Path, progress: Progress, tile: int) -> Source | None:
    images = _first(home, IMAGE_FOLDERS, IMAGE) or in_folder(home, IMAGE)
    if images is None:
        return None
    labels = _first(home, LABEL_FOLDERS, LABEL)
    notes = []
    if labels is not None:
        labels, notes = _participants_only(labels)
    originals = Originals(images, labels, _grids(images, tile), tile)
    train, test = _drawn(originals)
    if test:
        notes.append(
            f"the {len(test):,} test tiles were drawn by us with a fixed seed, as the authors' draw had none: "
            "only their own lists give the split of the published results"
        )
    notes += _colour_notes(originals, progress)
    splits = {"labelled_train": train, "labelled_test": test, "unlabelled": originals.tiles(labelled=False)}
    parts = tuple(Part(split, len(tiles), partial(originals.chunks, tiles)) for split, tiles in splits.items() if tiles)
    return Source("original files", home, parts, class_names(), notes=tuple(notes))


def class_names() -> tuple[str, ...]:
    """The six classes in the order of the labels 0..5."""
    return tuple(datasets.card("potsdam")["class_names"])


def _first(home: Path, names: Iterable[str], pattern: re.Pattern[str]) -> FileSet | None:
    """The files in the first of these folders, or zip archives of that name, that holds any."""
    for name in names:
        found = in_folder(home / name, pattern) or in_zip(home / f"{name}.zip", pattern)
        if found is not None:
            return found
    return None


def _participants_only(labels: FileSet) -> tuple[FileSet, list[str]]:
    """Without the labels that the published split did not have, and a note if the boundaries are eroded."""
    notes = []
    if "_no" in labels.where.stem:
        notes.append("labels with eroded boundaries: their black pixels are not judged, the published results judged them")
    if labels.where.stem.startswith("5_Labels_all"):
        labels = FileSet(labels.where, {name: file for name, file in labels.entries.items() if name in PARTICIPANTS})
    return labels, notes


def _grids(images: FileSet, tile: int) -> dict[str, tuple[int, int]]:
    grids = {}
    for name in images.entries:
        with images.opened(name) as stream:
            height, width = rgbir_tiff.size(images.title(name), stream)
        if height % (2 * tile) or width % (2 * tile) or not height * width:
            raise DataError(
                f"{images.title(name)} is {width}x{height} pixels, which halved cannot be cut into {tile}x{tile} tiles. "
                "Replace it by the original file."
            )
        grids[name] = height // (2 * tile), width // (2 * tile)
    return grids


def _drawn(originals: Originals) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """The labelled tiles for training and for testing; the latter are a tenth of all tiles, as the authors drew.

    Drawn by the SHA-256 of `DRAW` and the tile's place, so that every version of every library draws the same.
    """
    labelled = originals.tiles(labelled=True)
    count = min(int((len(labelled) + len(originals.tiles(labelled=False))) * TEST_SHARE), len(labelled))
    ranked = sorted(labelled, key=lambda tile: hashlib.sha256(f"{DRAW} {tile[0]} {tile[1]}".encode()).digest())
    test = set(ranked[:count])
    return [tile for tile in labelled if tile not in test], [tile for tile in labelled if tile in test]


def _colour_notes(originals: Originals, progress: Progress) -> list[str]:
    """What label colours stand for no class, counted over the halved label images."""
    names = list(originals.labels.entries) if originals.labels is not None else []
    names = [name for name in names if name in originals.grids]
    strange, total, worst = 0, 0, ""
    for done, name in enumerate(names):
        progress("checking label colours", done, len(names))
        colours = originals.label_colours(name)
        odd = int(((class_map(colours) < 0) & (colours != BOUNDARY).any(axis=2)).sum())
        strange, total, worst = strange + odd, total + colours[..., 0].size, name if odd and not worst else worst
    if not strange:
        return []
    first = f"first in top_potsdam_{worst}_label.tif"
    return [f"{strange:,} of {total:,} label pixels have a colour that is no class ({first}) and are not judged"]


def halved(pixels: np.ndarray) -> np.ndarray:
    """The mean of every 2x2 pixels, x.5 rounded up: uint8 (H, W, C) to (H / 2, W / 2, C)."""
    corners = (pixels[top::2, left::2] for top in (0, 1) for left in (0, 1))
    total = np.full((pixels.shape[0] // 2, pixels.shape[1] // 2, pixels.shape[2]), 2, np.uint16)
    for corner in corners:
        total += corner
    return (total >> 2).astype(np.uint8)


def class_map(colours: np.ndarray) -> np.ndarray:
    """uint8 RGB (H, W, 3) to labels int16 (H, W), -1 for a colour that is no class (the boundaries are black)."""
    codes = np.zeros(colours.shape[:2], np.int32)
    for band in range(3):
        codes = codes << 8 | colours[..., band]
    labels = np.full(codes.shape, -1, np.int16)
    for label, (red, green, blue) in enumerate(COLOURS):
        labels[codes == (red << 16 | green << 8 | blue)] = label
    return labels


def cut(image: np.ndarray, tile: int) -> np.ndarray:
    """(H, W, ...) to its tiles (n, tile, tile, ...), row by row."""
    height, width, *rest = image.shape
    rows, columns = height // tile, width // tile
    return image.reshape(rows, tile, columns, tile, *rest).swapaxes(1, 2).reshape(rows * columns, tile, tile, *rest)


recipe = Recipe(read_potsdam, generic=False)
register("potsdam")(recipe)
register("potsdam-3")(recipe)
