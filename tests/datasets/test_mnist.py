"""The reader of MNIST and Fashion-MNIST against bytes at their offsets, torchvision's reader, and damage to tiny files."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import struct
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torchvision
from sklearn.neighbors import KNeighborsClassifier

from clusterbench.datasets.catalogue import datasets, load
from clusterbench.datasets.errors import DataError
from clusterbench.datasets.files import downloads
from clusterbench.datasets.mnist import download_idx, read_idx
from clusterbench.datasets.source import Part, Source, silent

TRAIN_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
FOLDERS = {"mnist": "MNIST/raw", "fashion-mnist": "FashionMNIST/raw"}
TRAIN_IMAGES, TEST_LABELS = "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def read(name: str, path: Path) -> Source:
    source = read_idx(name, path, silent)
    assert source is not None
    return source


def drain(part: Part) -> tuple[np.ndarray, np.ndarray]:
    chunks = list(part.chunks())
    images, labels = (np.concatenate([getattr(chunk, what) for chunk in chunks]) for what in ("images", "labels"))
    assert len(images) == len(labels) == part.count
    return images, labels


@pytest.fixture(scope="module")
def mnist(shared_data: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {part.split: drain(part) for part in read("mnist", shared_data).parts}


@pytest.fixture(scope="module")
def fashion(shared_data: Path) -> tuple[np.ndarray, np.ndarray]:
    """The test split, which is all of Fashion-MNIST that the real data has."""
    return drain(next(part for part in read("fashion-mnist", shared_data).parts if part.split == "test"))


def image_at(path: Path, index: int) -> bytes:
    """One image of an idx file, read by its byte offset."""
    with gzip.open(path) as file:
        magic, _, rows, columns = struct.unpack(">4i", file.read(16))
        assert magic == 2051
        file.seek(16 + index * rows * columns)
        return file.read(rows * columns)


def label_at(path: Path, index: int) -> int:
    with gzip.open(path) as file:
        file.seek(8 + index)
        return file.read(1)[0]


def test_classes_of_mnist_are_counted_as_published(mnist: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    assert [(split, images.shape, images.dtype) for split, (images, _) in mnist.items()] == [
        ("train", (60000, 1, 28, 28), np.uint8),
        ("test", (10000, 1, 28, 28), np.uint8),
    ]
    assert np.bincount(mnist["train"][1]).tolist() == TRAIN_COUNTS
    assert np.bincount(mnist["test"][1]).tolist() == TEST_COUNTS


def test_classes_of_fashion_mnist_are_even(fashion: tuple[np.ndarray, np.ndarray]) -> None:
    assert fashion[0].shape == (10000, 1, 28, 28)
    assert np.bincount(fashion[1]).tolist() == [1000] * 10


@pytest.mark.parametrize(("split", "prefix", "index"), [("train", "train", 0), ("train", "train", 59999), ("test", "t10k", 4242)])
def test_an_image_of_mnist_and_its_label_are_those_at_their_offset_in_the_file(
    mnist: dict[str, tuple[np.ndarray, np.ndarray]], shared_data: Path, split: str, prefix: str, index: int
) -> None:
    raw = shared_data / "MNIST" / "raw"
    assert mnist[split][0][index].tobytes() == image_at(raw / f"{prefix}-images-idx3-ubyte.gz", index)
    assert mnist[split][1][index] == label_at(raw / f"{prefix}-labels-idx1-ubyte.gz", index)


@pytest.mark.parametrize("index", [0, 5678, 9999])
def test_an_image_of_fashion_mnist_and_its_label_are_those_at_their_offset_in_the_file(
    fashion: tuple[np.ndarray, np.ndarray], shared_data: Path, index: int
) -> None:
    raw = shared_data / "FashionMNIST" / "raw"
    assert fashion[0][index].tobytes() == image_at(raw / "t10k-images-idx3-ubyte.gz", index)
    assert fashion[1][index] == label_at(raw / f"{TEST_LABELS}.gz", index)


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_the_class_names_are_torchvisions(name: str, folder: str) -> None:
    theirs = getattr(torchvision.datasets, folder).classes
    assert datasets.card(name)["class_names"] == [label.split(" - ")[0] for label in theirs]


def test_unpacked_files_read_the_same_as_torchvision_reads_them(
    mnist: dict[str, tuple[np.ndarray, np.ndarray]], shared_data: Path, tmp_path: Path
) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for packed in (shared_data / "MNIST" / "raw").glob("*.gz"):
        (raw / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    ours = {part.split: drain(part) for part in read("mnist", tmp_path).parts}
    for split, train in (("train", True), ("test", False)):
        theirs = torchvision.datasets.MNIST(str(tmp_path), train=train)
        assert np.array_equal(ours[split][0][:, 0], theirs.data.numpy())
        assert np.array_equal(ours[split][1], theirs.targets.numpy())
        assert np.array_equal(ours[split][0], mnist[split][0])


def test_the_pixels_have_the_checksums_on_the_cards(
    mnist: dict[str, tuple[np.ndarray, np.ndarray]], fashion: tuple[np.ndarray, np.ndarray]
) -> None:
    for name, split, images in [("mnist", split, images) for split, (images, _) in mnist.items()] + [
        ("fashion-mnist", "test", fashion[0])
    ]:
        assert datasets.card(name)["checksums"][split][hashlib.sha256(images.tobytes()).hexdigest()] == "original"


def test_neighbours_classify_mnist_as_well_as_they_are_known_to(mnist: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    (images, labels), (asked, answers) = mnist["train"], mnist["test"]
    neighbours = KNeighborsClassifier(3).fit(images[:20000].reshape(-1, 784).astype(np.float32), labels[:20000])
    every_fifth = asked[::5].reshape(-1, 784).astype(np.float32)  # the first half is harder than the second
    assert 0.95 < neighbours.score(every_fifth, answers[::5]) < 0.97


def test_neighbours_classify_fashion_mnist_as_well_as_they_are_known_to(fashion: tuple[np.ndarray, np.ndarray]) -> None:
    pixels = fashion[0].reshape(-1, 784).astype(np.float32)
    neighbours = KNeighborsClassifier(5).fit(pixels[:8000], fashion[1][:8000])
    assert 0.79 < neighbours.score(pixels[8000:], fashion[1][8000:]) < 0.83


def test_the_fingerprint_of_mnist_is_the_same_on_every_machine(shared_data: Path, tmp_path: Path) -> None:
    shutil.copytree(shared_data / "MNIST", tmp_path / "MNIST", copy_function=shutil.copyfile)
    data = load("mnist", root=tmp_path)
    assert data.notes == ()
    assert data.fingerprint("full") == "170db141c096b9eb9d001f849bb46c70f12fbebc8d29b710ad9cf88fd1460e80"


def test_one_changed_pixel_in_the_real_files_is_noticed(shared_data: Path, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    shutil.copytree(shared_data / "MNIST" / "raw", raw, copy_function=shutil.copyfile)
    content = bytearray(gzip.decompress((raw / "t10k-images-idx3-ubyte.gz").read_bytes()))
    content[1_000_000] ^= 1
    (raw / "t10k-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte is not the original file"):
        read("mnist", tmp_path)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}i", 0x0800 + array.ndim, *array.shape) + array.tobytes()


@pytest.fixture(params=FOLDERS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def tiny(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with seven training and three test images as .gz, whose checksums stand in the card for the moment."""
    root = tmp_path / "root"
    (root / FOLDERS[name]).mkdir(parents=True)
    random = np.random.default_rng(0)
    monkeypatch.setitem(datasets.card(name), "md5", {})
    for prefix, n in (("train", 7), ("t10k", 3)):
        for part, shape, highest in (("images-idx3", (n, 28, 28), 256), ("labels-idx1", (n,), 10)):
            keep(name, root, f"{prefix}-{part}-ubyte", idx(random.integers(0, highest, shape, dtype=np.uint8)))
    return root


