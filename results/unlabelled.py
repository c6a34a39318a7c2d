"""What can be said of a clustering without any label: how large its clusters are, how sure it is, how well it holds together.

None of it is accuracy. A method can be sure, stable and wrong; one that is unsure or falls into other clusters with every seed
has found no structure that one could rely on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from .groups import Group, Spread, spread_of
from .metrics import confusion, scores
from .record import Record, RecordError, Selection

KEY = "unlabelled"  # of `Record.diagnostics`
SURE = 0.9
SILHOUETTE_SAMPLE = 2_000
"""Images that a silhouette is measured on: all distances between them are needed."""


def stability(group: Group, selection: Selection = "own-loss") -> Spread | None:
    """How well the seeds of `group` agree: the ARI of every pair of them, on average (1: the same clusters, 0: chance).

    The standard deviation is over pairs, and `n` counts pairs, which are not independent: it says how uneven the agreement
    is, not how sure the mean. Reads labels.npz of every seed.

    Returns None for fewer than two seeds, and where a seed has kept no labels.
    """
    if group.n < 2:
        return None
    try:
        found = [chosen_clusters(record.labels(), selection) for record in group.records]
    except RecordError:
        return None
    if any(clusters is None or clusters.shape != found[0].shape for clusters in found):  # type: ignore[union-attr] - short-circuits
        return None
    return spread_of([agreement(*pair) for pair in combinations(found, 2)])  # type: ignore[arg-type] - none is None


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """ARI of two clusterings of the same images (or pixels), whatever their clusters are numbered.

    Args:
        first, second: integer clusters of one shape, at least one value.
    """
    return float(scores(confusion(first, second))["ari"])


def chosen_clusters(labels: Mapping[str, np.ndarray], selection: Selection = "own-loss") -> np.ndarray | None:
    """Of the arrays of labels.npz, the clusters by the sub-head that `selection` chose: (N,), per pixel (M, H', W')."""
    if selection not in labels:
        return None
    return labels[selection][int(labels.get(f"{selection}/head", 0))]


def cluster_sizes(clusters: np.ndarray, n_clusters: int) -> np.ndarray:
    """Images (or pixels) in each cluster: int64 (n_clusters,)."""
    return np.bincount(np.asarray(clusters).astype(np.int64).ravel(), minlength=n_clusters)


def silhouette(features: np.ndarray, clusters: np.ndarray) -> float | None:
    """Mean silhouette coefficient by Euclidean distance, in [-1, 1] (scikit-learn; Rousseeuw 1987).

    Near 1 every image is much closer to its own cluster than to the next, near 0 clusters overlap. It speaks of the
    features that it is measured on: natural images of one kind are rarely close in pixels.

    Args:
        features: float (n, D) of a sample.
        clusters: integer (n,).

    Returns None where fewer than two clusters, or as many as images, are in the sample.
    """
    if not 2 <= len(np.unique(clusters)) < len(clusters):
        return None
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(features, clusters))


def confidence_summary(confidence: np.ndarray) -> dict[str, Any]:
    """Of the probabilities (n,) of images in their own clusters: `mean`, `median`, and `sure`, the share of at least 0.9."""
    return {
        "mean": float(np.mean(confidence)),
        "median": float(np.median(confidence)),
        "sure": float(np.mean(confidence >= SURE)),
        "n": len(confidence),
    }


def told(record: Record) -> Mapping[str, Any]:
    """What the trial found out about its own clusters without labels; {} where the data is labelled, or the record older.

    `sizes`: images in each cluster; `epoch` that they are of. `confidence`: see `confidence_summary`, with the `epoch`;
    None if the method gives no probabilities. `silhouette`: its `value`, the `features` it is of and the number `n` of images.
    """
    return record.diagnostics.get(KEY) or {}


def confidence(group: Group) -> Spread | None:
    """Mean confidence over the seeds, in [0, 1]; None unless every seed has it."""
    return spread_of([(told(record).get("confidence") or {}).get("mean") for record in group.records])


def silhouettes(group: Group) -> Spread | None:
    """Silhouette coefficient over the seeds, in [-1, 1]; None unless every seed has it."""
    return spread_of([(told(record).get("silhouette") or {}).get("value") for record in group.records])


def recurrence(clusters: np.ndarray, others: Sequence[np.ndarray], n_clusters: int) -> list[float | None]:
    """How well each cluster comes back in other clusterings: its best Jaccard overlap with any of their clusters, on average.

    Hennig (2007) calls a cluster stable above 0.75, and dissolved below 0.5.

    Args:
        clusters: integer (N,), values 0..n_clusters-1.
        others: of the same images, at least one.
        n_clusters: K.

    Returns K shares in [0, 1]; None for an empty cluster.
    """
    found = []
    for other in others:
        both = confusion(clusters, other, n_clusters)
        either = both.sum(axis=1, keepdims=True) + both.sum(axis=0, keepdims=True) - both
        found.append((both / np.maximum(either, 1)).max(axis=1))
    sizes, mean = cluster_sizes(clusters, n_clusters), np.mean(found, axis=0)
    return [float(value) if size else None for value, size in zip(mean, sizes, strict=True)]
