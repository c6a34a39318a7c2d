"""Label maps: cut and renamed like the images, without reading more than is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from clusterbench.datasets.base import Images
from clusterbench.datasets.errors import DataError
from clusterbench.datasets.label_maps import LabelMaps
from clusterbench.datasets.splits import Dataset, Split

EXTENTS = np.array([[7, 9], [4, 4], [6, 5]])
WINDOW = (4, 3)


@pytest.fixture
def stored() -> np.ndarray:
    return np.random.default_rng(0).integers(-1, 4, (3, 7, 9)).astype(np.int16)


def by_hand(stored: np.ndarray, row: int) -> np.ndarray:
    top, left = (EXTENTS[row][0] - 4) // 2, (EXTENTS[row][1] - 3) // 2
    return stored[row, top : top + 4, left : left + 3]


def test_maps_are_cut_to_the_central_window_of_each_extent(stored: np.ndarray) -> None:
    maps = LabelMaps(stored, EXTENTS, WINDOW)
    assert (len(maps), maps.shape, maps.ndim) == (3, (3, 4, 3), 3)
    for row in range(3):
        assert np.array_equal(maps[row], by_hand(stored, row))
    assert np.array_equal(np.asarray(maps), np.stack([by_hand(stored, row) for row in range(3)]))


@pytest.mark.parametrize("index", [slice(1, 3), np.array([2, 0]), np.array([True, False, True])], ids=["slice", "rows", "mask"])
def test_any_index_of_an_array_gives_the_same_rows(stored: np.ndarray, index) -> None:
    assert np.array_equal(LabelMaps(stored, EXTENTS, WINDOW)[index], np.asarray(LabelMaps(stored, EXTENTS, WINDOW))[index])


def test_labels_are_renamed_and_unknown_stays_unknown(stored: np.ndarray) -> None:
    renamed = LabelMaps(stored, renamed=np.array([1, 1, 0, -1, -1], np.int16))[:]
    for label, stands_for in {-1: -1, 0: 1, 1: 1, 2: 0, 3: -1}.items():
        assert (renamed[stored == label] == stands_for).all()
    assert renamed.dtype == np.int64


@pytest.mark.parametrize("wrong", [np.zeros((2, 4, 4)), np.zeros((2, 4), np.int16)], ids=["floats", "no width"])
def test_other_arrays_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(DataError, match="integers of shape"):
        LabelMaps(wrong)


def test_a_segmentation_trial_scores_the_window_of_each_image_and_its_labels(stored: np.ndarray) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3, 3, 7, 9), dtype=np.uint8)
    pixels[:, 0] = stored.astype(np.uint8)  # so that pixels tell which label they belong to; -1 becomes 255
    data = Dataset("maps", {"all": Split(pixels, stored, EXTENTS.astype(np.int32))}, tuple("abcd"), card={"window": WINDOW})
    trial = data.under("full")
    assert trial.train.shape == (3, 7, 9)
    assert isinstance(trial.score, Images) and trial.score.shape == (3, 4, 3)
    batch = trial.score.batch(trial.score.role("all"))
    assert np.array_equal(batch[:, 0].numpy(), np.asarray(trial.labels).astype(np.uint8))


def test_extents_and_renaming_change_the_fingerprint(stored: np.ndarray) -> None:
    pixels = np.zeros((3, 3, 7, 9), np.uint8)

    def fingerprint(extents: np.ndarray | None, renamed: np.ndarray | None) -> str:
        return Dataset("maps", {"all": Split(pixels, stored, extents)}, tuple("abcd"), renamed=renamed).under("full").fingerprint

    found = {
        fingerprint(None, None),
        fingerprint(EXTENTS, None),
        fingerprint(EXTENTS + 1, None),
        fingerprint(None, np.array([0, 1, 2, 2, -1], np.int16)),
    }
    assert len(found) == 4
