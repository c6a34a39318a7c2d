"""k-means and nearest neighbours: scikit-learn, faiss and torch on the same vectors.

    python -m clusterbench.bench.profile.searching --images 10000 --dimensions 128

Every contestant starts from the same centres and makes the same number of Lloyd's iterations, or finds the same number of
neighbours by inner product, exactly. They take turns, and the median turn counts; what they found is compared with the first one.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ...methods.kit.neighbours import nearest_neighbours
from ..devices import set_threads
from .stopwatch import clock_for, synchroniser

Contestant = Callable[[], np.ndarray]


def vectors(count: int, dimensions: int) -> np.ndarray:
    """Unit vectors around ten directions: float32 (count, dimensions)."""
    random = np.random.default_rng(0)
    middles = random.standard_normal((10, dimensions))
    found = middles[random.integers(10, size=count)] + 0.5 * random.standard_normal((count, dimensions))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def by_sklearn(points: np.ndarray, centres: np.ndarray, iterations: int) -> np.ndarray:
    """Centres (K, D) after so many iterations of scikit-learn's k-means."""
    from sklearn.cluster import KMeans

    return KMeans(len(centres), init=centres, n_init=1, max_iter=iterations, tol=0.0).fit(points).cluster_centers_


def _faiss() -> Any:
    """faiss on as many threads as torch has."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    return faiss


def by_faiss(points: np.ndarray, centres: np.ndarray, iterations: int) -> np.ndarray:
    """The same by faiss, on all points."""
    faiss = _faiss()
    found = faiss.Kmeans(points.shape[1], len(centres), niter=iterations, max_points_per_centroid=len(points))
    found.train(points, init_centroids=centres)
    return np.asarray(found.centroids)


def by_torch(points: torch.Tensor, centres: torch.Tensor, iterations: int) -> np.ndarray:
    """The same by torch, on the device of `points`."""
    for _ in range(iterations):
        nearest = torch.cdist(points, centres).argmin(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        counts = nearest.bincount(minlength=len(centres)).clamp_min(1)
        centres = sums / counts[:, None]
    return centres.cpu().numpy()


def neighbours_by_sklearn(points: np.ndarray, count: int) -> np.ndarray:
    """Indices (N, count + 1) of the nearest points; of unit vectors these are those of the largest inner product."""
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=count + 1, algorithm="brute").fit(points).kneighbors(points, return_distance=False)


def neighbours_by_faiss(points: np.ndarray, count: int) -> np.ndarray:
    """The same by faiss's exact search."""
    faiss = _faiss()
    index = faiss.IndexFlatIP(points.shape[1])
    index.add(points)
    return index.search(points, count + 1)[1]


def neighbours_by_torch(points: torch.Tensor, count: int) -> np.ndarray:
    """The same by blocks of inner products."""
    blocks = [(block @ points.T).topk(count + 1, dim=1).indices for block in points.split(1000)]
    return torch.cat(blocks).cpu().numpy()


def race(contestants: dict[str, Contestant], turns: int, device: str) -> dict[str, tuple[float, np.ndarray]]:
    """By name the median seconds of `turns` turns, and what was found."""
    clock, wait = clock_for(device), synchroniser(device)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    found = {name: contestant() for name, contestant in contestants.items()}  # the first turn does not count
    for _ in range(turns):
        for name, contestant in contestants.items():
            began = clock()
            found[name] = contestant()
            wait()
            seconds[name].append(clock() - began)
    return {name: (statistics.median(seconds[name]), found[name]) for name in contestants}


def kmeans_contest(points: np.ndarray, clusters: int, iterations: int, device: str) -> dict[str, Contestant]:
    """The contestants for k-means from the first `clusters` points."""
    centres, there = points[:clusters].copy(), torch.from_numpy(points).to(device)
    return {
        "scikit-learn": lambda: by_sklearn(points, centres, iterations),
        "faiss": lambda: by_faiss(points, centres, iterations),
        f"torch ({device})": lambda: by_torch(there, there[:clusters].clone(), iterations),
    }


def neighbour_contest(points: np.ndarray, count: int, device: str) -> dict[str, Contestant]:
    """The contestants for neighbours; ours is what the methods use."""
    there = torch.from_numpy(points).to(device)
    return {
        "ours": lambda: nearest_neighbours(there, count).cpu().numpy(),
        "scikit-learn": lambda: neighbours_by_sklearn(points, count),
        "faiss": lambda: neighbours_by_faiss(points, count),
        f"torch ({device})": lambda: neighbours_by_torch(there, count),
    }


def main(arguments: list[str] | None = None) -> None:
    """Print both races."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--dimensions", type=int, default=128)
    parser.add_argument("--clusters", type=int, default=10)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--neighbours", type=int, default=20)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args(arguments)
    threads = set_threads(given.threads)
    points = vectors(given.images, given.dimensions)
    print(f"{given.images:,} vectors of {given.dimensions}, {given.device}, {threads} threads, torch {torch.__version__}")
    print(f"k-means, {given.clusters} clusters, {given.iterations} iterations")
    _show(race(kmeans_contest(points, given.clusters, given.iterations, given.device), given.turns, given.device), _distance)
    print(f"neighbours, {given.neighbours} of each")
    _show(race(neighbour_contest(points, given.neighbours, given.device), given.turns, given.device), _differing)


def _show(found: dict[str, tuple[float, np.ndarray]], difference: Callable[[np.ndarray, np.ndarray], str]) -> None:
    first, told = next(iter(found.values()))
    for name, (seconds, result) in found.items():
        print(f"    {name:<16} {seconds:9.3f} s   {seconds / first:5.2f} times the first   {difference(told, result)}")


def _distance(one: np.ndarray, other: np.ndarray) -> str:
    return f"centres differ by at most {np.abs(one - other).max():.1e}"


def _differing(one: np.ndarray, other: np.ndarray) -> str:
    shared = [len(np.intersect1d(*pair)) for pair in zip(one, other, strict=True)]
    return f"{np.mean(shared) / one.shape[1]:.4%} of the neighbours are shared"


if __name__ == "__main__":
    main()
