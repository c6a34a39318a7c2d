"""`cifar10` and `cifar100`: the Python version of both, from the archive or unpacked. `cifar100-20` is a view of the latter.

The files are pickles. They are checked against torchvision's checksums before they are opened, and even then only
arrays and plain containers are let out of them.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .catalogue import datasets, register
from .errors import DataError
from .files.archives import open_archive
from .files.downloads import fetch
from .files.originals import (
    ADVICE,
    array_part,
    check_file,
    check_labels,
    checked_files,
    find_file,
    find_folder,
    missing,
    read_content,
    variant,
)
from .source import Part, Progress, Recipe, Source


@dataclass(frozen=True)
class Layout:
    """Where the batches of one of the two data sets lie, and what they call their labels."""

    folder: str
    archive: str
    batches: dict[str, tuple[str, ...]]
    labels: bytes
    torchvision: str

    @property
    def files(self) -> list[str]:
        return [name for names in self.batches.values() for name in names]


LAYOUTS = {
    "cifar10": Layout(
        "cifar-10-batches-py",
        "cifar-10-python.tar.gz",
        {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
        b"labels",
        "CIFAR10",
    ),
    "cifar100": Layout(
        "cifar-100-python", "cifar-100-python.tar.gz", {"train": ("train",), "test": ("test",)}, b"fine_labels", "CIFAR100"
    ),
}


def read_cifar(name: str, path: Path, progress: Progress) -> Source | None:
    """Splits `train` and `test` as uint8 (N, 3, 32, 32), in the original order; of `cifar100` the 100 fine labels.

    Args:
        name: `cifar10` or `cifar100`.
        path: the archive, its folder when unpacked, one of the batches, or a folder that holds the archive or its folder.

    Raises:
        DataError: the archive or a batch is damaged, or a batch of a split is missing.
    """
    card, layout = datasets.card(name), LAYOUTS[name]
    folder, archive = find_folder(path, layout.files, layout.folder), find_file(path, layout.archive)
    if folder is not None and (archive is None or not missing(folder, layout.files)):
        where, contents = folder, _from_folder(folder, layout, card["md5"], progress)
    elif archive is not None:
        where, contents = archive, _from_archive(archive, layout, card["md5"], progress)
    else:
        return None
    batches = {file: _decode(name, where / file, content) for file, content in contents}
    splits = {split: files for split, files in layout.batches.items() if batches.keys() & set(files)}
    parts = [_part(split, where, files, batches) for split, files in splits.items()]
    checked = checked_files(card, batches if where == folder else [layout.archive])
    return Source("original files", where, tuple(parts), tuple(card["class_names"]), checked)


def _from_folder(folder: Path, layout: Layout, md5: dict[str, str], progress: Progress) -> Iterator[tuple[str, bytes]]:
    present = [(file, path) for file in layout.files if (path := variant(folder, file))]
    for done, (file, path) in enumerate(present):
        progress("reading batches", done, len(present))
        yield file, read_content(path, md5[file])


def _from_archive(archive: Path, layout: Layout, md5: dict[str, str], progress: Progress) -> Iterator[tuple[str, bytes]]:
    """The batches as they come in the archive, in one pass; nothing is unpacked to disk."""
    check_file(archive, md5[layout.archive], progress)
    wanted = {f"{layout.folder}/{file}": file for file in layout.files}
    with open_archive(archive) as opened:
        for done, member in enumerate(member for member in opened if member.name in wanted):
            progress("reading batches", done, len(wanted))
            yield wanted[member.name], opened.read(member)


def _part(split: str, where: Path, files: tuple[str, ...], batches: dict[str, tuple[np.ndarray, np.ndarray]]) -> Part:
    absent = [file for file in files if file not in batches]
    if absent:
        raise DataError(f"{where} lacks {' and '.join(absent)} of the {split} split. Add it, or fetch the data again.")
    images, labels = zip(*(batches[file] for file in files), strict=True)
    return array_part(split, np.concatenate(images), np.concatenate(labels))


def _decode(name: str, path: Path, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (n, 3, 32, 32) and labels int64 (n,) of a batch; `path` is for messages."""
    try:
        batch = ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
        images = np.asarray(batch[b"data"], order="C").reshape(-1, 3, 32, 32)
        labels = np.array(batch[LAYOUTS[name].labels], dtype=np.int64)
        coarse = np.array(batch[b"coarse_labels"]) if name == "cifar100" else None
    except Exception as error:  # a damaged pickle is a damaged program: it can raise anything
        raise DataError(f"{path} is no batch of {name} ({type(error).__name__}: {error}). {ADVICE}") from error
    if images.dtype != np.uint8:
        raise DataError(f"{path} is no batch of {name}: its pixels are {images.dtype}, not bytes. {ADVICE}")
    check_labels(path, labels, len(images), datasets.card(name)["classes"])
    if coarse is not None and not np.array_equal(coarse, _superclasses()[labels]):
        raise DataError(f"{path} puts some of the 100 classes into other superclasses than cifar100-20 does. {ADVICE}")
    return images, labels


def _superclasses() -> np.ndarray:
    """The superclass of each of the 100 classes, int64 (100,)."""
    return np.array(datasets.card("cifar100-20")["label_map"])


class ArrayUnpickler(pickle.Unpickler):
    """Lets numpy arrays and plain containers out of a pickle, and nothing that could run."""

    def find_class(self, module: str, name: str) -> Any:
        """The few things an array is pickled with. Raises `UnpicklingError` for whatever else the pickle names."""
        allowed = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        return allowed[module, name]


def download_cifar(name: str, root: Path, progress: Progress) -> None:
    """Fetch the archive from where torchvision's class has it, to where it expects it, with its checksum.

    The class itself would unpack it as well, which takes twice the space and, before Python 3.12, trusts its paths;
    `read_cifar` needs the archive only.

    Raises:
        DataError: it cannot be fetched.
    """
    from torchvision import datasets as theirs

    recipe = getattr(theirs, LAYOUTS[name].torchvision)
    fetch(recipe.url, root / recipe.filename, md5=recipe.tgz_md5, progress=progress, what=recipe.filename)


for _name in LAYOUTS:
    register(_name)(Recipe(partial(read_cifar, _name), partial(download_cifar, _name)))
