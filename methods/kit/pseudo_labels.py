"""Clusters of features as labels to learn from, and how images are drawn by them (DeepCluster, section 3.2 and 3.3)."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import torch

from ..base import MethodError

Sampling: TypeAlias = Literal["uniform", "natural", "upstream"]


def cluster(features: torch.Tensor, clusters: int, iterations: int, seed: int) -> torch.Tensor:
    """The nearest of `clusters` k-means centres of each row: float (N, D) to int64 (N,), on the features' device.

    faiss on all rows, from one random start. After every iteration it refills an empty cluster with half of a large one,
    whose centre is moved a little either way; where there are fewer different rows than clusters, some stay empty.

    Raises:
        MethodError: more clusters than rows; faiss is missing.
    """
    if clusters > len(features):
        raise MethodError(f"{len(features)} images cannot fill {clusters} clusters of pseudo-labels; lower 'clusters'.")
    rows = np.ascontiguousarray(features.cpu().numpy(), np.float32)
    nearest = centres_and_nearest(rows, clusters, iterations, seed)[1]
    return torch.from_numpy(nearest).to(features.device)


def centres_and_nearest(
    rows: np.ndarray, clusters: int, iterations: int, seed: int, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """As `cluster`, of at least as many contiguous float32 rows (N, D) as clusters.

    Args:
        weights: float (N,), how many each row stands for; None for one each.

    Returns:
        The centres, float32 (clusters, D), and the nearest one of each row, int64 (N,).
    """
    try:
        import faiss
    except ImportError:
        raise MethodError("Pseudo-labels come from faiss: pip install faiss-cpu.") from None
    # faiss would quietly fit on a sample of 256 points a cluster, and warn below 39.
    found = faiss.Kmeans(
        rows.shape[1], clusters, niter=iterations, seed=seed % 2**31, min_points_per_centroid=1, max_points_per_centroid=len(rows)
    )
    found.train(rows, weights=weights)
    _, nearest = found.index.search(rows, 1)
    return np.asarray(found.centroids), nearest[:, 0].astype(np.int64)


def draw(labels: torch.Tensor, sampling: Sampling, random: torch.Generator) -> torch.Tensor:
    """Which images one epoch shows, in which order: int64 (N,), indices into `labels`.

    Args:
        labels: int64 (N,), the cluster of each image.
        sampling: `uniform`: every cluster that is not empty as often as any other, its images in turn, or at random with
            repeats if it has too few. `natural`: every image once. `upstream`: what the authors' code does: it draws
            uniformly, but looks the drawn indices up in a list that is sorted by cluster, so that the image it gets has
            nothing to do with the cluster drawn; about natural, with some images missed and others repeated.
        random: on the labels' device.
    """
    if sampling == "natural":
        return torch.randperm(len(labels), generator=random, device=labels.device)
    drawn = _uniform(labels, random)
    return labels.argsort(stable=True)[drawn] if sampling == "upstream" else drawn


def _uniform(labels: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    count, device = len(labels), labels.device
    mixed = torch.randperm(count, generator=random, device=device)
    by_cluster = mixed[labels[mixed].argsort(stable=True)]  # (N,), each cluster's images in random order
    sizes = labels.bincount()
    sizes = sizes[sizes > 0]  # (K,)
    each = count // len(sizes) + 1
    turn = torch.arange(each, device=device).expand(len(sizes), each)  # (K, each)
    anywhere = (torch.rand(turn.shape, generator=random, device=device, dtype=torch.float64) * sizes[:, None]).long()
    place = torch.where(sizes[:, None] > each, turn, anywhere)
    drawn = by_cluster[(sizes.cumsum(0) - sizes)[:, None] + place].flatten()  # (K * each,), at least N
    return drawn[torch.randperm(len(drawn), generator=random, device=device)[:count]]


def agreement(before: torch.Tensor, after: torch.Tensor) -> float:
    """Normalised mutual information (arithmetic mean) of two assignments (N,) of the same images: 0 to 1."""
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(before.cpu().numpy(), after.cpu().numpy()))
