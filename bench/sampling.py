"""A few members of every cluster out of a stream of any length: the surest, the least sure, or any."""

from __future__ import annotations

import heapq
import random
from typing import Generic, TypeVar

T = TypeVar("T")
Kept = tuple[float, int, T]


class Sampler(Generic[T]):
    """Keeps up to `per_cluster` of the surest and as many of the least sure members of each cluster; random ones without it.

    What is kept follows from the stream alone: among equals the first counts, and the random ones are drawn with a fixed seed.

    Args:
        n_clusters: clusters are 0..n_clusters-1.
        per_cluster: members kept at either end.
    """

    def __init__(self, n_clusters: int, per_cluster: int) -> None:
        self.per_cluster = per_cluster
        self._random = random.Random(0)
        self._sizes = [0] * n_clusters
        self._most: list[list[Kept[T]]] = [[] for _ in range(n_clusters)]
        self._least: list[list[Kept[T]]] = [[] for _ in range(n_clusters)]
        self._any: list[list[tuple[T, int]]] = [[] for _ in range(n_clusters)]

    def offer(self, cluster: int, member: T, confidence: float | None) -> None:
        """Take in one member, with the probability of its cluster in [0, 1] or None."""
        place = self._sizes[cluster]
        self._sizes[cluster] += 1
        if confidence is None:
            self._draw(self._any[cluster], member, place)
            return
        for heap, rank in ((self._most[cluster], confidence), (self._least[cluster], -confidence)):
            kept = (rank, -place, member)  # among equals the first
            if len(heap) < self.per_cluster:
                heapq.heappush(heap, kept)
            elif kept[:2] > heap[0][:2]:
                heapq.heapreplace(heap, kept)

    def most(self, cluster: int) -> list[tuple[T, float]]:
        """The surest members with their confidence, the surest first."""
        return [(member, rank) for rank, _, member in sorted(self._most[cluster], key=_order)]

    def least(self, cluster: int) -> list[tuple[T, float]]:
        """The least sure members that are not among the surest, with their confidence, the least sure first."""
        among_the_surest = {place for _, place, _ in self._most[cluster]}
        found = sorted(self._least[cluster], key=_order)
        return [(member, -rank) for rank, place, member in found if place not in among_the_surest]

    def some(self, cluster: int) -> list[T]:
        """Random members that came without confidence, in the order of the stream."""
        return [member for member, _ in sorted(self._any[cluster], key=lambda kept: kept[1])]

    def _draw(self, kept: list[tuple[T, int]], member: T, place: int) -> None:
        """Reservoir sampling: every member stays with the same chance."""
        if len(kept) < 2 * self.per_cluster:
            kept.append((member, place))
        elif (instead := self._random.randrange(place + 1)) < len(kept):
            kept[instead] = member, place


def _order(kept: Kept[T]) -> tuple[float, int]:
    return -kept[0], -kept[1]


def samples_of_each(n_clusters: int, most: int, at_most_of_each: int) -> int:
    """Pictures for either end of a cluster, so that a sheet of `n_clusters` has about `most` in all: 2 to `at_most_of_each`."""
    return max(2, min(at_most_of_each, most // (2 * max(n_clusters, 1))))
