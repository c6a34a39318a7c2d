"""The k-means that scores features of pixels, against what scikit-learn makes of maps that are enlarged as a whole."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, pairwise_distances_argmin
from torch.nn import functional

from clusterbench.datasets.base import Images
from clusterbench.methods.base import Diverged, MethodError
from clusterbench.methods.kit.pixel_clusters import PixelClusters, PixelKMeansSettings
from clusterbench.methods.kit.segmentation_views import SegmentationView, SegmentationViewSettings

IMAGES = Images(torch.randint(0, 256, (9, 3, 24, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)))
VIEW = SegmentationView(SegmentationViewSettings(), IMAGES.shape, (24, 30))
MIXED = torch.randn(6, 3, 3, 3, generator=torch.Generator().manual_seed(1))


def maps_of(views: torch.Tensor) -> torch.Tensor:
    """Six features at a third of the resolution."""
    return functional.conv2d(views, MIXED, stride=3)


def enlarged() -> np.ndarray:
    maps = functional.interpolate(maps_of(VIEW.test(IMAGES.pixels)), (24, 30), mode="bilinear", align_corners=False)
    return maps.movedim(1, -1).reshape(-1, 6).numpy()


def fitted(k: int = 4, maps: Any = maps_of, **settings: Any) -> PixelClusters:
    clusters = PixelClusters(k, PixelKMeansSettings(**settings), seed=0)
    clusters.objective = clusters.fit(maps, VIEW, IMAGES)  # type: ignore[attr-defined]
    return clusters


def centres(clusters: PixelClusters) -> np.ndarray:
    assert clusters.centres is not None
    return clusters.centres.numpy()


def test_every_pixel_goes_to_the_nearest_centre_of_its_enlarged_features() -> None:
    clusters = fitted(batch=4)
    parts = list(clusters.assign(maps_of, VIEW, IMAGES))
    assert [part.shape for part in parts] == [(1, 4, 24, 30), (1, 4, 24, 30), (1, 1, 24, 30)]
    found, wanted = np.concatenate(parts, axis=1).ravel(), pairwise_distances_argmin(enlarged(), centres(clusters))
    distances = np.square(enlarged()[:, None] - centres(clusters)).sum(-1)
    gaps = distances[np.arange(len(found)), found] - distances.min(1)
    assert found.dtype == np.int64 and (found == wanted).mean() > 0.9999 and gaps.max() < 1e-4  # ties up to rounding


def test_it_finds_what_k_means_on_all_pixels_finds() -> None:
    colours = torch.tensor([[0, 0, 0], [200, 0, 0], [0, 200, 0]], dtype=torch.uint8)
    truth = torch.randint(0, 3, (9, 24, 30), generator=torch.Generator().manual_seed(2))
    noisy = Images(colours[truth].movedim(-1, 1) + IMAGES.pixels // 5)
    clusters = PixelClusters(3, PixelKMeansSettings(), seed=0)
    objective = clusters.fit(lambda views: views, VIEW, noisy)
    pixels = VIEW.test(noisy.pixels).movedim(1, -1).reshape(-1, 3).numpy()
    best = KMeans(3, n_init=5, random_state=0).fit(pixels)
    found = np.concatenate(list(clusters.assign(lambda views: views, VIEW, noisy)), axis=1).ravel()
    assert adjusted_rand_score(best.labels_, found) == 1
    assert objective == pytest.approx(float(best.inertia_) / len(pixels), rel=0.02)


def test_objective_is_the_mean_squared_distance_to_the_centres() -> None:
    clusters = fitted()
    distances = np.square(enlarged()[:, None] - centres(clusters)).sum(-1).min(1)
    assert clusters.objective == pytest.approx(distances.mean(), rel=1e-4)  # type: ignore[attr-defined]


def test_one_pixel_per_batch_weighs_a_batch_by_its_pixels() -> None:
    wanted: list[torch.Tensor] = []

    def noted(views: torch.Tensor) -> torch.Tensor:
        wanted.append(views)
        return views

    clusters = fitted(2, noted, sampling="one-pixel-per-batch", batch=4)
    assert len(wanted) == 3  # batches, so three pixels for two clusters: one stands alone or is the mean of two by weight
    pixels = torch.cat([views.movedim(1, -1).reshape(-1, 3) for views in wanted]).numpy()
    nearest = np.square(pixels[:, None] - centres(clusters)).sum(-1).min(0)  # a mean of 700 pixels would be near none
    assert nearest.min() < 1e-8
    assert not np.allclose(np.sort(centres(clusters), 0), np.sort(centres(fitted(2, noted)), 0), atol=0.02)


def test_the_seed_decides_what_is_found() -> None:
    again, other = fitted(pixels=500), PixelClusters(4, PixelKMeansSettings(pixels=500), seed=1)
    other.fit(maps_of, VIEW, IMAGES)
    assert np.array_equal(centres(fitted(pixels=500)), centres(again)) and not np.array_equal(centres(again), centres(other))


def test_clusters_survive_the_disk() -> None:
    clusters, stored, empty = fitted(), io.BytesIO(), PixelClusters(4, PixelKMeansSettings(), seed=0)
    torch.save([clusters.state_dict(), empty.state_dict()], stored)
    state, nothing = torch.load(io.BytesIO(stored.getvalue()), weights_only=True)
    restored = PixelClusters(4, PixelKMeansSettings(), seed=0)
    restored.load_state_dict(state, "cpu")
    parts = zip(restored.assign(maps_of, VIEW, IMAGES), clusters.assign(maps_of, VIEW, IMAGES), strict=True)
    assert all(np.array_equal(*pair) for pair in parts)
    restored.load_state_dict(nothing, "cpu")
    with pytest.raises(MethodError, match="call fit first"):
        next(restored.assign(maps_of, VIEW, IMAGES))


def test_what_cannot_be_clustered_is_refused_in_one_line() -> None:
    with pytest.raises(MethodError, match=r"4 clusters, got 3 pixels. Take smaller batches"):
        fitted(sampling="one-pixel-per-batch", batch=4)
    with pytest.raises(MethodError, match="got 2 pixels"):
        fitted(pixels=2)
    with pytest.raises(Diverged, match="not finite"):
        fitted(maps=lambda views: views / 0)
