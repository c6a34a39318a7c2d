"""Scores away from the boundaries of classes, against loops over pixels and SciPy's distances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from sklearn.metrics import jaccard_score

from clusterbench.results.boundaries import AWAY, REACH, away_from_boundaries, count_pixels, scores_away
from clusterbench.results.metrics import confusion


def blocks(classes: int = 3, side: int = 21, seed: int = 0) -> np.ndarray:
    """Two maps of blotches of classes -1..classes-1."""
    random = np.random.default_rng(seed)
    return random.integers(-1, classes, (2, side // 7, side // 3)).repeat(7, axis=1).repeat(3, axis=2)


def distances(labels: np.ndarray) -> np.ndarray:
    """Of each pixel, to the nearest of another label."""
    found = np.full(labels.shape, np.inf)
    for index, each in enumerate(labels):
        for label in np.unique(each):
            here = each == label
            if not here.all():
                found[index][here] = distance_transform_edt(here)[here]
    return found


@pytest.mark.parametrize("reach", [0, 1, 2, 3, 5, 30])
def test_away_is_further_from_any_other_label_than_the_reach(reach: int) -> None:
    labels = blocks()
    assert np.array_equal(away_from_boundaries(labels, reach), distances(labels) > reach)


def test_the_rim_of_an_image_is_no_boundary() -> None:
    assert away_from_boundaries(np.zeros((1, 4, 9), int)).all()


def test_a_map_smaller_than_the_reach_has_its_boundaries() -> None:
    labels = np.array([[[0, 0], [0, 1]], [[2, 2], [2, 2]]])
    assert np.array_equal(away_from_boundaries(labels), labels == 2)


def test_both_counts_are_those_of_loops_over_pixels() -> None:
    labels, random = blocks(), np.random.default_rng(1)
    predictions = random.integers(0, 4, (2, *labels.shape)).astype(np.int8)
    whole, away = count_pixels(predictions, labels, 4, 3)
    far = distances(labels) > REACH
    for head, maps in enumerate(predictions):
        wanted, wanted_away = np.zeros((4, 4), int), np.zeros((4, 3), int)
        for index in np.ndindex(labels.shape):
            wanted[maps[index], labels[index]] += 1  # -1 is the last column
            if far[index] and labels[index] >= 0:
                wanted_away[maps[index], labels[index]] += 1
        assert np.array_equal(whole[head], wanted) and np.array_equal(away[head], wanted_away)
    assert 0 < away.sum() < whole.sum()


@pytest.mark.parametrize("kind", [np.int8, np.int64])
def test_pixels_without_a_cluster_are_not_counted(kind: type) -> None:
    labels, random = blocks(), np.random.default_rng(4)
    predictions = random.integers(-1, 4, (2, *labels.shape)).astype(kind)
    whole, away = count_pixels(predictions, labels, 128, 3)  # 128 clusters, more than 8 bits count
    far = (distances(labels) > REACH) & (labels >= 0)
    for head, maps in enumerate(predictions):
        for cluster in range(128):
            here = maps == cluster
            assert whole[head, cluster].tolist() == [(here & (labels == label)).sum() for label in (0, 1, 2, -1)]
            assert away[head, cluster].tolist() == [(here & far & (labels == label)).sum() for label in range(3)]


def test_a_class_out_of_range_is_refused_and_not_counted_as_another() -> None:
    labels = np.full((1, 3, 3), 3)
    with pytest.raises(ValueError, match=r"class is out of range: found 3, expected -1\.\.2"):
        count_pixels(np.zeros((1, 1, 3, 3), int), labels, 4, 3)


def test_scores_are_those_of_the_pixels_that_are_left() -> None:
    labels, random = blocks(seed=3), np.random.default_rng(2)
    predictions = np.where(random.random(labels.shape) < 0.7, labels.clip(0), random.integers(0, 3, labels.shape))[None]
    whole, away = count_pixels(predictions, labels, 3, 3)
    classes = np.array([2, 0, 1])
    scores = scores_away({"confusion": whole[..., :-1], AWAY: away}, 0, classes)
    left = (distances(labels) > REACH) & (labels >= 0)
    given, truth = classes[predictions[0][left]], labels[left]
    assert scores is not None and scores["reach"] == REACH
    assert scores["share"] == pytest.approx(left.sum() / (labels >= 0).sum())
    assert scores["acc"] == pytest.approx((given == truth).mean())
    assert scores["iou"] == pytest.approx(jaccard_score(truth, given, labels=[0, 1, 2], average=None))
    assert scores["miou"] == pytest.approx(np.mean(scores["iou"]))


def test_maps_that_are_all_boundary_have_no_score_away_from_it() -> None:
    labels = np.indices((1, 6, 6)).sum(0) % 2
    whole, away = count_pixels(labels[None], labels, 2, 2)
    scores = scores_away({"confusion": whole[..., :-1], AWAY: away}, 0, np.arange(2))
    assert scores == {"reach": REACH, "share": 0.0, "acc": None, "miou": None, "iou": None}
    assert np.array_equal(whole[0, :, :-1], confusion(labels, labels))


def test_counts_of_another_reach_say_so_and_older_records_say_nothing() -> None:
    whole = np.array([[[5, 0], [0, 5]]])
    other = scores_away({"confusion": whole, "away-7-confusion": whole}, 0, np.arange(2))
    assert other is not None and (other["reach"], other["acc"]) == (7, 1.0)
    assert scores_away({"confusion": whole}, 0, np.arange(2)) is None
