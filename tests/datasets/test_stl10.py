"""The reader of STL-10 on small archives in the original layout, and on the real training images written as the original."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image

from clusterbench.datasets import stl10
from clusterbench.datasets.catalogue import datasets
from clusterbench.datasets.errors import DataError
from clusterbench.datasets.source import Part, Source, silent

COUNTS = {"train": 4, "test": 3, "unlabeled": 5}
IMAGE = 96 * 96 * 3
FILES = ["test_X.bin", "test_y.bin", "train_X.bin", "train_y.bin", "unlabeled_X.bin"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with the unpacked folder, whose checksums stand in the card for the moment."""
    monkeypatch.setitem(datasets.card("stl10"), "md5", {})
    (tmp_path / "stl10_binary").mkdir()
    random = np.random.default_rng(0)
    for split, count in COUNTS.items():
        keep(tmp_path, f"{split}_X.bin", random.bytes(count * IMAGE))
        if split != "unlabeled":
            keep(tmp_path, f"{split}_y.bin", random.integers(1, 11, count, dtype=np.uint8).tobytes())
    (tmp_path / "stl10_binary" / "class_names.txt").write_text("airplane\nbird\n")
    return tmp_path


def keep(root: Path, name: str, content: bytes) -> None:
    """Write a file as if it were an original one."""
    (root / "stl10_binary" / name).write_bytes(content)
    datasets.card("stl10")["md5"][name] = hashlib.md5(content).hexdigest()


def pack(root: Path) -> Path:
    """The folder as an archive in its stead, as if it were the original one."""
    folder, archive = root / "stl10_binary", root / "stl10_binary.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, f"stl10_binary/{path.name}")
            path.unlink()
    folder.rmdir()
    datasets.card("stl10")["md5"][archive.name] = hashlib.md5(archive.read_bytes()).hexdigest()
    return archive


def pack_if(packed: bool, root: Path) -> Path:
    return pack(root) if packed else root / "stl10_binary"


def read(path: Path) -> Source:
    source = stl10.read_stl10(path, silent)
    assert source is not None
    return source


def drain(part: Part) -> tuple[np.ndarray, np.ndarray]:
    chunks = list(part.chunks())
    images, labels = (np.concatenate([getattr(chunk, what) for chunk in chunks]) for what in ("images", "labels"))
    assert len(images) == len(labels) == part.count
    return images, labels


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as refused:
        [drain(part) for part in read(path).parts]
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_the_checksums_are_torchvisions() -> None:
    theirs = torchvision.datasets.STL10
    expected = {theirs.filename: theirs.tgz_md5, **dict([*theirs.train_list, *theirs.test_list])}
    assert datasets.card("stl10")["md5"] == expected


@pytest.mark.parametrize("packed", [True, False])
def test_images_and_labels_are_those_that_torchvision_reads(root: Path, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.STL10, "_check_integrity", lambda self: True)
    expected = {split: torchvision.datasets.STL10(str(root), split=split) for split in COUNTS}
    where = pack_if(packed, root)
    source = read(root)
    assert source.where == where
    assert [(part.split, part.count) for part in source.parts] == list(COUNTS.items())
    for part in source.parts:
        images, labels = drain(part)
        assert part.verified
        assert images.dtype == np.uint8
        assert labels.dtype == np.int64
        assert np.array_equal(images, expected[part.split].data)
        assert labels.tolist() == expected[part.split].labels.tolist()


def test_pixels_of_the_files_run_down_the_columns(root: Path) -> None:
    content = bytearray(4 * IMAGE)
    content[IMAGE + 96 * 96 + 2 * 96 + 7] = 200  # of the second image: the green of the pixel in column 2, row 7
    keep(root, "train_X.bin", bytes(content))
    images, _ = drain(read(root).parts[0])
    assert np.argwhere(images).tolist() == [[1, 1, 7, 2]]


def test_chunks_can_be_read_again_and_in_any_order(root: Path) -> None:
    pack(root)
    parts = read(root).parts
    last_first = [drain(part)[0] for part in parts[::-1]][::-1]
    for images, part in zip(last_first, parts, strict=True):
        assert np.array_equal(images, drain(part)[0])


def test_the_originals_are_found_from_whatever_is_pointed_at(root: Path) -> None:
    folder = root / "stl10_binary"
    for path in (root, folder, folder / "unlabeled_X.bin"):
        source = read(path)
        assert source.where == folder
        assert sorted(source.files) == FILES
    archive = pack(root)
    for path in (root, archive):
        source = read(path)
        assert source.where == archive
        assert source.files == {archive.name: f"md5:{hashlib.md5(archive.read_bytes()).hexdigest()}"}


