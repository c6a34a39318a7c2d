"""The reader of USPS against torchvision's reading of the same small files, and damage to them."""

from __future__ import annotations

import bz2
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torchvision

from clusterbench.datasets import usps
from clusterbench.datasets.catalogue import datasets
from clusterbench.datasets.errors import DataError
from clusterbench.datasets.source import Source, silent


def line(label: int, values: np.ndarray) -> str:
    """As LIBSVM's collection writes it, e.g. `7 1:-1 2:-0.734 ... 256:-1 `."""
    return f"{label} " + " ".join(f"{i}:{value:.7g}" for i, value in enumerate(values, 1)) + " \n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seven training and three test images, whose checksums stand in the card for the moment."""
    random = np.random.default_rng(0)
    monkeypatch.setitem(datasets.card("usps"), "md5", {})
    for name, labels in (("usps.bz2", [7, 1, 10, 2, 5, 5, 9]), ("usps.t.bz2", [10, 1, 3])):
        values = np.clip(random.normal(0, 1, (len(labels), 256)), -1, 1).round(4)
        keep(tmp_path, name, "".join(map(line, labels, values)))
    return tmp_path


def keep(folder: Path, name: str, text: str) -> None:
    """Write a file as if it were an original one."""
    content = bz2.compress(text.encode())
    (folder / name).write_bytes(content)
    datasets.card("usps")["md5"][name] = hashlib.md5(content).hexdigest()


def read(path: Path) -> Source:
    source = usps.read_usps(path, silent)
    assert source is not None
    return source


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as refused:
        read(path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_the_checksums_are_torchvisions() -> None:
    assert datasets.card("usps")["md5"] == {name: md5 for _, name, md5 in torchvision.datasets.USPS.split_list.values()}


def test_images_and_labels_are_those_that_torchvision_reads(folder: Path) -> None:
    parts = read(folder).parts
    assert [(part.split, part.count, part.verified) for part in parts] == [("train", 7, True), ("test", 3, True)]
    for part in parts:
        (chunk,) = part.chunks()
        theirs = torchvision.datasets.USPS(str(folder), train=part.split == "train")
        assert chunk.images.shape == (part.count, 1, 16, 16)
        assert np.array_equal(chunk.images[:, 0], theirs.data)
        assert chunk.labels.tolist() == theirs.targets


def test_the_ends_of_the_range_become_black_and_white_and_the_fraction_is_cut_off() -> None:
    values = np.full(256, -1.0)
    values[:4] = [1, 0, 0.004, -0.999]  # (v + 1) / 2 * 255 = 255, 127.5, 128.01, 0.1275
    images, labels = usps.parse_libsvm(line(10, values))
    assert images[0, 0, 0, :5].tolist() == [255, 127, 128, 0, 0]
    assert labels.tolist() == [9]


@pytest.mark.parametrize("inside", ["usps", "usps/usps.t.bz2"])
def test_the_files_are_found_from_whatever_is_pointed_at(folder: Path, tmp_path: Path, inside: str) -> None:
    target = tmp_path / "root" / "usps"
    target.mkdir(parents=True)
    for path in folder.glob("*.bz2"):
        path.rename(target / path.name)
    for path in (target, target.parent, target.parent / inside):
        assert [part.count for part in read(path).parts] == [7, 3]


def test_a_folder_of_something_else_holds_nothing_of_it(tmp_path: Path) -> None:
    assert usps.read_usps(tmp_path, silent) is None


def test_a_split_that_is_not_there_is_left_out(folder: Path) -> None:
    (folder / "usps.bz2").unlink()
    source = read(folder)
    assert [part.split for part in source.parts] == ["test"]
    assert list(source.files) == ["usps.t.bz2"]


def test_a_file_cut_short_is_named(folder: Path) -> None:
    path = folder / "usps.bz2"
    path.write_bytes(path.read_bytes()[:-20])
    assert f"{path} is not the original file or is cut short" in refusal(folder)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (line(11, np.zeros(256)), "gives image 0 a label that none of the 10 classes has"),
        (line(0, np.zeros(256)), "gives image 0 a label that none of the 10 classes has"),
        (line(1, np.full(256, 1.5)), "pixel values outside of [-1, 1]"),
        (line(1, np.full(256, np.nan)), "pixel values outside of [-1, 1]"),
        (line(1, np.zeros(255)), "cannot reshape"),
        (line(1, np.zeros(257)) + line(1, np.zeros(255)), "do not number the pixels"),
        ("digits, as agreed", "could not convert"),
    ],
)
def test_a_file_with_other_content_is_named(folder: Path, text: str, why: str) -> None:
    keep(folder, "usps.t.bz2", text)
    message = refusal(folder)
    assert str(folder / "usps.t.bz2") in message
    assert why in message


@pytest.mark.parametrize("content", [b"not packed", bz2.compress(b"1 1:0" * 99)[:-9]])
def test_a_file_that_does_not_unpack_is_named(folder: Path, content: bytes) -> None:
    (folder / "usps.bz2").write_bytes(content)
    datasets.card("usps")["md5"]["usps.bz2"] = hashlib.md5(content).hexdigest()
    assert str(folder / "usps.bz2") in refusal(folder)


def test_a_file_that_cannot_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert f"{folder / 'usps.bz2'} cannot be read (Permission denied)" in refusal(folder)


def test_a_download_asks_for_torchvisions_files_at_its_places_with_its_checksums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(usps, "fetch", lambda url, target, *, md5, progress, what: asked.append([url, target, md5]))
    usps.download_usps(tmp_path, silent)
    assert asked == [[url, tmp_path / name, md5] for url, name, md5 in torchvision.datasets.USPS.split_list.values()]
