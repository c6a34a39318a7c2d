"""`digits` against scikit-learn's own arrays."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from clusterbench.datasets.catalogue import load
from clusterbench.datasets.errors import DataError
from clusterbench.datasets.splits import Dataset


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


def test_classes_are_counted_as_scikit_learn_does(digits: Dataset) -> None:
    expected = np.bincount(load_digits().target)
    assert np.array_equal(np.bincount(digits.splits["all"].labels), expected)
    assert digits.class_names == tuple("0123456789")


@pytest.mark.parametrize("index", [0, 811, 1796])
def test_an_image_has_scikit_learns_grey_levels_spread_over_a_byte(digits: Dataset, index: int) -> None:
    levels = load_digits().images[index]
    image = digits.splits["all"].images[index, 0]
    for row, column in np.ndindex(8, 8):
        assert image[row, column] == round(levels[row, column] * 255 / 16)


def test_no_grey_level_is_lost(digits: Dataset) -> None:
    assert np.array_equal(np.rint(digits.splits["all"].images[:, 0] / 255 * 16), load_digits().images)


def test_neighbours_classify_digits_as_well_as_they_are_known_to(digits: Dataset) -> None:
    trial = digits.under("full")
    pixels = trial.train.pixels.flatten(1).numpy().astype(np.float32)
    accuracy = cross_val_score(KNeighborsClassifier(3), pixels, trial.labels, cv=5).mean()
    assert 0.95 < accuracy < 0.99


def test_digits_have_no_official_split(digits: Dataset) -> None:
    with pytest.raises(DataError, match="digits has no official train/test split"):
        digits.under("split")


def test_the_fingerprint_is_the_same_on_every_machine(digits: Dataset) -> None:
    assert digits.under("full").fingerprint == "c2c4f3ad1d45db0a182d00bb06841c665d3abe0f7bdb956211930874fc85d2f8"
