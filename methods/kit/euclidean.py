"""The nearest vectors by Euclidean distance, exactly: by faiss on a CPU, by blocks on a GPU."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from ..base import MethodError

QUERIES = 2048  # vectors that are looked for at a time
GATHERED = 2**24  # values of neighbours that are compared one by one at a time: 64 MiB


def nearest(
    queries: np.ndarray, references: np.ndarray, count: int, device: str = "cpu"
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The `count` nearest of `references` to each of `queries`, in consecutive parts of the queries.

    Args:
        queries: float32 (M, D).
        references: float32 (N, D).
        count: 1 to N.
        device: where it is computed.

    Yields:
        Distances, float32 (m, count) and ascending, and which of the references they are, int64 (m, count). Candidates are found
        by inner products; their distances are then those of differences, so that equal vectors are at distance 0.

    Raises:
        MethodError: fewer references than `count`.
    """
    if not 0 < count <= len(references):
        raise MethodError(f"{count} nearest images were asked for among {len(references)}.")
    search = _Blocks(references, device) if device.startswith("cuda") else _Faiss(references)
    for first in range(0, len(queries), QUERIES):
        part = np.ascontiguousarray(queries[first : first + QUERIES], np.float32)
        yield _in_order(part, references, search(part, count))


class _Faiss:
    """Brute force over vectors that stay where they are."""

    def __init__(self, references: np.ndarray) -> None:
        self.references = np.ascontiguousarray(references, np.float32)

    def __call__(self, queries: np.ndarray, count: int) -> np.ndarray:
        try:
            import faiss
        except ImportError:
            raise MethodError("Neighbours are found by faiss: pip install faiss-cpu.") from None
        return faiss.knn(queries, self.references, count)[1]


class _Blocks:
    """Brute force by matrix products on a device."""

    def __init__(self, references: np.ndarray, device: str) -> None:
        self.references = torch.from_numpy(np.ascontiguousarray(references, np.float32)).to(device)
        self.half_squares = self.references.square().sum(1) / 2

    def __call__(self, queries: np.ndarray, count: int) -> np.ndarray:
        nearness = torch.from_numpy(queries).to(self.references.device) @ self.references.T - self.half_squares  # (m, N)
        return nearness.topk(count, dim=1).indices.cpu().numpy()


def _in_order(queries: np.ndarray, references: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances to what was found, by differences, and both in ascending order; equal distances by index."""
    distances = np.empty(found.shape, np.float32)
    rows = max(1, GATHERED // (found.shape[1] * queries.shape[1]))
    for first in range(0, len(queries), rows):
        block = slice(first, first + rows)
        differences = references[found[block]] - queries[block, None]  # (rows, count, D)
        distances[block] = np.sqrt(np.einsum("ncd,ncd->nc", differences, differences))
    order = np.lexsort((found, distances), axis=1)
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(found, order, axis=1)
