"""Input vectors against scikit-learn's scaling and plain arithmetic."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

from clusterbench.datasets.base import Images
from clusterbench.methods.kit.hog import hog_colour
from clusterbench.methods.kit.vectors import VectorReader, Vectors, VectorSettings

IMAGES = Images.of((load_digits().images * 255 / 16).round().astype(np.uint8))
FLAT = IMAGES.pixels.flatten(1).numpy().astype(float)


def fitted(kind: str, images: Images = IMAGES, rows: torch.Tensor | None = None) -> Vectors:
    vectors = Vectors(VectorSettings(kind=kind), images.shape, "cpu")  # pyright: ignore[reportArgumentType]
    vectors.fit(images, images.role("main") if rows is None else rows)
    return vectors


def test_standard_pixels_have_zero_mean_and_unit_variance_all_together() -> None:
    np.testing.assert_allclose(fitted("standard").of(IMAGES.pixels), (FLAT - FLAT.mean()) / FLAT.std(), atol=1e-5)


def test_pixels_standard_by_themselves_are_scikit_learns_with_constant_ones_left_at_zero() -> None:
    found = fitted("standard-by-pixel").of(IMAGES.pixels)
    np.testing.assert_allclose(found, StandardScaler().fit_transform(FLAT), atol=1e-4)
    assert (FLAT.std(axis=0) == 0).any() and found.isfinite().all()


def test_mean_square_is_one_over_the_images_that_it_was_fitted_to() -> None:
    rows = torch.arange(0, 1797, 3)
    vectors = fitted("mean-square", rows=rows)
    np.testing.assert_allclose(vectors.of(IMAGES.pixels), FLAT / np.sqrt((FLAT[::3] ** 2).mean()), rtol=1e-5)


def test_scaled_pixels_are_the_authors() -> None:
    np.testing.assert_allclose(fitted("scaled").of(IMAGES.pixels), FLAT * 0.02, rtol=1e-6)


def test_black_images_stay_zero() -> None:
    black = Images(torch.zeros(3, 1, 4, 4, dtype=torch.uint8))
    for kind in ("mean-square", "standard", "standard-by-pixel"):
        assert (fitted(kind, black).of(black.pixels) == 0).all()


@pytest.mark.parametrize("kind", ["mean-square", "hog"])
def test_a_reader_gives_any_rows_in_any_order(kind: str) -> None:
    images = Images(torch.randint(0, 256, (9, 3, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)))
    vectors = fitted(kind, images)
    order = (torch.tensor([8, 2]), torch.tensor([2]))
    found = list(VectorReader(images, vectors).batches(order))
    whole = hog_colour(images.pixels) if kind == "hog" else vectors.of(images.pixels)
    assert [len(batch) for batch in found] == [2, 1] and vectors.size == whole.shape[1]
    torch.testing.assert_close(torch.cat(found), whole[[8, 2, 2]])


def test_the_statistics_travel_in_the_state() -> None:
    vectors = fitted("standard-by-pixel")
    other = Vectors(VectorSettings(kind="standard-by-pixel"), IMAGES.shape, "cpu")
    other.load_state_dict(vectors.state_dict())
    assert torch.equal(other.of(IMAGES.pixels), vectors.of(IMAGES.pixels))