def test_unpacked_files_may_be_packed_one_by_one(root: Path) -> None:
    folder = root / "stl10_binary"
    expected = [drain(part)[0] for part in read(root).parts]
    for name in FILES:
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes(), 1))
        (folder / name).unlink()
    for images, part in zip(expected, read(root).parts, strict=True):
        assert np.array_equal(images, drain(part)[0])


def test_a_folder_of_something_else_holds_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "stl10_binary").mkdir()
    assert stl10.read_stl10(tmp_path, silent) is None


def test_a_large_archive_is_read_in_little_memory(root: Path) -> None:
    count = 2000
    keep(root, "unlabeled_X.bin", bytes(count * IMAGE))  # 55 MB
    pack(root)
    tracemalloc.start()
    images = sum(len(chunk.images) for part in read(root).parts for chunk in part.chunks())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert images == 4 + 3 + count
    assert peak < 40_000_000  # some blocks of 4 MB


@pytest.mark.parametrize("packed", [True, False])
def test_a_split_that_is_not_there_is_left_out(root: Path, packed: bool) -> None:
    (root / "stl10_binary" / "unlabeled_X.bin").unlink()
    pack_if(packed, root)
    assert [part.split for part in read(root).parts] == ["train", "test"]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("absent", ["test_X.bin", "test_y.bin"])
def test_half_a_split_is_refused(root: Path, packed: bool, absent: str) -> None:
    (root / "stl10_binary" / absent).unlink()
    where = pack_if(packed, root)
    assert f"{where} lacks {absent}, the other half of test" in refusal(root)


def test_an_archive_cut_short_is_named(root: Path) -> None:
    archive = pack(root)
    archive.write_bytes(archive.read_bytes()[:-1000])
    assert f"{archive} is not the original file or is cut short" in refusal(root)


def test_an_archive_cut_short_is_named_even_if_that_is_what_was_expected(root: Path) -> None:
    archive = pack(root)
    archive.write_bytes(archive.read_bytes()[:-60_000])
    datasets.card("stl10")["md5"][archive.name] = hashlib.md5(archive.read_bytes()).hexdigest()
    message = refusal(root)
    assert str(archive) in message
    assert "cut short" in message


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_noticed(root: Path, name: str) -> None:
    path = root / "stl10_binary" / name
    content = bytearray(path.read_bytes())
    content[1] ^= 1
    path.write_bytes(content)
    assert f"{path} is not the original file" in refusal(root)


@pytest.mark.parametrize("label", [0, 11])
@pytest.mark.parametrize("packed", [True, False])
def test_a_label_out_of_range_is_refused(root: Path, label: int, packed: bool) -> None:
    keep(root, "test_y.bin", bytes([1, label, 10]))
    where = pack_if(packed, root)
    assert f"{where / 'test_y.bin'} gives image 1 a label that none of the 10 classes has" in refusal(root)


def test_another_number_of_labels_than_images_is_refused(root: Path) -> None:
    keep(root, "train_y.bin", bytes([1, 2, 3]))
    assert "train_y.bin holds 3 labels for 4 images" in refusal(root)


def test_a_file_that_ends_within_an_image_is_refused(root: Path) -> None:
    keep(root, "unlabeled_X.bin", bytes(IMAGE + 5))
    assert "unlabeled_X.bin ends within an image, 5 of its 27,648 bytes in" in refusal(root)


def test_a_file_that_becomes_shorter_while_it_is_read_is_noticed(root: Path) -> None:
    part = read(root).parts[0]
    path = root / "stl10_binary" / "train_X.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="train_X.bin has become shorter"):
        drain(part)


def test_a_member_that_is_a_link_is_refused(root: Path) -> None:
    archive = root / "stl10_binary.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        link = tarfile.TarInfo("stl10_binary/train_X.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link, io.BytesIO())
    datasets.card("stl10")["md5"][archive.name] = hashlib.md5(archive.read_bytes()).hexdigest()
    assert "is a link" in refusal(archive)


def test_a_file_that_cannot_be_read_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert "train_X.bin cannot be read (Permission denied)" in refusal(root)


def test_a_download_asks_for_torchvisions_archive_at_its_place_with_its_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(stl10, "fetch", lambda url, target, *, md5, progress, what: asked.append((url, target, md5)))
    stl10.download_stl10(tmp_path, silent)
    theirs = torchvision.datasets.STL10
    assert asked == [(theirs.url, tmp_path / theirs.filename, theirs.tgz_md5)]


