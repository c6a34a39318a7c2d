"""`coco-stuff` and its views with 27 and 171 classes, and `coco-stuff-3`: COCO photographs with a label for every pixel.

Read from the original files: `train2017` and `val2017` as zip archives or folders, and the label maps of
`stuffthingmaps_trainval2017.zip`, packed or not. Which images belong to the data set stands in lists that IIC's authors
distribute (`curated/train2017/Coco164kFull_Stuff_Coarse_7.txt`, ...). Without them the rule by which they made the list is
applied: both sides at least 360 pixels, and at least 75 % of the pixels in the classes of the data set. Of the list of
coco-stuff-3 only the classes are known, not the share.

The stored labels are the values of the label maps, -1 for unlabelled; the cards say what becomes of them.
Source: Ji, Henriques, Vedaldi, ICCV 2019, and its public code; H. Caesar et al., CVPR 2018.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from .catalogue import datasets, register
from .coco_stuff_frames import framed, shrunk_image, shrunk_labels
from .coco_stuff_names import VALUE_NAMES
from .errors import DataError
from .files.archives import members
from .files.file_sets import SOUND_COPY, FileSet, damaged, decoded, in_folder, in_zip
from .source import Chunk, Part, Progress, Recipe, Source

SPLITS = {"train": "train2017", "val": "val2017"}
LISTS = {"coco-stuff": "Coco164kFull_Stuff_Coarse_7", "coco-stuff-3": "Coco164kFew_Stuff_6"}
LISTS_ARCHIVE = "COCOStuff164kCurated.tar.gz"
LABELS_ARCHIVE = "stuffthingmaps_trainval2017.zip"
LABEL_FOLDERS = ("annotations", "stuffthingmaps", "stuffthingmaps_trainval2017", ".")
IMAGE, LABEL = re.compile(r"(\d{12})\.jpg"), re.compile(r"(\d{12})\.png")
SMALLEST_SIDE, SMALLEST_SHARE = 360, 0.75  # of the authors' rule, version 7
UNLABELLED = 255
IMAGES_PER_CHUNK = 32
MAPS_AT_A_TIME = 512

IMAGES_FROM = "http://images.cocodataset.org/zips"
LABELS_FROM = f"http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/{LABELS_ARCHIVE}"
LISTS_FROM = "https://raw.githubusercontent.com/janghyuncho/PiCIE/fc4e7c193c2ba77a6dbf9f24e5e7cf99da9f528a/curated"


@dataclass(frozen=True, eq=False)
class Files:
    """The photographs and the label maps of one split, by COCO's number of the image."""

    images: FileSet
    labels: FileSet


def read_coco_stuff(folder: Path, progress: Progress, *, name: str = "coco-stuff") -> Source | None:
    """The images as uint8 (n, 3, 212, 212) with int16 values (n, 212, 212), -1 where unlabelled, and their extents.

    Args:
        folder: a data root, the folder that holds the archives or folders (also if called `coco`), or one of these.
        name: `coco-stuff` or `coco-stuff-3`, which differ in the images that belong to them.

    Raises:
        DataError: an image or a label map is missing, damaged or not the other's size, or holds an unknown value.
    """
    for home in _homes(folder):
        found = {split: files for split in SPLITS if (files := _files(home, split)) is not None}
        if found:
            return _source(home, found, name, progress)
    return None


def download_coco_stuff(folder: Path, progress: Progress, *, name: str = "coco-stuff") -> None:
    """Fetch the two archives of photographs, the label maps and the lists of `name` to `folder/coco`."""
    from .files.downloads import fetch

    home, md5 = folder / "coco", datasets.card("coco-stuff")["md5"]
    for year in SPLITS.values():
        inside = f"{year}/{LISTS[name]}.txt"
        fetch(f"{LISTS_FROM}/{inside}", home / "curated" / inside, progress=progress, what=f"list of images, {year}")
    fetch(LABELS_FROM, home / LABELS_ARCHIVE, progress=progress, what=LABELS_ARCHIVE)
    for archive in (f"{year}.zip" for year in SPLITS.values()):
        fetch(f"{IMAGES_FROM}/{archive}", home / archive, md5=md5[archive], progress=progress, what=archive)


def frame_chunks(images: FileSet, labels: FileSet, names: Sequence[str]) -> Iterator[Chunk]:
    """These images, shrunk, padded and in one frame each, with the values of their label maps. Decoded in threads."""
    with images.reader() as read_image, labels.reader() as read_labels, _threads() as pool:

        def one(name: str) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
            values = label_values(labels.title(name), read_labels(name))
            return _framed(images.title(name), read_image(name), values)

        for start in range(0, len(names), IMAGES_PER_CHUNK):
            pixels, maps, extents = zip(*pool.map(one, names[start : start + IMAGES_PER_CHUNK]), strict=True)
            yield Chunk(np.stack(pixels), np.stack(maps), np.array(extents, np.int32))


def label_values(title: str, content: bytes) -> np.ndarray:
    """The values of a label map, int16 (H, W): 0..181, -1 where unlabelled. Raises `DataError` for another value."""
    image = decoded(title, content)
    if image.mode not in ("L", "P"):
        raise DataError(f"{title} is an image in mode {image.mode}; one byte a pixel is expected. {SOUND_COPY}")
    values = np.asarray(image).astype(np.int16)
    values[values == UNLABELLED] = -1
    if values.max() >= len(VALUE_NAMES):
        raise DataError(f"{title} holds the label {values.max()}; 0..{len(VALUE_NAMES) - 1} and 255 are known. {SOUND_COPY}")
    return values


