"""The graph that joins every image to its nearest ones, sparse, and what can be read off it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from .neighbours import nearest_neighbours


@dataclass(frozen=True)
class NeighbourGraph:
    """Who is near whom.

    Attributes:
        weights: CSR (N, N), exp(-d^2 / s^2) from each image to its neighbours, s^2 the mean d^2 of all of them.
        nearest: int64 (N,), the nearest other image of each.
    """

    weights: sparse.csr_array
    nearest: np.ndarray


def nearest_others(features: torch.Tensor, count: int) -> torch.Tensor:
    """The `count` nearest other ones of each row, the nearest first: int64 (N, count).

    Args:
        features: float32 (N, D) of unit length, on any device.
        count: less than N.
    """
    found = nearest_neighbours(features, count)  # (N, count + 1)
    itself = torch.arange(len(features), device=found.device)[:, None]
    return found.gather(1, (found == itself).int().argsort(dim=1, stable=True)[:, :count])  # itself last, and cut off


def neighbour_graph(features: torch.Tensor, count: int) -> NeighbourGraph:
    """The graph of `count` nearest neighbours (K_s), or of all others where there are fewer images.

    Args:
        features: as in `nearest_others`.
        count: neighbours of each image.
    """
    n, count = len(features), min(count, len(features) - 1)
    others = nearest_others(features, count)
    squared = torch.stack([(features - features[column]).square().sum(1) for column in others.T], dim=1).double()  # (N, count)
    scale = squared.mean().clamp_min(torch.finfo(torch.float64).tiny)
    weights, columns = (-squared / scale).exp().cpu().numpy(), others.cpu().numpy()
    matrix = sparse.csr_array((weights.ravel(), columns.ravel(), np.arange(0, n * count + 1, count)), shape=(n, n))
    return NeighbourGraph(matrix, columns[:, 0])


def chains(nearest: np.ndarray) -> np.ndarray:
    """The first clusters: int64 (N,), images that links from an image to its nearest other one hold together.

    The authors also cut such a chain after fifty links; as each link is shorter than the one before, hardly any is so long.
    """
    n = len(nearest)
    links = sparse.coo_array((np.ones(n), (np.arange(n), nearest)), shape=(n, n))
    return connected_components(links, directed=False)[1].astype(np.int64)


def modularity(graph: NeighbourGraph, labels: np.ndarray) -> float:
    """Newman's modularity of the clusters in the graph, -0.5 to 1: weight within clusters, less what chance would put there."""
    clusters = membership(labels)
    within = (clusters.T @ (graph.weights @ clusters)).toarray()
    volume = (within.sum(0) + within.sum(1)) / 2
    total = float(within.sum())
    return float(np.trace(within) / total - np.square(volume / total).sum())


def membership(labels: np.ndarray) -> sparse.csc_array:
    """One where an image (row) is in a cluster (column): (N, C)."""
    n = len(labels)
    return sparse.csc_array((np.ones(n), (np.arange(n), labels)), shape=(n, int(labels.max()) + 1))
