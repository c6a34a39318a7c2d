"""The reader of CIFAR-10 and CIFAR-100 on small archives in the original layout, pickled as Python 2 did it."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torchvision

from clusterbench.datasets import cifar
from clusterbench.datasets.catalogue import datasets
from clusterbench.datasets.errors import DataError
from clusterbench.datasets.source import Part, Source, silent

FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
ARCHIVES = {"cifar10": "cifar-10-python.tar.gz", "cifar100": "cifar-100-python.tar.gz"}
BATCHES = {"cifar10": [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"], "cifar100": ["train", "test"]}
FINE = {"cifar10": b"labels", "cifar100": b"fine_labels"}
SUPERCLASSES = {  # the table on the home page of the data set
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}


class Python2Pickler(pickle._Pickler):
    """Writes bytes as the strings of Python 2, and arrays as its numpy did."""

    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)

    def save_bytes(self, obj: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(obj)) + obj)
        self.memoize(obj)

    dispatch[bytes] = save_bytes


def pickled(batch: Any) -> bytes:
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(batch)
    return file.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def batch(name: str, seed: int, count: int = 4) -> dict[bytes, Any]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 10 if name == "cifar10" else 100, count)
    content: dict[bytes, Any] = {
        b"batch_label": b"a batch of the tests",
        b"data": random.integers(0, 256, (count, 3072), dtype=np.uint8),
        b"filenames": [b"thing_s_%06d.png" % i for i in range(count)],
        FINE[name]: labels.tolist(),
    }
    if name == "cifar100":
        content[b"coarse_labels"] = [superclass_of(label) for label in labels]
    return content


def superclass_of(fine: int) -> int:
    word = datasets.card("cifar100")["class_names"][fine]
    return next(i for i, members in enumerate(SUPERCLASSES.values()) if word in members.split())


@pytest.fixture(params=FOLDERS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def root(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with the unpacked folder, whose checksums stand in the card for the moment."""
    monkeypatch.setitem(datasets.card(name), "md5", {})
    (tmp_path / "root" / FOLDERS[name]).mkdir(parents=True)
    for seed, file in enumerate(BATCHES[name]):
        keep(name, tmp_path / "root", file, pickled(batch(name, seed)))
    return tmp_path / "root"


def keep(name: str, root: Path, file: str, content: bytes) -> None:
    """Write a batch as if it were an original one."""
    (root / FOLDERS[name] / file).write_bytes(content)
    datasets.card(name)["md5"][file] = hashlib.md5(content).hexdigest()


def pack(name: str, root: Path) -> Path:
    """The folder as an archive in its stead, as if it were the original one; its members are in no useful order."""
    folder, archive = root / FOLDERS[name], root / ARCHIVES[name]
    with tarfile.open(archive, "w:gz") as tar:
        for file in sorted(folder.iterdir(), reverse=True):
            tar.add(file, f"{folder.name}/{file.name}")
            file.unlink()
    folder.rmdir()
    datasets.card(name)["md5"][archive.name] = hashlib.md5(archive.read_bytes()).hexdigest()
    return archive


def read(name: str, path: Path) -> Source:
    source = cifar.read_cifar(name, path, silent)
    assert source is not None
    return source


def drain(part: Part) -> tuple[np.ndarray, np.ndarray]:
    chunks = list(part.chunks())
    images, labels = (np.concatenate([getattr(chunk, what) for chunk in chunks]) for what in ("images", "labels"))
    assert len(images) == len(labels) == part.count
    return images, labels


