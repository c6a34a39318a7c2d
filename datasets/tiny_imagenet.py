"""`tiny-imagenet`: 200 classes of ImageNet at 64x64 pixels, straight from the zip archive or from its folder when unpacked.

The unlabelled `test` folder of the original is not used; `test` here is its labelled `val` folder, as in the literature.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from .catalogue import datasets, register
from .errors import DataError
from .files.archives import open_archive
from .files.conventions import natural
from .files.decoding import Decoder, Encoded, ImageFile, labelled_chunks
from .files.downloads import fetch
from .files.file_sets import FileSet
from .files.originals import ADVICE, check_file, checked_files, find_file
from .source import Chunk, Part, Progress, Recipe, Source
from .synsets import distinct_names

ARCHIVE, FOLDER = "tiny-imagenet-200.zip", "tiny-imagenet-200"
URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
BYTES = 248_100_043
SYNSETS, WORDS, ANNOTATIONS = "wnids.txt", "words.txt", "val/val_annotations.txt"
TRAIN_IMAGE = re.compile(r"train/(n\d{8})/images/[^/.][^/]*\.JPEG")
SHAPE = (3, 64, 64)


def read_tiny_imagenet(path: Path, progress: Progress) -> Source | None:
    """Splits `train` (500 images a class) and `test` (the original's `val`, 50 a class) as uint8 (N, 3, 64, 64).

    Labels are positions in the sorted list of synsets. Grey images have their one channel repeated.

    Args:
        path: the archive, its folder when unpacked, or a folder that holds one of them; the archive, which can be checked,
            is taken where both are there.

    Raises:
        DataError: the archive is not the original one, or files that belong together are not all there.
    """
    card = datasets.card("tiny-imagenet")
    if archive := find_file(path, ARCHIVE):
        check_file(archive, card["md5"][ARCHIVE], progress)
        files, checked = _in_archive(archive), checked_files(card, [ARCHIVE])
    elif folder := next((place for place in (path / FOLDER, path) if _is_ours(place)), None):
        files, checked = _in_folder(folder), {}
    else:
        return None
    synsets = sorted(_lines(files, SYNSETS))
    labels = {synset: label for label, synset in enumerate(synsets)}
    pairs = {"train": _train(files, labels), "test": _test(files, labels)}
    parts = [_part(split, files, found, bool(checked)) for split, found in pairs.items() if found]
    return Source("original files", files.where, tuple(parts), distinct_names(synsets, _words(files)), checked)


def _is_ours(folder: Path) -> bool:
    return (folder / SYNSETS).is_file() and ((folder / "train").is_dir() or (folder / "val").is_dir())


def _in_archive(archive: Path) -> FileSet:
    with open_archive(archive) as opened:
        names = [member.name for member in opened]
    return FileSet(archive, {name.removeprefix(f"{FOLDER}/"): name for name in names if name.startswith(f"{FOLDER}/")})


def _in_folder(folder: Path) -> FileSet:
    found = [os.path.relpath(os.path.join(top, name), folder) for top, _, names in os.walk(folder) for name in names]
    return FileSet(folder, {name: name for name in found})


def _train(files: FileSet, labels: Mapping[str, int]) -> dict[str, int]:
    """The label of each image of `train`, by its key in `files`, class by class."""
    found = [(match[1], key) for key in files.entries if (match := TRAIN_IMAGE.fullmatch(key))]
    classes = {synset for synset, _ in found}
    if found and classes != set(labels):
        odd = sorted(classes ^ set(labels))
        raise DataError(
            f"{files.where} has no images of {odd[0]} in train, or it is not in {SYNSETS} ({len(odd)} such). {ADVICE}"
        )
    return {key: labels[synset] for synset, key in sorted(found, key=lambda pair: (pair[0], natural(pair[1])))}


def _test(files: FileSet, labels: Mapping[str, int]) -> dict[str, int]:
    """The label of each image of `val`, by its key in `files`, in the order of its annotations."""
    if ANNOTATIONS not in files:
        if any(key.startswith("val/") for key in files.entries):
            raise DataError(f"{files.where} lacks {ANNOTATIONS}, which tells the classes of its val images. {ADVICE}")
        return {}
    rows = [line.split("\t") for line in _lines(files, ANNOTATIONS)]
    wrong = next((row for row in rows if len(row) < 2 or row[1] not in labels), None)
    if wrong is not None:
        raise DataError(f"{files.title(ANNOTATIONS)} has a line without image and known class, {wrong[0]!r}. {ADVICE}")
    found = {f"val/images/{row[0]}": labels[row[1]] for row in rows}
    absent = [key for key in found if key not in files]
    if absent:
        raise DataError(f"{files.where} lacks {absent[0]} and {len(absent) - 1} more images that {ANNOTATIONS} names. {ADVICE}")
    return found


def _part(split: str, files: FileSet, labels: Mapping[str, int], verified: bool) -> Part:
    def images() -> Iterator[tuple[ImageFile, int]]:
        with files.reader() as read:
            for key, label in labels.items():
                yield Encoded(files.title(key), read(key)), label

    def chunks() -> Iterator[Chunk]:
        return labelled_chunks(images(), Decoder(SHAPE, orient=False))

    return Part(split, len(labels), chunks, verified)


def _words(files: FileSet) -> dict[str, str]:
    """What WordNet calls the synsets, by synset."""
    if WORDS not in files:
        return {}
    return dict(line.split("\t", 1) for line in _lines(files, WORDS) if "\t" in line)


def _lines(files: FileSet, key: str) -> list[str]:
    with files.reader() as read:
        return [line.strip() for line in read(key).decode("utf-8", errors="replace").splitlines() if line.strip()]


def download_tiny_imagenet(root: Path, progress: Progress) -> None:
    """Fetch the archive into `root`. Raises `DataError` if that fails."""
    md5 = datasets.card("tiny-imagenet")["md5"][ARCHIVE]
    fetch(URL, root / ARCHIVE, md5=md5, size=BYTES, progress=progress, what="tiny-imagenet")


register("tiny-imagenet")(Recipe(read_tiny_imagenet, download_tiny_imagenet))