def keep(name: str, root: Path, file: str, content: bytes) -> None:
    """Write a file as if it were an original one."""
    (root / FOLDERS[name] / f"{file}.gz").write_bytes(gzip.compress(content))
    datasets.card(name)["md5"][file] = hashlib.md5(content).hexdigest()


def refusal(read_or_fetch: Callable[[], object]) -> str:
    with pytest.raises(DataError) as refused:
        read_or_fetch()
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_packed_files_are_read_where_they_lie_and_nothing_is_written(name: str, tiny: Path) -> None:
    before = sorted(tiny.rglob("*"))
    source = read(name, tiny)
    assert [(part.split, part.count, part.verified) for part in source.parts] == [("train", 7, True), ("test", 3, True)]
    assert source.form == "torchvision's layout"
    assert source.where == tiny / FOLDERS[name]
    assert source.files == {file: f"md5:{md5}" for file, md5 in datasets.card(name)["md5"].items()}
    assert sorted(tiny.rglob("*")) == before


@pytest.mark.parametrize("where", ["class folder", "raw folder", "one file", "bare folder"])
def test_the_files_are_found_from_whatever_is_pointed_at(name: str, tiny: Path, tmp_path: Path, where: str) -> None:
    raw = tiny / FOLDERS[name]
    shutil.copytree(raw, tmp_path / "bare")
    one = raw / f"{TEST_LABELS}.gz"
    paths = {"class folder": raw.parent, "raw folder": raw, "one file": one, "bare folder": tmp_path / "bare"}
    source = read(name, paths[where])
    assert [part.count for part in source.parts] == [7, 3]
    assert source.form == ("original files" if where == "bare folder" else "torchvision's layout")


