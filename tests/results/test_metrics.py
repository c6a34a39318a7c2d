"""Metrics against scikit-learn, brute force and values worked out by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from clusterbench.results.metrics import LABELLED_METRICS, confusion, matching, score_heads, scores, summarise_heads

SHAPES = [(10, 10), (3, 7), (9, 4), (1, 5), (5, 1), (1, 1), (40, 25)]


def drawn(n_clusters: int, n_classes: int, seed: int, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Labels that agree in part: half of the clusters follow the class, the rest is noise."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, n_classes, n)
    return np.where(rng.random(n) < 0.5, truth % n_clusters, rng.integers(0, n_clusters, n)), truth


def best_by_trying_all(matrix: np.ndarray) -> float:
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    rows = range(wide.shape[0])
    return max(sum(wide[row, column] for row, column in zip(rows, order, strict=True))
               for order in itertools.permutations(range(wide.shape[1]), wide.shape[0])) / matrix.sum()  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("n_clusters", "n_classes"), SHAPES)
def test_nmi_ari_ami_equal_scikit_learn_on_the_label_vectors(n_clusters: int, n_classes: int, seed: int) -> None:
    predicted, truth = drawn(n_clusters, n_classes, seed)
    ours = scores(confusion(predicted, truth, n_clusters, n_classes))
    assert ours["nmi"] == pytest.approx(sklearn_metrics.normalized_mutual_info_score(truth, predicted), abs=1e-12)
    assert ours["ari"] == pytest.approx(sklearn_metrics.adjusted_rand_score(truth, predicted), abs=1e-12)
    assert ours["ami"] == pytest.approx(sklearn_metrics.adjusted_mutual_info_score(truth, predicted), abs=1e-10)


def test_ami_equals_scikit_learn_where_cells_are_large_and_sizes_uneven() -> None:
    rng = np.random.default_rng(5)
    truth = rng.choice(6, 30_000, p=[0.5, 0.2, 0.2, 0.08, 0.0199, 0.0001])
    predicted = rng.choice(4, 30_000, p=[0.9, 0.09, 0.0098, 0.0002])
    expected = sklearn_metrics.adjusted_mutual_info_score(truth, predicted)
    assert scores(confusion(predicted, truth))["ami"] == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("n_clusters", "n_classes"), [(5, 5), (3, 6), (6, 3), (1, 4), (4, 1)])
def test_acc_is_the_best_of_all_one_to_one_assignments(n_clusters: int, n_classes: int, seed: int) -> None:
    matrix = np.random.default_rng(seed).integers(0, 50, (n_clusters, n_classes))
    assert scores(matrix)["acc"] == pytest.approx(best_by_trying_all(matrix), abs=1e-15)
    assert len(matching(matrix)) == min(n_clusters, n_classes)


def test_two_clusters_by_hand() -> None:
    ours = scores(np.array([[1, 3], [5, 1]]))
    assert matching(np.array([[1, 3], [5, 1]])) == [(0, 1), (1, 0)]
    assert ours["acc"] == 8 / 10
    assert ours["many_to_one_acc"] == ours["purity"] == 8 / 10
    assert ours["clusters_used"] == 2
    # Pairs of images: 13 share cluster and class, 21 the cluster, 21 the class, 45 in all.
    assert ours["ari"] == pytest.approx((13 - 21 * 21 / 45) / (21 - 21 * 21 / 45))
    mutual = sum(n / 10 * math.log(n * 10 / (a * b)) for n, a, b in [(1, 4, 6), (3, 4, 4), (5, 6, 6), (1, 6, 4)])
    entropy = -(0.4 * math.log(0.4) + 0.6 * math.log(0.6))
    assert ours["nmi"] == pytest.approx(mutual / entropy)


def test_majority_may_name_two_clusters_after_one_class_where_acc_may_not() -> None:
    ours = scores(np.array([[4, 0], [3, 0], [0, 5]]))
    assert ours["many_to_one_acc"] == ours["purity"] == 1.0
    assert ours["acc"] == 9 / 12


def test_perfect_and_permuted_clusters_score_one() -> None:
    ours = scores(np.array([[0, 7, 0], [0, 0, 2], [4, 0, 0]]))
    assert [ours[name] for name in LABELLED_METRICS] == pytest.approx([1.0] * 6)


def test_one_cluster_for_everything_has_no_information() -> None:
    ours = scores(confusion(np.zeros(9, int), np.repeat([0, 1, 2], 3), 3, 3))
    assert ours["acc"] == pytest.approx(1 / 3)
    assert (ours["nmi"], ours["ari"], ours["ami"], ours["clusters_used"]) == (0.0, 0.0, 0.0, 1)


def test_empty_clusters_and_classes_change_nothing_but_the_shape() -> None:
    predicted, truth = drawn(4, 4, 0)
    assert confusion(predicted, truth, 6, 9).shape == (6, 9)
    assert scores(confusion(predicted, truth, 6, 9)) == pytest.approx(scores(confusion(predicted, truth)))


def test_a_billion_images_a_cell_scores_as_the_same_shares_of_few() -> None:
    shares = np.array([[7, 1, 2], [1, 8, 1], [3, 2, 5]])
    few, many = scores(shares * 1_000), scores(shares * 1_000_000_000)
    for name in ("acc", "many_to_one_acc", "purity", "nmi"):
        assert many[name] == pytest.approx(few[name], abs=1e-12)
    assert many["ari"] == pytest.approx(few["ari"], abs=1e-4)
    assert many["ami"] == pytest.approx(many["nmi"], abs=1e-8)  # chance agreement shrinks as 1/N


def test_expected_information_of_large_cells_follows_its_first_order() -> None:
    """At independence the mean mutual information is (K-1)(C-1)/2N to first order, so AMI of such a table is minus that."""
    matrix = np.outer([3, 3, 4], [1, 1]) * 10**7
    total, entropy = matrix.sum(), -(0.6 * math.log(0.3) + 0.4 * math.log(0.4))
    first_order = 1 / total / ((entropy + math.log(2)) / 2)
    assert scores(matrix)["ami"] == pytest.approx(-first_order, rel=1e-2)


def test_unknown_labels_are_left_out() -> None:
    predicted, truth = drawn(5, 5, 1)
    hidden = truth.copy()
    hidden[::3] = -1
    kept = hidden >= 0
    assert (confusion(predicted, hidden, 5, 5) == sklearn_metrics.confusion_matrix(predicted[kept], truth[kept])).all()


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint8])
def test_labels_in_small_integers_do_not_overflow(dtype: type) -> None:
    predicted, truth = drawn(100, 90, 2)
    assert (confusion(predicted.astype(dtype), truth.astype(dtype)) == confusion(predicted, truth)).all()


@pytest.mark.parametrize(("predicted", "truth", "message"), [
    ([], [], "no labelled image"),
    ([0, 1], [-1, -1], "no labelled image"),
    ([0, 1, 1], [0, 1], "3 predictions for 2 labels"),
    ([0, 4], [0, 1], "cluster is out of range: found 0..4, expected 0..2"),
    ([0, -1], [0, 1], "cluster is out of range"),
    ([0, 1], [0, 7], "class is out of range"),
    ([0, 1], [0, -2], "class is out of range"),
])  # fmt: skip
def test_what_cannot_be_counted_is_refused(predicted: list[int], truth: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confusion(np.array(predicted, int), np.array(truth, int), 3, 3)


@pytest.mark.parametrize("matrix", [np.zeros((2, 2), int), np.array([[1, -1]]), np.array([[0.5, 0.5]]), np.array([1, 2])])
def test_what_is_no_count_of_images_is_refused(matrix: np.ndarray) -> None:
    with pytest.raises(ValueError, match="confusion matrix"):
        scores(matrix)


def test_heads_are_scored_each_and_summarised_with_the_population_spread() -> None:
    truth = np.array([0, 0, 1, 1])
    heads = score_heads(np.array([[1, 1, 0, 0], [0, 1, 1, 1]]), truth, 2, 2)
    assert [head["acc"] for head in heads] == [1.0, 0.75]
    summary = summarise_heads(heads)
    assert summary["n"] == 2 and summary["acc"] == [1.0, 0.75]
    assert (summary["acc_mean"], summary["acc_std"]) == (0.875, 0.125)
    assert summary["nmi_std"] == pytest.approx(abs(heads[0]["nmi"] - heads[1]["nmi"]) / 2)


def test_without_labels_only_the_clusters_used_are_known() -> None:
    heads = score_heads(np.array([[0, 2, 2], [1, 1, 1]]), np.full(3, -1), 3, 0)
    assert [head["clusters_used"] for head in heads] == [2, 1]
    assert all(head[name] is None for head in heads for name in LABELLED_METRICS)
    summary = summarise_heads(heads)
    assert summary["acc_mean"] is summary["nmi_std"] is None and summary["acc"] == [None, None]
