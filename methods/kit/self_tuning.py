"""The self-tuning affinity of Zelnik-Manor and Perona on a graph of nearest neighbours, its connected pieces, and cuts of it."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components


def without_self(distances: np.ndarray, neighbours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of every image but itself: (N, k + 1) distances and indices to (N, k).

    Where an image is not among its own nearest, because more than k others are equal to it, the last one goes.
    """
    own = neighbours == np.arange(len(neighbours))[:, None]
    own[~own.any(1), -1] = True
    shape = (len(neighbours), neighbours.shape[1] - 1)
    return distances[~own].reshape(shape), neighbours[~own].reshape(shape)


def self_tuning_affinity(distances: np.ndarray, neighbours: np.ndarray, scale_neighbour: int) -> sparse.csr_array:
    """W_ij = exp(-d_ij^2 / (s_i s_j)) where i is among the nearest of j or j among those of i, else 0.

    Self-tuning spectral clustering (NIPS 2004), equation 1, with s_i the distance from i to its `scale_neighbour`-th neighbour.
    With all other images as neighbours it is the paper's dense matrix.

    Args:
        distances: (N, k) to the k nearest without the image itself, ascending.
        neighbours: int (N, k), which they are.
        scale_neighbour: 1 to k.

    Returns:
        Float64 (N, N), symmetric, zero diagonal. Where a scale is 0, because an image has at least `scale_neighbour` copies,
        it is 1 for copies and 0 otherwise.
    """
    count, width = neighbours.shape
    scale = distances[:, scale_neighbour - 1].astype(np.float64)
    squared, scales = distances.astype(np.float64) ** 2, scale[:, None] * scale[neighbours]
    exponent = np.where(squared > 0, np.inf, 0.0)
    np.divide(squared, scales, out=exponent, where=scales > 0)
    starts = np.arange(0, count * width + 1, width)
    directed = sparse.csr_array((np.exp(-exponent).ravel(), neighbours.ravel(), starts), shape=(count, count))
    affinity = directed.maximum(directed.T).tocsr()
    affinity.eliminate_zeros()  # what underflowed connects nothing
    return affinity


def pieces_of(affinity: sparse.csr_array, smallest: float, clusters: int) -> np.ndarray:
    """The connected pieces that are worth clustering: int64 (N,), piece 0, 1, ... by falling size, -1 for images outside.

    Args:
        affinity: (N, N), symmetric, N >= clusters.
        smallest: images that a piece must have; smaller ones, the larger first, count only until there are `clusters` images.
        clusters: pieces at most, the largest ones.
    """
    _, found = connected_components(affinity, directed=False)
    sizes = np.bincount(found)
    by_size = np.argsort(-sizes, kind="stable")[:clusters]
    enough = int(np.searchsorted(np.cumsum(sizes[by_size]), clusters)) + 1
    taken = by_size[: max(enough, int((sizes[by_size] >= smallest).sum()))]
    number = np.full(len(sizes), -1)
    number[taken] = np.arange(len(taken))
    return number[found]


def normalised_cut(affinity: sparse.csr_array, labels: np.ndarray, n_clusters: int) -> float:
    """Sum over clusters of the share of their affinity that leaves them: 0 (nothing is cut) to `n_clusters`.

    Args:
        affinity: (N, N), symmetric.
        labels: int (N,), -1 for images that are left out with all their affinities.
        n_clusters: clusters 0..n_clusters-1; an empty one counts 0.
    """
    edges = affinity.tocoo()
    start, end = labels[edges.row], labels[edges.col]
    kept = (start >= 0) & (end >= 0)
    start, end, weight = start[kept], end[kept], edges.data[kept]
    volume = np.bincount(start, weight, n_clusters)
    crossing = np.bincount(start, weight * (start != end), n_clusters)
    return float(np.divide(crossing, volume, out=np.zeros(n_clusters), where=volume > 0).sum())
