"""Masks of training images: what the labels and their renaming say, cut as the images are, and named in the record."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clusterbench.datasets.base import Images
from clusterbench.datasets.catalogue import datasets
from clusterbench.datasets.masks import PixelMasks, UnreadMasks
from clusterbench.datasets.splits import MASKS_NOTE, Dataset, Split

RENAMED = np.array([0, -1, 1, -1], np.int16)  # stored 1 is of no class here; the last is that of -1


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(0).integers(-1, 3, (5, 9, 8)).astype(np.int16)


def dataset(labels: np.ndarray, **card: object) -> Dataset:
    images = np.zeros((len(labels), 3, *labels.shape[1:]), np.uint8)
    splits = {"train": Split(images[:3], labels[:3]), "val": Split(images[3:], labels[3:])}
    return Dataset("patches", splits, ("a", "b"), card=card, whole=Split(images, labels), renamed=RENAMED)


def test_a_mask_names_the_pixels_of_the_classes_in_any_order_of_images(labels: np.ndarray) -> None:
    order = torch.tensor([4, 0, 0])
    unread = UnreadMasks(labels, RENAMED)
    for masks in (unread, unread.to(torch.device("cpu"))):
        found = masks.batch(order)
        assert found.dtype == torch.bool
        np.testing.assert_array_equal(found.numpy(), np.isin(labels[[4, 0, 0]], [0, 2]))
    np.testing.assert_array_equal(UnreadMasks(labels).batch(torch.tensor([2])).numpy(), labels[[2]] >= 0)


def test_many_masks_are_read_part_by_part_and_take_a_bit_a_pixel() -> None:
    labels = np.random.default_rng(1).integers(-1, 2, (600, 3, 5)).astype(np.int16)
    masks = UnreadMasks(labels).to(torch.device("cpu"))
    np.testing.assert_array_equal(masks.batch(torch.arange(600)).numpy(), labels >= 0)
    assert masks.bits.shape == (600, 2)


def test_what_a_trial_hands_out_holds_bits_and_no_labels(labels: np.ndarray) -> None:
    train = dataset(labels, training_masks=True).under("full").to("cpu").train
    assert isinstance(train.masks, PixelMasks)
    assert vars(train.masks).keys() == {"bits", "size"}
    assert train.masks.bits.numel() * 8 < labels.size * 2, "too few bits to tell classes"


def test_masks_are_cut_to_the_window_of_the_images(labels: np.ndarray) -> None:
    extents = torch.tensor([[9, 8], [6, 7], [9, 8], [7, 6], [9, 8]])
    images = Images(torch.from_numpy(labels).to(torch.uint8)[:, None], extents=extents, window=(4, 4), masks=UnreadMasks(labels))
    masks, order = images.batch_masks(torch.tensor([3, 1])), torch.tensor([3, 1])
    assert masks is not None and torch.equal(masks, images.batch(order)[:, 0] != 255)  # the byte of -1


def test_images_without_masks_have_none(labels: np.ndarray) -> None:
    train = dataset(labels).under("full").train
    assert train.masks is None and train.batch_masks(torch.tensor([0])) is None


def test_training_images_get_masks_where_the_card_says_so_and_the_record_says_it(labels: np.ndarray) -> None:
    plain, masked = dataset(labels).under("full"), dataset(labels, training_masks=True).under("full")
    masks = masked.train.to("cpu").batch_masks(torch.arange(5))
    assert masks is not None
    np.testing.assert_array_equal(masks.numpy(), np.asarray(masked.labels) >= 0)
    assert MASKS_NOTE in masked.notes and MASKS_NOTE not in plain.notes


def test_only_the_sets_that_the_authors_masked_have_masks() -> None:
    masked = {name for name in datasets.names() if datasets.card(name).get("training_masks")}
    assert masked == {"coco-stuff", "coco-stuff-3"}
    assert datasets.card("coco-stuff-3@sample")["training_masks"]
