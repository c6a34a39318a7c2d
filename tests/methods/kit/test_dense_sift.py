"""Dense SIFT against OpenCV's sparse one at the same keypoints, and both against Lowe's description written out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images

from clusterbench.methods.base import MethodError
from clusterbench.methods.kit.dense_sift import DenseSIFT, DenseSIFTSettings, nearest_cells


def photographs(height: int = 64, width: int = 83) -> np.ndarray:
    """uint8 (2, height, width, 3)."""
    return np.stack([image[100 : 100 + height, 200 : 200 + width] for image in load_sample_images().images])


def dense(images: np.ndarray, **settings: float) -> np.ndarray:
    sift = DenseSIFT(DenseSIFTSettings(**settings))  # type: ignore[arg-type]
    return sift(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))))


def by_hand(grey: np.ndarray, row: int, column: int, square: float) -> np.ndarray:
    """Lowe, section 6.1, for an upright keypoint: each gradient is shared out to eight cells by its distance to their centres."""
    grey = grey.astype(float)
    histogram = np.zeros((6, 6, 8))  # with a rim of squares, which is cut off
    reach = int(square * np.sqrt(2) * 2.5 + 0.5)
    for y in range(max(row - reach, 1), min(row + reach + 1, grey.shape[0] - 1)):
        for x in range(max(column - reach, 1), min(column + reach + 1, grey.shape[1] - 1)):
            across, down = (x - column) / square, (y - row) / square
            if not (-2.5 < across < 2.5 and -2.5 < down < 2.5):
                continue
            dx, dy = grey[y, x + 1] - grey[y, x - 1], grey[y - 1, x] - grey[y + 1, x]
            strength = np.hypot(dx, dy) * np.exp(-(across**2 + down**2) / (2 * 2**2))
            angle = np.degrees(np.arctan2(dy, dx)) % 360 / 45
            for i in range(6):
                for j in range(6):
                    share = max(0, 1 - abs(down + 2.5 - i)) * max(0, 1 - abs(across + 2.5 - j))
                    low = int(angle) % 8
                    histogram[i, j, low] += strength * share * (1 - angle % 1)
                    histogram[i, j, (low + 1) % 8] += strength * share * (angle % 1)
    vector = histogram[1:5, 1:5].ravel()
    vector = np.minimum(vector, 0.2 * np.linalg.norm(vector))
    return np.clip(512 * vector / np.linalg.norm(vector), 0, 255)


@pytest.mark.parametrize(("step", "square", "blur"), [(10, 3.0, 0.5), (7, 2.0, 1.6)])
def test_dense_descriptors_are_the_sparse_ones_at_the_same_keypoints(step: int, square: float, blur: float) -> None:
    images = photographs()
    found = dense(images, step=step, square=square, blur=blur)
    assert found.shape == (2, 64 // step, 83 // step, 128) and found.dtype == np.float32
    sparse = cv2.SIFT_create(sigma=blur)  # type: ignore[attr-defined]
    for image, descriptors in zip(images, found, strict=True):
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        for row, column in np.ndindex(descriptors.shape[:2]):
            x, y = column * step + step // 2, row * step + step // 2
            _, alone = sparse.compute(grey, [cv2.KeyPoint(x, y, square * 2 / 3, 0.0)])
            assert np.array_equal(alone[0], descriptors[row, column])


def test_descriptors_are_what_lowe_describes() -> None:
    images = photographs(40, 40)
    found = dense(images)
    for image, descriptors in zip(images, found, strict=True):
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        for row, column in ((1, 1), (2, 1), (1, 2)):
            # OpenCV rounds to whole numbers, blurs by a tenth of a pixel before, and reads angles to a third of a degree
            wanted = by_hand(grey, 10 * row + 5, 10 * column + 5, 3.0)
            assert np.abs(descriptors[row, column] - wanted).max() < 12
            assert np.corrcoef(descriptors[row, column], wanted)[0, 1] > 0.995


def test_grey_images_and_infrared_make_no_difference_to_the_luma() -> None:
    colours = photographs()
    infrared = np.concatenate([colours, colours[..., :1] // 2], axis=3)
    assert np.array_equal(dense(infrared), dense(colours))
    grey = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in colours])
    assert np.array_equal(dense(grey[..., None]), dense(colours))


def test_a_uniform_image_has_descriptors_of_nothing() -> None:
    assert not dense(np.full((1, 20, 20, 1), 90, np.uint8)).any()


def test_threads_of_opencv_are_as_before() -> None:
    before = cv2.getNumThreads()
    dense(photographs())
    assert cv2.getNumThreads() == before


def test_the_grid_has_the_published_number_of_places() -> None:
    sift = DenseSIFT(DenseSIFTSettings())
    assert sift.places(128).tolist() == list(range(5, 120, 10)) and len(sift.places(200)) == 20
    with pytest.raises(MethodError, match="sift.step"):
        sift.places(9)


def test_a_pixel_is_of_the_cell_whose_centre_is_nearest() -> None:
    sift = DenseSIFT(DenseSIFTSettings(step=7))
    centres = sift.places(38)
    distances = np.abs(np.arange(38)[:, None] - centres)
    assert np.array_equal(nearest_cells(38, len(centres), 7), distances.argmin(1))
