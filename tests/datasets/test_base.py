"""The data types: what they accept, what a method can see of them, and when two copies of the data count as the same."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from clusterbench.datasets.base import DataError, Images
from clusterbench.datasets.splits import Dataset, Split


def split(n: int = 6, first_label: int = 0, channels: int = 1) -> Split:
    pixels = np.arange(n * channels * 4, dtype=np.uint8).reshape(n, channels, 2, 2) + first_label
    return Split(pixels, (np.arange(n) + first_label).astype(np.int64) % 3)


@pytest.fixture
def tiny() -> Dataset:
    return Dataset("tiny", {"train": split(6), "test": split(4, first_label=1)}, ("a", "b", "c"))


def test_images_hold_pixels_and_roles_and_nothing_a_label_could_travel_in() -> None:
    assert {f.name for f in fields(Images)} == {"pixels", "roles", "extents", "window", "streams_to", "masks"}
    assert not [name for name in dir(Images) if "label" in name or "target" in name]


def test_what_a_method_sees_shares_no_memory_with_the_labels(tiny: Dataset) -> None:
    trial = tiny.under("split")
    for seen in (trial.train.pixels.numpy(), trial.score.pixels.numpy()):
        assert not any(np.shares_memory(seen, s.labels) for s in (*tiny.splits.values(), trial))


def test_images_come_from_numpy_with_and_without_a_channel_axis() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (5, 4, 3, 3), dtype=np.uint8)
    images = Images.of(colour)
    assert images.shape == (3, 4, 3)
    assert images.pixels[2, 1, 3, 0] == colour[2, 3, 0, 1]
    grey = Images.of(colour[..., 0])
    assert grey.shape == (1, 4, 3)
    assert torch.equal(grey.pixels[:, 0], images.pixels[:, 0])


def test_images_come_from_a_tensor_without_a_copy() -> None:
    pixels = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    images = Images.of(pixels)
    assert images.pixels is pixels
    assert Images.of(images) is images


def test_read_only_arrays_are_copied_not_shared() -> None:
    array = np.zeros((2, 4, 4), np.uint8)
    array.flags.writeable = False
    Images.of(array).pixels.add_(1)
    assert array.sum() == 0


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 4, 4), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((2, 4, 4, 2), np.uint8),
        torch.zeros(2, 3, 4, 4),
        torch.zeros(3, 4, 4, dtype=torch.uint8),
        [[1, 2], [3, 4]],
    ],
    ids=["floats", "one image", "two channels", "float tensor", "no batch axis", "lists"],
)
def test_other_types_and_shapes_are_refused_in_one_line(wrong: object) -> None:
    with pytest.raises(DataError, match="uint8") as refusal:
        Images.of(wrong)
    assert "\n" not in str(refusal.value)


def test_a_batch_follows_its_indices_with_repeats() -> None:
    images = Images.of(split(6).images[:, 0])
    assert torch.equal(images.batch(torch.tensor([4, 0, 4])), torch.stack([images.pixels[i] for i in (4, 0, 4)]))


def test_a_role_that_is_not_named_means_all_images() -> None:
    images = Images(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), {"main": torch.tensor([1, 3])})
    assert images.role("main").tolist() == [1, 3]
    assert images.role("auxiliary").tolist() == [0, 1, 2, 3]
    assert images.to("cpu").role("main").tolist() == [1, 3]


def test_full_trains_on_all_splits_in_order_and_scores_the_same_images(tiny: Dataset) -> None:
    trial = tiny.under("full")
    joined = [tiny.splits[name] for name in ("train", "test")]
    assert trial.score is trial.train
    assert np.array_equal(trial.train.pixels.numpy(), np.concatenate([s.images for s in joined]))
    assert np.array_equal(trial.labels, np.concatenate([s.labels for s in joined]))


def test_split_trains_on_train_and_scores_test(tiny: Dataset) -> None:
    trial = tiny.under("split")
    assert np.array_equal(trial.train.pixels.numpy(), tiny.splits["train"].images)
    assert np.array_equal(trial.score.pixels.numpy(), tiny.splits["test"].images)
    assert np.array_equal(trial.labels, tiny.splits["test"].labels)
    assert trial.n_classes == 3


def test_a_protocol_that_needs_a_missing_split_is_refused() -> None:
    with pytest.raises(DataError, match=r"no official train/test split. Use --protocol full"):
        Dataset("digits", {"all": split()}, ("a", "b", "c")).under("split")


def test_read_only_arrays_serve_a_trial() -> None:
    source = split()
    source.images.flags.writeable = False
    trial = Dataset("mapped", {"all": source}, ("a", "b", "c")).under("full")
    assert np.array_equal(trial.train.pixels.numpy(), source.images)


def test_the_fingerprint_is_the_same_for_equal_data_in_another_layout(tiny: Dataset) -> None:
    strided = {name: replace(s, images=np.asfortranarray(s.images)) for name, s in tiny.splits.items()}
    for protocol in ("full", "split"):
        assert replace(tiny, splits=strided).under(protocol).fingerprint == tiny.under(protocol).fingerprint


@pytest.mark.parametrize("protocol", ["full", "split"])
@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("what", ["images", "labels"])
def test_one_changed_value_changes_the_fingerprint(tiny: Dataset, protocol, part: str, what: str) -> None:
    before = tiny.under(protocol).fingerprint
    array = getattr(tiny.splits[part], what)
    array[-1] = (array[-1] + 1) % 3
    assert replace(tiny).under(protocol).fingerprint != before


def test_protocols_have_different_fingerprints(tiny: Dataset) -> None:
    assert tiny.under("full").fingerprint != tiny.under("split").fingerprint


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 1, 4, 4), np.float32), np.zeros(2, np.int64), "uint8"),
        (np.zeros((2, 4, 4), np.uint8), np.zeros(2, np.int64), r"\(2, 4, 4\)"),
        (np.zeros((0, 1, 4, 4), np.uint8), np.zeros(0, np.int64), r"\(0, 1, 4, 4\)"),
        (np.zeros((2, 1, 4, 4), np.uint8), np.zeros(3, np.int64), "2 images needs as many"),
        (np.zeros((2, 1, 4, 4), np.uint8), np.zeros(2, np.int32), "int64"),
    ],
    ids=["float images", "no channel axis", "no images", "another number of labels", "narrow labels"],
)
def test_an_unsuitable_split_is_refused(images: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Split(images, labels)


@pytest.mark.parametrize("label", [-2, 3])
def test_a_label_out_of_range_is_named_with_its_split(label: int) -> None:
    wrong = split()
    wrong.labels[2] = label
    with pytest.raises(DataError, match=rf"own, split all: label {label} is outside -1..2"):
        Dataset("own", {"all": wrong}, ("a", "b", "c"))


def test_unknown_labels_are_allowed() -> None:
    unlabelled = split()
    unlabelled.labels[:] = -1
    trial = Dataset("own", {"all": unlabelled}, ()).under("full")
    assert (trial.labels == -1).all()


def test_splits_of_different_image_shapes_are_refused() -> None:
    with pytest.raises(DataError, match="images of one shape"):
        Dataset("own", {"train": split(), "test": split(channels=3)}, ("a", "b", "c"))
