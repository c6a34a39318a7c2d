"""`mnist`: the real files against other readers of the format, and every kind of damage on tiny ones."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import struct
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torchvision
from sklearn.neighbors import KNeighborsClassifier

from clusterbench.datasets.base import DataError, Dataset
from clusterbench.datasets.catalogue import datasets, load

TRAIN_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
TRAIN_IMAGES = "MNIST/raw/train-images-idx3-ubyte"
TEST_LABELS = "MNIST/raw/t10k-labels-idx1-ubyte"


@pytest.fixture(scope="module")
def mnist(shared_data: Path) -> Dataset:
    return load("mnist", root=shared_data)


def image_at(path: Path, index: int) -> bytes:
    """One image of an IDX file, read by its byte offset."""
    with gzip.open(path) as file:
        magic, _, rows, columns = struct.unpack(">4i", file.read(16))
        assert magic == 2051
        file.seek(16 + index * rows * columns)
        return file.read(rows * columns)


def label_at(path: Path, index: int) -> int:
    with gzip.open(path) as file:
        file.seek(8 + index)
        return file.read(1)[0]


def test_classes_are_counted_as_published(mnist: Dataset) -> None:
    assert np.bincount(mnist.splits["train"].labels).tolist() == TRAIN_COUNTS
    assert np.bincount(mnist.splits["test"].labels).tolist() == TEST_COUNTS


@pytest.mark.parametrize(("part", "prefix", "index"), [("train", "train", 0), ("train", "train", 59999), ("test", "t10k", 4242)])
def test_an_image_and_its_label_are_those_at_their_offset_in_the_file(
    mnist: Dataset, shared_data: Path, part: str, prefix: str, index: int
) -> None:
    raw = shared_data / "MNIST" / "raw"
    assert mnist.splits[part].images[index].tobytes() == image_at(raw / f"{prefix}-images-idx3-ubyte.gz", index)
    assert mnist.splits[part].labels[index] == label_at(raw / f"{prefix}-labels-idx1-ubyte.gz", index)


def test_unpacked_files_read_the_same_as_torchvision_reads_them(mnist: Dataset, shared_data: Path, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for packed in (shared_data / "MNIST" / "raw").glob("*.gz"):
        (raw / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    ours = load("mnist", root=tmp_path)
    for part, train in (("train", True), ("test", False)):
        theirs = torchvision.datasets.MNIST(str(tmp_path), train=train)
        assert np.array_equal(ours.splits[part].images[:, 0], theirs.data.numpy())
        assert np.array_equal(ours.splits[part].labels, theirs.targets.numpy())
    assert ours.under("full").fingerprint == mnist.under("full").fingerprint


def test_neighbours_classify_mnist_as_well_as_they_are_known_to(mnist: Dataset) -> None:
    trial = mnist.under("split")
    pixels, labels = trial.train.pixels[:20000].flatten(1).numpy(), mnist.splits["train"].labels[:20000]
    neighbours = KNeighborsClassifier(3).fit(pixels.astype(np.float32), labels)
    every_fifth = trial.score.pixels[::5].flatten(1).numpy().astype(np.float32)  # the first half is harder than the second
    accuracy = neighbours.score(every_fifth, trial.labels[::5])
    assert 0.95 < accuracy < 0.97


def test_the_fingerprint_is_the_same_on_every_machine(mnist: Dataset) -> None:
    assert mnist.under("full").fingerprint == "170db141c096b9eb9d001f849bb46c70f12fbebc8d29b710ad9cf88fd1460e80"


def test_one_changed_pixel_in_the_real_files_is_noticed(shared_data: Path, tmp_path: Path) -> None:
    shutil.copytree(shared_data / "MNIST", tmp_path / "MNIST", copy_function=shutil.copyfile)
    content = bytearray(gzip.decompress((tmp_path / f"{TRAIN_IMAGES}.gz").read_bytes()))
    content[1_000_000] ^= 1
    (tmp_path / TRAIN_IMAGES).write_bytes(content)
    with pytest.raises(DataError, match="is not the original file"):
        load("mnist", root=tmp_path)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}i", 0x0800 + array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with seven training and three test images as .gz, whose checksums stand in the card for the moment."""
    root = tmp_path / "root"
    (root / "MNIST" / "raw").mkdir(parents=True)
    random, checksums = np.random.default_rng(0), {}
    for prefix, n in (("train", 7), ("t10k", 3)):
        for part, shape, highest in (("images-idx3", (n, 28, 28), 256), ("labels-idx1", (n,), 10)):
            content = idx(random.integers(0, highest, shape, dtype=np.uint8))
            name = f"MNIST/raw/{prefix}-{part}-ubyte"
            (root / f"{name}.gz").write_bytes(gzip.compress(content))
            checksums[name] = hashlib.md5(content).hexdigest()
    monkeypatch.setitem(datasets.card("mnist"), "files", checksums)
    return root


def refusal(root: Path | None, download: bool = False) -> str:
    with pytest.raises(DataError) as refused:
        load("mnist", root=root, download=download)
    message = str(refused.value)
    assert "\n" not in message
    assert "--data-root DIR" in message
    assert "--download" in message or download
    return message


