"""Arrays that people saved: read in chunks as numpy reads them whole; each kind of damage ends in one line."""

from __future__ import annotations

import io
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clusterbench.datasets import arrays
from clusterbench.datasets.arrays import read_arrays
from clusterbench.datasets.catalogue import datasets
from clusterbench.datasets.errors import DataError
from clusterbench.datasets.source import Chunk, Part, Source, silent


def images_of(count: int = 7, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *(shape or (6, 5, 3))), dtype=np.uint8)


def read(path: Path, **about: Any) -> Source:
    source = read_arrays(path, silent, **about)
    assert source is not None
    return source


def whole(part: Part) -> Chunk:
    """All chunks of a part as one, of a part that keeps its promise of the count."""
    chunks = list(part.chunks())
    joined = Chunk(np.concatenate([chunk.images for chunk in chunks]), np.concatenate([chunk.labels for chunk in chunks]))
    assert len(joined.images) == len(joined.labels) == part.count
    return joined


def refusal(path: Path, **about: Any) -> str:
    """The one line with which `path` is refused, now or at a later chunk."""
    with pytest.raises(DataError) as refused:
        [whole(part) for part in read(path, **about).parts]
    message = str(refused.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_chunks_hold_what_numpy_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Callable[..., None]) -> None:
    images, labels = images_of(11), np.array([2, 0, -1, 1, 1, 2, 0, 0, 1, 2, -1], np.int32)
    save(tmp_path / "a.npz", images=images, labels=labels)
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 4 * 90)
    (part,) = read(tmp_path / "a.npz").parts
    assert part.split == "all"
    assert [len(chunk.images) for chunk in part.chunks()] == [4, 4, 3]
    with np.load(tmp_path / "a.npz") as loaded:
        np.testing.assert_array_equal(whole(part).images.transpose(0, 2, 3, 1), loaded["images"])
        np.testing.assert_array_equal(whole(part).labels, loaded["labels"])
    assert whole(part).labels.dtype == np.int64


def test_grey_images_need_no_channel_axis(tmp_path: Path) -> None:
    images = images_of(4, 6, 5)
    np.savez(tmp_path / "a.npz", images=images)
    source = read(tmp_path / "a.npz")
    chunk = whole(source.parts[0])
    np.testing.assert_array_equal(chunk.images[:, 0], images)
    assert chunk.labels.tolist() == [-1] * 4
    assert source.class_names == ()


def test_arrays_in_fortran_order_are_read_as_numpy_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.asfortranarray(images_of(9))
    np.savez(tmp_path / "a.npz", images=images)
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 180)
    np.testing.assert_array_equal(whole(read(tmp_path / "a.npz").parts[0]).images, images.transpose(0, 3, 1, 2))


def test_a_folder_gives_its_splits_in_their_order(tmp_path: Path) -> None:
    for seed, name in enumerate(("unlabelled", "val", "train", "notes")):
        np.savez(tmp_path / f"{name}.npz", images=images_of(seed + 2, seed=seed))
    parts = read(tmp_path).parts
    assert [(part.split, part.count) for part in parts] == [("train", 4), ("test", 3), ("unlabeled", 2)]
    np.testing.assert_array_equal(whole(parts[1]).images, images_of(3, seed=1).transpose(0, 3, 1, 2))


def test_nothing_is_found_where_there_are_no_arrays(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train.npy").write_bytes(b"")
    assert read_arrays(tmp_path, silent) is None
    assert read_arrays(tmp_path / "train.npy", silent) is None
    assert read_arrays(tmp_path / "absent.npz", silent) is None


def test_classes_are_numbered_without_names_and_named_with_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "train.npz", images=images_of(4), labels=[0, 2, 1, 1])
    np.savez(tmp_path / "test.npz", images=images_of(4), labels=[3, 2, 1, -1])
    assert read(tmp_path).class_names == ("0", "1", "2", "3")
    np.savez(tmp_path / "test.npz", images=images_of(4), labels=[3, 2, 1, -1], class_names=["a", "b", "é", "d", "e"])
    assert read(tmp_path).class_names == ("a", "b", "é", "d", "e")


def test_names_in_another_order_than_the_known_one_renumber_the_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=images_of(4), labels=[0, 2, -1, 1], class_names=["Sea_lion", "cat", "ant"])
    source = read(tmp_path / "a.npz", class_names=("ant", "cat", "sea lion"))
    assert whole(source.parts[0]).labels.tolist() == [2, 0, -1, 1]
    assert source.class_names == ("ant", "cat", "sea lion")
    assert source.notes == ()
    other = read(tmp_path / "a.npz", class_names=("ant", "cat", "dog"))
    assert whole(other.parts[0]).labels.tolist() == [0, 2, -1, 1]
    assert other.class_names == ("Sea_lion", "cat", "ant")
    assert "other names" in other.notes[0]


