"""From clusters to classes: the maps that turn a clustering into a classification, and how well one does under a map.

A map may be found on one set of images and judged on another (Ji et al., ICCV 2019, section 4.3), so both are told apart
here: `map_clusters` looks at the first, `mapped_accuracy` and `intersection_over_union` at the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import Any, Literal

import numpy as np

from .metrics import count_pairs, matching

Kind = Literal["hungarian", "many-to-one", "identity"]
FRACTIONS = (1.0, 0.5, 0.1, 0.05, 0.02, 0.01)  # of the labels, as in the left part of the paper's Figure 6
DRAWS = 10
NO_CLASS = -1


def map_clusters(matrix: np.ndarray, kind: Kind) -> np.ndarray:
    """The class of each cluster.

    Args:
        matrix: integer (K, C) counts, clusters in rows, of the images that the map is found on.
        kind: `hungarian`: one to one, most images matched; of K > C clusters some get no class. `many-to-one`: the class
            with most images of the cluster, the lowest one among equals and for an empty cluster. `identity`: cluster k is
            class k.

    Returns:
        int64 (K,), values 0..C-1, or -1 for a cluster without a class.
    """
    if kind == "identity":
        return np.arange(len(matrix))
    if kind == "many-to-one":
        return matrix.argmax(axis=1)
    classes = np.full(len(matrix), NO_CLASS)
    for cluster, label in matching(matrix):
        classes[cluster] = label
    return classes


def mapped_accuracy(matrix: np.ndarray, classes: np.ndarray) -> float:
    """Share of images whose cluster stands for their class, in [0, 1].

    Args:
        matrix: integer (K, C) counts of the images that are judged, at least one.
        classes: int (K,), as `map_clusters` gives them.
    """
    return int(_by_class(matrix, classes).trace()) / int(matrix.sum())


def intersection_over_union(matrix: np.ndarray, classes: np.ndarray) -> list[float | None]:
    """Per class: what is in it and was given it, over what is in it or was given it; None for a class that nothing has.

    Args:
        matrix, classes: as for `mapped_accuracy`. What is in a cluster without a class counts as missed.
    """
    counts = _by_class(matrix, classes)
    union = matrix.sum(axis=0) + counts.sum(axis=1) - counts.diagonal()
    return [int(hit) / int(all_) if all_ else None for hit, all_ in zip(counts.diagonal(), union, strict=True)]


def label_fractions(
    clusters: np.ndarray, truth: np.ndarray, judged: np.ndarray, kind: Kind, seed: int, fractions: Sequence[float] = FRACTIONS
) -> list[dict[str, Any]]:
    """Accuracy when only a share of the labels finds the map (the paper's Figure 6, left).

    Of the labelled images, int(share * N) are drawn at random, ten times without replacement and not balanced by class, as
    the authors' code did; the images that are judged stay the same.

    Args:
        clusters: integer (N,), of the images that find the map.
        truth: integer (N,), their classes; those of -1 take no part.
        judged: integer (K, C) counts of the images that are judged.
        kind: of the map.
        seed: decides the draws.
        fractions: shares of the labels, in (0, 1].

    Returns:
        For each share `fraction`, `labels` (how many), `draws`, `acc_mean` and `acc_std` (population standard deviation) over
        the draws.
    """
    known = truth >= 0
    clusters, truth = clusters[known], truth[known]
    random = np.random.default_rng(seed)
    rows = []
    for fraction in fractions:
        n = max(1, int(fraction * len(truth)))
        drawn = [random.permutation(len(truth))[:n] for _ in range(DRAWS)]
        found = [count_pairs(clusters[index], truth[index], *judged.shape)[:, :-1] for index in drawn]
        accs = [mapped_accuracy(judged, map_clusters(each, kind)) for each in found]
        about = {"fraction": fraction, "labels": n, "draws": DRAWS}
        rows.append({**about, "acc_mean": fmean(accs), "acc_std": pstdev(accs)})
    return rows


def _by_class(matrix: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """int64 (C, C): classes that were given in rows, those that are in columns."""
    counts = np.zeros((matrix.shape[1],) * 2, np.int64)
    has_class = classes != NO_CLASS
    np.add.at(counts, classes[has_class], matrix[has_class])
    return counts
