"""Images that people keep in folders, as one data set: `folder:PATH`, or a named data set unpacked by somebody.

Three layouts, told apart by what is there:

    PATH/train/CLASS/*.png  PATH/test/CLASS/*.png  PATH/unlabeled/*.png    splits, any of them; `val` if there is no `test`
    PATH/CLASS/*.png                                                       classes: one split `all`
    PATH/*.png                                                             images without labels: one split `all`

Folders inside a class folder belong to that class. Files are taken in natural order (`img2` before `img10`). Hidden files
are passed over; other files that are no images by their name are left out with a note; an image file that is no image is
an error. A directory link that leads in a circle is followed once.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .catalogue import register
from .errors import DataError
from .files.conventions import is_split_name, known_order, natural, splits_among
from .files.decoding import Decoder, Header, conversion_notes, labelled_chunks, probe_all
from .source import Part, Progress, Recipe, Source

DEFAULT_SIDE = 96
LARGEST_KEPT = 256
"""Images of one size stay as they are up to this many pixels a side; larger ones would not fit the methods or the memory."""
# fmt: off
SUFFIXES = frozenset((
    ".apng", ".avif", ".avifs", ".bmp", ".cur", ".dds", ".dib", ".gif", ".heic", ".heif", ".icns", ".ico", ".im", ".j2c",
    ".j2k", ".jfif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".msp", ".pbm", ".pcx", ".pgm", ".png",
    ".pnm", ".ppm", ".psd", ".qoi", ".ras", ".sgi", ".tga", ".tif", ".tiff", ".webp", ".xbm", ".xpm",
))
# fmt: on
PASSED_OVER = {"thumbs.db", "desktop.ini", "__macosx"}
LOSSY = {"JPEG", "MPO", "WEBP", "AVIF", "JPEG2000"}
NAMED_AT_MOST = 5


@dataclass(frozen=True)
class _Folder:
    """What lies directly in one folder: names of sub-folders and paths of images in natural order, and other files."""

    folders: tuple[str, ...]
    images: tuple[str, ...]
    others: tuple[str, ...]


@dataclass
class _Found:
    """What was found: for each split its files by class, or under None where there are no classes; and what was not taken."""

    splits: dict[str, dict[str | None, list[str]]] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        """Names of the class folders of all splits, in natural order."""
        names = {name for classes in self.splits.values() for name in classes if name is not None}
        return sorted(names, key=natural)


def read_image_folder(
    folder: Path,
    progress: Progress,
    *,
    shape: Sequence[int] | None = None,
    class_names: Sequence[str] | None = None,
    size: int | None = None,
) -> Source | None:
    """The data set in the image folder `folder`; None if it is no folder.

    The head of every image is looked at now, its pixels while chunks are asked for. Images have three channels, or one if
    all are grey.

    Args:
        folder: in one of the layouts above.
        progress: told how many images have been looked at and decoded.
        shape: (C, H, W) of a named data set, which every image must have. Other layouts than that with splits are then taken
            only if the class folders are those of `class_names`; None is returned for anything else.
        class_names: of the labels 0..C-1 of a named data set; class folders named so are numbered so, whatever their order.
        size: pixels of the square that every image is brought to: its short side is resized to that, its centre cut out. By
            default images stay as they are if all have one size up to 256 pixels, and are brought to 96 otherwise.

    Raises:
        DataError: there are no images; a class folder is empty; a file cannot be read, is no image or has another size; images
            lie beside class folders.
    """
    if not folder.is_dir() or (shape is not None and shape[0] not in (1, 3)):
        return None
    found = _find(folder, None if shape is None else tuple(class_names or ()))
    if found is None:
        return None
    labels, names, notes = _labels(found, class_names)
    files = [Path(file) for classes in found.splits.values() for some in classes.values() for file in some]
    headers = probe_all(files, progress=progress)
    decoder = _decoder(headers, size) if shape is None else _exact_decoder(files, headers, (shape[0], shape[1], shape[2]))
    parts = tuple(_part(split, classes, labels, decoder, progress) for split, classes in found.splits.items())
    notes = (*found.notes, *notes, *_left_out(found.others), *_pixel_notes(headers, decoder, named=shape is not None))
    return Source("image folder", folder, parts, names, notes=notes)


def _find(folder: Path, named: tuple[str, ...] | None) -> _Found | None:
    """The files of each split. `named` holds the class names of a named data set; None for a user's own folder."""
    top, found = _scan(folder), _Found()
    splits = splits_among(top.folders, folder)
    in_splits = {"train", "test"} <= splits.keys() or (bool(splits) and all(is_split_name(name) for name in top.folders))
    if not in_splits:
        if named is not None and (not named or known_order(top.folders, named)[2]):
            return None
        found.splits["all"] = _classes(folder, top, found, {_identity(folder)})
        return found
    for split, name in splits.items():
        inside = folder / name
        seen = {_identity(folder), _identity(inside)}
        classes = _classes(inside, _scan(inside), found, seen, flat=split == "unlabeled")
        found.splits[split] = classes
    aside = [name for name in top.folders if name not in splits.values()]
    if aside:
        found.notes.append(f"left out beside the splits: {_some(aside)}")
    if top.images:
        found.notes.append(f"{len(top.images):,} images that lie beside the folders of the splits were left out")
    found.others.update(map(_suffix, top.others))
    return found


