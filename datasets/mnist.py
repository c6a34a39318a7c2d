"""`mnist` and `fashion-mnist`: four idx files each, packed or unpacked, checked against the MD5 of the unpacked bytes.

The checksums are of the unpacked bytes because copies differ in how they are packed: a `.gz` made anew, as Debian's
package of Fashion-MNIST has them, differs from the published one in the time stamp and name in its header.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .catalogue import datasets, register
from .errors import DataError
from .files.downloads import fetch
from .files.originals import array_part, check_labels, checked_files, find_folder, read_content, variant
from .source import Part, Progress, Recipe, Source

if TYPE_CHECKING:
    from torchvision.datasets import MNIST

TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}  # torchvision's class, and its folder in a data root
PREFIXES = {"train": "train", "test": "t10k"}


def read_idx(name: str, path: Path, progress: Progress) -> Source | None:
    """Splits `train` and `test` as uint8 (N, 1, 28, 28), in the original order.

    Args:
        name: `mnist` or `fashion-mnist`.
        path: a folder with `MNIST/raw` (`FashionMNIST/raw`), the folder `MNIST` or `raw` itself, or one of the files.

    Raises:
        DataError: a file is damaged, or half of a split is missing.
    """
    card = datasets.card(name)
    folder = find_folder(path, card["md5"], f"{TORCHVISION[name]}/raw", "raw")
    if folder is None:
        return None
    found = [file for file in card["md5"] if variant(folder, file)]
    parts = [_part(name, folder, split, progress) for split, prefix in PREFIXES.items() if any(prefix in file for file in found)]
    usual = folder.parts[-2:] == (TORCHVISION[name], "raw")
    form = "torchvision's layout" if usual else "original files"
    return Source(form, folder, tuple(parts), tuple(card["class_names"]), checked_files(card, found))


def _part(name: str, folder: Path, split: str, progress: Progress) -> Part:
    _, images = _array(name, folder, f"{PREFIXES[split]}-images-idx3-ubyte", progress)
    path, labels = _array(name, folder, f"{PREFIXES[split]}-labels-idx1-ubyte", progress)
    check_labels(path, labels, len(images), datasets.card(name)["classes"])
    return array_part(split, images[:, None], labels.astype(np.int64))  # (N, 1, 28, 28)


def _array(name: str, folder: Path, file: str, progress: Progress) -> tuple[Path, np.ndarray]:
    """An idx file, and the array in it: uint8, (N, 28, 28) for images and (N,) for labels."""
    path = variant(folder, file)
    if path is None:
        raise DataError(f"{name} in {folder} lacks {file}, beside the other half of that split. Add it, or fetch the data again.")
    progress(f"reading {path.name}", 0, 0)
    content = read_content(path, datasets.card(name)["md5"][file])
    dimensions = content[3]  # two zeros, 8 for unsigned bytes, the number of dimensions, then each of them
    shape = np.frombuffer(content, ">u4", dimensions, 4).astype(int)
    return path, np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def download_idx(name: str, root: Path, progress: Progress) -> None:
    """Fetch those of the four packed files that are missing, from torchvision's mirrors to where its class expects them.

    They are checked against its checksums but not unpacked, which would take five times the space: `read_idx` needs no more.

    Raises:
        DataError: no mirror gives a sound file.
    """
    import torchvision

    theirs: type[MNIST] = getattr(torchvision.datasets, TORCHVISION[name])
    folder = root / TORCHVISION[name] / "raw"
    for file, md5 in theirs.resources:
        if variant(folder, file.removesuffix(".gz")) is None:
            _fetch_from_any(theirs.mirrors, folder / file, md5, progress)


def _fetch_from_any(mirrors: list[str], target: Path, md5: str, progress: Progress) -> None:
    failures = []
    for mirror in mirrors:
        try:
            return fetch(f"{mirror}{target.name}", target, md5=md5, progress=progress, what=target.name)
        except DataError as error:
            failures.append(str(error))
    raise DataError(" ".join(failures))


for _name in TORCHVISION:
    register(_name)(Recipe(partial(read_idx, _name), partial(download_idx, _name)))
