"""Labels of pixels by clusters, against brute force over pixels, and how they travel with the copies of the crops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score
from torch.nn import functional

from clusterbench.datasets.base import Images
from clusterbench.datasets.masks import UnreadMasks
from clusterbench.methods.base import Diverged, MethodError
from clusterbench.methods.kit.pixel_label_views import PixelLabelViews
from clusterbench.methods.kit.pixel_labels import PixelLabels
from clusterbench.methods.kit.randomness import generator
from clusterbench.methods.kit.segmentation_views import JitterSettings

SIZE = (9, 12)


def maps(count: int = 3, features: int = 5) -> torch.Tensor:
    return (
        torch.randn(count, features, 4, 6, generator=generator("cpu", 0)) * torch.arange(1.0, features + 1).view(1, -1, 1, 1) + 2
    )


def rows_of(seen: torch.Tensor) -> torch.Tensor:
    """Every feature of every enlarged map, float64 (pixels, D)."""
    enlarged = functional.interpolate(seen, SIZE, mode="bilinear", align_corners=False)
    return enlarged.movedim(1, -1).flatten(0, 2).double()


@pytest.mark.parametrize("whiten", [None, 3, 5])
def test_each_pixel_gets_the_centre_that_is_nearest_to_its_enlarged_feature(whiten: int | None) -> None:
    seen, labels = maps(), PixelLabels(7, 20, whiten)
    rows = rows_of(seen)
    labels.fit(rows.float().numpy(), None, seed=1, device="cpu")
    if whiten is not None:
        centred = rows - rows.mean(0)
        variances, axes = np.linalg.eigh(np.cov(centred.numpy(), rowvar=False, bias=True))
        white = centred.numpy() @ axes[:, ::-1][:, :whiten] / np.sqrt(variances[::-1][:whiten])
        signs = np.sign((white * (centred @ labels.whitening.axes.double()).numpy()).sum(0))  # an axis may point either way
        rows = functional.normalize(torch.from_numpy(white * signs), dim=1)
    distances = torch.cdist(rows, labels.centres.double())
    nearest = torch.tensor([int(row.argmin()) for row in distances]).view(len(seen), *SIZE)
    two = distances.sort(dim=1).values
    clear = (two[:, 1] - two[:, 0] > 1e-4).view(nearest.shape)
    assert torch.equal(labels.of(seen, SIZE)[clear], nearest[clear]) and clear.float().mean() > 0.99


def test_the_sample_gets_the_labels_that_its_maps_get() -> None:
    seen, labels = maps(), PixelLabels(6, 20, None)
    found = labels.fit(rows_of(seen).float().numpy(), None, seed=0, device="cpu")
    assert np.mean(labels.of(seen, SIZE).flatten().numpy() == found) > 0.99  # ties up to rounding


def test_blobs_are_found_and_another_seed_starts_elsewhere() -> None:
    features, truth = make_blobs(300, 4, centers=np.eye(4) * 50, random_state=0)
    rows = features.astype(np.float32)
    found = [PixelLabels(4, 20, None).fit(rows, None, seed, "cpu") for seed in range(5)]
    assert max(adjusted_rand_score(truth, each) for each in found) == 1
    assert any(not np.array_equal(found[0], other) for other in found[1:])


def test_a_row_that_stands_for_many_pixels_draws_its_centre_near() -> None:
    rows, weights = np.array([[0.0], [1.0], [100.0], [101.0]], np.float32), np.array([1.0, 3.0, 1.0, 1.0])
    labels = PixelLabels(2, 20, None)
    labels.fit(rows, weights, seed=0, device="cpu")
    assert sorted(labels.centres.flatten().tolist()) == pytest.approx([0.75, 100.5])


@pytest.mark.parametrize(
    ("rows", "error", "said"),
    [
        (np.zeros((4, 2), np.float32), MethodError, "4 pixels cannot fill 5 clusters of pseudo-labels"),
        (np.full((9, 2), np.nan, np.float32), Diverged, "not finite"),
    ],
)
def test_what_cannot_be_clustered_is_refused(rows: np.ndarray, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        PixelLabels(5, 20, None).fit(rows, None, 0, "cpu")


def photographs(count: int = 6, side: int = 20) -> Images:
    pixels = torch.randint(0, 256, (count, 4, side, side), dtype=torch.uint8, generator=generator("cpu", 2))
    known = np.where(np.arange(side) < 15, 0, -1)
    return Images(pixels, masks=UnreadMasks(np.broadcast_to(known, (count, side, side)).copy()))


def views(images: Images, **settings: object) -> PixelLabelViews:
    return PixelLabelViews(JitterSettings(**settings), images.shape, images.shape[1:])  # type: ignore[arg-type]


def test_labels_follow_their_pixels_into_the_copies() -> None:
    images = photographs()
    still: dict[str, object] = {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0, "flip_probability": 0.5, "crop": 16}
    indices = torch.arange(6)
    crops = views(images, **still).labelled(images, images.batch(indices), indices, generator("cpu", 3), masked=True)
    labels = (crops.plain[:, 0] * 255).round().long()  # a label that can be read off the pixel
    carried = crops.carried(labels)
    read = (crops.changed[:, 0] * 255).round().long()
    assert torch.equal(carried[carried >= 0], read[carried >= 0])
    assert crops.mask is not None and (carried >= 0).sum() == crops.mask.sum() and not crops.mask.all()
    assert 0 < int(crops.flipped.sum()) < 6


def test_edges_are_those_of_the_mean_of_the_colours() -> None:
    images = photographs()
    edges = views(images, channels=("sobel",)).test(images.pixels[:2])
    grey = (images.pixels[:2, :3].double() / 255).mean(1, keepdim=True)
    across = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]], dtype=torch.float64)
    for channel, kernel in enumerate((across, across.T)):
        found = functional.conv2d(grey, kernel[None, None], padding=1)[:, 0]
        assert torch.allclose(edges[:, channel].double().abs(), found.abs(), atol=1e-5)
