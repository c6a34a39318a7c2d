"""K-means on any features: the evaluation head of methods that learn features and not clusters.

Results move by points with the scaling of the features, with a PCA before and with the number of restarts, so each of
them is a setting that stands in the record.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from ..base import MethodError

Backend = Literal["auto", "sklearn", "faiss"]
# Above this many feature values faiss is several times faster; below it, scikit-learn's k-means++ starts are better.
LARGE = 2**24


class KMeansSettings(BaseModel):
    """How features are clustered."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    restarts: PositiveInt = Field(default=10, description="starts, of which the one with the lowest objective is kept")
    iterations: PositiveInt = Field(default=300, description="most iterations of one start")
    normalise: Literal["none", "l2", "standard"] = Field(
        default="none",
        description="features as they are, scaled to unit length, or each dimension to zero mean and unit variance",
    )
    pca: Annotated[int, Field(ge=1)] | None = Field(default=None, description="dimensions kept by a PCA before; none by default")
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

    def fit(self, features: np.ndarray) -> float:
        """Find the centres of `features`, float (N, D), N >= n_clusters. Returns the mean squared distance to them."""
        if len(features) < self.n_clusters:
            raise MethodError(
                f"k-means needs at least as many images as clusters, got {len(features)} images for {self.n_clusters}."
            )
        self._fit_scaling(features)
        prepared = self._prepare(features)
        fit = _fit_faiss if self._uses_faiss(prepared) else _fit_sklearn
        self.centres, objective = fit(prepared, self.n_clusters, self.settings, self.seed)
        return objective / len(features)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Nearest centre of each row of `features` (N, D): int64 (N,)."""
        from sklearn.metrics import pairwise_distances_argmin

        return pairwise_distances_argmin(self._prepare(features), self.centres).astype(np.int64)

    def state_dict(self) -> dict[str, Any]:
        """The fitted arrays, as tensors."""
        import torch

        return {
            name: torch.from_numpy(np.ascontiguousarray(getattr(self, name))) for name in ("centres", "shift", "scale", "axes")
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for name, value in state.items():
            setattr(self, name, value.numpy())

    def _uses_faiss(self, features: np.ndarray) -> bool:
        if self.settings.backend == "auto":
            return features.size > LARGE
        return self.settings.backend == "faiss"

    def _fit_scaling(self, features: np.ndarray) -> None:
        """`shift`, `scale` (1, D) and `axes` (D, D'), identity where not asked for (an empty `axes` means no PCA)."""
        dimension, settings = features.shape[1], self.settings
        self.shift, self.scale = np.zeros((1, dimension), np.float32), np.ones((1, dimension), np.float32)
        self.axes = np.zeros((0, 0), np.float32)
        if settings.normalise == "standard":
            self.shift, deviation = features.mean(0, keepdims=True), features.std(0, keepdims=True)
            self.scale = np.where(deviation > 0, deviation, 1).astype(np.float32)  # a constant dimension stays constant
        if settings.pca is not None:
            if settings.pca > min(features.shape):
                raise MethodError(f"kmeans.pca must be at most {min(features.shape)} for these features, got {settings.pca}.")
            from sklearn.decomposition import PCA

            scaled = self._prepare(features)
            self.axes = PCA(settings.pca, random_state=self.seed).fit(scaled).components_.T.astype(np.float32)

    def _prepare(self, features: np.ndarray) -> np.ndarray:
        features = np.asarray(features, np.float32)
        if self.settings.normalise == "l2":
            features = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
        elif self.settings.normalise == "standard":
            features = (features - self.shift) / self.scale
        # Distances do not depend on the origin, so the PCA's centring can be left out.
        return np.ascontiguousarray(features @ self.axes if self.axes.size else features)


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
