"""Every metric of a clustering, from one confusion matrix of clusters against classes.

A matrix has K rows (clusters) and C columns (classes); K and C need not agree. Nothing here depends on the number of
images beyond that matrix, so a segmentation with 1e9 pixels a cell is scored as exactly as a table of ten images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import gammaln

METRICS_VERSION = 1
LABELLED_METRICS = ("acc", "many_to_one_acc", "nmi", "ari", "ami", "purity")
Scores = dict[str, Any]  # the labelled metrics (None where nothing is labelled) and the int clusters_used


def confusion(predicted: Any, truth: Any, n_clusters: int | None = None, n_classes: int | None = None) -> np.ndarray:
    """Count the images of every (cluster, class) pair.

    Args:
        predicted: integer clusters, any shape, values 0..K-1.
        truth: integer classes of the same shape, values 0..C-1; -1 where not known, those are left out.
        n_clusters: K; the largest cluster met plus one if not given.
        n_classes: C; the largest class met plus one if not given.

    Returns:
        int64 (K, C).

    Raises:
        ValueError: nothing to count, shapes that differ, or a value out of range.
    """
    clusters, classes = np.asarray(predicted).ravel(), np.asarray(truth).ravel()
    if clusters.shape != classes.shape:
        raise ValueError(f"There are {clusters.size} predictions for {classes.size} labels; give one for each image.")
    known = classes != -1
    clusters, classes = clusters[known].astype(np.int64), classes[known].astype(np.int64)
    if not clusters.size:
        raise ValueError("There is no labelled image to score: the labels are empty or all -1 (unknown).")
    rows = _extent("cluster", clusters, n_clusters)
    columns = _extent("class", classes, n_classes)
    return np.bincount(clusters * columns + classes, minlength=rows * columns).reshape(rows, columns)


def matching(matrix: np.ndarray) -> list[tuple[int, int]]:
    """The one-to-one (cluster, class) pairs that cover most images: min(K, C) of them, by linear assignment."""
    clusters, classes = linear_sum_assignment(matrix, maximize=True)
    return [(int(cluster), int(label)) for cluster, label in zip(clusters, classes, strict=True)]


def scores(matrix: np.ndarray) -> Scores:
    """All metrics of a confusion matrix.

    Args:
        matrix: integer (K, C) counts, clusters in rows.

    Returns:
        `acc`: share of images in the pairs of `matching`, in [0, 1]. `many_to_one_acc` and `purity`: share of images in
        the largest class of their cluster; two names in use for the same number. `nmi`: mutual information over
        the arithmetic mean of the entropies, in [0, 1]. `ari` and `ami`: adjusted for chance, at most 1, 0 on average
        for random clusters. `clusters_used`: clusters with at least one image.

    Raises:
        ValueError: not a matrix of counts, or one without an image.
    """
    counts = _checked(matrix)
    total = int(counts.sum())
    matched = sum(int(counts[pair]) for pair in matching(counts)) / total
    majority = int(counts.max(axis=1).sum()) / total
    nmi, ami = _information(counts, total)
    return {
        "acc": matched,
        "many_to_one_acc": majority,
        "nmi": nmi,
        "ari": _adjusted_rand(counts, total),
        "ami": ami,
        "purity": majority,
        "clusters_used": int((counts.sum(axis=1) > 0).sum()),
    }


def count_pairs(predicted: Any, truth: Any, n_clusters: int, n_classes: int) -> np.ndarray:
    """As `confusion`, to be summed over parts: int64 (K, C + 1), whose last column counts what has no known class.

    Args:
        predicted: integer clusters, any shape, values 0..K-1.
        truth: integer classes of the same shape, values 0..C-1, or -1 where not known.
        n_clusters: K.
        n_classes: C.

    Raises:
        ValueError: shapes that differ, or a value out of range.
    """
    clusters, classes = (np.asarray(values).astype(np.int64).ravel() for values in (predicted, truth))
    if clusters.shape != classes.shape:
        raise ValueError(f"There are {clusters.size} predictions for {classes.size} labels; give one for each image.")
    for kind, values, count, lowest in (("cluster", clusters, n_clusters, 0), ("class", classes, n_classes, -1)):
        if values.size and not lowest <= values.min() <= values.max() < count:
            found = f"found {values.min()}..{values.max()}, expected {lowest}..{count - 1}"
            raise ValueError(f"A {kind} is out of range: {found}.")
    columns = n_classes + 1
    cells = clusters * columns + classes % columns  # -1 becomes the last column
    return np.bincount(cells, minlength=n_clusters * columns).reshape(n_clusters, columns)


def score_counts(matrix: np.ndarray, sizes: np.ndarray) -> Scores:
    """`scores` of a matrix that may be all 0 because nothing is labelled: then every metric but `clusters_used` is None.

    Args:
        matrix: integer (K, C) counts of what is labelled.
        sizes: integer (K,), how much is in each cluster, labelled or not.
    """
    if matrix.any():
        return scores(matrix)
    return {**dict.fromkeys(LABELLED_METRICS), "clusters_used": int((sizes > 0).sum())}


def score_heads(predictions: np.ndarray, truth: np.ndarray, n_clusters: int, n_classes: int) -> list[Scores]:
    """The metrics of each sub-head.

    Args:
        predictions: integer (H, N), the clusters by each head.
        truth: integer (N,), -1 where not known. If nothing is known, every metric but `clusters_used` is None.
        n_clusters: K.
        n_classes: C.
    """
    counts = (count_pairs(head, truth, n_clusters, n_classes) for head in np.atleast_2d(predictions))
    return [score_counts(each[:, :-1], each.sum(axis=1)) for each in counts]


def summarise_heads(heads: Sequence[Scores]) -> dict[str, Any]:
    """Mean and spread of ACC, NMI and ARI over sub-heads, and the ACC of each.

    The spread is the population standard deviation (ddof 0), as in the IIC paper's Table 1. All are None where nothing
    is labelled.
    """
    summary: dict[str, Any] = {"n": len(heads)}
    for name in ("acc", "nmi", "ari"):
        values = [head[name] for head in heads]
        labelled = None not in values
        summary[f"{name}_mean"] = float(np.mean(values)) if labelled else None
        summary[f"{name}_std"] = float(np.std(values)) if labelled else None
    summary["acc"] = [head["acc"] for head in heads]
    return summary


def _extent(kind: str, values: np.ndarray, declared: int | None) -> int:
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0 or (declared is not None and highest >= declared):
        bound = "" if declared is None else f"..{declared - 1}"
        raise ValueError(f"A {kind} is out of range: found {lowest}..{highest}, expected 0{bound}.")
    return highest + 1 if declared is None else declared


def _checked(matrix: np.ndarray) -> np.ndarray:
    counts = np.asarray(matrix)
    if counts.ndim != 2 or not np.issubdtype(counts.dtype, np.integer) or (counts < 0).any():
        raise ValueError(f"A confusion matrix holds counts in two dimensions, got {counts.dtype} {counts.shape}.")
    if not counts.any():
        raise ValueError("The confusion matrix counts no image.")
    return counts.astype(np.int64)


def _information(counts: np.ndarray, total: int) -> tuple[float, float]:
    """(NMI, AMI), both with the arithmetic mean of the two entropies; limits as scikit-learn sets them."""
    rows, columns = counts.sum(axis=1), counts.sum(axis=0)
    rows, columns, counts = rows[rows > 0], columns[columns > 0], counts[rows > 0][:, columns > 0]
    if len(rows) == 1 or len(columns) == 1:
        agree = float(len(rows) == len(columns))
        return agree, agree
    mutual = _mutual_information(counts, rows, columns, total)
    mean_entropy = (_entropy(rows / total) + _entropy(columns / total)) / 2
    expected = _expected_mutual_information(rows, columns, total)
    tiny = np.finfo(float).eps
    above_chance, room = mutual - expected, mean_entropy - expected
    # Perfect agreement can leave 0/0 up to rounding; keep the signs and a floor, as scikit-learn does.
    ami = np.copysign(max(abs(above_chance), tiny), above_chance) / np.copysign(max(abs(room), tiny), room)
    return mutual / mean_entropy, float(ami)


def _entropy(shares: np.ndarray) -> float:
    return float(-(shares * np.log(shares)).sum())


def _mutual_information(counts: np.ndarray, rows: np.ndarray, columns: np.ndarray, total: int) -> float:
    i, j = np.nonzero(counts)
    joint = counts[i, j] / total
    # Divided one after the other: the product of two counts of 1e10 would not fit into 64 bits.
    surprise = np.log(joint / (rows[i] / total) / (columns[j] / total))
    return max(float((joint * surprise).sum()), 0.0)


def _expected_mutual_information(rows: np.ndarray, columns: np.ndarray, total: int) -> float:
    """Mean mutual information of two random partitions with these cluster sizes (Vinh et al. 2010, eq. 24a).

    scikit-learn's routine walks through every count from 1 to the size of a cluster and holds an array as long in
    32-bit counts, which no segmentation fits into. A cell's count is hypergeometric, so nine standard deviations
    and twenty counts around its mean hold all but 1e-19 of it; only those are summed.
    """
    return sum(_expected_row(float(size), columns.astype(float), float(total)) for size in rows)


def _expected_row(size: float, columns: np.ndarray, total: float) -> float:
    mean = size * (columns / total)
    reach = 9 * np.sqrt(mean * (1 - size / total) * (1 - columns / total)) + 20
    low = np.maximum(np.floor(mean - reach), np.maximum(0, size + columns - total))
    high = np.minimum(np.ceil(mean + reach), np.minimum(size, columns))
    widths = (high - low + 1).astype(np.int64)
    cell = np.repeat(np.arange(len(columns)), widths)  # (sum of widths,): which column a summand belongs to
    step = np.arange(len(cell)) - np.repeat(np.cumsum(widths) - widths, widths)
    count, column = low[cell] + step, columns[cell]
    log_weight = -(gammaln(count + 1) + gammaln(size - count + 1))
    log_weight -= gammaln(column - count + 1) + gammaln(total - size - column + count + 1)
    starts = np.cumsum(widths) - widths
    weight = np.exp(log_weight - np.maximum.reduceat(log_weight, starts)[cell])
    gain = np.zeros_like(count)  # a count of 0 adds nothing
    np.log(count / mean[cell], out=gain, where=count > 0)
    return float((np.add.reduceat(weight * count * gain, starts) / np.add.reduceat(weight, starts)).sum() / total)


def _adjusted_rand(counts: np.ndarray, total: int) -> float:
    """Hubert and Arabie's ARI over ordered pairs, in Python's integers: the squares of 1e10 exceed 64 bits."""
    together_both = sum(n * n for n in counts[counts > 0].tolist()) - total
    same_cluster = sum(n * n for n in counts.sum(axis=1).tolist()) - total
    same_class = sum(n * n for n in counts.sum(axis=0).tolist()) - total
    split, joined = same_class - together_both, same_cluster - together_both  # one class, two clusters; and vice versa
    if not split and not joined:
        return 1.0
    apart = total * (total - 1) - together_both - split - joined
    chance = (together_both + split) * (split + apart) + (together_both + joined) * (joined + apart)
    return 2 * (together_both * apart - split * joined) / chance