def _classes(
    folder: Path, here: _Folder, found: _Found, seen: set[tuple[int, int]], *, flat: bool = False
) -> dict[str | None, list[str]]:
    """The images of `folder` by class folder; all under None if it is `flat` or has no class folders."""
    found.others.update(map(_suffix, here.others))
    inside = {name: _all_images(folder / name, set(seen), found.others) for name in here.folders}
    if flat or not any(inside.values()):
        files = [*here.images, *(file for files in inside.values() for file in files)]
        if not files:
            instead = _what_instead(found.others)
            raise DataError(f"{folder} holds no images{instead}. Put image files there, or give another folder.")
        return {None: files}
    if here.images:
        raise DataError(
            f"{folder} holds images both inside and beside sub-folders, as {Path(here.images[0]).name}. "
            "Move each to the folder of its class, or all out of the sub-folders."
        )
    empty = next((name for name, files in inside.items() if not files), None)
    if empty is not None:
        raise DataError(f"The class folder {folder / empty} holds no images. Put some there, or remove it.")
    return {_checked(name, folder): files for name, files in inside.items()}


def _scan(folder: Path | str) -> _Folder:
    """What lies directly in `folder`, without what is hidden."""
    folders, images, others = [], [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.lower() in PASSED_OVER:
                    continue
                if entry.is_dir():
                    folders.append(entry.name)
                elif _suffix(entry.name) in SUFFIXES:
                    images.append(entry.name)
                else:
                    others.append(entry.name)
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror or error}). Mend that, or give another folder.") from error
    images = [os.path.join(folder, name) for name in sorted(images, key=natural)]
    return _Folder(tuple(sorted(folders, key=natural)), tuple(images), tuple(others))


def _all_images(folder: Path, seen: set[tuple[int, int]], others: Counter[str]) -> list[str]:
    """The images in `folder` and all folders inside it, but for the folders `seen`, which is added to."""
    files: list[str] = []
    waiting = [folder]
    while waiting:
        inside = waiting.pop()
        if _identity(inside) in seen:
            continue
        seen.add(_identity(inside))
        here = _scan(inside)
        others.update(map(_suffix, here.others))
        files += here.images
        waiting += [inside / name for name in reversed(here.folders)]  # the first is popped next
    return files