def refusal(name: str, path: Path) -> str:
    with pytest.raises(DataError) as refused:
        read(name, path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("theirs", [torchvision.datasets.CIFAR10, torchvision.datasets.CIFAR100])
def test_the_checksums_are_torchvisions(theirs: Any) -> None:
    expected = {theirs.filename: theirs.tgz_md5, **dict([*theirs.train_list, *theirs.test_list])}
    assert datasets.card(theirs.__name__.lower())["md5"] == expected


def test_superclasses_hold_the_classes_of_the_published_table() -> None:
    fine, coarse = datasets.card("cifar100")["class_names"], datasets.card("cifar100-20")
    assert coarse["class_names"] == list(SUPERCLASSES)
    members = {word: [] for word in SUPERCLASSES}
    for word, superclass in zip(fine, coarse["label_map"], strict=True):
        members[coarse["class_names"][superclass]].append(word)
    assert {word: " ".join(sorted(five)) for word, five in members.items()} == SUPERCLASSES


def test_classes_of_cifar100_are_in_the_order_of_the_alphabet() -> None:
    fine = datasets.card("cifar100")["class_names"]
    assert fine == sorted(fine)
    assert len(set(fine)) == 100


@pytest.mark.parametrize("packed", [True, False])
def test_images_and_labels_are_those_that_torchvision_reads(
    name: str, root: Path, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = {"cifar10": torchvision.datasets.CIFAR10, "cifar100": torchvision.datasets.CIFAR100}[name]
    monkeypatch.setattr(theirs, "_check_integrity", lambda self: True)
    monkeypatch.setattr(theirs, "_load_meta", lambda self: None)
    expected = {"train": theirs(str(root)), "test": theirs(str(root), train=False)}
    if packed:
        pack(name, root)
    source = read(name, root)
    assert [part.split for part in source.parts] == ["train", "test"]
    for part in source.parts:
        images, labels = drain(part)
        assert images.dtype == np.uint8
        assert part.verified
        assert np.array_equal(images, expected[part.split].data.transpose(0, 3, 1, 2))
        assert labels.tolist() == expected[part.split].targets


def test_the_first_thousand_bytes_of_a_row_are_red_and_run_along_the_first_rows(root: Path, name: str) -> None:
    colours = np.repeat(np.array([10, 20, 30], np.uint8), 1024)[None]
    colours[0, 33] = 99  # the second pixel of the second row, in red
    keep(name, root, BATCHES[name][-1], pickled({**batch(name, 0, 1), b"data": colours}))
    images, _ = drain(read(name, root).parts[1])
    assert images[0, :, 0, 0].tolist() == [10, 20, 30]
    assert images[0, :, 1, 1].tolist() == [99, 20, 30]


def test_the_originals_are_found_from_whatever_is_pointed_at(name: str, root: Path) -> None:
    folder = root / FOLDERS[name]
    for path in (root, folder, folder / BATCHES[name][0]):
        source = read(name, path)
        assert source.where == folder
        assert list(source.files) == BATCHES[name]
    archive = pack(name, root)
    for path in (root, archive):
        source = read(name, path)
        assert source.where == archive
        assert source.files == {archive.name: f"md5:{hashlib.md5(archive.read_bytes()).hexdigest()}"}


def test_a_whole_archive_is_preferred_to_a_folder_that_lacks_something(name: str, root: Path) -> None:
    content = (root / FOLDERS[name] / BATCHES[name][0]).read_bytes()
    archive = pack(name, root)
    (root / FOLDERS[name]).mkdir()
    (root / FOLDERS[name] / BATCHES[name][0]).write_bytes(content)
    assert read(name, root).where == archive


def test_folders_named_like_the_batches_are_no_originals(name: str, tmp_path: Path) -> None:
    for file in BATCHES[name]:  # an image folder has `train` and `test`
        (tmp_path / file / "apple").mkdir(parents=True)
    assert cifar.read_cifar(name, tmp_path, silent) is None


@pytest.mark.parametrize("packed", [True, False])
def test_a_split_that_is_not_there_is_left_out(name: str, root: Path, packed: bool) -> None:
    (root / FOLDERS[name] / BATCHES[name][-1]).unlink()
    if packed:
        pack(name, root)
    assert [part.split for part in read(name, root).parts] == ["train"]


def pack_if(packed: bool, name: str, root: Path) -> Path:
    return pack(name, root) if packed else root / FOLDERS[name]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", ["cifar10"], indirect=True)
def test_a_split_that_lacks_a_batch_is_refused(name: str, root: Path, packed: bool) -> None:
    (root / FOLDERS[name] / "data_batch_3").unlink()
    where = pack_if(packed, name, root)
    assert f"{where} lacks data_batch_3 of the train split" in refusal(name, root)


def test_an_archive_cut_short_is_named(name: str, root: Path) -> None:
    archive = pack(name, root)
    archive.write_bytes(archive.read_bytes()[:-1000])
    assert f"{archive} is not the original file or is cut short" in refusal(name, root)


def test_an_archive_cut_short_is_named_even_if_that_is_what_was_expected(name: str, root: Path) -> None:
    archive = pack(name, root)
    archive.write_bytes(archive.read_bytes()[:-1000])
    datasets.card(name)["md5"][archive.name] = hashlib.md5(archive.read_bytes()).hexdigest()
    assert str(archive) in refusal(name, root)


def test_a_batch_with_another_checksum_is_never_unpickled(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unpickled(*args: object, **settings: object) -> None:
        raise AssertionError("unverified bytes reached the unpickler")

    path = root / FOLDERS[name] / BATCHES[name][0]
    path.write_bytes(path.read_bytes() + b"!")
    monkeypatch.setattr(cifar, "ArrayUnpickler", unpickled)
    assert f"{path} is not the original file" in refusal(name, root)


class Command:
    """Unpickling this with the plain unpickler makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("packed", [True, False])
def test_a_pickle_with_a_foreign_object_is_refused_and_does_nothing(name: str, root: Path, packed: bool, tmp_path: Path) -> None:
    trap = pickled({**batch(name, 0), b"filenames": Command(tmp_path / "trap")})
    keep(name, root, BATCHES[name][0], trap)
    pack_if(packed, name, root)
    message = refusal(name, root)
    assert BATCHES[name][0] in message
    assert "posix.mkdir, which no array needs" in message
    assert not (tmp_path / "trap").exists()
    pickle.loads(trap, encoding="bytes")
    assert (tmp_path / "trap").exists()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"labels": [1, 2, 3, 100]}, "gives image 3 a label that none of the 10"),
        ({"labels": [1, -1, 3, 4]}, "gives image 1 a label that none of the 10"),
        ({"labels": [1, 2, 3]}, "holds 3 labels for 4 images"),
        ({"labels": ["a", "b"]}, "is no batch of"),
        ({"data": np.zeros((4, 3071), np.uint8)}, "is no batch of"),
        ({"data": np.zeros((4, 3072), np.float32)}, "its pixels are float32, not bytes"),
        ({"data": None}, "is no batch of"),
    ],
)
def test_a_batch_with_other_content_is_named(name: str, root: Path, change: dict[str, Any], why: str) -> None:
    content = batch(name, 0)
    for key, value in change.items():
        content[FINE[name] if key == "labels" else key.encode()] = value
    keep(name, root, BATCHES[name][0], pickled(content))
    message = refusal(name, root)
    assert str(root / FOLDERS[name] / BATCHES[name][0]) in message
    assert why in message


@pytest.mark.parametrize("content", [b"", b"\x80\x02}q\x00", b"<html>404</html>", pickled([1, 2])])
def test_a_file_that_is_no_batch_is_named(name: str, root: Path, content: bytes) -> None:
    keep(name, root, BATCHES[name][0], content)
    assert f"{BATCHES[name][0]} is no batch of {name} (" in refusal(name, root)


@pytest.mark.parametrize("name", ["cifar100"], indirect=True)
def test_superclasses_other_than_those_of_the_view_are_refused(name: str, root: Path) -> None:
    content = batch(name, 0)
    content[b"coarse_labels"][2] = (content[b"coarse_labels"][2] + 1) % 20
    keep(name, root, "test", pickled(content))
    assert "puts some of the 100 classes into other superclasses than cifar100-20 does" in refusal(name, root)


def test_a_batch_that_cannot_be_read_is_named(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert f"{BATCHES[name][0]} cannot be read (Permission denied)" in refusal(name, root)


@pytest.mark.parametrize("theirs", [torchvision.datasets.CIFAR10, torchvision.datasets.CIFAR100])
def test_a_download_asks_for_torchvisions_archive_at_its_place_with_its_checksum(
    theirs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(cifar, "fetch", lambda url, target, *, md5, progress, what: asked.append((url, target, md5)))
    cifar.download_cifar(theirs.__name__.lower(), tmp_path, silent)
    assert asked == [(theirs.url, tmp_path / theirs.filename, theirs.tgz_md5)]
