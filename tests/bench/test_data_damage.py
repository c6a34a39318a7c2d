"""Ten kinds of damage to a user's data: each ends in one clear line, a non-zero exit, and nothing half-written."""

from __future__ import annotations

import errno
import gzip
import io
import os
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from cli_tools import Bench, Ran
from PIL import Image

from clusterbench.datasets.catalogue import datasets
from clusterbench.datasets.preparation.store import ArrayWriter


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three sound images in two class folders."""
    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 12), (200, len(name), 0)).save(path)
    return tmp_path / "photos"


def refused(ran: Ran, root: Path, *words: str) -> None:
    """One line on standard error that has all of `words`, exit code 1, and no arrays."""
    assert ran.code == 1
    assert len(ran.err.strip().splitlines()) == 1, ran.err
    assert [word for word in words if word not in ran.err] == [], ran.err
    assert not [path for path in (root / "prepared").glob("*") if path.is_dir()]


def prepare(bench: Bench, root: Path, name: str, *words: str) -> Ran:
    return bench("data", "prepare", name, *words, "--data-root", str(root))


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(head + array.astype(np.uint8).tobytes()))


def test_1_a_truncated_archive(bench: Bench, root: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        content = os.urandom(100_000)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    (root / "cifar-10-python.tar.gz").write_bytes(packed.getvalue()[:50_000])
    refused(prepare(bench, root, "cifar10"), root, "cifar-10-python.tar.gz")


def test_2_a_wrong_checksum(bench: Bench, root: Path) -> None:
    for file in datasets.card("mnist")["layouts"][0]:
        write_idx(root / file, np.zeros((3, 28, 28) if "images" in file else 3))
    refused(prepare(bench, root, "mnist"), root, "MD5", "train-images-idx3-ubyte")


def test_3_a_missing_split(bench: Bench, root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "usps"
    folder.mkdir()
    np.savez(folder / "train.npz", images=np.zeros((7291, 16, 16), np.uint8), labels=np.arange(7291) % 10)
    refused(prepare(bench, root, "usps", "--from", str(folder)), root, "no test (2,007 images)", "--partial")


def test_4_a_label_out_of_range(bench: Bench, root: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    np.savez(path, images=np.zeros((3, 8, 8), np.uint8), labels=np.array([0, 1, 2]), class_names=np.array(["a", "b"]))
    refused(prepare(bench, root, f"npz:{path}"), root, "own.npz", "2")


def test_5_a_file_that_is_no_image(bench: Bench, root: Path, photos: Path) -> None:
    (photos / "cat/3.png").write_text("not a picture")
    refused(prepare(bench, root, f"folder:{photos}"), root, "cat/3.png")


def test_6_odd_images_are_taken_with_a_note_and_huge_ones_refused(bench: Bench, root: Path, photos: Path) -> None:
    Image.new("CMYK", (12, 12), (0, 90, 90, 0)).save(photos / "cat/3.jpg")
    Image.fromarray(np.full((12, 12), 40_000, np.uint16)).save(photos / "dog/2.png")
    frames = [Image.new("RGB", (12, 12), (0, shade, 0)) for shade in (10, 200)]
    frames[0].save(photos / "dog/3.gif", save_all=True, append_images=frames[1:])
    ran = prepare(bench, root, f"folder:{photos}")
    assert ran.code == 0
    assert "6 images of 3x12x12" in ran.out
    for word in ("CMYK", "16-bit", "first frame"):
        assert word in ran.out, ran.out
    folder = next(path for path in (root / "prepared").iterdir() if path.is_dir())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    Image.new("1", (60_000, 60_000)).save(photos / "dog/4.png")
    ran = prepare(bench, root, f"folder:{photos}")
    assert (ran.code, len(ran.err.strip().splitlines())) == (1, 1)
    assert "dog/4.png" in ran.err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_7_an_empty_class(bench: Bench, root: Path, photos: Path) -> None:
    (photos / "owl").mkdir()
    refused(prepare(bench, root, f"folder:{photos}"), root, "owl")


def test_8_an_unreadable_file(bench: Bench, root: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even for root, who may read everything: the file system refuses."""
    closed = photos / "cat/2.png"
    real = io.open

    def refusing(file, *given, **named):
        if str(file) == str(closed):
            raise PermissionError(errno.EACCES, "Permission denied", str(closed))
        return real(file, *given, **named)

    monkeypatch.setattr("builtins.open", refusing)
    monkeypatch.setattr("io.open", refusing)
    refused(prepare(bench, root, f"folder:{photos}"), root, "cat/2.png", "Permission denied")


def test_9_a_full_disk(bench: Bench, root: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: ArrayWriter, array: np.ndarray) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ArrayWriter, "append", refuse)
    refused(prepare(bench, root, f"folder:{photos}"), root, "is full", "Make room")


def test_10_two_processes_at_once(root: Path) -> None:
    """Both end well, one of them having waited, and the arrays are whole."""
    command = [sys.executable, "-c", "import sys; from clusterbench.bench.cli import main; sys.exit(main(sys.argv[1:]))"]
    words = ["data", "prepare", "cifar10@sample", "--data-root", str(root), "--quiet"]
    both = [subprocess.Popen([*command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
        assert out.startswith("cifar10@sample")
    subprocess.run([*command, "data", "verify", "--data-root", str(root)], check=True, capture_output=True)
