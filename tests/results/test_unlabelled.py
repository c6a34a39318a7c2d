"""What is said of clusters without labels, against scikit-learn and counts made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, silhouette_score

from clusterbench.results.groups import Group
from clusterbench.results.unlabelled import (
    agreement,
    chosen_clusters,
    cluster_sizes,
    confidence,
    confidence_summary,
    recurrence,
    silhouette,
    silhouettes,
    stability,
)

MakeRecord = Callable[..., Any]
random = np.random.default_rng(0)
CLUSTERS = [random.integers(0, 4, (2, 50)) for _ in range(3)]  # three seeds of two sub-heads


def seeds(make_record: MakeRecord, folder: Path, clusters: list[np.ndarray], head: int = 1) -> Group:
    """A group of unlabelled records, one for each array (H, N) of clusters."""
    records = []
    for seed, found in enumerate(clusters):
        place = folder / str(seed)
        place.mkdir()
        np.savez(place / "labels.npz", **{"truth": np.full(found.shape[1], -1), "own-loss": found, "own-loss/head": head})
        about = {"unlabelled": {"confidence": {"mean": 0.5 + seed / 10}, "silhouette": {"value": seed / 10}}}
        records.append(make_record("kmeans", "folder:x", acc=None, seed=seed, n_clusters=4, folder=place, diagnostics=about))
    return Group(tuple(records))


def test_stability_is_the_mean_ari_of_all_pairs_of_seeds(make_record: MakeRecord, tmp_path: Path) -> None:
    found = stability(seeds(make_record, tmp_path, CLUSTERS))
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = [adjusted_rand_score(CLUSTERS[a][1], CLUSTERS[b][1]) for a, b in pairs]  # by the chosen sub-head
    assert found is not None and found.n == 3
    assert found.mean == pytest.approx(fmean(expected)) and found.std == pytest.approx(stdev(expected))


def test_clusters_that_are_only_numbered_otherwise_are_fully_stable(make_record: MakeRecord, tmp_path: Path) -> None:
    first = CLUSTERS[0]
    found = stability(seeds(make_record, tmp_path, [first, (first + 1) % 4]))
    assert found is not None and found.mean == pytest.approx(1.0) and found.std is None


def test_one_seed_and_seeds_without_labels_have_no_stability(make_record: MakeRecord, tmp_path: Path) -> None:
    group = seeds(make_record, tmp_path, CLUSTERS)
    assert stability(Group(group.records[:1])) is None
    (tmp_path / "1" / "labels.npz").unlink()
    assert stability(group) is None


def test_seeds_of_different_images_have_no_stability(make_record: MakeRecord, tmp_path: Path) -> None:
    assert stability(seeds(make_record, tmp_path, [CLUSTERS[0], CLUSTERS[1][:, :30]])) is None


def test_confidence_and_silhouette_are_averaged_over_seeds_that_all_have_them(make_record: MakeRecord, tmp_path: Path) -> None:
    group = seeds(make_record, tmp_path, CLUSTERS)
    sure, apart = confidence(group), silhouettes(group)
    assert sure is not None and sure.mean == pytest.approx(0.6)
    assert apart is not None and apart.mean == pytest.approx(0.1)
    lacking = (*group.records[:2], group.records[2].model_copy(update={"diagnostics": {}}))
    assert confidence(Group(lacking)) is None and silhouettes(Group(lacking)) is None


def test_agreement_is_scikit_learns_ari() -> None:
    first, second = CLUSTERS[0][0], CLUSTERS[1][0]
    assert agreement(first, second) == pytest.approx(adjusted_rand_score(first, second))


def test_a_selection_that_was_not_kept_has_no_clusters() -> None:
    assert chosen_clusters({"last": CLUSTERS[0]}, "own-loss") is None
    assert np.array_equal(chosen_clusters({"last": CLUSTERS[0], "last/head": np.int64(1)}, "last"), CLUSTERS[0][1])  # type: ignore[arg-type]


def test_empty_clusters_have_the_size_0() -> None:
    assert cluster_sizes(np.array([2, 0, 2], np.int8), 4).tolist() == [1, 0, 2, 0]


def test_silhouette_is_scikit_learns_and_none_of_one_cluster() -> None:
    features, clusters = random.normal(size=(30, 5)), np.arange(30) % 3
    assert silhouette(features, clusters) == pytest.approx(silhouette_score(features, clusters))
    assert silhouette(features, np.zeros(30, int)) is None
    assert silhouette(features, np.arange(30)) is None


def test_two_far_points_twice_have_a_silhouette_near_1() -> None:
    value = silhouette(np.array([[0.0], [0.1], [10.0], [10.1]]), np.array([0, 0, 1, 1]))
    assert value == pytest.approx(fmean([1 - 0.1 / 10.05, 1 - 0.1 / 9.95]))  # a: the other of the pair, b: mean of the far pair


def test_recurrence_is_the_best_jaccard_overlap_on_average() -> None:
    clusters, others = CLUSTERS[0][0], [CLUSTERS[1][0], CLUSTERS[2][0]]

    def best(cluster: int, other: np.ndarray) -> float:
        mine = set(np.flatnonzero(clusters == cluster))
        theirs = [set(np.flatnonzero(other == each)) for each in range(4)]
        return max(len(mine & each) / len(mine | each) for each in theirs)

    expected = [fmean(best(cluster, other) for other in others) for cluster in range(4)]
    assert recurrence(clusters, others, 5) == [*(pytest.approx(value) for value in expected), None]


def test_the_summary_of_confidence_counts_the_sure() -> None:
    assert confidence_summary(np.array([0.9, 0.95, 0.5, 0.25])) == {
        "mean": pytest.approx(0.65), "median": pytest.approx(0.7), "sure": 0.5, "n": 4,
    }  # fmt: skip