def sheet(path: Path) -> np.ndarray:
    """The tiles of a sheet, row by row, uint8 (N, 96, 96, 3)."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    return pixels.reshape(pixels.shape[0] // 96, 96, -1, 96, 3).swapaxes(1, 2).reshape(-1, 96, 96, 3)


def test_the_real_training_images_are_read_from_a_file_with_the_original_checksum(shared_data: Path, tmp_path: Path) -> None:
    tiles = np.concatenate([sheet(shared_data / "stl10" / f"train_{i}.webp") for i in range(1, 6)])
    with np.load(shared_data / "stl10" / "labels.npz") as stored:
        labels, class_names = stored["train_labels"], stored["class_names"]
    (tmp_path / "train_X.bin").write_bytes(np.ascontiguousarray(tiles.transpose(0, 3, 2, 1)).tobytes())
    (tmp_path / "train_y.bin").write_bytes((labels + 1).astype(np.uint8).tobytes())
    source = read(tmp_path)
    images, found = drain(source.parts[0])
    assert source.class_names == tuple(class_names)
    assert np.array_equal(found, labels)
    assert np.bincount(found).tolist() == [500] * 10
    for index in (0, 1234, 4999):
        assert np.array_equal(images[index].transpose(1, 2, 0), tiles[index])
    assert datasets.card("stl10")["checksums"]["train"][hashlib.sha256(images.tobytes()).hexdigest()] == "original"


def folds_text(folds: int = 10, images: int = 4) -> str:
    """A file like the original fold_indices.txt: a line for each fold, numbers with a space after each."""
    random = np.random.default_rng(1)
    return "".join("".join(f"{row} " for row in random.permutation(images)[:2]) + "\n" for _ in range(folds))


def with_folds(root: Path, text: str) -> Path:
    (root / "stl10_binary" / "fold_indices.txt").write_text(text)
    return root


@pytest.mark.parametrize("packed", [True, False])
def test_the_folds_are_those_that_torchvision_reads(root: Path, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with_folds(root, folds_text())
    monkeypatch.setattr(torchvision.datasets.STL10, "_check_integrity", lambda self: True)
    theirs = [torchvision.datasets.STL10(str(root), split="train", folds=fold) for fold in range(10)]
    where = pack_if(packed, root)
    train = read(where).parts[0]
    images, labels = drain(train)
    assert list(train.subsets) == [f"fold {fold}" for fold in range(10)]
    for rows, expected in zip(train.subsets.values(), theirs, strict=True):
        assert np.array_equal(images[rows], expected.data)
        assert labels[rows].tolist() == expected.labels.tolist()
    assert not read(where).parts[1].subsets


def test_the_folds_are_known_by_their_checksum(root: Path) -> None:
    assert "fold_indices.txt" not in read(root).files
    text = folds_text()
    assert read(with_folds(root, text)).files["fold_indices.txt"] == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (folds_text(9), "fold_indices.txt holds 9 folds instead of 10"),
        ("0 1\n" * 9 + "0 4\n", "fold 9 names an image twice, or one that train does not have"),
        ("0 1\n" * 9 + "1 1\n", "fold 9 names an image twice"),
        ("0 -1\n" * 10, "fold 0 names an image twice, or one"),
        ("0 cat\n" * 10, "holds something else than numbers"),
    ],
)
def test_folds_that_are_no_parts_of_train_are_refused(root: Path, text: str, wrong: str) -> None:
    assert wrong in refusal(with_folds(root, text))


def test_the_folds_reach_the_images_that_learn_from_labels(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from clusterbench.datasets.preparation.prepare import load_prepared

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(datasets.card("stl10"), "splits", COUNTS)
    monkeypatch.setattr(stl10, "FOLD_COUNT", 2)
    with_folds(root, "3 0 \n1 2 \n")
    dataset = load_prepared("stl10", root=root)
    learned = dataset.under("semi-supervised")
    assert learned.mapping is not None and learned.mapping_labels is not None
    assert {name: rows.tolist() for name, rows in learned.mapping.roles.items()} == {"fold 0": [3, 0], "fold 1": [1, 2]}
    assert np.array_equal(learned.mapping.pixels.numpy(), dataset.splits["train"].images)
    for protocol in ("full", "split"):
        other = dataset.under(protocol)  # pyright: ignore[reportArgumentType]
        assert other.mapping is None and not any(name.startswith("fold") for name in (*other.train.roles, *other.score.roles))
    swapped = load_prepared("stl10", root=with_folds(move(root, tmp_path / "other"), "1 2 \n3 0 \n"))
    assert swapped.under("semi-supervised").fingerprint != learned.fingerprint
    assert swapped.under("full").fingerprint == dataset.under("full").fingerprint


def move(root: Path, target: Path) -> Path:
    target.mkdir()
    (root / "stl10_binary").rename(target / "stl10_binary")
    return target
