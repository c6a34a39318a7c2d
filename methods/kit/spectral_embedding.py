"""The top eigenvectors of a normalised affinity, piece by piece where the graph is not connected, as rows of unit length."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import ArpackNoConvergence, eigsh

from ..base import MethodError

DENSE = 256  # images up to which a dense solver is used
LANCZOS_VECTORS = 40  # at least; more cost memory and need fewer restarts


class Embedding(NamedTuple):
    """Eigenvectors of D^-1/2 W D^-1/2.

    Attributes:
        rows: float64 (N, K), of unit length; zero for images outside all pieces.
        eigenvalues: float64 (K,), falling, 1 for the first of every piece.
    """

    rows: np.ndarray
    eigenvalues: np.ndarray


def spectral_embedding(affinity: sparse.csr_array, pieces: np.ndarray, dimensions: int, start: np.ndarray) -> Embedding:
    """The `dimensions` largest eigenvectors of the normalised affinity within the pieces, its rows scaled to unit length.

    Ng, Jordan, Weiss (NIPS 2001), steps 2 to 4. The matrix of a graph in pieces has theirs as blocks, so the eigenvectors are
    found piece by piece: an iteration over the whole could miss some of the eigenvalue 1, which every piece has.

    Args:
        affinity: float64 (N, N), symmetric, of at least `dimensions` images in pieces.
        pieces: int (N,), connected piece of each image by falling size, -1 for those outside; at most `dimensions` pieces.
        dimensions: eigenvectors to find.
        start: float64 (N,), random: the first vector of the iteration.

    Raises:
        MethodError: the iteration does not come to an end.
    """
    count = pieces.max() + 1
    columns, values = [], []
    for piece in range(count):
        members = np.flatnonzero(pieces == piece)
        inside = normalised(affinity[members][:, members])
        wanted = min(len(members), dimensions - count + 1)  # each other piece has at least its eigenvalue 1 among the largest
        found, vectors = largest_eigenpairs(inside, wanted, start[members])
        block = np.zeros((len(pieces), len(found)))
        block[members] = vectors
        columns.append(block)
        values.append(found)
    order = np.argsort(-np.concatenate(values), kind="stable")[:dimensions]
    rows = np.concatenate(columns, axis=1)[:, order]
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    np.divide(rows, lengths, out=rows, where=lengths > 0)
    return Embedding(rows, np.concatenate(values)[order])


def normalised(affinity: sparse.csr_array) -> sparse.csr_array:
    """D^-1/2 W D^-1/2, D the row sums; rows without any affinity stay zero."""
    degrees = np.asarray(affinity.sum(1)).ravel()
    scale = sparse.diags_array(np.where(degrees > 0, degrees, 1) ** -0.5)
    return (scale @ affinity @ scale).tocsr()


def largest_eigenpairs(matrix: sparse.csr_array, count: int, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The `count` algebraically largest eigenvalues, falling, and their vectors (n, count), of a symmetric matrix (n, n)."""
    size = matrix.shape[0]
    if size <= DENSE or count >= size:
        values, vectors = np.linalg.eigh(matrix.toarray())
    else:
        vectors_kept = min(size, max(LANCZOS_VECTORS, 2 * count + 1))
        try:
            values, vectors = eigsh(matrix, k=count, which="LA", v0=start, ncv=vectors_kept)
        except ArpackNoConvergence:
            hint = "Connect more images: --set neighbours=N with a larger N."
            raise MethodError(f"The eigenvectors of the neighbour graph do not converge. {hint}") from None
    order = np.argsort(-values, kind="stable")[:count]
    return values[order], vectors[:, order]
