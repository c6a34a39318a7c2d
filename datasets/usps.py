"""`usps`: the two files of the LIBSVM collection that torchvision reads, `usps.bz2` and `usps.t.bz2`."""

from __future__ import annotations

import bz2
from pathlib import Path

import numpy as np

from .catalogue import datasets, register
from .errors import DataError
from .files.downloads import fetch
from .files.originals import ADVICE, array_part, check_labels, checked_files, find_folder, read_content, variant
from .source import Part, Progress, Recipe, Source

FILES = {"train": "usps.bz2", "test": "usps.t.bz2"}
PIXELS = 16 * 16


def read_usps(path: Path, progress: Progress) -> Source | None:
    """Splits `train` and `test` as uint8 (N, 1, 16, 16), in the files' order.

    Args:
        path: the folder with the files, one with a folder `usps` that has them, or one of the files.

    Raises:
        DataError: a file is damaged.
    """
    card = datasets.card("usps")
    folder = find_folder(path, FILES.values(), "usps")
    if folder is None:
        return None
    found = {split: file for split, name in FILES.items() if (file := variant(folder, name))}
    parts = [_part(split, file, progress) for split, file in found.items()]
    files = checked_files(card, [FILES[split] for split in found])
    return Source("original files", folder, tuple(parts), tuple(card["class_names"]), files)


def _part(split: str, path: Path, progress: Progress) -> Part:
    progress(f"reading {path.name}", 0, 0)
    card = datasets.card("usps")
    content = read_content(path, card["md5"][FILES[split]])
    try:
        images, labels = parse_libsvm(bz2.decompress(content).decode("ascii"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged or no USPS file ({error}). {ADVICE}") from error
    check_labels(path, labels, len(images), card["classes"])
    return array_part(split, images, labels)


def parse_libsvm(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Lines `label 1:value 2:value ... 256:value`, labels from 1, values in [-1, 1].

    Returns:
        images uint8 (N, 1, 16, 16), the fraction cut off as torchvision does, and labels int64 (N,) from 0.

    Raises:
        ValueError: the text is something else.
    """
    fields = np.array(text.replace(":", " ").split(), dtype=np.float32).reshape(-1, 1 + 2 * PIXELS)
    if not (fields[:, 1::2] == np.arange(1, PIXELS + 1)).all():
        raise ValueError("its lines do not number the pixels from 1 to 256")
    values = fields[:, 2::2]
    if not (np.abs(values) <= 1).all():
        raise ValueError("it has pixel values outside of [-1, 1]")
    images = ((values + 1) / 2 * 255).astype(np.uint8)
    return images.reshape(-1, 1, 16, 16), fields[:, 0].astype(np.int64) - 1


def download_usps(root: Path, progress: Progress) -> None:
    """Fetch both files from where torchvision's class has them, to where it expects them, and check them as it does.

    The class itself would read them once for nothing, and takes whatever lies there already without a check.

    Raises:
        DataError: a file cannot be fetched.
    """
    from torchvision.datasets import USPS

    for url, name, md5 in USPS.split_list.values():
        fetch(url, root / name, md5=md5, progress=progress, what=name)


register("usps")(Recipe(read_usps, download_usps))
