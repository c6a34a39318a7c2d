"""HOG and colour map, pixel by pixel."""

import math

import numpy as np
import pytest
import torch

from clusterbench.methods.base import MethodError
from clusterbench.methods.kit.hog import colour_map, hog, hog_colour, hog_colour_size

UU = (1.0000, 0.9397, 0.7660, 0.500, 0.1736, -0.1736, -0.5000, -0.7660, -0.9397)  # of the detector's code
VV = (0.0000, 0.3420, 0.6428, 0.8660, 0.9848, 0.9848, 0.8660, 0.6428, 0.3420)


def noise(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def reference(image: np.ndarray) -> np.ndarray:
    """The detector's loop over pixels, and its normalisation cell by cell; (C, H, W) to (Y - 2, X - 2, 13)."""
    image = image.astype(float)
    _, height, width = image.shape
    rows, columns = math.floor(height / 8 + 0.5), math.floor(width / 8 + 0.5)
    histogram = np.zeros((rows, columns, 9))
    for y in range(1, 8 * rows - 1):
        for x in range(1, 8 * columns - 1):
            at_y, at_x = min(y, height - 2), min(x, width - 2)
            steps = [(c[at_y + 1, at_x] - c[at_y - 1, at_x], c[at_y, at_x + 1] - c[at_y, at_x - 1]) for c in image]
            dy, dx = max(steps, key=lambda step: step[0] ** 2 + step[1] ** 2)
            bin_ = int(np.argmax([abs(uu * dx + vv * dy) for uu, vv in zip(UU, VV, strict=True)]))
            from_y, from_x = (y + 0.5) / 8 - 0.5, (x + 0.5) / 8 - 0.5
            for cell_y in (math.floor(from_y), math.floor(from_y) + 1):
                for cell_x in (math.floor(from_x), math.floor(from_x) + 1):
                    if 0 <= cell_y < rows and 0 <= cell_x < columns:
                        share = (1 - abs(from_y - cell_y)) * (1 - abs(from_x - cell_x))
                        histogram[cell_y, cell_x, bin_] += share * math.hypot(dx, dy)
    energy = (histogram**2).sum(-1)
    found = np.zeros((rows - 2, columns - 2, 13))
    for y in range(1, rows - 1):
        for x in range(1, columns - 1):
            for corner, (up, left) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
                block = energy[y - up : y - up + 2, x - left : x - left + 2].sum()
                normalised = np.minimum(histogram[y, x] / math.sqrt(block + 1e-4), 0.2)
                found[y - 1, x - 1, :9] += 0.5 * normalised
                found[y - 1, x - 1, 9 + corner] = 0.2357 * normalised.sum()
    return found


@pytest.mark.parametrize("shape", [(3, 32, 40), (1, 24, 24), (3, 29, 37), (3, 27, 20)])
def test_hog_is_that_of_the_detectors_code(shape: tuple[int, int, int]) -> None:
    images = noise(2, *shape)
    for found, image in zip(hog(images), images.numpy(), strict=True):
        np.testing.assert_allclose(found, reference(image), rtol=1e-4, atol=1e-5)


def test_the_colour_map_is_opencvs() -> None:
    images = noise(2, 3, 96, 96)
    for found, image in zip(colour_map(images).view(2, 8, 8, 2), images.numpy().astype(float), strict=True):
        for y in range(8):
            for x in range(8):
                middle = image[:, 12 * y + 5 : 12 * y + 7, 12 * x + 5 : 12 * x + 7]  # bilinear: the four pixels at the centre
                r, g, b = np.rint(middle.mean(axis=(1, 2)))
                luma = np.rint(0.299 * r + 0.587 * g + 0.114 * b)
                wanted = np.clip(np.rint([(r - luma) * 0.713 + 128, (b - luma) * 0.564 + 128]), 0, 255)
                np.testing.assert_array_equal(found[y, x], wanted)


def test_stl10_has_as_many_numbers_as_in_the_paper() -> None:
    assert hog_colour_size((3, 96, 96)) == 1428 == hog_colour(noise(1, 3, 96, 96)).shape[1]
    assert hog_colour_size((1, 28, 28)) == hog_colour(noise(1, 1, 28, 28)).shape[1] == 2 * 2 * 13


def test_grey_colours_and_flat_images_give_the_scaled_zero() -> None:
    flat = torch.full((1, 3, 32, 32), 77, dtype=torch.uint8)
    vector = hog_colour(flat)
    assert (vector[:, :-128] == -2).all() and (vector[:, -128:] == 0).all()


def test_images_without_an_inner_cell_are_refused() -> None:
    with pytest.raises(MethodError, match="20x20 pixels or more, got 19x32"):
        hog_colour_size((1, 19, 32))