def test_reading_holds_a_few_chunks_and_not_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((4000, 32, 32, 3), np.uint8))  # 12 MB
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 1 << 18)
    part = read(tmp_path / "a.npz").parts[0]
    tracemalloc.start()
    for _ in part.chunks():
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": images_of().astype(np.float32) / 255}, "float32, not uint8"),
        ({"images": images_of().astype(np.uint16)}, "uint16, not uint8"),
        ({"images": images_of().transpose(0, 3, 1, 2)}, r"channels first. Save images.transpose(0, 2, 3, 1)"),
        ({"images": images_of(7, 6, 5, 2)}, "C = 1, 3 or 4"),
        ({"images": images_of(7, 6)}, "(7, 6)"),
        ({"images": images_of(0, 6, 5)}, "empty"),
        ({"x": images_of()}, "no array 'images', but x"),
        ({"images": images_of(), "labels": np.zeros(6, int)}, "7 images, but labels of shape (6,)"),
        ({"images": images_of(), "labels": np.zeros((7, 1), int)}, "labels of shape (7, 1)"),
        ({"images": images_of(), "labels": np.zeros(7)}, "float64, not integers"),
        ({"images": images_of(), "labels": [0, 1, -2, 0, 1, 0, 1]}, "label -2 is out of range"),
        ({"images": images_of(), "labels": np.full(7, 2**64 - 1, np.uint64)}, "label 18446744073709551615 is out of range"),
        ({"images": images_of(), "labels": [0, 1, 5, 0, 1, 0, 1], "class_names": ["a", "b"]}, "label 5 is out of range"),
        ({"images": images_of(), "labels": [0, 1, 900, 0, 1, 0, 1]}, "label 900 among only 7 images"),
        ({"images": images_of(), "class_names": np.array(["a", "b"], object)}, "np.array(names, dtype=str)"),
        ({"images": images_of(), "labels": np.array([0] * 7, object)}, "Python objects, which are never unpickled"),
        ({"images": images_of(), "class_names": np.zeros(3)}, "not a list of text"),
    ],
)
def test_unsuitable_arrays_are_refused_in_one_line(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    np.savez(folder / "train.npz", **content)
    assert message in refusal(folder)


def test_splits_of_different_shapes_or_names_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "train.npz", images=images_of(), class_names=["a", "b"])
    np.savez(tmp_path / "test.npz", images=images_of(7, 6, 6, 3))
    assert "those of train.npz have (3, 6, 5)" in refusal(tmp_path)
    np.savez(tmp_path / "test.npz", images=images_of(), class_names=["b", "a"])
    assert "different class_names" in refusal(tmp_path)
    np.savez(tmp_path / "all.npz", images=images_of())
    assert "both all.npz and train.npz" in refusal(tmp_path)


def test_a_named_data_set_must_have_its_shape(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=images_of())
    assert read(tmp_path / "a.npz", shape=[3, 6, 5]).parts[0].count == 7
    assert "expected (3, 32, 32)" in refusal(tmp_path / "a.npz", shape=[3, 32, 32])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_file_cut_anywhere_is_damaged(tmp_path: Path, save: Callable[..., None]) -> None:
    path = tmp_path / "a.npz"
    save(path, images=images_of(), labels=np.zeros(7, int))
    content = path.read_bytes()
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        assert "damaged or cut short" in refusal(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_changed_byte_of_the_pixels_is_noticed(tmp_path: Path, save: Callable[..., None]) -> None:
    path = tmp_path / "a.npz"
    save(path, images=images_of())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "damaged or cut short" in refusal(path)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (b"", "damaged or cut short|numpy does not write"),
        (b"\x93NUMPY\x01\x00garbage", "damaged or cut short|numpy does not write"),
        (b"\x93NUMPY\x09\x00" + bytes(100), "version"),
    ],
)
def test_what_is_no_array_inside_the_archive_is_refused(tmp_path: Path, member: bytes, message: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", member)
    assert any(part in refusal(tmp_path / "a.npz") for part in message.split("|"))


def test_a_head_that_claims_more_than_there_is_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 96, 96, 3)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", stream.getvalue() + bytes(1000))
    assert "cannot have 1000 bytes" in refusal(tmp_path / "a.npz")


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_text("images")
    assert "damaged or cut short" in refusal(tmp_path / "a.npz")


def test_a_file_that_the_system_refuses_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "a.npz", images=images_of())

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(zipfile.ZipFile, "_RealGetContents", refuse)
    assert "cannot be read (Permission denied)" in refusal(tmp_path / "a.npz")


def test_four_channels_are_noted_as_infrared(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=images_of(7, 6, 5, 4))
    assert "infrared" in read(tmp_path / "a.npz").notes[0]
    assert read(tmp_path / "a.npz", shape=(4, 6, 5)).notes == ()


def test_the_public_name_stands_for_this_reader() -> None:
    assert datasets.get("npz:PATH").read is read_arrays


@pytest.fixture(scope="session")
def unpacked_stl10(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """STL-10 as train.npz (5,000 images) and unlabeled.npz (4,000)."""
    out = tmp_path_factory.mktemp("real")
    subprocess.run([sys.executable, shared_data / "unpack.py", out, "stl10"], check=True, capture_output=True)
    return out / "stl10"


def test_real_images_in_chunks_are_those_that_numpy_loads(unpacked_stl10: Path) -> None:
    source = read(unpacked_stl10, shape=[3, 96, 96])
    assert [(part.split, part.count) for part in source.parts] == [("train", 5000), ("unlabeled", 4000)]
    assert len(source.class_names) == 10
    for part in source.parts:
        with np.load(unpacked_stl10 / f"{part.split}.npz") as loaded:
            images, labels = loaded["images"], loaded["labels"]
        start = 0
        for chunk in part.chunks():
            stop = start + len(chunk.images)
            np.testing.assert_array_equal(chunk.images.transpose(0, 2, 3, 1), images[start:stop])
            np.testing.assert_array_equal(chunk.labels, labels[start:stop])
            start = stop
        assert start == len(images)
    train = np.concatenate([chunk.labels for chunk in source.parts[0].chunks()])
    assert np.bincount(train).tolist() == [500] * 10
