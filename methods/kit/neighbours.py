"""The nearest neighbours of every image among all of them, exactly: by faiss on a CPU, by blocks on a GPU."""

from __future__ import annotations

import torch

from ..base import MethodError

BLOCK = 2**28  # similarities that are held at a time on a GPU: 1 GiB


def nearest_neighbours(features: torch.Tensor, count: int) -> torch.Tensor:
    """The `count` + 1 images with the largest inner product, the largest first.

    Args:
        features: float32 (N, D), of unit length where cosines are meant.
        count: neighbours beside the image itself, less than N.

    Returns:
        int64 (N, count + 1) on the same device. The first column is the image itself, or one that is equal to it.

    Raises:
        MethodError: not as many images.
    """
    if not 0 < count < len(features):
        raise MethodError(f"{count} neighbours were asked for among {len(features)} images. Set neighbours below their number.")
    if features.device.type == "cpu":
        return _by_faiss(features, count + 1)
    return _by_blocks(features, count + 1)


def _by_blocks(features: torch.Tensor, count: int) -> torch.Tensor:
    rows = max(1, BLOCK // len(features))
    return torch.cat([(block @ features.T).topk(count, dim=1).indices for block in features.split(rows)])


def _by_faiss(features: torch.Tensor, count: int) -> torch.Tensor:
    try:
        import faiss
    except ImportError:
        raise MethodError("Neighbours are found by faiss: pip install faiss-cpu.") from None
    found = faiss.IndexFlatIP(features.shape[1])
    vectors = features.contiguous().numpy()
    found.add(vectors)
    return torch.from_numpy(found.search(vectors, count)[1])
