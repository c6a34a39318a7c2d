"""Agglomerative clustering on a sparse graph of neighbours: the merging of JULE (CVPR 2016, section 3.3).

Images are joined to their K_s nearest ones by directed weights W. What a cluster a is to a cluster b is measured at the
images m of b: A(a, b) = sum over m of in_a(m) out_a(m), the weights from m into a times those from a to m. Two clusters are as
close as A(a, b) / |a|^2 + A(b, a) / |b|^2, and those pairs merge first whose affinity is large and stands out from the
affinities of the next neighbours. The authors hold W and A as dense matrices; here only what is not zero exists, so that
memory grows with the number of images and not with its square.

in_a and out_a are kept as one complex number z_a = out_a + i in_a, because then in_a out_a = Im(z_a^2) / 2, and what a merger
adds to the sum of two affinities is Im(z_a z_b).
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from .neighbour_graph import NeighbourGraph, membership


class AgglomerationSettings(BaseModel):
    """How clusters merge."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    neighbours: PositiveInt = Field(default=20, description="nearest images that an image is joined to (K_s)")
    local: Annotated[int, Field(ge=2)] = Field(
        default=5, description="clusters that a pair's affinity is compared with, itself counted (K_c)"
    )
    gap_weight: NonNegativeFloat = Field(
        default=1.0, description="weight of the mean gap to the next neighbours, beside the affinity itself"
    )
    gap_above: NonNegativeInt = Field(default=100, description="clusters above which the gap counts; below, the affinity alone")
    strangers_above: NonNegativeInt = Field(
        default=20, description="above so many clusters for each wanted one, those without any affinity join the nearest first"
    )
    smallest: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0,
        description="before a round clusters below this share of the mean size join the nearest one; the authors join none",
    )
    update: Literal["fast", "exact"] = Field(
        default="fast",
        description="affinity from a merged cluster to others: the sum of its parts', as the authors do by default, or exact",
    )
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.9, description="of the clusters that merge before their affinities are computed anew (eta)"
    )


def merged(
    graph: NeighbourGraph, features: np.ndarray, labels: np.ndarray, wanted: int, settings: AgglomerationSettings
) -> np.ndarray:
    """One round of merging: at most `settings.share` of the clusters go, until `wanted` are left.

    Where many clusters are left, those without affinity to any other join the one with the nearest mean first, and so do
    those that are smaller than `settings.smallest` says. Where no affinity is left between any two clusters, the smallest one
    joins the one with the nearest mean.

    Args:
        graph: of N images.
        features: float32 (N, D), what means are taken of.
        labels: int64 (N,), 0..C-1, none of them empty.
        wanted: clusters that are wanted in the end.
        settings: see `AgglomerationSettings`.

    Returns:
        int64 (N,), 0..C'-1. The same clusters if there are not more than `wanted`.
    """
    if labels.max() < wanted:
        return labels
    labels, merger = _without_strangers(graph, features, labels, wanted, settings)
    left = merger.alive - min(math.ceil(settings.share * merger.alive), merger.alive - wanted)
    while merger.alive > left and (pair := merger.best()) is not None:
        merger.merge(*pair)
    return _nearest_means_joined(features, merger.roots()[labels], left)


def merged_to(
    graph: NeighbourGraph, features: np.ndarray, labels: np.ndarray, wanted: int, settings: AgglomerationSettings
) -> np.ndarray:
    """Rounds of `merged` until at most `wanted` clusters are left: int64 (N,)."""
    while labels.max() >= wanted:
        labels = merged(graph, features, labels, wanted, settings)
    return labels


def directed_affinity(weights: sparse.csr_array, labels: np.ndarray) -> sparse.csr_array:
    """A(a, b) of all pairs of clusters: CSR (C, C), zero on the diagonal."""
    return _affinity_of(_reach(weights, labels), labels)