def test_a_folder_or_file_of_something_else_holds_nothing_of_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    assert read_idx(name, tmp_path, silent) is None
    assert read_idx(name, tmp_path / "notes.txt", silent) is None


def test_chunks_can_be_read_again(name: str, tiny: Path) -> None:
    part = read(name, tiny).parts[0]
    assert np.array_equal(drain(part)[0], drain(part)[0])


def test_a_split_that_is_not_there_is_left_out(name: str, tiny: Path) -> None:
    for file in (tiny / FOLDERS[name]).glob("train-*"):
        file.unlink()
    source = read(name, tiny)
    assert [part.split for part in source.parts] == ["test"]
    assert len(source.files) == 2


def test_images_without_their_labels_are_refused(name: str, tiny: Path) -> None:
    (tiny / FOLDERS[name] / f"{TEST_LABELS}.gz").unlink()
    assert f"{name} in {tiny / FOLDERS[name]} lacks {TEST_LABELS}" in refusal(lambda: read(name, tiny))


@pytest.mark.parametrize("file", [TRAIN_IMAGES, TEST_LABELS])
def test_a_packed_file_cut_short_is_named(name: str, tiny: Path, file: str) -> None:
    packed = tiny / FOLDERS[name] / f"{file}.gz"
    packed.write_bytes(packed.read_bytes()[:-12])
    message = refusal(lambda: read(name, tiny))
    assert str(packed) in message
    assert "damaged or cut short" in message


def test_a_file_that_is_not_packed_at_all_is_named(name: str, tiny: Path) -> None:
    packed = tiny / FOLDERS[name] / f"{TRAIN_IMAGES}.gz"
    packed.write_bytes(b"<html>404 Not Found</html>")
    assert f"{packed} is no archive, damaged or cut short (Not a gzipped file" in refusal(lambda: read(name, tiny))


