"""Real images through the whole preparation: counts, shapes, pixels against an independent decoder, and nearest neighbours.

The accuracy of nearest neighbours on raw pixels is known for these sets; shuffled labels, swapped axes or channels that are
mixed up between train and test would bring it down to chance.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clusterbench.datasets.catalogue import load
from clusterbench.datasets.preparation.prepare import prepare
from clusterbench.datasets.splits import Dataset


@pytest.fixture(scope="session")
def unpacked(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the arrays that `unpack.py` of the real data writes."""
    script = shared_data / "unpack.py"
    if not script.is_file():
        pytest.skip("no unpack.py beside the real data (tests/README.md)")
    root = tmp_path_factory.mktemp("unpacked")
    subprocess.run([sys.executable, str(script), str(root), "cifar10", "stl10"], check=True, capture_output=True)
    return root


@pytest.fixture(scope="session")
def cifar10(unpacked: Path) -> Dataset:
    return load("cifar10", root=unpacked)


@pytest.fixture(scope="session")
def stl10(unpacked: Path) -> Dataset:
    prepare("stl10", root=unpacked, partial=True)
    return load("stl10", root=unpacked)


def sheet_tile(path: Path, size: int, number: int) -> np.ndarray:
    """Tile `number` of a sheet of images, (3, size, size), by Pillow alone."""
    with Image.open(path) as sheet:
        row, column = divmod(number, sheet.width // size)
        box = (column * size, row * size, (column + 1) * size, (row + 1) * size)
        return np.asarray(sheet.convert("RGB").crop(box)).transpose(2, 0, 1)


def neighbour_accuracy(train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], k: int) -> float:
    """Accuracy of the majority of the `k` nearest by Euclidean distance on raw pixels."""
    seen, asked = (torch.from_numpy(np.asarray(images)).flatten(1).float() for images, _ in (train, test))
    labels = torch.from_numpy(np.asarray(train[1]))
    nearest = torch.cdist(asked, seen).topk(k, largest=False).indices
    return float((labels[nearest].mode(1).values == torch.from_numpy(np.asarray(test[1]))).float().mean())


def test_cifar10_has_its_counts_shapes_and_classes(cifar10: Dataset) -> None:
    train, test = cifar10.splits["train"], cifar10.splits["test"]
    assert (train.images.shape, test.images.shape) == ((50_000, 3, 32, 32), (10_000, 3, 32, 32))
    assert np.bincount(train.labels).tolist() == [5_000] * 10
    assert np.bincount(test.labels).tolist() == [1_000] * 10
    assert cifar10.class_names[:3] == ("airplane", "automobile", "bird")


def test_cifar10_is_the_original_by_checksum_where_it_is_and_says_where_it_is_not(cifar10: Dataset) -> None:
    assert cifar10.about["splits"]["train"]["original"] is True
    assert cifar10.about["splits"]["test"]["original"] is False
    assert len(cifar10.notes) == 1 and cifar10.notes[0].startswith("test: ")
    for protocol in ("full", "split"):
        assert cifar10.under(protocol).notes == cifar10.notes


def test_the_channel_means_of_cifar10_are_the_published_ones(cifar10: Dataset) -> None:
    means = np.asarray(cifar10.splits["train"].images).mean((0, 2, 3), dtype=np.float64) / 255
    assert means == pytest.approx([0.49139968, 0.48215841, 0.44653091], abs=1e-8)


@pytest.mark.parametrize(("batch", "number", "label"), [(1, 0, "frog"), (3, 5_432, None), (5, 9_999, "automobile")])
def test_images_of_cifar10_are_where_they_belong(
    cifar10: Dataset, shared_data: Path, batch: int, number: int, label: str | None
) -> None:
    row = (batch - 1) * 10_000 + number
    tile = sheet_tile(shared_data / f"cifar10/train_batch_{batch}.webp", 32, number)
    assert np.array_equal(cifar10.splits["train"].images[row], tile)
    assert label is None or cifar10.class_names[cifar10.splits["train"].labels[row]] == label


def test_nearest_neighbours_on_cifar10_reach_the_known_accuracy(cifar10: Dataset) -> None:
    """1-NN on raw pixels is known to reach 35.4 % on the whole test split; here on its first 1,000 images, which are exact."""
    train, test = cifar10.splits["train"], cifar10.splits["test"].rows(0, 1_000)
    accuracy = neighbour_accuracy((train.images[:25_000], train.labels[:25_000]), (test.images, test.labels), k=1)
    assert 0.29 < accuracy < 0.39


def test_stl10_has_its_counts_shapes_and_says_what_is_missing(stl10: Dataset) -> None:
    train, unlabelled = stl10.splits["train"], stl10.splits["unlabeled"]
    assert (train.images.shape, unlabelled.images.shape) == ((5_000, 3, 96, 96), (4_000, 3, 96, 96))
    assert np.bincount(train.labels).tolist() == [500] * 10
    assert (unlabelled.labels == -1).all()
    assert stl10.about["splits"]["train"]["original"] is True
    assert "no test (8,000 images), 4,000 of 100,000 images of unlabeled" in stl10.notes[0]
    assert stl10.notes[1].startswith("unlabeled: ")


@pytest.mark.parametrize(("sheet", "number"), [(1, 0), (3, 517), (5, 999)])
def test_images_of_stl10_are_where_they_belong(stl10: Dataset, shared_data: Path, sheet: int, number: int) -> None:
    tile = sheet_tile(shared_data / f"stl10/train_{sheet}.webp", 96, number)
    assert np.array_equal(stl10.splits["train"].images[(sheet - 1) * 1_000 + number], tile)


def test_stl10_trains_its_heads_on_different_images_and_scores_the_labelled_ones(stl10: Dataset) -> None:
    trial = stl10.under("full")
    assert (len(trial.train), len(trial.score)) == (9_000, 5_000)
    assert (trial.labels >= 0).all()
    main, auxiliary = trial.train.role("main"), trial.train.role("auxiliary")
    assert torch.equal(trial.train.pixels[main[:50]], trial.score.pixels[:50])
    assert (len(main), sorted(auxiliary.tolist())) == (5_000, list(range(9_000)))


def test_nearest_neighbours_on_stl10_are_far_above_chance(stl10: Dataset) -> None:
    """Raw pixels of 96x96 photographs say little; published k-means features begin near 30 %."""
    train = stl10.splits["train"]
    small = np.asarray(train.images).reshape(5_000, 3, 24, 4, 24, 4).mean((3, 5)).astype(np.uint8)
    accuracy = neighbour_accuracy((small[:4_000], train.labels[:4_000]), (small[4_000:], train.labels[4_000:]), k=5)
    assert 0.22 < accuracy < 0.40


def test_a_second_start_reads_no_pixels(unpacked: Path, cifar10: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes it quick: nothing of the 184 MB is read or hashed before the first batch asks for its images."""
    import hashlib

    hashed = []
    real = hashlib.sha256

    def counting(content: bytes = b"", **named):
        hashed.append(len(content))
        return real(content, **named)

    monkeypatch.setattr("hashlib.sha256", counting)
    trial = load("cifar10", root=unpacked).under("full")
    assert sum(hashed) < 100_000  # the manifest, by its own checksum
    assert isinstance(load("cifar10", root=unpacked).joined.images, np.memmap)
    assert trial.fingerprint == cifar10.under("full").fingerprint