class Merger:
    """Clusters that merge pair by pair, with their affinities kept up.

    Args:
        weights: CSR (N, N) of the images.
        labels: int64 (N,), 0..C-1, none of them empty.
        settings: see `AgglomerationSettings`.

    Attributes:
        alive: clusters that are left.
        affinity: of each cluster to those that it has any with, by their numbers. A pair that merged goes by the first's.
    """

    def __init__(self, weights: sparse.csr_array, labels: np.ndarray, settings: AgglomerationSettings) -> None:
        self.settings = settings
        self.sizes = np.bincount(labels).astype(np.float64)
        self.alive = len(self.sizes)
        self.parent = np.arange(self.alive)
        reach = _reach(weights, labels)
        self.directed, self.affinity = self._tables(_affinity_of(reach, labels))
        self.reach = _Reach(reach, labels) if settings.update == "exact" else None
        self.score = np.array([self._scored(cluster) for cluster in range(self.alive)])

    def _tables(self, directed: sparse.csr_array) -> tuple[list[dict[int, float]], list[dict[int, float]]]:
        """A(a, b) and the affinity of a and b by a, then by b; b is there if either direction is."""
        both = sparse.csr_array(directed + 1j * directed.T)  # there, and back
        both.sort_indices()
        rows = np.repeat(np.arange(self.alive), np.diff(both.indptr))
        close = both.data.real / self.sizes[rows] ** 2 + both.data.imag / self.sizes[both.indices] ** 2
        return _by_row(both, both.data.real), _by_row(both, close)

    def best(self) -> tuple[int, int] | None:
        """The pair that merges next, the lower number first; None if no two clusters have any affinity."""
        cluster = int(self.score.argmax())
        if self.score[cluster] <= 0:
            return None
        partner = max(self.affinity[cluster].items(), key=lambda item: (item[1], -item[0]))[0]
        return min(cluster, partner), max(cluster, partner)

    def merge(self, a: int, b: int) -> None:
        """The cluster `b` joins `a`."""
        extra = self.reach.merge(a, b) if self.reach is not None else {}
        first, second = self.directed[a], self.directed[b]
        first.pop(b, None)
        second.pop(a, None)
        self.sizes[a] += self.sizes[b]
        self.parent[b], self.score[b], self.alive = a, 0.0, self.alive - 1
        self.directed[a], self.directed[b], self.affinity[a], self.affinity[b] = {}, {}, {}, {}
        for other in sorted(first.keys() | second.keys() | extra.keys()):
            self._link(a, b, other, first.get(other, 0.0) + second.get(other, 0.0) + extra.get(other, 0.0))
        touched = range(len(self.score)) if self.alive == self.settings.gap_above else (a, *self.affinity[a])
        for cluster in touched:
            self.score[cluster] = self._scored(cluster)

    def _link(self, a: int, b: int, other: int, there: float) -> None:
        """Set what the merged cluster `a` and `other` are to each other; `there` is A(a, other)."""
        theirs = self.directed[other]
        back = theirs.pop(a, 0.0) + theirs.pop(b, 0.0)
        close = there / self.sizes[a] ** 2 + back / self.sizes[other] ** 2
        self.directed[a][other], theirs[a] = there, back
        self.affinity[other].pop(b, None)
        self.affinity[a][other] = self.affinity[other][a] = float(close)

    def _scored(self, cluster: int) -> float:
        """How urgent it is to merge `cluster` with the nearest one: its affinity, and how far that is above the next ones'."""
        near = sorted(self.affinity[cluster].values(), reverse=True)[: self.settings.local]
        if not near:
            return 0.0
        if self.alive <= self.settings.gap_above:
            return near[0]
        gap = near[0] - sum(near[1:]) / (self.settings.local - 1)  # neighbours that are not there have affinity 0
        return near[0] + self.settings.gap_weight * gap

    def roots(self) -> np.ndarray:
        """Int64 (C,): for each of the first clusters the one that it is in now, these numbered anew without holes."""
        parent = self.parent
        while not np.array_equal(parent, parent[parent]):
            parent = parent[parent]
        return np.unique(parent, return_inverse=True)[1].reshape(-1)