def test_damaged_compression_is_named(name: str, tiny: Path) -> None:
    packed = tiny / FOLDERS[name] / f"{TRAIN_IMAGES}.gz"
    content = bytearray(packed.read_bytes())
    content[200:260] = b"\xff" * 60
    packed.write_bytes(content)
    assert str(packed) in refusal(lambda: read(name, tiny))


def test_a_file_with_another_checksum_is_named(name: str, tiny: Path) -> None:
    packed = tiny / FOLDERS[name] / f"{TEST_LABELS}.gz"
    content = bytearray(gzip.decompress(packed.read_bytes()))
    content[-1] ^= 1
    packed.write_bytes(gzip.compress(content))
    message = refusal(lambda: read(name, tiny))
    assert f"{packed} is not the original file or is cut short (11 bytes, MD5 {hashlib.md5(content).hexdigest()}, not" in message


def test_a_label_out_of_range_is_refused(name: str, tiny: Path) -> None:
    keep(name, tiny, TEST_LABELS, idx(np.array([0, 10, 9], np.uint8)))
    message = refusal(lambda: read(name, tiny))
    assert f"{TEST_LABELS}.gz gives image 1 a label that none of the 10 classes has" in message


def test_another_number_of_labels_than_images_is_refused(name: str, tiny: Path) -> None:
    keep(name, tiny, TEST_LABELS, idx(np.array([0, 9], np.uint8)))
    assert f"{TEST_LABELS}.gz holds 2 labels for 3 images" in refusal(lambda: read(name, tiny))


def test_a_file_that_cannot_be_read_is_named(name: str, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(gzip, "open", denied)
    assert f"{TRAIN_IMAGES}.gz cannot be read (Permission denied)" in refusal(lambda: read(name, tiny))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def mirror(name: str, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the tiny files, served on this machine in place of the second of torchvision's mirrors; the first is down."""
    raw, theirs = tiny / FOLDERS[name], getattr(torchvision.datasets, FOLDERS[name].split("/")[0])
    packed = [(path.name, hashlib.md5(path.read_bytes()).hexdigest()) for path in sorted(raw.glob("*.gz"))]
    monkeypatch.setattr(downloads, "PAUSES", ())
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(raw))) as server:
        monkeypatch.setattr(theirs, "resources", packed)
        monkeypatch.setattr(theirs, "mirrors", ["http://127.0.0.1:1/", f"http://127.0.0.1:{server.server_port}/"])
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield raw
        server.shutdown()


@pytest.mark.usefixtures("mirror")
def test_a_download_lies_where_torchvision_expects_it_and_is_read_from_there(name: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    download_idx(name, target, silent)
    assert len(list((target / FOLDERS[name]).glob("*.gz"))) == 4
    assert [part.count for part in read(name, target).parts] == [7, 3]


def test_a_file_that_is_here_unpacked_is_not_fetched(name: str, mirror: Path, tmp_path: Path) -> None:
    raw = tmp_path / "target" / FOLDERS[name]
    raw.mkdir(parents=True)
    (raw / TRAIN_IMAGES).write_bytes(gzip.decompress((mirror / f"{TRAIN_IMAGES}.gz").read_bytes()))
    download_idx(name, tmp_path / "target", silent)
    assert not (raw / f"{TRAIN_IMAGES}.gz").exists()
    assert [part.count for part in read(name, tmp_path / "target").parts] == [7, 3]


def test_a_download_that_arrives_damaged_is_refused(name: str, mirror: Path, tmp_path: Path) -> None:
    (mirror / f"{TRAIN_IMAGES}.gz").write_bytes(b"not what was promised")
    message = refusal(lambda: download_idx(name, tmp_path, silent))
    assert f"{TRAIN_IMAGES}.gz could not be fetched from http://127.0.0.1:1/" in message
    assert "Connection refused" in message
    assert "what came is not the original file" in message
    assert not (tmp_path / FOLDERS[name] / f"{TRAIN_IMAGES}.gz").exists()
