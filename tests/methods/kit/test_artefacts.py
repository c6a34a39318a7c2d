"""The store of artefacts: what decides a key, what is kept whole, and what happens when the disk does not play along."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import resource
import time
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel
from safetensors import SafetensorError
from safetensors.torch import load_file

from clusterbench.datasets.base import Images
from clusterbench.methods.kit import artefacts
from clusterbench.methods.kit.artefact_files import reason
from clusterbench.methods.kit.artefacts import Artefacts, artefact_key, images_id, named_root, store_root, use_root
from clusterbench.methods.kmeans import KMeans

KEY = artefact_key("features", seed=1)
TENSORS = {"features": torch.arange(6.0).view(2, 3)}


class Settings(BaseModel):
    lr: float = 0.1
    widths: tuple[int, ...] = (16, 32)


def noise(n: int = 12, **about: object) -> Images:
    pixels = torch.randint(0, 256, (n, 1, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Images(pixels, **about)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Artefacts:
    return Artefacts(tmp_path / "store")


def test_a_key_is_that_of_the_canonical_json_and_knows_no_order() -> None:
    canonical = '{"facts":{"a":1,"b":[0.5,"x"]},"format":1,"kind":"pretext"}'
    expected = hashlib.sha256(canonical.encode()).hexdigest()[:24]
    assert artefact_key("pretext", a=1, b=(0.5, "x")) == artefact_key("pretext", b=[0.5, "x"], a=1) == expected


def test_every_fact_and_the_kind_change_the_key() -> None:
    keys = [
        artefact_key("pretext", seed=0), artefact_key("features", seed=0), artefact_key("pretext", seed=1),
        artefact_key("pretext", seed=None), artefact_key("pretext", seed=0, view={"size": 1}),
        artefact_key("pretext", settings=Settings()), artefact_key("pretext", settings=Settings(lr=0.2)),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert keys[5] == artefact_key("pretext", settings={"lr": 0.1, "widths": [16, 32]})


@pytest.mark.parametrize("fact", [Path("here"), torch.zeros(1), object()])
def test_what_is_no_plain_fact_is_refused(fact: object) -> None:
    with pytest.raises(TypeError, match="fact of an artefact"):
        artefact_key("pretext", fact=fact)


def test_images_are_known_by_their_content_whoever_holds_them() -> None:
    assert images_id(noise()) == images_id(Images(noise().pixels.clone())) == images_id(noise().to("cpu"))


def test_pixels_shape_roles_extents_window_and_masks_change_the_id(monkeypatch: pytest.MonkeyPatch) -> None:
    other = noise().pixels.clone()
    other[7, 0, 3, 4] ^= 1
    extents = torch.full((12, 2), 4)
    found = [
        noise(), noise(11), Images(other), Images(noise().pixels.view(12, 1, 5, 4)), noise(roles={"main": torch.arange(3)}),
        noise(roles={"other": torch.arange(3)}), noise(roles={"main": torch.arange(4)}), noise(extents=extents),
        noise(extents=extents - 1), noise(window=(2, 2)), noise(roles={"main": torch.arange(0)}),
    ]  # fmt: skip
    ids = [images_id(images) for images in found]
    assert len(set(ids)) == len(found)
    assert images_id(found[0]) == ids[0]


def test_an_id_is_found_by_blocks_of_any_number_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    # The blocks are part of the hash, so their size is part of the format; an image larger than a block is a block.
    monkeypatch.setattr(artefacts, "BLOCK", 1)
    digest = hashlib.sha256(repr((artefacts.FORMAT, (12, 1, 4, 5), None)).encode())
    for image in noise().pixels.split(1):
        digest.update(repr(("pixels", (1, 1, 4, 5))).encode() + image.numpy().tobytes())
    assert images_id(noise()) == digest.hexdigest()[:32]


def test_what_is_saved_comes_back_bit_for_bit(store: Artefacts) -> None:
    shared = torch.randn(4, 3)
    tensors = {
        "whole": shared, "same": shared, "column": shared[:, 1], "none": torch.zeros(0, 2), "one": torch.tensor(3),
        "half": torch.randn(5).bfloat16(), "index": torch.tensor([[1, 2]], dtype=torch.int32),
    }  # fmt: skip
    store.save("pretext", "0a", tensors, {})
    found = Artefacts(store.root).load("pretext", "0a")
    assert found is not None and found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_other_programs_can_read_it_and_see_what_it_is(store: Artefacts) -> None:
    store.save("features", KEY, TENSORS, {"seed": 1, "settings": Settings(), "seconds": 2.5})
    folder = store.path("features", KEY)
    assert torch.equal(load_file(folder / "tensors.safetensors")["features"], TENSORS["features"])
    about = json.loads((folder / "facts.json").read_text())
    assert about["sha256"] == hashlib.sha256((folder / "tensors.safetensors").read_bytes()).hexdigest()
    assert about["tensors"] == {"features": ["float32", [2, 3]]}
    assert store.facts("features", KEY) == {"seed": 1, "settings": {"lr": 0.1, "widths": [16, 32]}, "seconds": 2.5}


def test_nothing_is_found_where_nothing_was_saved(store: Artefacts) -> None:
    assert store.load("features", KEY) is None
    assert store.facts("features", KEY) is None
    assert store.entries() == []


def damage_tensors(folder: Path) -> None:
    content = bytearray((folder / "tensors.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "tensors.safetensors").write_bytes(content)


DAMAGE = {
    "a flipped bit": damage_tensors,
    "a short file": lambda folder: os.truncate(folder / "tensors.safetensors", 20),
    "no tensors": lambda folder: (folder / "tensors.safetensors").unlink(),
    "no facts": lambda folder: (folder / "facts.json").unlink(),
    "facts that are none": lambda folder: (folder / "facts.json").write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_one_is_told_and_made_anew(store: Artefacts, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    store.save("features", KEY, TENSORS, {})
    DAMAGE[damage](store.path("features", KEY))
    made = {"features": torch.ones(1)}
    assert torch.equal(store.obtain("features", KEY, {}, lambda: made)["features"], made["features"])
    (told,) = caplog.messages
    assert told.startswith(f"features/{KEY}") and "damaged" in told and "made anew" in told and "\n" not in told
    found = Artefacts(store.root).load("features", KEY)
    assert found is not None and torch.equal(found["features"], made["features"])
    assert [path.name for path in (store.root / "features").iterdir()] == [KEY]


def test_the_first_of_two_writers_stays_and_nothing_is_left_over(store: Artefacts, caplog: pytest.LogCaptureFixture) -> None:
    store.save("features", KEY, TENSORS, {"first": True})
    store.save("features", KEY, {"features": torch.zeros(1)}, {"first": False})
    assert store.facts("features", KEY) == {"first": True}
    assert [path.name for path in (store.root / "features").iterdir()] == [KEY]
    assert not caplog.messages


def test_a_full_disk_is_one_line_and_leaves_nothing_behind(
    store: Artefacts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    store.save("features", KEY, TENSORS, {})
    assert caplog.messages == [
        f"features/{KEY} cannot be kept in {store.root}: the disk is full. Others will have to make it again."
    ]
    assert [*(store.root / "features").iterdir()] == []


def test_a_refusal_that_safetensors_meets_is_one_line_too(store: Artefacts, caplog: pytest.LogCaptureFixture) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # bytes that a file may have: refused as by a full disk
    try:
        store.save("features", KEY, {"features": torch.zeros(1000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    (told,) = caplog.messages
    assert told.startswith(f"features/{KEY} cannot be kept") and "\n" not in told
    assert [*(store.root / "features").iterdir()] == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        SafetensorError('Error while serializing: I/O error: Os { code: 28, kind: StorageFull, message: "No space" }'),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_known_whoever_tells(error: Exception) -> None:
    assert reason(error) == "the disk is full"


def test_others_may_read_what_the_makers_umask_lets_them(store: Artefacts) -> None:
    before = os.umask(0o022)
    try:
        store.save("features", KEY, TENSORS, {})
    finally:
        os.umask(before)
    folder = store.path("features", KEY)
    assert [path.stat().st_mode & 0o777 for path in (folder, *sorted(folder.iterdir()))] == [0o755, 0o644, 0o644]


def test_a_folder_that_cannot_be_made_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    store = Artefacts(tmp_path / "file" / "store")
    with caplog.at_level(logging.WARNING):
        assert store.obtain("features", KEY, {}, lambda: dict(TENSORS)).keys() == TENSORS.keys()
    assert len(caplog.messages) == 2  # it is made without a claim, and cannot be kept


def test_what_was_taken_is_noted_once_and_what_oneself_made_is_not(store: Artefacts) -> None:
    for _ in range(2):
        store.obtain("features", KEY, {}, lambda: dict(TENSORS))
    assert (store.used, store.made) == ([], [f"features/{KEY}"])
    method = KMeans()
    later = Artefacts(store.root, used=method.artefacts_used, made=method.artefacts_made)
    for _ in range(2):
        later.obtain("features", KEY, {}, dict)
    assert (method.artefacts_used, method.artefacts_made) == ([f"features/{KEY}"], [])


def test_entries_tell_size_and_ages_and_a_load_makes_one_young(store: Artefacts) -> None:
    for key in ("0a", "0b"):
        store.save("features", key, TENSORS, {"key": key})
        os.utime(store.path("features", key) / "facts.json", (1e9, 1e9))
    Artefacts(store.root).load("features", "0a")
    old, young = store.entries()
    assert (old.name, young.name) == ("features/0b", "features/0a")
    assert old.used.timestamp() == 1e9 and young.used.timestamp() > time.time() - 60 < old.created.timestamp() + 60
    assert old.bytes == sum(path.stat().st_size for path in old.folder.iterdir())
    assert old.facts == {"key": "0b"}


def test_what_is_removed_is_gone_and_what_was_read_of_it_is_not(store: Artefacts) -> None:
    store.save("features", KEY, TENSORS, {})
    found = Artefacts(store.root).load("features", KEY)
    (entry,) = store.entries()
    assert store.remove(entry)
    assert not store.remove(entry)
    assert store.entries() == [] and [*(store.root / "features").iterdir()] == []
    assert found is not None and torch.equal(found["features"], TENSORS["features"])


def test_what_a_killed_writer_left_is_tidied_away_after_a_day(store: Artefacts) -> None:
    for name, age in (("old", 2 * 86400), ("new", 60)):
        left = store.root / "features" / f".{name}.0123.tmp"
        left.mkdir(parents=True)
        os.utime(left, (time.time() - age, time.time() - age))
    store.tidy()
    assert [path.name for path in (store.root / "features").iterdir()] == [".new.0123.tmp"]
    assert store.entries() == []


def test_the_folder_is_the_variables_or_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CLUSTERBENCH_CACHE", raising=False)
    assert (store_root(), named_root()) == (tmp_path / "clusterbench" / "artefacts", None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLUSTERBENCH_CACHE", "elsewhere")
    assert Artefacts().root == Path("elsewhere")
    assert named_root() == str(tmp_path / "elsewhere")
    use_root(None)
    assert store_root() == Path("elsewhere")
    use_root("third")
    assert os.environ["CLUSTERBENCH_CACHE"] == str(tmp_path / "third")
