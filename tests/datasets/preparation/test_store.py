"""Prepared arrays: what is written is what is read, a changed byte is noticed, and nothing half-written ever loads."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from toy_sets import COUNTS, toy_arrays, write_toy

from clusterbench.datasets.errors import DataError
from clusterbench.datasets.preparation.manifest import FILE, read_manifest
from clusterbench.datasets.preparation.prepare import prepare
from clusterbench.datasets.preparation.store import ArrayWriter, all_or_nothing, open_store, verify_store, write_arrays
from clusterbench.datasets.source import Chunk, Part


@pytest.fixture
def store(toy: Path) -> Path:
    write_toy(toy)
    return prepare("toy", root=toy)


def test_what_was_written_is_read_back_in_the_order_of_the_splits(store: Path) -> None:
    _, whole = open_store(store)
    for name, start in (("train", 0), ("test", 6)):
        images, labels = toy_arrays(name)
        assert np.array_equal(whole.images[start : start + COUNTS[name]], images)
        assert np.array_equal(whole.labels[start : start + COUNTS[name]], labels)


def test_the_arrays_are_plain_npy_files(store: Path) -> None:
    images = np.load(store / "images.npy")
    assert (images.dtype, images.shape) == (np.dtype(np.uint8), (10, 3, 8, 8))
    assert np.load(store / "labels.npy").dtype == np.int64


def test_the_manifest_holds_checksums_that_others_can_compute(store: Path) -> None:
    manifest = read_manifest(store)
    images, labels = toy_arrays("test")
    split = manifest.splits["test"]
    assert manifest.arrays["images"].sha256 == hashlib.sha256((store / "images.npy").read_bytes()).hexdigest()
    assert split.images_sha256 == hashlib.sha256(images.tobytes()).hexdigest()
    assert split.labels_sha256 == hashlib.sha256(labels.tobytes()).hexdigest()
    assert (split.start, split.count, split.per_class, split.unknown) == (6, 4, (2, 1, 1), 0)


def test_the_arrays_are_mapped_not_copied_and_writing_to_them_changes_no_file(store: Path) -> None:
    _, whole = open_store(store)
    assert isinstance(whole.images, np.memmap)
    before = (store / "images.npy").read_bytes()
    whole.images[0, 0, 0, 0] ^= 255
    assert (store / "images.npy").read_bytes() == before
    verify_store(store)


@pytest.mark.parametrize("name", ["images.npy", "labels.npy"])
def test_a_changed_byte_is_noticed_by_verify(store: Path, name: str) -> None:
    content = bytearray((store / name).read_bytes())
    content[-1] ^= 1
    (store / name).write_bytes(content)
    open_store(store)  # the size is right, and no pixel is read
    with pytest.raises(DataError, match=rf"{name} was changed after it was written .* bench data prepare toy"):
        verify_store(store)


@pytest.mark.parametrize("change", [lambda path: path.write_bytes(path.read_bytes()[:-1]), Path.unlink], ids=["cut", "gone"])
def test_a_cut_or_missing_array_is_noticed_by_every_run(store: Path, change) -> None:
    change(store / "images.npy")
    with pytest.raises(DataError, match=r"images.npy (has [\d,]+ bytes instead of|cannot be read)") as refusal:
        open_store(store)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace('"count": 6', '"count": 5'), "was changed after it was written"),
        (lambda text: text[: len(text) // 2], "is damaged"),
        (lambda text: "[]", "is damaged"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": 99'), "newer clusterbench"),
    ],
    ids=["changed", "cut", "no mapping", "newer"],
)
def test_a_damaged_manifest_is_noticed_by_every_run(store: Path, change, message: str) -> None:
    path = store / FILE
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=message):
        open_store(store)


def test_progress_of_verifying_counts_every_byte(store: Path) -> None:
    told: list[tuple[str, int, int]] = []
    verify_store(store, lambda *about: told.append(about))
    total = sum((store / name).stat().st_size for name in ("images.npy", "labels.npy"))
    assert told[-1][1:] == (total, total)


def parts(images: np.ndarray, labels: np.ndarray, count: int | None = None) -> list[Part]:
    def chunks() -> Iterator[Chunk]:
        yield Chunk(images, labels)

    return [Part("all", len(images) if count is None else count, chunks)]


@pytest.mark.parametrize(
    ("images", "labels", "count", "message"),
    [
        (np.zeros((2, 3, 4, 4), np.uint8), np.array([0, 2]), None, "label 2 is outside -1..1"),
        (np.zeros((2, 3, 4, 4), np.uint8), np.array([0, -2]), None, "label -2 is outside -1..1"),
        (np.zeros((2, 3, 4, 4), np.uint8), np.array([0, 1]), 3, "holds 2 images where 3 were expected"),
        (np.zeros((2, 3, 4, 4), np.float32), np.array([0, 1]), None, "must give uint8"),
        (np.zeros((2, 3, 4, 4), np.uint8), np.array([0]), None, "must give uint8"),
        (np.zeros((2, 3, 5, 4), np.uint8), np.array([0, 1]), None, "The images are 3 x 5 x 4, this data set has 3 x 4 x 4"),
    ],
)
def test_a_chunk_that_is_not_what_it_must_be_is_refused(
    tmp_path: Path, images: np.ndarray, labels: np.ndarray, count: int | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        write_arrays(tmp_path, parts(images, labels, count), ("a", "b"), (3, 4, 4))


def test_label_maps_and_extents_are_stored_beside_the_images(tmp_path: Path) -> None:
    labels = np.full((2, 4, 4), -1, np.int16)
    labels[0, 0] = 1
    extents = np.array([[4, 4], [2, 3]], np.int32)
    chunk = Chunk(np.zeros((2, 3, 4, 4), np.uint8), labels, extents)
    _, splits = write_arrays(tmp_path, [Part("all", 2, lambda: iter([chunk]))], ("a", "b"))
    assert np.array_equal(np.load(tmp_path / "labels.npy"), labels)
    assert np.array_equal(np.load(tmp_path / "extents.npy"), extents)
    assert (splits["all"].per_class, splits["all"].unknown) == ((0, 4), 28)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line_and_leaves_nothing(toy: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    write_toy(toy)

    def refuse(self: ArrayWriter, array: np.ndarray) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(ArrayWriter, "append", refuse)
    with pytest.raises(DataError, match=r"The disk of .* is full .* Make room, or prepare elsewhere") as refusal:
        prepare("toy", root=toy)
    assert "\n" not in str(refusal.value)
    assert not [path for path in (toy / "prepared").iterdir() if path.is_dir()]


def test_a_failure_leaves_what_was_there_before(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    with all_or_nothing(folder) as place:
        (place / "a").write_text("old")
    with pytest.raises(UnicodeEncodeError), all_or_nothing(folder) as place:
        (place / "a").write_text("new \udcff", encoding="utf-8")
    assert (folder / "a").read_text() == "old"
    with all_or_nothing(folder) as place:
        (place / "a").write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert (folder / "a").read_text() == "new"


@pytest.mark.parametrize("step", range(12))
def test_killed_at_any_step_nothing_half_written_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """A process that dies between any two operations on the disk leaves the old set or the new one."""
    folder = tmp_path / "set"
    with all_or_nothing(folder) as place:
        (place / "a").write_text("old")

    class Killed(BaseException):
        pass

    done = 0

    def dying(real):
        def operation(*given, **named):
            nonlocal done
            done += 1
            if done > step:
                raise Killed
            return real(*given, **named)

        return operation

    with monkeypatch.context() as patch:
        for owner, name in ((Path, "rename"), (Path, "mkdir"), (os, "fsync")):
            patch.setattr(owner, name, dying(getattr(owner, name)))
        patch.setattr(
            "clusterbench.datasets.preparation.store._remove", dying(lambda path: None)
        )  # a killed process removes nothing
        try:
            with all_or_nothing(folder) as place:
                (place / "a").write_text("half")
                (place / "a").write_text("new")
        except Killed:
            pass
    with all_or_nothing(tmp_path / "other"):
        pass
    if folder.exists():
        assert (folder / "a").read_text() in ("old", "new")
    with all_or_nothing(folder) as place:  # the next one clears up whatever was left
        (place / "a").write_text("newest")
    assert (folder / "a").read_text() == "newest"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "set"]


def test_the_manifest_is_readable_json(store: Path) -> None:
    content = json.loads((store / FILE).read_text())
    assert content["splits"]["train"]["count"] == 6
    assert set(content["fingerprints"]) == {"toy/full", "toy/split", "toy-2/full", "toy-2/split"}
