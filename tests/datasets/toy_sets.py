"""A data set small enough to write out, with a recipe and a card like ours, for the tests of the preparation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clusterbench.datasets.catalogue import datasets
from clusterbench.datasets.errors import DataError
from clusterbench.datasets.source import Chunk, Part, Progress, Recipe, Source

COUNTS = {"train": 6, "test": 4}
CLASSES = ("cat", "dog", "owl")
CARD: dict[str, Any] = {
    "title": "Toy", "summary": "ten images", "task": "clustering", "images": 10, "splits": COUNTS, "shape": [3, 8, 8],
    "classes": 3, "class_names": list(CLASSES), "protocols": ["full", "split"], "licence": "none", "citation": "nobody",
    "size_mb": 1, "source": "the tests", "download": True, "version": 1, "layouts": [["toy.json"]],
}  # fmt: skip


def toy_arrays(split: str) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (n, 3, 8, 8) and int64 (n,)."""
    count = COUNTS[split]
    random = np.random.default_rng(len(split))
    return random.integers(0, 256, (count, 3, 8, 8), dtype=np.uint8), np.arange(count, dtype=np.int64) % 3


def write_toy(folder: Path, splits: tuple[str, ...] = ("train", "test"), **changes: Any) -> Path:
    """The original file of the toy: which splits it holds, and what is odd about it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "toy.json"
    path.write_text(json.dumps({"splits": splits, **changes}))
    return path


def read_toy(folder: Path, progress: Progress) -> Source | None:
    path = folder if folder.is_file() else folder / "toy.json"
    if path.name != "toy.json" or not path.is_file():
        return None
    about = json.loads(path.read_text())

    def part(split: str) -> Part:
        images, labels = toy_arrays(split)
        labels = labels + about.get("labels_off", 0)
        images = images[:, :, : about.get("height", 8)]

        def chunks() -> Iterator[Chunk]:
            for start in range(0, len(images) - about.get("short", 0), 2):
                if start >= 2 and about.get("breaks") == split:
                    raise DataError(f"{path} breaks off.")
                if start >= 2 and about.get("unreadable") == split:
                    raise PermissionError(13, "Permission denied", str(path))
                yield Chunk(images[start : start + 2], labels[start : start + 2])

        return Part(split, len(images), chunks, verified=about.get("verified", True))

    return Source("original files", path, tuple(part(split) for split in about["splits"]), CLASSES)


def download_toy(folder: Path, progress: Progress) -> None:
    write_toy(folder)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The names `toy` and `toy-2` (a view that joins cat and dog and ignores owl), and an empty data root."""
    view = {
        "store": "toy",
        "title": "Toy 2",
        "summary": "two classes",
        "label_map": [0, 0, -1],
        "class_names": ["pet"],
        "classes": 1,
    }
    monkeypatch.setitem(datasets._ours, "toy", ("toy_sets", CARD))
    monkeypatch.setitem(datasets._ours, "toy-2", ("toy_sets", view))
    monkeypatch.setitem(datasets._loaded, "toy", Recipe(read_toy, download_toy))
    root = tmp_path / "root"
    root.mkdir()
    return root