class _Reach:
    """z_a of every cluster as far as it is not zero, and whose every image is: what exact updates need."""

    def __init__(self, reach: sparse.csc_array, labels: np.ndarray) -> None:
        self.owner = labels.copy()
        self.members = np.split(np.argsort(labels, kind="stable"), np.bincount(labels).cumsum()[:-1])
        bounds = zip(reach.indptr[:-1], reach.indptr[1:], strict=True)
        self.values = [(reach.indices[first:last], reach.data[first:last]) for first, last in bounds]

    def merge(self, a: int, b: int) -> dict[int, float]:
        """Join `b` to `a`; what A(a, other) is more than the sum of both parts', by the other cluster."""
        images = np.concatenate([self.values[a][0], self.values[b][0]])
        z = np.concatenate([self.values[a][1], self.values[b][1]])
        order = images.argsort(kind="stable")
        images, z = images[order], z[order]
        twice = np.flatnonzero(images[1:] == images[:-1])
        self._join(a, b, images, z)
        owners, at = np.unique(self.owner[images[twice]], return_inverse=True)
        extra = np.bincount(at.reshape(-1), np.imag(z[twice] * z[twice + 1]), minlength=len(owners))
        return {int(owner): float(more) for owner, more in zip(owners, extra, strict=True) if owner != a and more > 0}

    def _join(self, a: int, b: int, images: np.ndarray, z: np.ndarray) -> None:
        first = np.flatnonzero(np.r_[True, images[1:] != images[:-1]])
        self.values[a] = images[first], np.add.reduceat(z, first) if len(z) else z
        self.owner[self.members[b]] = a
        self.members[a] = np.concatenate([self.members[a], self.members[b]])
        self.values[b] = self.values[a][0][:0], z[:0]


def _reach(weights: sparse.csr_array, labels: np.ndarray) -> sparse.csc_array:
    """z_a(m) of each image m (row) and cluster a (column): complex (N, C)."""
    clusters = membership(labels)
    found = sparse.csc_array(weights @ clusters + 1j * (weights.T @ clusters))
    found.sort_indices()
    return found


def _affinity_of(reach: sparse.csc_array, labels: np.ndarray) -> sparse.csr_array:
    products = reach.copy()
    products.data = (reach.data * reach.data).imag / 2
    products.eliminate_zeros()
    found = sparse.coo_array(sparse.csr_array(products.T) @ membership(labels))
    apart = (found.row != found.col) & (found.data > 0)
    return sparse.csr_array((found.data[apart], (found.row[apart], found.col[apart])), shape=found.shape)


def _by_row(pattern: sparse.csr_array, values: np.ndarray) -> list[dict[int, float]]:
    bounds = zip(pattern.indptr[:-1], pattern.indptr[1:], strict=True)
    return [dict(zip(pattern.indices[first:last].tolist(), values[first:last].tolist(), strict=True)) for first, last in bounds]


def _means(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean of each cluster's features: (C, D)."""
    clusters = membership(labels).astype(features.dtype)
    return (clusters.T @ features) / np.bincount(labels)[:, None].astype(features.dtype)


def _squared_distances(some: np.ndarray, means: np.ndarray) -> np.ndarray:
    return np.square(some).sum(1)[:, None] + np.square(means).sum(1) - 2 * some @ means.T


def _without_strangers(
    graph: NeighbourGraph, features: np.ndarray, labels: np.ndarray, wanted: int, settings: AgglomerationSettings
) -> tuple[np.ndarray, Merger]:
    """Clusters without affinity, if there are many, and too small ones joined to the nearest mean; and the `Merger`.

    The smallest of them join, where there are more of them than clusters above `wanted`.
    """
    merger = Merger(graph.weights, labels, settings)
    apart = np.array([not near for near in merger.affinity]) & (merger.alive > settings.strangers_above * wanted)
    strangers = np.flatnonzero(apart | (merger.sizes < settings.smallest * len(labels) / merger.alive))
    if not len(strangers):
        return labels, merger
    strangers = strangers[merger.sizes[strangers].argsort(kind="stable")][: merger.alive - wanted]
    means = _means(features, labels)
    distances = _squared_distances(means[strangers], means)
    distances[np.arange(len(strangers)), strangers] = np.inf
    joins = sparse.coo_array((np.ones(len(strangers)), (strangers, distances.argmin(1))), shape=(merger.alive, merger.alive))
    labels = connected_components(joins, directed=False)[1].astype(np.int64)[labels]
    return labels, Merger(graph.weights, labels, settings)


def _nearest_means_joined(features: np.ndarray, labels: np.ndarray, left: int) -> np.ndarray:
    """The smallest cluster joins the one with the nearest mean, until `left` are left."""
    while labels.max() >= left:
        means, smallest = _means(features, labels), int(np.bincount(labels).argmin())
        distances = _squared_distances(means[[smallest]], means)[0]
        distances[smallest] = np.inf
        labels = np.where(labels == smallest, distances.argmin(), labels)
        labels = np.unique(labels, return_inverse=True)[1].reshape(-1)
    return labels
