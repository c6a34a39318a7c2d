"""Maps from clusters to classes, against loops over images and scikit-learn's Jaccard score."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from clusterbench.results.mapping import DRAWS, intersection_over_union, label_fractions, map_clusters, mapped_accuracy
from clusterbench.results.metrics import confusion, count_pairs, scores


def drawn(n_clusters: int, n_classes: int, n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Clusters and classes that go together more often than not."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, n_classes, n)
    clusters = (truth + n_classes * random.integers(0, -(-n_clusters // n_classes), n)) % n_clusters
    return np.where(random.random(n) < 0.3, random.integers(0, n_clusters, n), clusters), truth


def voted(clusters: np.ndarray, truth: np.ndarray, n_clusters: int, n_classes: int) -> list[int]:
    """The class with most votes in each cluster, image by image; the lowest among equals and for no vote."""
    chosen = []
    for cluster in range(n_clusters):
        votes = [sum(1 for c, t in zip(clusters, truth, strict=True) if (c, t) == (cluster, label)) for label in range(n_classes)]
        chosen.append(votes.index(max(votes)))
    return chosen


def test_many_to_one_takes_the_class_with_most_votes() -> None:
    clusters, truth = drawn(9, 4)
    found = map_clusters(confusion(clusters, truth, 9, 4), "many-to-one")
    assert found.tolist() == voted(clusters, truth, 9, 4)


def test_ties_and_empty_clusters_go_to_the_lowest_class() -> None:
    assert map_clusters(np.array([[0, 3, 3], [0, 0, 0], [2, 2, 2], [0, 0, 1]]), "many-to-one").tolist() == [1, 0, 0, 2]


@pytest.mark.parametrize(("n_clusters", "n_classes"), [(4, 4), (5, 3), (3, 5)])
def test_hungarian_is_the_best_of_all_one_to_one_maps(n_clusters: int, n_classes: int) -> None:
    matrix = np.random.default_rng(1).integers(0, 50, (n_clusters, n_classes))
    classes = map_clusters(matrix, "hungarian")
    given = [label for label in classes.tolist() if label >= 0]
    assert len(set(given)) == len(given) == min(n_clusters, n_classes)
    padded = [*range(n_classes), *[-1] * max(0, n_clusters - n_classes)]
    best = max(
        sum(int(matrix[k, c]) for k, c in enumerate(each) if c >= 0) for each in set(itertools.permutations(padded, n_clusters))
    )
    assert mapped_accuracy(matrix, classes) == best / matrix.sum() == scores(matrix)["acc"]


def test_predicted_classes_are_taken_as_they_are() -> None:
    clusters, truth = drawn(4, 4)
    matrix = confusion(clusters, truth, 4, 4)
    assert mapped_accuracy(matrix, map_clusters(matrix, "identity")) == pytest.approx((clusters == truth).mean())


@pytest.mark.parametrize(("kind", "n_clusters"), [("many-to-one", 9), ("hungarian", 4), ("hungarian", 6), ("identity", 4)])
def test_accuracy_and_iou_are_those_of_the_mapped_images(kind, n_clusters: int) -> None:
    clusters, truth = drawn(n_clusters, 4)
    matrix = confusion(clusters, truth, n_clusters, 4)
    classes = map_clusters(matrix, kind)
    predicted = classes[clusters]
    assert mapped_accuracy(matrix, classes) == pytest.approx((predicted == truth).mean())
    expected = jaccard_score(truth, predicted, labels=[0, 1, 2, 3], average=None)
    assert intersection_over_union(matrix, classes) == pytest.approx(expected.tolist())


def test_a_class_that_nothing_has_and_nothing_was_given_has_no_iou() -> None:
    matrix = np.array([[5, 1, 0], [0, 4, 0], [0, 0, 0]])
    assert intersection_over_union(matrix, np.array([0, 1, 1])) == [5 / 6, 4 / 5, None]


@pytest.mark.parametrize(("kind", "n_clusters"), [("many-to-one", 9), ("hungarian", 4)])
def test_label_fractions_are_those_of_a_loop_over_draws(kind, n_clusters: int) -> None:
    names = np.random.default_rng(7).permutation(n_clusters)  # cluster 0 is not class 0, or one label would do
    clusters, truth = drawn(n_clusters, 4, n=150)
    truth[::7] = -1
    judged_clusters, judged_truth = drawn(n_clusters, 4, n=90, seed=3)
    clusters, judged_clusters = names[clusters], names[judged_clusters]
    judged = confusion(judged_clusters, judged_truth, n_clusters, 4)
    found = label_fractions(clusters, truth, judged, kind, seed=5, fractions=(1.0, 0.5, 0.1, 0.001))

    random, known = np.random.default_rng(5), np.flatnonzero(truth >= 0)
    for row, fraction in zip(found, (1.0, 0.5, 0.1, 0.001), strict=True):
        n = max(1, int(fraction * len(known)))
        accs = []
        for _ in range(DRAWS):
            rows = known[random.permutation(len(known))[:n]]
            if kind == "many-to-one":
                classes = np.array(voted(clusters[rows], truth[rows], n_clusters, 4))
            else:
                classes = map_clusters(confusion(clusters[rows], truth[rows], n_clusters, 4), "hungarian")
            accs.append(float(np.mean(classes[judged_clusters] == judged_truth)))
        assert (row["fraction"], row["labels"], row["draws"]) == (fraction, n, DRAWS)
        assert row["acc_mean"] == pytest.approx(np.mean(accs)) and row["acc_std"] == pytest.approx(np.std(accs), abs=1e-12)
    assert found[0]["acc_std"] == 0.0 < max(row["acc_std"] for row in found[1:])


def test_label_fractions_depend_on_the_seed_alone() -> None:
    clusters, truth = drawn(9, 4)
    judged = confusion(clusters, truth, 9, 4)
    one, again, other = (label_fractions(clusters, truth, judged, "many-to-one", seed) for seed in (0, 0, 1))
    assert one == again != other


def test_parts_counted_one_by_one_sum_up_to_the_whole() -> None:
    clusters, truth = drawn(6, 4)
    truth[::5] = -1
    pieces = zip(np.split(clusters, 8), np.split(truth, 8), strict=True)
    parts = np.sum([count_pairs(c, t, 6, 4) for c, t in pieces], axis=0)
    assert np.array_equal(parts[:, :-1], confusion(clusters, truth, 6, 4))
    assert parts[:, -1].tolist() == np.bincount(clusters[truth == -1], minlength=6).tolist()


@pytest.mark.parametrize(
    ("clusters", "truth", "said"),
    [([0, 3], [0, 0], "cluster is out of range"), ([0, -1], [0, 0], "cluster is out of range"),
     ([0, 1], [0, 2], "class is out of range"), ([0, 1], [0, -2], "class is out of range"), ([0], [0, 0], "1 predictions for 2")],
)  # fmt: skip
def test_pairs_that_cannot_be_counted_are_refused(clusters: list[int], truth: list[int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        count_pairs(np.array(clusters), np.array(truth), 3, 2)