def _framed(title: str, content: bytes, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    image = decoded(title, content).convert("RGB")
    if image.size != values.shape[::-1]:
        sizes = f"{image.width}x{image.height} pixels, its label map {values.shape[1]}x{values.shape[0]}"
        raise DataError(f"{title} has {sizes}. They do not belong together. {SOUND_COPY}")
    try:
        return framed(shrunk_image(np.asarray(image)), shrunk_labels(values))
    except ValueError as error:
        raise DataError(f"{title}: a third of its size is {error}; no image of COCO is so large. {SOUND_COPY}") from error


def _homes(folder: Path) -> list[Path]:
    """The folders that may hold the data set's own folders and archives."""
    inner = folder.is_file() or folder.name in (*SPLITS.values(), *LABEL_FOLDERS, "images", "curated")
    return [*(list(folder.parents)[:2] if inner else []), folder, folder / "coco"]


def _files(home: Path, split: str) -> Files | None:
    """None if there are no photographs, or no label maps."""
    year = SPLITS[split]
    images = in_folder(home / "images" / year, IMAGE) or in_folder(home / year, IMAGE) or in_zip(home / f"{year}.zip", IMAGE)
    if images is None:
        return None
    folders = (in_folder(home / place / year, LABEL) for place in LABEL_FOLDERS)
    labels = next(filter(None, folders), None) or in_zip(home / LABELS_ARCHIVE, LABEL, year)
    return Files(images, labels) if labels is not None else None


def _source(home: Path, found: Mapping[str, Files], name: str, progress: Progress) -> Source:
    parts, notes = [], []
    for split, files in found.items():
        listed = _listed(home, SPLITS[split], LISTS[name])
        _check_present(files, files.images.entries if listed is None else listed)
        if listed is None:
            notes.append(_rule_note(split, name))
            listed = _chosen(files, _judged(name), progress)
        if listed:
            parts.append(Part(split, len(listed), partial(frame_chunks, files.images, files.labels, listed)))
    return Source("original files", home, tuple(parts), VALUE_NAMES, notes=tuple(notes))


def _listed(home: Path, year: str, name: str) -> list[str] | None:
    """The images of a list, from its file or the authors' archive; None if neither is there."""
    inside = f"curated/{year}/{name}.txt"
    for path in (home / inside, home / "COCO" / "CocoStuff164k" / inside):
        if path.is_file():
            return _numbers(str(path), path.read_bytes())
    archive = home / LISTS_ARCHIVE
    if archive.is_file():
        for member, content in members(archive, lambda member: member.endswith(inside)):
            return _numbers(f"{archive}: {member}", content)
    return None


def _numbers(title: str, content: bytes) -> list[str]:
    try:
        names = content.decode("ascii").split()
    except UnicodeDecodeError as error:
        raise damaged(title, error) from error
    wrong = next((name for name in names if not re.fullmatch(r"\d{12}", name)), None)
    if wrong is not None or len(set(names)) < len(names):
        what = f"lists {wrong[:40]!r}, which is no number of an image" if wrong is not None else "lists an image twice"
        raise DataError(f"{title} {what}. {SOUND_COPY}")
    return names


def _check_present(files: Files, names: Mapping[str, str] | Sequence[str]) -> None:
    for what, there in (("image", files.images), ("label map", files.labels)):
        missing = [name for name in names if name not in there]
        if missing:
            lacking = f"{there.where} lacks the {what} of {len(missing):,} of {len(names):,} images, first {missing[0]}"
            raise DataError(f"{lacking}. Unpack all of the original archive, or give a whole copy with --from PATH.")


def _judged(name: str) -> np.ndarray:
    """bool (256,): which values of a label map are in a class of the data set."""
    judged = np.zeros(256, bool)
    judged[: len(VALUE_NAMES)] = np.array(datasets.card(name)["label_map"]) >= 0
    return judged


def _chosen(files: Files, judged: np.ndarray, progress: Progress) -> list[str]:
    """The images that meet the authors' rule, in the order of their numbers."""
    names, chosen = list(files.images.entries), []
    with files.labels.reader() as read, _threads() as pool:

        def meets(name: str) -> bool:
            return meets_rule(np.asarray(decoded(files.labels.title(name), read(name))), judged)

        for start in range(0, len(names), MAPS_AT_A_TIME):
            progress("choosing images by their label maps", start, len(names))
            some = names[start : start + MAPS_AT_A_TIME]
            chosen += [name for name, is_met in zip(some, pool.map(meets, some), strict=True) if is_met]
    return chosen


def meets_rule(values: np.ndarray, judged: np.ndarray) -> bool:
    """Whether an image with this label map, uint8 (H, W), is large enough and mostly in the classes that are `judged`."""
    return min(values.shape) >= SMALLEST_SIDE and bool(np.count_nonzero(judged[values]) >= SMALLEST_SHARE * values.size)


def _rule_note(split: str, name: str) -> str:
    rule = f"sides of at least {SMALLEST_SIDE} pixels, at least {SMALLEST_SHARE:.0%} of the pixels in the classes"
    if name == "coco-stuff":
        return f"{split}: images chosen by the authors' rule ({rule}), as the list {LISTS[name]} is not there"
    return f"{split}: not the images of the published list {LISTS[name]}, whose rule is not known; chosen by {rule}"


def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="decoding")


def _recipe(name: str) -> Recipe:
    return Recipe(partial(read_coco_stuff, name=name), partial(download_coco_stuff, name=name), generic=False)


for _view in ("coco-stuff", "coco-stuff-27", "coco-stuff-171"):
    register(_view)(_recipe("coco-stuff"))
register("coco-stuff-3")(_recipe("coco-stuff-3"))
