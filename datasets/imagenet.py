"""`imagenet` (ILSVRC 2012, 1,000 classes) and SCAN's subsets of it, from the original archives or torchvision's layout.

Every image is stored as 3x256x256: its short side resized to 256 (bilinear, antialiased), the centre square cut out, as
torchvision's `Resize(256)` and `CenterCrop(256)` do. Of a subset only the files of its own classes are read. `test` is the
labelled validation split, as in the literature.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from .catalogue import datasets, register
from .errors import DataError
from .files.archives import Archive, Member, members, open_archive, readable
from .files.conventions import natural
from .files.decoding import Decoder, Encoded, ImageFile, labelled_chunks
from .files.originals import ADVICE, check_file, checked_files
from .source import Chunk, Part, Progress, Recipe, Source
from .synsets import SUBSETS, distinct_names

TRAIN, VAL, DEVKIT = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"
META, TRUTH = "data/meta.mat", "data/ILSVRC2012_validation_ground_truth.txt"
SYNSET = re.compile(r"n\d{8}")
VAL_IMAGE = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG")
SUFFIXES = (".jpeg", ".jpg", ".png")
SHAPE = (3, 256, 256)
NOTE = "photographs resized to a short side of 256 pixels (bilinear), of which the centre 256x256 pixels are kept"


@dataclass(frozen=True)
class DevelopmentKit:
    """What the organisers' development kit tells: `synsets` of the numbers 1..1000, their `words`, and the number of the
    class of each validation image, the first first, in `truth`."""

    synsets: Mapping[int, str]
    words: Mapping[str, str]
    truth: Sequence[int]


@dataclass(frozen=True)
class Images:
    """The images of a split: file names by synset, and a function that reads those of some synsets, one after the other."""

    where: Path
    files: Mapping[str, Sequence[str]]
    read: Callable[[Sequence[str]], Iterator[tuple[str, ImageFile]]]


def read_imagenet(name: str, path: Path, progress: Progress) -> Source | None:
    """Splits `train` and `test` as uint8 (N, 3, 256, 256), class by class. Labels are positions in the sorted synsets.

    Args:
        name: `imagenet` or one of its subsets.
        path: a folder that holds the archives, or `train/SYNSET/*.JPEG` and `val/SYNSET/*.JPEG`, or has a folder `imagenet`
            that does; or one of the archives. Where an archive was unpacked too, the folder is read.

    Raises:
        DataError: an archive is damaged, a split lacks classes, or the development kit, which tells the classes of the
            validation archive, is missing.
    """
    card, wanted = datasets.card(name), SUBSETS.get(name)
    root = _root(name, path, wanted)
    if root is None:
        return None
    checked = {} if wanted else _check_archives(root, card, progress)
    kit = _development_kit(root, card, progress)
    found = {"train": _train(root, wanted, progress), "test": _test(root, wanted, kit)}
    present = {split: images for split, images in found.items() if images is not None}
    synsets = wanted or tuple(sorted(set().union(*(images.files for images in present.values()))))
    parts = [_part(name, split, images, synsets, images.where.name in checked) for split, images in present.items()]
    names = distinct_names(synsets, kit.words if kit else {})
    return Source("original files", root, tuple(parts), names, checked, (NOTE,)) if parts else None


def _root(name: str, path: Path, wanted: Sequence[str] | None) -> Path | None:
    if path.is_file():
        return path.parent if path.name in (TRAIN, VAL, DEVKIT) else None
    return next((place for place in (path / name, path / "imagenet", path) if _is_ours(place, wanted)), None)


def _is_ours(folder: Path, wanted: Sequence[str] | None) -> bool:
    if (folder / TRAIN).is_file() or (folder / VAL).is_file():
        return True
    classes = {*_class_folders(folder / "train"), *_class_folders(folder / "val")}
    return bool(classes & set(wanted) if wanted else classes)


def _class_folders(folder: Path) -> list[str]:
    """The synsets that are folders in `folder`, sorted; none if they are Tiny ImageNet's, whose images lie a folder deeper."""
    with readable(str(folder)):
        found = sorted(entry.name for entry in folder.iterdir() if SYNSET.fullmatch(entry.name)) if folder.is_dir() else []
    return [] if found and (folder / found[0] / "images").is_dir() else found


def _check_archives(root: Path, card: Mapping, progress: Progress) -> dict[str, str]:
    """The checksums of the archives that will be read whole; that of a subset's, of which little is read, would take longer
    than the reading."""
    used = [name for name, split in ((TRAIN, "train"), (VAL, "val")) if not _class_folders(root / split)]
    present = [name for name in used if (root / name).is_file()]
    for name in present:
        check_file(root / name, card["md5"][name], progress)
    return checked_files(dict(card), present)


def _train(root: Path, wanted: Sequence[str] | None, progress: Progress) -> Images | None:
    if classes := _class_folders(root / "train"):
        return _in_folder(root / "train", classes, wanted)
    return _in_train_archive(root / TRAIN, wanted, progress) if (root / TRAIN).is_file() else None


def _test(root: Path, wanted: Sequence[str] | None, kit: DevelopmentKit | None) -> Images | None:
    if classes := _class_folders(root / "val"):
        return _in_folder(root / "val", classes, wanted)
    if not (root / VAL).is_file():
        return None
    if kit is None:
        raise DataError(f"{root / VAL} does not tell the classes of its images: {DEVKIT} does. Put that beside it.")
    return _in_val_archive(root / VAL, wanted, kit)


