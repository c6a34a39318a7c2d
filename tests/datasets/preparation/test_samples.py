"""Samples: generated ones look like the data set and can be learnt, real ones are its first images; both say what they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.neighbors import KNeighborsClassifier

from clusterbench.datasets.catalogue import datasets, load
from clusterbench.datasets.preparation import samples
from clusterbench.datasets.preparation.samples import generate_sample, sample_of, take_sample
from clusterbench.datasets.source import Chunk, Part, Source, silent

HEAVY = [name for name in datasets.names() if "shape" in datasets.card(name) and "layouts" in datasets.card(name)]


def whole(part: Part) -> Chunk:
    """All chunks of a part as one, of a part that keeps its promise of the count."""
    chunks = list(part.chunks())
    extents = [chunk.extents for chunk in chunks if chunk.extents is not None]
    images, labels = (np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in ("images", "labels"))
    assert len(images) == len(labels) == part.count
    return Chunk(images, labels, np.concatenate(extents) if extents else None)


def card(shape: list[int], splits: dict[str, int], classes: int, **more: Any) -> dict[str, Any]:
    return {"shape": shape, "splits": splits, "classes": classes, "task": "clustering", **more}


def real(labels: dict[str, list[int]], names: str, per_chunk: int = 3) -> Source:
    """A source whose image number i of a split shows i; counts in `chunks.read` how many images were read."""

    def part(split: str, known: list[int]) -> Part:
        def chunks() -> Iterator[Chunk]:
            for start in range(0, len(known), per_chunk):
                numbers = np.arange(start, min(start + per_chunk, len(known)))
                read.append(len(numbers))
                images = np.broadcast_to(numbers.astype(np.uint8)[:, None, None, None], (len(numbers), 1, 2, 2))
                yield Chunk(images, np.array(known, np.int64)[numbers])

        return Part(split, len(known), chunks, verified=True)

    parts = tuple(part(split, known) for split, known in labels.items())
    return Source("original files", Path("somewhere"), parts, tuple(names), notes=("a note",))


read: list[int] = []


@pytest.mark.parametrize("name", HEAVY)
def test_every_generated_sample_has_the_shape_splits_and_labels_of_its_data_set(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "BUDGET", 4 << 20)
    about = datasets.card(f"{name}@sample")
    source = generate_sample(name, about, silent)
    assert source.form == "generated"
    assert source.notes == ("generated images, not real data",)
    assert [part.split for part in source.parts] == list(about["splits"])
    size = 0
    for part in source.parts:
        chunk = whole(part)
        size += chunk.images.nbytes + chunk.labels.nbytes
        assert chunk.images.shape[1:] == tuple(about["shape"])
        assert chunk.images.dtype == np.uint8
        labels = np.unique(chunk.labels)
        if part.split.startswith("unlabel"):
            assert labels.tolist() == [-1]
        elif about["task"] == "clustering":
            assert labels.tolist() == list(range(len(source.class_names)))
        else:
            assert chunk.labels.dtype == np.int16
            assert chunk.labels.shape == (part.count, *about["shape"][1:])
            assert labels[0] == -1 and labels[-1] < len(source.class_names) and len(labels) > 2
    assert size <= 4 << 20


@pytest.mark.parametrize("shape", [[1, 28, 28], [3, 32, 32]])
def test_generated_classes_can_be_learnt_but_are_not_trivial(shape: list[int]) -> None:
    source = generate_sample("any", card(shape, {"train": 6000, "test": 1000}, 10), silent)
    train, test = map(whole, source.parts)
    pixels, unseen = (chunk.images.reshape(len(chunk.images), -1).astype(np.float32) for chunk in (train, test))
    nearest = KNeighborsClassifier(1).fit(pixels, train.labels).score(unseen, test.labels)
    assert nearest > 0.5  # chance is 0.1
    clusters = KMeans(10, n_init=2, random_state=0).fit_predict(pixels)
    table = np.array([[((clusters == k) & (train.labels == c)).sum() for c in range(10)] for k in range(10)])
    accuracy = table[linear_sum_assignment(-table)].sum() / len(pixels)
    assert 0.15 < accuracy < 0.85


def test_generated_images_are_the_same_each_time_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    about = card([3, 16, 16], {"train": 40, "test": 20}, 4)
    first = [whole(part) for part in generate_sample("a", about, silent).parts]
    monkeypatch.setattr(samples, "CHUNK_BYTES", 2000)
    again = [whole(part) for part in generate_sample("a", about, silent).parts]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.labels, other.labels)
    different = whole(generate_sample("b", about, silent).parts[0])
    assert (different.images != first[0].images).mean() > 0.5
    assert (first[0].images[:20] != first[1].images[:20]).mean() > 0.5  # test is no copy of train


def test_classes_are_cut_to_ten_only_where_six_images_of_each_are_too_many() -> None:
    assert len(generate_sample("a", card([3, 32, 32], {"train": 50000}, 100), silent).class_names) == 100
    assert len(generate_sample("a", card([3, 256, 256], {"train": 50000}, 100), silent).class_names) == 10


def test_regions_fill_their_extent_and_nothing_beside_it() -> None:
    about = card([3, 40, 60], {"train": 30}, 5, task="segmentation", window=[32, 32])
    chunk = whole(generate_sample("a", about, silent).parts[0])
    assert chunk.extents is not None
    assert chunk.extents.min(0).tolist() >= [32, 32] and chunk.extents.max(0).tolist() <= [40, 60]
    assert len(np.unique(chunk.extents, axis=0)) > 10
    for image, labels, (height, width) in zip(chunk.images, chunk.labels, chunk.extents, strict=True):
        outside = np.ones(labels.shape, bool)
        outside[:height, :width] = False
        assert not image[:, outside].any()
        assert (labels[outside] == -1).all()
        assert (image[:, :height, :width] > 0).mean() > 0.5
        assert len(np.unique(labels[:height, :width])) > 1


def test_colours_of_regions_tell_their_classes() -> None:
    about = card([4, 40, 40], {"labelled": 100}, 3, task="segmentation")
    chunk = whole(generate_sample("a", about, silent).parts[0])
    pixels = chunk.images.transpose(0, 2, 3, 1)[chunk.labels >= 0][::7].astype(np.float32)
    labels = chunk.labels[chunk.labels >= 0][::7]
    half = len(labels) // 2
    assert KNeighborsClassifier(5).fit(pixels[:half], labels[:half]).score(pixels[half:], labels[half:]) > 0.7


def test_a_real_sample_is_the_first_images_of_each_class() -> None:
    source = real({"train": [1, 1, 1, 0, 1, 0, 2, 0, 0, 2, 2], "test": [0, 1, 2]}, "abc")
    sample = take_sample(source, per_class=2, progress=silent)
    train, test = sample.parts
    assert whole(train).images[:, 0, 0, 0].tolist() == [0, 1, 3, 5, 6, 9]
    assert whole(train).labels.tolist() == [1, 1, 0, 0, 2, 2]
    assert whole(test).labels.tolist() == [0, 1, 2]
    assert sample.notes == ("a note", "a sample of 9 real images")
    assert not train.verified
    assert sample.class_names == ("a", "b", "c")


def test_a_real_sample_stops_reading_once_it_has_enough() -> None:
    source = real({"train": [0, 1] * 100, "unlabeled": [-1] * 200}, "ab")
    read.clear()
    sample = take_sample(source, per_class=4, unlabelled=5, progress=silent)
    assert [part.count for part in sample.parts] == [8, 5]
    assert sum(read) <= 3 + 9 + 6  # a look at the first chunk, then three chunks of train and two of unlabeled


def test_a_real_sample_of_a_view_has_the_labels_of_the_view() -> None:
    source = real({"train": [3, 2, 1, 0, 3, 2, 1, 0, -1]}, "abcd")
    sample = take_sample(source, label_map=[1, -1, 0, 1], class_names=["x", "y"], progress=silent)
    chunk = whole(sample.parts[0])
    assert chunk.images[:, 0, 0, 0].tolist() == [0, 1, 3, 4, 5, 7, 8]
    assert chunk.labels.tolist() == [1, 0, 1, 1, 0, 1, -1]
    assert sample.class_names == ("x", "y")


def test_a_real_sample_of_label_maps_keeps_maps_and_extents() -> None:
    images, labels = np.arange(5 * 12, dtype=np.uint8).reshape(5, 3, 2, 2), np.arange(20).reshape(5, 2, 2) % 4 - 1
    chunk = Chunk(images, labels.astype(np.int16), np.full((5, 2), 2, np.int32))
    source = Source("original files", Path("x"), (Part("train", 5, lambda: iter([chunk])),), ("a", "b", "c"))
    sample = take_sample(source, unlabelled=2, label_map=[1, -1, 0], class_names=["x", "y"], progress=silent)
    taken = whole(sample.parts[0])
    np.testing.assert_array_equal(taken.images, images[:2])
    np.testing.assert_array_equal(taken.labels, np.array([[[-1, 1], [-1, 0]]] * 2))
    assert taken.extents is not None and len(taken.extents) == 2
    assert sample.class_names == ("x", "y")


def test_a_real_sample_of_large_images_keeps_to_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "BUDGET", 12 * 70)  # 70 images of 4 pixels and a label of 8 bytes
    few = real({"train": list(range(10)) * 9, "test": list(range(10)) * 9}, "abcdefghij")
    assert [part.count for part in take_sample(few, progress=silent).parts] == [30, 30]
    many = real({"train": list(range(20)) * 9}, "abcdefghijklmnopqrst")
    sample = take_sample(many, progress=silent)
    assert sample.class_names == tuple("abcdefghij")
    assert np.bincount(whole(sample.parts[0]).labels).tolist() == [7] * 10


def test_real_images_are_taken_where_they_are_and_generated_elsewhere(shared_data: Path, tmp_path: Path) -> None:
    sample = sample_of("mnist", datasets.card("mnist@sample"), [shared_data], silent)
    assert "a sample of 1,000 real images" in sample.notes
    full = whole(next(part for part in _source_of("mnist", shared_data).parts if part.split == "test"))
    test = whole(sample.parts[1])
    assert np.bincount(test.labels).tolist() == [50] * 10
    for digit in range(10):
        np.testing.assert_array_equal(test.images[test.labels == digit], full.images[full.labels == digit][:50])
    assert sample_of("mnist", datasets.card("mnist@sample"), [tmp_path], silent).form == "generated"
    assert sample_of("mnist", datasets.card("mnist@sample"), [], silent).form == "generated"


def _source_of(name: str, folder: Path) -> Source:
    source = datasets.get(name).read(folder, silent)
    assert source is not None
    return replace(source, notes=())


@pytest.mark.parametrize("name", ["cifar100-20", "coco-stuff-3", "potsdam-3", "stl10"])
def test_a_sample_loads_like_any_data_set_in_its_own_labels(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "BUDGET", 4 << 20)
    loaded = load(f"{name}@sample", root=tmp_path)
    assert len(loaded.class_names) == datasets.card(name)["classes"]
    assert "generated images, not real data" in loaded.notes
    for protocol in loaded.protocols:
        data = loaded.under(protocol)
        assert data.name == f"{name}@sample"
        labels = np.asarray(data.labels)
        assert set(np.unique(labels[labels >= 0])) == set(range(len(loaded.class_names)))
