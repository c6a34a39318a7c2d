"""Spectral clustering on digits, in pieces, and on images that it has not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.cluster import contingency_matrix
from sklearn.neighbors import KNeighborsClassifier

from clusterbench.bench.config import resolve
from clusterbench.datasets.base import Images
from clusterbench.methods.base import MethodError
from clusterbench.methods.spectral import Spectral

DATA = load_digits()
IMAGES = (DATA.images * 255 / 16).round().astype(np.uint8)


def acc(predicted: np.ndarray, truth: np.ndarray) -> float:
    counts = contingency_matrix(truth, predicted)
    return counts[linear_sum_assignment(counts, maximize=True)].sum() / len(truth)


def dense_reference(vectors: np.ndarray, neighbours: int, scale: int, clusters: int) -> np.ndarray:
    """The paper's steps with dense matrices and scikit-learn's k-means."""
    from sklearn.cluster import KMeans

    vectors = vectors.astype(np.float64)
    distances = np.linalg.norm(vectors[:, None] - vectors, axis=2)
    order = distances.argsort(1)
    scales = distances[np.arange(len(vectors)), order[:, scale]]
    tied = np.zeros(distances.shape, bool)
    np.put_along_axis(tied, order[:, 1 : neighbours + 1], True, axis=1)
    affinity = np.where(tied | tied.T, np.exp(-(distances**2) / np.outer(scales, scales)), 0)
    root = np.sqrt(affinity.sum(1))
    _, vectors = np.linalg.eigh(affinity / np.outer(root, root))
    rows = vectors[:, -clusters:]
    return KMeans(clusters, n_init=10, random_state=0).fit_predict(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def test_its_clusters_are_those_of_dense_matrices() -> None:
    few = IMAGES[:400]
    theirs = dense_reference(few.reshape(400, -1) / 255, neighbours=12, scale=7, clusters=10)
    ours = Spectral(10, neighbours=12).fit_predict(few)
    assert adjusted_rand_score(ours, theirs) > 0.999


def test_it_finds_digits_in_a_second() -> None:
    assert acc(Spectral(10, **resolve("spectral", "digits", "smoke").config).fit_predict(IMAGES), DATA.target) > 0.85


def test_the_cut_is_the_criterion_and_the_eigenvalues_are_its_floor() -> None:
    method = Spectral(10)
    assert method.loss_floors == {}
    (epoch,) = method.train(Images.of(IMAGES[:400]))
    assert epoch.criterion == epoch.losses["normalised cut"] and epoch.images == 0
    assert 0 < method.loss_floors["criterion"] == method.loss_floors["normalised cut"] <= epoch.criterion < 10


def bright_and_dark(sizes: tuple[int, ...]) -> tuple[Images, np.ndarray]:
    """Groups of noisy images whose brightness is so different that no neighbour is in another group."""
    random, labels = np.random.default_rng(0), np.repeat(np.arange(len(sizes)), sizes)
    pixels = (250 // len(sizes)) * labels[:, None, None] + random.integers(0, 4, (len(labels), 6, 6))
    return Images.of(pixels.astype(np.uint8)), labels


def test_a_graph_in_pieces_is_clustered_by_its_pieces() -> None:
    images, labels = bright_and_dark((40, 60, 50))
    method = Spectral(3, neighbours=8)
    (epoch,) = method.train(images)
    assert adjusted_rand_score(method.predict(images), labels) == 1
    assert epoch.criterion == pytest.approx(0, abs=1e-9)


def test_outliers_take_no_cluster_of_their_own_but_that_of_the_nearest_image() -> None:
    images, labels = bright_and_dark((9, 200, 150, 180))
    found = Spectral(3, neighbours=8, smallest_piece=0.1).fit_predict(images)
    assert adjusted_rand_score(found[9:], labels[9:]) == 1
    assert set(found[:9]) == {found[9]}, "the next brightness"


def test_of_more_pieces_than_clusters_the_largest_are_clusters() -> None:
    images, labels = bright_and_dark((30, 60, 35, 50, 55))
    found = Spectral(3, neighbours=8).fit_predict(images)
    assert (
        len(set(found)) == 3 and adjusted_rand_score(found[np.isin(labels, (1, 3, 4))], labels[np.isin(labels, (1, 3, 4))]) == 1
    )


def test_an_image_that_is_new_belongs_to_the_nearest_one_that_is_not() -> None:
    method = Spectral(10).fit(IMAGES[:1000])
    theirs = (
        KNeighborsClassifier(1)
        .fit(IMAGES[:1000].reshape(1000, -1) / 255, method.labels_)
        .predict(IMAGES[1000:].reshape(-1, 64) / 255)
    )
    assert (method.predict(IMAGES[1000:]) == theirs).mean() > 0.998, "but for equal distances"


def test_it_trains_on_the_main_images_and_predicts_all() -> None:
    pixels = torch.from_numpy(IMAGES[:300])[:, None]
    roles = {"main": torch.arange(0, 300, 2)}
    method, alone = Spectral(4), Spectral(4).fit(IMAGES[:300:2])
    for _ in method.train(Images(pixels, roles)):
        pass
    everything = method.predict(Images(pixels, roles))
    assert everything.shape == (300,) and np.array_equal(everything[::2], alone.labels_)


def test_it_tells_how_far_the_search_is() -> None:
    told: list[tuple[int, int, int]] = []
    method = Spectral(4)
    method.on_step = lambda *step: told.append(step)
    method.fit(IMAGES[:300])
    assert told == [(300, 300, 300)]


@pytest.mark.parametrize(
    ("settings", "images", "message"),
    [
        ({"neighbours": 5}, 100, "scale_neighbour=7 is not among neighbours=5"),
        ({}, 10, "spectral needs at least 11 images for 10 neighbours and 10 clusters, got 10"),
        ({"input": {"pca": 65}}, 100, "input.pca must be at most 64"),
        ({"neighbors": 5}, 100, "Did you mean 'neighbours'"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(settings: dict[str, Any], images: int, message: str) -> None:
    with pytest.raises(MethodError, match=message):
        Spectral(10, **settings).fit(IMAGES[:images])


def test_the_papers_scale_is_the_seventh_neighbour_at_every_budget() -> None:
    for preset in ("paper", "short", "smoke"):
        for dataset in ("mnist", "cifar10", "cifar100-20", "stl10", "digits"):
            assert resolve("spectral", dataset, preset).config["scale_neighbour"] == 7