def _part(name: str, split: str, images: Images, synsets: Sequence[str], verified: bool) -> Part:
    absent = [synset for synset in synsets if not images.files.get(synset)]
    if absent:
        raise DataError(f"{images.where} has no images of {absent[0]}, one of {len(absent)} classes of {name} it lacks. {ADVICE}")
    count = sum(len(images.files[synset]) for synset in synsets)
    labels = {synset: label for label, synset in enumerate(synsets)}

    def chunks() -> Iterator[Chunk]:
        pairs = ((file, labels[synset]) for synset, file in images.read(synsets))
        return labelled_chunks(pairs, Decoder(SHAPE, fit="crop", orient=False))

    return Part(split, count, chunks, verified)


def _in_folder(folder: Path, classes: Sequence[str], wanted: Sequence[str] | None) -> Images:
    files: dict[str, Sequence[str]] = {}
    with readable(str(folder)):
        for synset in classes:
            if wanted is None or synset in wanted:
                names = (name for name in os.listdir(folder / synset) if not name.startswith("."))
                files[synset] = sorted((name for name in names if name.lower().endswith(SUFFIXES)), key=natural)

    def read(synsets: Sequence[str]) -> Iterator[tuple[str, ImageFile]]:
        return ((synset, folder / synset / name) for synset in synsets for name in files[synset])

    return Images(folder, files, read)


def _in_train_archive(path: Path, wanted: Sequence[str] | None, progress: Progress) -> Images:
    """The train archive: a tar of tars, one for each class. Of the classes not wanted only the names are read."""
    files: dict[str, Sequence[str]] = {}
    with open_archive(path) as outer:
        classes = _class_archives(outer)
        chosen = sorted(set(classes) & set(wanted)) if wanted else sorted(classes)
        for done, synset in enumerate(chosen):
            progress("looking for images", done, len(chosen))
            with _class_archive(outer, classes[synset]) as archive:
                files[synset] = sorted((member.name for member in archive), key=natural)

    def read(synsets: Sequence[str]) -> Iterator[tuple[str, ImageFile]]:
        with open_archive(path) as outer:
            classes = _class_archives(outer)
            for synset in synsets:
                with _class_archive(outer, classes[synset]) as archive:
                    found = {member.name: member for member in archive}
                    for name in files[synset]:
                        yield synset, Encoded(f"{archive.label}: {name}", archive.read(found[name]))

    return Images(path, files, read)


def _class_archives(outer: Archive) -> dict[str, Member]:
    return {synset: member for member in outer if SYNSET.fullmatch(synset := member.name.removesuffix(".tar"))}


@contextmanager
def _class_archive(outer: Archive, member: Member) -> Iterator[Archive]:
    with outer.open(member) as stream, open_archive(stream, label=f"{outer.label}: {member.name}") as archive:
        yield archive


def _in_val_archive(path: Path, wanted: Sequence[str] | None, kit: DevelopmentKit) -> Images:
    files: dict[str, list[str]] = {}
    with open_archive(path) as archive:
        for name in sorted(member.name for member in archive):
            match = VAL_IMAGE.fullmatch(name)
            if not match or not 1 <= int(match[1]) <= len(kit.truth):
                raise DataError(f"{path} holds {name}, of which {DEVKIT} does not tell the class. {ADVICE}")
            synset = kit.synsets[kit.truth[int(match[1]) - 1]]
            if wanted is None or synset in wanted:
                files.setdefault(synset, []).append(name)

    def read(synsets: Sequence[str]) -> Iterator[tuple[str, ImageFile]]:
        with open_archive(path) as archive:
            found = {member.name: member for member in archive}
            for synset in synsets:
                for name in files[synset]:
                    yield synset, Encoded(f"{path}: {name}", archive.read(found[name]))

    return Images(path, files, read)


def _development_kit(root: Path, card: Mapping, progress: Progress) -> DevelopmentKit | None:
    archive, folder = root / DEVKIT, root / DEVKIT.removesuffix(".tar.gz")
    if archive.is_file():
        check_file(archive, card["md5"][DEVKIT], progress)
        contents = dict(members(archive, lambda name: name.endswith((META, TRUTH))))
        where = archive
    elif (folder / META).is_file() and (folder / TRUTH).is_file():
        with readable(str(folder)):
            contents = {name: (folder / name).read_bytes() for name in (META, TRUTH)}
        where = folder
    else:
        return None
    try:
        by_name = {Path(name).name: content for name, content in contents.items()}
        return _parsed(by_name[Path(META).name], by_name[Path(TRUTH).name])
    except Exception as error:  # a damaged MATLAB file leads its reader anywhere
        raise DataError(f"{where} cannot be understood ({type(error).__name__}: {error}). {ADVICE}") from error


def _parsed(meta: bytes, truth: bytes) -> DevelopmentKit:
    """The classes with images are those without children; the others are groups of them."""
    from scipy.io import loadmat

    entries = np.atleast_1d(loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"])
    classes = [entry for entry in entries if entry["num_children"] == 0]
    kit = DevelopmentKit(
        {int(entry["ILSVRC2012_ID"]): str(entry["WNID"]) for entry in classes},
        {str(entry["WNID"]): str(entry["words"]) for entry in classes},
        [int(line) for line in truth.split()],
    )
    if unknown := set(kit.truth) - set(kit.synsets):
        raise ValueError(f"no class has the number {min(unknown)}")
    return kit


for _name in ("imagenet", *SUBSETS):
    register(_name)(Recipe(partial(read_imagenet, _name)))
