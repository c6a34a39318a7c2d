"""K-means on any features: the evaluation head of methods that learn features and not clusters.

Results move by points with the scaling of the features, with a PCA before and with the number of restarts, so each of
them is a setting that stands in the record.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field, PositiveInt

from ..base import MethodError
from .scaling import Scaling, ScalingSettings

Backend = Literal["auto", "sklearn", "faiss"]
# Above this many feature values faiss is several times faster; below it, scikit-learn's k-means++ starts are better.
LARGE = 2**24


class KMeansSettings(ScalingSettings):
    """How features are scaled and clustered."""

    restarts: PositiveInt = Field(default=10, description="starts, of which the one with the lowest objective is kept")
    iterations: PositiveInt = Field(default=300, description="most iterations of one start")
    backend: Backend = Field(
        default="auto", description="sklearn (k-means++ starts), faiss (random starts, faster), or by the size of the features"
    )


class KMeansHead:
    """Normalisation, optional PCA and k-means, fitted once and applied to any features of the same dimension.

    Args:
        n_clusters: number of clusters.
        settings: see `KMeansSettings`.
        seed: decides the starts.
    """

    def __init__(self, n_clusters: int, settings: KMeansSettings, seed: int) -> None:
        self.n_clusters, self.settings, self.seed = n_clusters, settings, seed
        self.scaling = Scaling(settings, seed, "kmeans")

    def fit(self, features: np.ndarray) -> float:
        """Find the centres of `features`, float (N, D), N >= n_clusters. Returns the mean squared distance to them."""
        if len(features) < self.n_clusters:
            raise MethodError(
                f"k-means needs at least as many images as clusters, got {len(features)} images for {self.n_clusters}."
            )
        prepared = self.scaling.fit(features)
        fit = _fit_faiss if self._uses_faiss(prepared) else _fit_sklearn
        self.centres, objective = fit(prepared, self.n_clusters, self.settings, self.seed)
        return objective / len(features)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Nearest centre of each row of `features` (N, D): int64 (N,)."""
        from sklearn.metrics import pairwise_distances_argmin

        return pairwise_distances_argmin(self.scaling(features), self.centres).astype(np.int64)

    def state_dict(self) -> dict[str, Any]:
        """The fitted arrays, as tensors."""
        import torch

        return {"centres": torch.from_numpy(np.ascontiguousarray(self.centres)), **self.scaling.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.centres = state["centres"].numpy()
        self.scaling.load_state_dict({name: value for name, value in state.items() if name != "centres"})

    def _uses_faiss(self, features: np.ndarray) -> bool:
        if self.settings.backend == "auto":
            return features.size > LARGE
        return self.settings.backend == "faiss"


def _fit_sklearn(features: np.ndarray, n_clusters: int, settings: KMeansSettings, seed: int) -> tuple[np.ndarray, float]:
    from sklearn.cluster import KMeans

    found = KMeans(n_clusters, n_init=settings.restarts, max_iter=settings.iterations, random_state=seed).fit(features)
    return found.cluster_centers_, float(found.inertia_)


def _fit_faiss(features: np.ndarray, n_clusters: int, settings: KMeansSettings, seed: int) -> tuple[np.ndarray, float]:
    try:
        import faiss
    except ImportError:
        raise MethodError(
            "k-means on data of this size uses faiss: pip install faiss-cpu, or --set kmeans.backend=sklearn."
        ) from None
    # faiss would quietly fit on a sample of 256 points a cluster.
    found = faiss.Kmeans(
        features.shape[1],
        n_clusters,
        niter=settings.iterations,
        nredo=settings.restarts,
        seed=seed,
        max_points_per_centroid=len(features),
    )
    objective = found.train(features)
    return np.asarray(found.centroids), float(objective)