def test_packed_files_are_read_where_they_lie_and_nothing_is_written(tiny: Path) -> None:
    before = sorted(tiny.rglob("*"))
    data = load("mnist", root=tiny)
    assert [len(split.images) for split in data.splits.values()] == [7, 3]
    assert sorted(tiny.rglob("*")) == before


def test_data_in_no_root_says_where_it_was_looked_for(tmp_path: Path) -> None:
    message = refusal(tmp_path)
    assert f"mnist is not in {tmp_path} or {os.environ['XDG_CACHE_HOME']}/clusterbench/data" in message


def test_a_missing_file_is_named(tiny: Path) -> None:
    (tiny / f"{TEST_LABELS}.gz").unlink()
    assert f"mnist in {tiny} lacks {TEST_LABELS}." in refusal(tiny)


def test_a_complete_copy_in_a_later_root_serves_in_place_of_a_partial_one(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    incomplete = tmp_path / "incomplete"
    shutil.copytree(tiny, incomplete)
    (incomplete / f"{TEST_LABELS}.gz").unlink()
    monkeypatch.setenv("CLUSTERBENCH_DATA", str(tiny))
    assert len(load("mnist", root=incomplete).splits["test"].images) == 3


@pytest.mark.parametrize("name", [TRAIN_IMAGES, TEST_LABELS])
def test_a_file_cut_short_is_named(tiny: Path, name: str) -> None:
    packed = tiny / f"{name}.gz"
    packed.write_bytes(packed.read_bytes()[:-12])
    assert f"{packed} is damaged or cut short" in refusal(tiny)


def test_a_file_that_is_not_packed_at_all_is_named(tiny: Path) -> None:
    packed = tiny / f"{TRAIN_IMAGES}.gz"
    packed.write_bytes(b"<html>404 Not Found</html>")
    assert f"{packed} is damaged or cut short (Not a gzipped file" in refusal(tiny)


def test_damaged_compression_is_named(tiny: Path) -> None:
    packed = tiny / f"{TRAIN_IMAGES}.gz"
    content = bytearray(packed.read_bytes())
    content[200:260] = b"\xff" * 60
    packed.write_bytes(content)
    assert f"{packed} is damaged or cut short" in refusal(tiny)


def test_a_file_of_another_kind_is_named(tiny: Path) -> None:
    shutil.copyfile(tiny / f"{TEST_LABELS}.gz", tiny / f"{TRAIN_IMAGES}.gz")
    assert f"{TRAIN_IMAGES}.gz is no MNIST file: it begins with b'\\x00\\x00\\x08\\x01'" in refusal(tiny)


def test_a_file_with_another_checksum_is_named(tiny: Path) -> None:
    packed = tiny / f"{TEST_LABELS}.gz"
    content = bytearray(gzip.decompress(packed.read_bytes()))
    content[-1] ^= 1
    packed.write_bytes(gzip.compress(content))
    assert f"{packed} is not the original file (MD5 {hashlib.md5(content).hexdigest()}, expected" in refusal(tiny)


def test_a_file_that_cannot_be_read_is_named(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(gzip, "open", denied)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz cannot be read \(Permission denied\)"):
        load("mnist", root=tiny)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def mirror(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the tiny files, served on this machine in place of torchvision's mirrors."""
    raw = tiny / "MNIST" / "raw"
    packed = [(path.name, hashlib.md5(path.read_bytes()).hexdigest()) for path in sorted(raw.glob("*.gz"))]
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(raw))) as server:
        monkeypatch.setattr(torchvision.datasets.MNIST, "resources", packed)
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield raw
        server.shutdown()


@pytest.mark.usefixtures("mirror")
def test_a_download_happens_only_when_asked_for_and_lasts(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    assert f"fetch it to {target} with --download" in refusal(target)
    assert list(target.iterdir()) == []
    assert len(load("mnist", root=target, download=True).splits["train"].images) == 7
    assert len(load("mnist", root=target).splits["train"].images) == 7


@pytest.mark.usefixtures("mirror")
def test_a_download_goes_to_the_cache_and_makes_it_where_no_root_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    load("mnist", download=True)
    assert (tmp_path / "cache" / "clusterbench" / "data" / "MNIST" / "raw").is_dir()


def test_a_download_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://127.0.0.1:1/"])
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    message = refusal(tmp_path, download=True)
    assert message.startswith(f"mnist could not be fetched to {tmp_path}: ")
    assert "Connection refused" in message


def test_a_download_that_arrives_damaged_is_not_kept_for_data(mirror: Path, tmp_path: Path) -> None:
    (mirror / "train-images-idx3-ubyte.gz").write_bytes(b"not what was promised")
    target = tmp_path / "target"
    target.mkdir()
    assert "mnist could not be fetched" in refusal(target, download=True)
    assert "fetch it to" in refusal(target)


@pytest.mark.usefixtures("mirror")
def test_a_download_into_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "MNIST").write_text("a file where the folder should be")
    assert f"mnist could not be fetched to {target}" in refusal(target, download=True)