def _identity(folder: Path) -> tuple[int, int]:
    """What tells a folder from every other, whichever links lead to it."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _checked(name: str, folder: Path) -> str:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"{folder}: the name of the class folder {name!r} is not valid UTF-8. Rename it.") from None
    return name


def _labels(found: _Found, known: Sequence[str] | None) -> tuple[dict[str | None, int], tuple[str, ...], tuple[str, ...]]:
    """The label of each class folder, names of the labels, and notes."""
    classes = found.classes
    if len(classes) == 1:
        note = f"all class folders are named {classes[0]}: the images are taken to have no labels"
        return {None: -1, classes[0]: -1}, (), (note,)
    order, names, notes = known_order(classes, known) if classes else ([], tuple(known or ()), ())
    for split, inside in found.splits.items():
        lacking = [name for name in classes if name not in inside]
        if None in inside and classes and split != "unlabeled":
            notes = (*notes, f"{split} has no class folders: its labels are not known")
        elif None not in inside and lacking:
            notes = (*notes, f"{split} has no images of {_some(lacking)}")
    return {None: -1, **dict(zip(classes, order, strict=True))}, names, notes


def _part(
    split: str, classes: Mapping[str | None, list[str]], labels: Mapping[str | None, int], decoder: Decoder, progress: Progress
) -> Part:
    pairs = [(file, labels[name]) for name, files in classes.items() for file in files]

    def chunks():
        files = ((Path(file), label) for file, label in pairs)
        return labelled_chunks(files, decoder, total=len(pairs), what=f"decoding {split}", progress=progress)

    return Part(split, len(pairs), chunks)


def _decoder(headers: Sequence[Header], size: int | None) -> Decoder:
    """What brings a user's own images to one shape."""
    channels = 1 if all(_is_grey(header) for header in headers) else 3
    sizes = {(header.height, header.width) for header in headers}
    height, width = next(iter(sizes))
    if size is None and len(sizes) == 1 and max(height, width) <= LARGEST_KEPT:
        return Decoder((channels, height, width))
    side = size or DEFAULT_SIDE
    return Decoder((channels, side, side), fit="crop")


def _exact_decoder(files: Sequence[Path], headers: Sequence[Header], shape: tuple[int, int, int]) -> Decoder:
    """What decodes images of `shape` (C, H, W); `DataError` names the first that has another size."""
    _, height, width = shape
    for file, header in zip(files, headers, strict=True):
        if (header.height, header.width) != (height, width):
            raise DataError(
                f"{file} is {header.width}x{header.height} pixels where {width}x{height} are wanted. Replace it by the original."
            )
    return Decoder(shape)


def _is_grey(header: Header) -> bool:
    return header.mode in ("1", "L", "LA", "La", "F") or header.mode.startswith("I")


def _pixel_notes(headers: Sequence[Header], decoder: Decoder, *, named: bool) -> tuple[str, ...]:
    """What decoding changes, with counts."""
    channels, height, width = decoder.shape
    other = [header for header in headers if (header.height, header.width) != (height, width)]
    larger = sum(header.height < height or header.width < width for header in other)
    lossy = sum(header.format in LOSSY for header in headers) if named else 0
    notes = []
    if other:
        enlarged = f", {larger:,} of them enlarged" if larger else ""
        notes.append(f"{len(other):,} of {len(headers):,} images resized to {height}x{width} and centre cut{enlarged}")
    if lossy:
        notes.append(f"{lossy:,} of {len(headers):,} images are in formats that may change pixels (JPEG and the like)")
    return (*notes, *conversion_notes(headers, channels))


def _left_out(others: Counter[str]) -> tuple[str, ...]:
    return (f"{others.total():,} files that are no images were left out ({_kinds(others)})",) if others else ()


def _what_instead(others: Counter[str]) -> str:
    return f", but {others.total():,} other files ({_kinds(others)})" if others else ""


def _kinds(others: Counter[str]) -> str:
    return _some([suffix or "without suffix" for suffix in sorted(others)])


def _some(names: Iterable[str]) -> str:
    """The first few names, and that there are more."""
    listed = list(names)
    return ", ".join(listed[:NAMED_AT_MOST]) + (f" and {len(listed) - NAMED_AT_MOST} more" if len(listed) > NAMED_AT_MOST else "")


register("folder:PATH")(Recipe(read_image_folder, generic=False))
