"""Preparing: found, checked against the card, written once, told apart from other copies, and never twice at a time."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from toy_sets import CARD, COUNTS, toy_arrays, write_toy

from clusterbench.datasets.catalogue import datasets, load, present
from clusterbench.datasets.errors import DataError
from clusterbench.datasets.places import state
from clusterbench.datasets.preparation.manifest import read_manifest
from clusterbench.datasets.preparation.prepare import prepare
from clusterbench.datasets.splits import Dataset, Split


def in_memory() -> Dataset:
    splits = {name: Split(*toy_arrays(name)) for name in COUNTS}
    return Dataset("toy", splits, ("cat", "dog", "owl"))


@pytest.mark.parametrize("protocol", ["full", "split"])
def test_a_prepared_data_set_is_the_one_in_memory(toy: Path, protocol) -> None:
    write_toy(toy)
    ours, direct = load("toy", root=toy).under(protocol), in_memory().under(protocol)
    assert np.array_equal(ours.train.pixels.numpy(), direct.train.pixels.numpy())
    assert np.array_equal(ours.score.pixels.numpy(), direct.score.pixels.numpy())
    assert np.array_equal(ours.labels, direct.labels)
    assert ours.fingerprint == direct.fingerprint
    assert (ours.score is ours.train) == (protocol == "full")


def test_the_second_start_reads_no_original(toy: Path) -> None:
    path = write_toy(toy)
    first = load("toy", root=toy).under("full")
    path.write_text("no longer readable")
    again = load("toy", root=toy).under("full")
    assert again.fingerprint == first.fingerprint


def test_a_view_has_its_own_labels_over_the_same_pixels(toy: Path) -> None:
    write_toy(toy)
    whole, view = load("toy", root=toy).under("full"), load("toy-2", root=toy).under("full")
    assert (view.name, view.class_names) == ("toy-2", ("pet",))
    assert view.labels.tolist() == [{0: 0, 1: 0, 2: -1}[label] for label in whole.labels.tolist()]
    assert view.fingerprint != whole.fingerprint
    assert sorted(path.name for path in (toy / "prepared").iterdir() if path.is_dir()) == ["toy"]


def test_the_state_of_a_data_set_is_known_without_reading_it(toy: Path) -> None:
    assert state("toy", CARD, toy).kind == "absent"
    assert present("toy", toy) is None
    write_toy(toy)
    assert (state("toy", CARD, toy).kind, present("toy-2", toy)) == ("originals", str(toy))
    prepare("toy", root=toy)
    assert (state("toy", CARD, toy).kind, present("toy", toy)) == ("prepared", str(toy / "prepared" / "toy"))


def test_what_is_not_here_is_fetched_if_that_is_asked_for(toy: Path) -> None:
    with pytest.raises(DataError, match=r"toy is not in .*--data-root DIR, or fetch it \(1 MB\) with --download"):
        load("toy", root=toy)
    assert len(load("toy", root=toy, download=True).under("full").train) == 10


def test_a_read_only_data_root_is_read_and_the_arrays_go_to_the_cache(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_toy(toy)
    toy.chmod(0o555)  # which keeps not even root from reading only
    assert prepare("toy", root=toy) == tmp_path / "cache" / "clusterbench" / "data" / "prepared" / "toy"
    assert len(load("toy", root=toy).under("full").train) == 10


def test_another_copy_in_a_data_root_is_not_mistaken_for_the_prepared_one(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrays in the cache that were made of one folder do not stand for the originals in another."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    other = tmp_path / "other"
    write_toy(toy)
    write_toy(other, verified=False)
    for root in (toy, other):
        root.chmod(0o555)
    assert load("toy", root=toy).notes == ()
    assert "not confirmed by checksum" in load("toy", root=other).notes[0]
    assert load("toy", root=toy).notes == ()


@pytest.mark.parametrize("present_splits", [("train",), ("test",)])
def test_a_missing_split_is_refused_in_one_line_and_accepted_when_asked(toy: Path, present_splits: tuple[str, ...]) -> None:
    write_toy(toy, present_splits)
    with pytest.raises(DataError, match=r"is not toy as it was published: it has no (test|train) .*--partial") as refusal:
        load("toy", root=toy)
    assert "\n" not in str(refusal.value)
    prepare("toy", root=toy, partial=True)
    trial = load("toy", root=toy).under("full")
    assert len(trial.train) == COUNTS[present_splits[0]]
    assert trial.notes[0].startswith("partial: no ")
    with pytest.raises(DataError, match="lacks the split"):
        load("toy", root=toy).under("split")


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ({"labels_off": 1}, "label 3 is outside -1..2"),
        ({"short": 2}, "holds 4 images where 6 were expected"),
        ({"height": 7}, "The images are 3 x 7 x 8, this data set has 3 x 8 x 8"),
        ({"breaks": "test"}, "breaks off"),
        ({"unreadable": "train"}, "cannot be read .Permission denied"),
    ],
)
def test_damage_is_one_line_and_leaves_nothing_that_loads(toy: Path, odd: dict, message: str) -> None:
    write_toy(toy, **{"splits": ("train", "test"), **odd})
    with pytest.raises(DataError, match=message) as refusal:
        prepare("toy", root=toy)
    assert "\n" not in str(refusal.value)
    assert not [path for path in (toy / "prepared").iterdir() if path.is_dir()]


def test_damage_of_new_originals_keeps_what_was_prepared_before(toy: Path) -> None:
    write_toy(toy)
    before = load("toy", root=toy).under("full").fingerprint
    write_toy(toy, breaks="test")
    with pytest.raises(DataError, match="breaks off"):
        prepare("toy", root=toy, force=True)
    assert load("toy", root=toy).under("full").fingerprint == before


def test_damaged_arrays_are_replaced_by_preparing_again(toy: Path) -> None:
    write_toy(toy)
    folder = prepare("toy", root=toy)
    (folder / "images.npy").write_bytes(b"")
    with pytest.raises(DataError, match="bench data prepare toy --force"):
        load("toy", root=toy)
    prepare("toy", root=toy)
    assert len(load("toy", root=toy).under("full").train) == 10


def test_a_newer_version_of_the_preparation_prepares_again(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_toy(toy)
    folder = prepare("toy", root=toy)
    created = (folder / "manifest.json").stat().st_ino
    monkeypatch.setitem(datasets._ours, "toy", ("toy_sets", {**CARD, "version": 2}))
    load("toy", root=toy)
    assert read_manifest(folder).version == 2
    assert (folder / "manifest.json").stat().st_ino != created


@pytest.mark.parametrize(
    ("verdict", "note"),
    [("original", None), ("test: a known variant", "test: a known variant"), (None, "not confirmed by checksum")],
)
def test_pixels_count_as_original_by_checksum_and_not_by_trust(
    toy: Path, monkeypatch: pytest.MonkeyPatch, verdict: str | None, note: str | None
) -> None:
    write_toy(toy)
    digests = {name: read_manifest(prepare("toy", root=toy)).splits[name].images_sha256 for name in COUNTS}
    write_toy(toy, verified=False)
    known = {name: {digests[name]: verdict} for name in COUNTS} if verdict else {}
    monkeypatch.setitem(datasets._ours, "toy", ("toy_sets", {**CARD, "checksums": known}))
    manifest = read_manifest(prepare("toy", root=toy, force=True))
    assert manifest.splits["test"].verified is (verdict == "original")
    assert (len(manifest.notes), note is None or note in manifest.notes[1]) == (0 if note is None else 2, True)


def test_the_record_is_told_splits_roles_and_checksums(toy: Path) -> None:
    write_toy(toy)
    about = load("toy", root=toy).under("split").about
    assert about["roles"] == {
        "trunk": ["train"], "main": ["train"], "auxiliary": ["train"], "mapping": ["test"], "scored": ["test"]
    }  # fmt: skip
    assert {name: split["count"] for name, split in about["splits"].items()} == COUNTS
    assert all(len(split["images_sha256"]) == 64 and split["original"] for split in about["splits"].values())


def test_a_named_source_is_read_instead_of_the_data_roots(toy: Path, tmp_path: Path) -> None:
    path = write_toy(tmp_path / "elsewhere")
    prepare("toy", root=toy, source=path)
    assert read_manifest(toy / "prepared" / "toy").origin.where == str(path)
    with pytest.raises(DataError, match="There is no .* Correct --from"):
        prepare("toy", root=toy, source=tmp_path / "nowhere")
    with pytest.raises(DataError, match="toy is not in"):
        prepare("toy", root=toy, source=tmp_path)


def test_of_two_that_prepare_at_once_one_waits_and_takes_what_the_other_made(toy: Path) -> None:
    write_toy(toy)
    target = toy / "prepared" / "toy"
    target.parent.mkdir()
    told: list[str] = []
    waiting = threading.Event()

    def progress(what: str, done: int, total: int) -> None:
        told.append(what)
        if what.startswith("waiting"):
            waiting.set()

    lock = FileLock(target.parent / ".toy.lock")
    second = threading.Thread(target=lambda: prepare("toy", root=toy, force=True, progress=progress))
    with lock:
        second.start()
        assert waiting.wait(10)
        assert not target.exists()
    second.join(30)
    assert told[0] == "waiting for another process that prepares toy"
    assert read_manifest(target).splits["train"].count == 6


def test_arrays_and_image_folders_named_like_the_data_set_are_taken_too(toy: Path) -> None:
    folder = toy / "toy"
    folder.mkdir()
    for name in COUNTS:
        images, labels = toy_arrays(name)
        np.savez(
            folder / f"{name}.npz",
            images=images.transpose(0, 2, 3, 1),
            labels=labels,
            class_names=np.array(["cat", "dog", "owl"]),
        )
    assert present("toy", toy) == str(toy)
    trial = load("toy", root=toy).under("full")
    assert trial.fingerprint == in_memory().under("full").fingerprint
    assert "read as arrays" in trial.notes[0]


def test_a_users_own_folder_is_prepared_again_when_it_changes(toy: Path, tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (12, 12), (number, 0, 0)).save(folder / f"{number}.png")
    name = f"folder:{folder}"
    first = load(name, root=toy).under("full")
    assert (len(first.train), first.n_classes, first.labels.tolist()) == (3, 0, [-1, -1, -1])
    assert load(name, root=toy).under("full").fingerprint == first.fingerprint
    Image.new("RGB", (12, 12), (9, 9, 9)).save(folder / "3.png")
    assert len(load(name, root=toy).under("full").train) == 4
    (folder / "3.png").unlink()
    assert load(name, root=toy).under("full").fingerprint == first.fingerprint


def test_a_path_that_is_not_there_is_said(toy: Path) -> None:
    for kind in ("folder", "npz"):
        with pytest.raises(DataError, match="There is no /no/such/place"):
            load(f"{kind}:/no/such/place", root=toy)


def test_an_archive_of_images_is_read_like_the_folder_in_it(toy: Path, tmp_path: Path) -> None:
    import shutil

    from PIL import Image

    for label, colour in {"red": (200, 0, 0), "blue": (0, 0, 200)}.items():
        folder = tmp_path / "shots" / label
        folder.mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (12, 12), colour).save(folder / f"{number}.png")
    archive = shutil.make_archive(str(tmp_path / "shots"), "zip", tmp_path, "shots")
    packed, plain = (load(f"folder:{path}", root=toy).under("full") for path in (archive, tmp_path / "shots"))
    assert packed.fingerprint == plain.fingerprint
    assert packed.class_names == ("blue", "red")
    assert not [path for path in (toy / "prepared").iterdir() if "unpacked" in path.name]


def test_a_data_root_that_holds_other_images_is_not_taken_for_the_data_set(toy: Path) -> None:
    (toy / "train" / "cats").mkdir(parents=True)
    with pytest.raises(DataError, match="toy is not in"):
        load("toy", root=toy)


@pytest.mark.parametrize("first_has_it", [True, False])
def test_the_roots_are_searched_in_their_order(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_has_it: bool
) -> None:
    other = tmp_path / "named in the environment"
    write_toy(other, verified=False)
    monkeypatch.setenv("CLUSTERBENCH_DATA", str(other))
    if first_has_it:
        write_toy(toy)
    assert len(load("toy", root=toy).notes) == (0 if first_has_it else 2)
