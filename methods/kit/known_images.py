"""Clusters of images that a clusterer has seen, and, for those that it has not, the cluster of the nearest one."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import torch

from .euclidean import nearest


class KnownImages:
    """What a clusterer without centres or weights knows: its images as vectors, and their clusters.

    Equal vectors are one image: all have the cluster of the first of them.

    Args:
        vectors: float32 (N, D).
        clusters: int64 (N,).
        device: where the nearest are looked for.
    """

    def __init__(self, vectors: np.ndarray, clusters: np.ndarray, device: str) -> None:
        self.vectors, self.device = np.ascontiguousarray(vectors, np.float32), device
        keys = _keys(self.vectors)
        self._first = dict(zip(reversed(keys), reversed(range(len(keys))), strict=True))
        self.clusters = clusters[[self._first[key] for key in keys]]

    def known(self, vectors: np.ndarray) -> np.ndarray:
        """Which of the known images each vector is: int64 (M,), the first of equal ones, -1 for none."""
        return np.array([self._first.get(key, -1) for key in _keys(np.ascontiguousarray(vectors, np.float32))], np.int64)

    def nearest(self, vectors: np.ndarray) -> np.ndarray:
        """The cluster of the nearest known image of each vector (M, D): int64 (M,)."""
        found = [index[:, 0] for _, index in nearest(vectors, self.vectors, 1, self.device)]
        return self.clusters[np.concatenate(found)] if found else np.empty(0, np.int64)

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """The cluster of each vector if it is known, of the nearest known one otherwise: float32 (M, D) to int64 (M,)."""
        place = self.known(vectors)
        clusters = self.clusters[place]
        clusters[place < 0] = self.nearest(vectors[place < 0])
        return clusters

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The vectors and the clusters, not copied."""
        return {"vectors": torch.from_numpy(self.vectors), "clusters": torch.from_numpy(self.clusters)}

    @classmethod
    def of(cls, state: dict[str, torch.Tensor], device: str) -> KnownImages:
        """From what `state_dict` returned."""
        return cls(state["vectors"].numpy(), state["clusters"].numpy(), device)


def _keys(vectors: Iterable[np.ndarray]) -> list[bytes]:
    """A digest of each vector; some microseconds each, which is nothing beside a search."""
    return [blake2b(vector.tobytes(), digest_size=16).digest() for vector in vectors]
