"""Clusters by the names of classes, and the confusion matrix under those names."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.metrics import accuracy_score, confusion_matrix

from clusterbench.results.figures import confusion
from clusterbench.results.figures.jobs import Cannot, Request
from clusterbench.results.figures.naming import Naming
from clusterbench.results.figures.predictions import arrays_of, counts_and_naming
from clusterbench.results.record import Record

Ask, Make = Callable[..., Request], Callable[..., Record]


def counted(clusters: np.ndarray, truth: np.ndarray, k: int, c: int) -> np.ndarray:
    counts = np.zeros((k, c), np.int64)
    for cluster, label in zip(clusters, truth, strict=True):
        counts[cluster, label] += 1
    return counts


def test_the_matrix_after_matching_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 6, 400)
    clusters = np.where(random.random(400) < 0.7, np.array([3, 5, 0, 1, 4, 2])[truth], random.integers(0, 6, 400))
    counts = counted(clusters, truth, 6, 6)
    naming = Naming.of(counts)
    named = naming.classes[clusters]
    matrix = confusion.by_class(counts, naming)
    assert_array_equal(matrix, confusion_matrix(truth, named))
    assert np.trace(matrix) / matrix.sum() == pytest.approx(accuracy_score(truth, named))


def test_what_is_in_clusters_without_a_class_has_a_column_of_its_own() -> None:
    counts = np.array([[9, 0], [0, 8], [1, 2]])
    assert_array_equal(confusion.by_class(counts, Naming.of(counts)), [[9, 0, 1], [0, 8, 2]])


def test_several_clusters_of_a_class_are_added_up() -> None:
    counts = np.array([[9, 0], [0, 8], [1, 2]])
    assert_array_equal(confusion.by_class(counts, Naming.of(counts, "many-to-one")), [[9, 1], [0, 10]])


def test_clusters_are_ordered_by_their_class_with_the_matched_one_first() -> None:
    counts = np.array([[0, 3, 0], [0, 0, 7], [0, 9, 0], [5, 0, 0]])
    naming = Naming.of(counts)
    assert naming.classes.tolist() == [-1, 2, 1, 0]
    assert naming.order.tolist() == [3, 2, 0, 1]
    assert naming.names(("cat", "dog", "owl")) == ["(dog)", "owl", "dog", "cat"]


def test_the_predictions_of_the_chosen_sub_head_are_counted(pets: Record) -> None:
    counts, naming = counts_and_naming(pets, "own-loss", arrays_of(pets))
    assert counts.tolist() == [[1, 9, 0], [0, 1, 9], [9, 0, 1]]
    assert naming.classes.tolist() == [1, 2, 0]


def test_the_map_found_on_other_images_names_the_clusters(make_trial: Make) -> None:
    labels = {"truth": np.array([0, 1, 2, 2]), "own-loss": np.array([[0, 1, 2, 3]]), "own-loss/head": 0,
              "mapping/truth": np.array([2, 2, 1, 0, 1]), "own-loss/mapping": np.array([[0, 1, 2, 3, 3]])}  # fmt: skip
    record = make_trial(n_clusters=4, labels=labels, mapping={"kind": "many-to-one", "on": ["train"]})
    counts, naming = counts_and_naming(record, "own-loss", arrays_of(record))
    assert naming.classes.tolist() == [2, 2, 1, 0]  # cluster 3 met classes 0 and 1 once each: the lower one counts
    assert counts.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]]


def test_counts_that_are_kept_are_taken_as_they_are(make_trial: Make) -> None:
    stored = np.array([[[1, 0, 0]] * 3, [[0, 0, 5], [4, 0, 0], [0, 3, 0]]])
    record = make_trial(labels={"own-loss/confusion": stored, "own-loss/head": 1, "truth": np.zeros((1, 2, 2), int)})
    counts, naming = counts_and_naming(record, "own-loss", arrays_of(record))
    assert_array_equal(counts, stored[1])
    assert naming.classes.tolist() == [2, 0, 1]


def test_a_figure_of_the_matrix_has_the_classes_in_their_order_with_rates_and_counts(pets: Record, ask: Ask) -> None:
    axes = confusion.draw(pets, ask(pets)).figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["cat", "dog", "owl"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog", "owl"]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {(0, 0): "90\n9", (1, 1): "90\n9", (2, 2): "90\n9", (1, 0): "10\n1", (2, 1): "10\n1", (0, 2): "10\n1"}
    assert_array_equal(np.round(axes.images[0].get_array()), [[90, 10, 0], [0, 90, 10], [10, 0, 90]])


def test_a_record_without_its_predictions_is_refused_with_the_command_that_makes_them(make_trial: Make, ask: Ask) -> None:
    record = make_trial(overrides={"lr": 0.1})
    with pytest.raises(Cannot, match="not kept") as refusal:
        confusion.draw(record, ask(record))
    words = refusal.value.remedy.split()
    assert words[:6] == ["bench", "run", "--method", "iic", "--dataset", "pets"]
    assert f"--config {record.folder}/config.yaml" in refusal.value.remedy
    assert words[-1] == "--force"


def test_unlabelled_predictions_have_no_confusion_matrix(make_trial: Make, ask: Ask) -> None:
    record = make_trial(acc=None, labels={"truth": np.full(3, -1), "own-loss": np.zeros((1, 3), int), "own-loss/head": 0})
    with pytest.raises(Cannot, match="nothing is labelled"):
        confusion.draw(record, ask(record))
