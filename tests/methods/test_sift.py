"""SIFT and k-means: what is fitted on, what each pixel gets, and the published score at the centres of cells beside ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import pairwise_distances_argmin

from clusterbench.bench.config import resolve
from clusterbench.bench.spec import make_spec
from clusterbench.bench.trial import run_trial
from clusterbench.datasets.base import Images, TrialData
from clusterbench.datasets.masks import UnreadMasks
from clusterbench.methods.sift import SIFT
from clusterbench.results.metrics import confusion, scores
from clusterbench.results.scoring import recompute


def striped(count: int = 8, side: int = 46) -> tuple[Images, np.ndarray]:
    """Images with stripes one way in some part and the other way in the rest, and which part each pixel is of."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side]
    labels = (columns < generator.integers(15, 31, (count, 1, 1))).astype(np.int64) * np.ones((count, side, 1), np.int64)
    waves = np.where(labels == 1, np.sin(rows * 0.9), np.sin(columns * 0.9))
    grey = 128 + 70 * waves + generator.normal(0, 8, waves.shape)
    return Images(torch.from_numpy(grey.clip(0, 255).astype(np.uint8)).unsqueeze(1)), labels


def test_it_tells_textures_that_have_the_same_colours_apart() -> None:
    images, labels = striped()
    found = SIFT(2).fit(images).labels_
    assert scores(confusion(found, labels))["acc"] > 0.85


def test_every_pixel_has_the_cluster_of_the_nearest_descriptor() -> None:
    images, _ = striped(3)
    method = SIFT(3).fit(images)
    centres = method.state_dict()["clusters"]["centres"].numpy()
    cells = pairwise_distances_argmin(method.sift(images.pixels).reshape(-1, 128), centres).reshape(3, 4, 4)
    places = np.abs(np.arange(46)[:, None] + 0.5 - (np.arange(4) * 10 + 5)).argmin(1)  # a pixel's own centre is half a pixel on
    assert np.array_equal(method.predict_heads(images)[0], cells[:, places][:, :, places])


def test_it_is_fitted_on_cells_whose_centre_counts() -> None:
    images, _ = striped(6)
    labels = np.full((6, 46, 46), -1)
    labels[:, 5:36:10, 15] = 0  # four centres of each image, in the second column of cells
    masked = Images(images.pixels, masks=UnreadMasks(labels))
    wanted = SIFT(2).fit(images).sift(images.pixels)
    drawn = SIFT(2).fit(masked)._drawn(masked)
    assert np.array_equal(np.unique(drawn, axis=0), np.unique(wanted[:, :, 1].reshape(-1, 128), axis=0)) and len(drawn) == 24
    every = SIFT(2, kmeans={"use_masks": False}).fit(masked)._drawn(masked)
    assert np.array_equal(np.unique(every, axis=0), np.unique(wanted.reshape(-1, 128), axis=0)) and len(every) == 6 * 16


def test_it_is_fitted_on_a_sample_of_a_crop_of_each_image() -> None:
    images, _ = striped(6)
    assert SIFT(2, crop=30).fit(images)._drawn(images).shape == (6 * 3 * 3, 128)
    assert SIFT(2, kmeans={"pixels": 17}).fit(images)._drawn(images).shape == (17, 128)


def trial_data(images: Images, labels: np.ndarray) -> TrialData:
    return TrialData("stripes", "full", images, images, labels, ("down", "across"), "0" * 12)


def test_the_published_score_at_the_centres_stands_beside_that_of_all_pixels(tmp_path: Path) -> None:
    images, labels = striped()
    labels = labels.copy()
    labels[:, :8] = -1
    data = trial_data(images, labels)
    record = run_trial(make_spec(resolve("sift", "stripes", "short"), data), data, out=tmp_path, device="cpu")
    metrics = record.metrics["own-loss"]
    maps = SIFT(2, **record.spec["config"]).fit(images).labels_
    at = np.ix_(range(8), range(5, 46, 10)[:4], range(5, 46, 10)[:4])
    for found, truth, told in ((maps, labels, metrics), (maps[at], labels[at], metrics["other_predictions"]["cell-centres"])):
        wanted = scores(confusion(found, truth, 2, 2))
        assert {name: told[name] for name in ("acc", "nmi", "ari")} == pytest.approx(
            {name: wanted[name] for name in ("acc", "nmi", "ari")}
        )
        assert told["miou"] is not None
    stored = record.labels()["own-loss/other/cell-centres"][0]
    assert np.array_equal(np.unique(np.argwhere(stored >= 0)[:, 1]), [5, 15, 25, 35]) and (stored == -1).mean() > 0.99
    assert recompute(record) == record.metrics
