"""`mnist`: the four original files in torchvision's layout, packed or unpacked, checked against their MD5."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path

import numpy as np

from . import roots
from .base import DataError, Dataset, Split
from .catalogue import datasets, register

MAGIC = {"images": b"\0\0\x08\x03", "labels": b"\0\0\x08\x01"}  # two zeros, 8 = unsigned byte, number of dimensions


@register("mnist")
def load_mnist(root: Path | None, download: bool) -> Dataset:
    """60,000 images (split `train`) and 10,000 (split `test`) as uint8 (N, 1, 28, 28), in the original order.

    Raises:
        DataError: a file is missing and may not be fetched, or is not the original one.
    """
    checksums: dict[str, str] = datasets.card("mnist")["files"]
    folder = _folder(list(checksums), root, download)
    arrays = {name: _read(folder, name, md5) for name, md5 in checksums.items()}

    def split(prefix: str) -> Split:
        images, labels = (arrays[f"MNIST/raw/{prefix}-{part}-ubyte"] for part in ("images-idx3", "labels-idx1"))
        return Split(images[:, None], labels.astype(np.int64))

    return Dataset("mnist", {"train": split("train"), "test": split("t10k")}, tuple("0123456789"))


def _folder(files: list[str], root: Path | None, download: bool) -> Path:
    """The data root that holds all `files`, after a download if it is asked for and needed."""
    found = roots.find(files, root)
    if found is None and download:
        _download(roots.download_root(root))
        found = roots.find(files, root)
    if found is not None:
        return found
    searched = roots.data_roots(root)
    wrong = f"mnist is not in {' or '.join(map(str, searched))}"
    for folder in searched:
        absent = roots.missing(files, folder)
        if len(absent) < len(files):
            wrong = f"mnist in {folder} lacks {' and '.join(absent)}"
            break
    raise DataError(f"{wrong}. Say where it is with --data-root DIR, or fetch it to {searched[0]} with --download.")


def _download(target: Path) -> None:
    from torchvision.datasets import MNIST

    try:
        target.mkdir(parents=True, exist_ok=True)
        MNIST(str(target), download=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(
            f"mnist could not be fetched to {target}: {reason}. Try again, or give a copy with --data-root DIR."
        ) from error


def _read(root: Path, name: str, md5: str) -> np.ndarray:
    """The array in the file `name` or `name`.gz: uint8, (N, 28, 28) for images and (N,) for labels."""
    path = roots.variant(root, name) or root / name
    advice = "Delete it and fetch it again with --download, or give a sound copy with --data-root DIR."
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = bytearray(file.read())  # writable, as torch wants the memory it shares
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged or cut short ({error}). {advice}") from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}). Mend that, or give a copy with --data-root DIR."
        ) from error
    if content[:4] != MAGIC["images" if "-images-" in name else "labels"]:
        raise DataError(f"{path} is no MNIST file: it begins with {bytes(content[:4])!r}. {advice}")
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise DataError(f"{path} is not the original file (MD5 {found}, expected {md5}). {advice}")
    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", dimensions, 4).astype(int)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
