"""The k-means that scores features: whitened if asked for, fitted on some images and applied to any."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .clusterers import KMeansHead, KMeansSettings
from .whitening import Whitening


class FeatureClusters:
    """An optional PCA-whitening, then `KMeansHead`.

    Args:
        n_clusters: number of clusters.
        settings: of the k-means; what it normalises are the whitened features.
        whiten: axes of the whitening; None for none.
        seed: decides the starts.
    """

    def __init__(self, n_clusters: int, settings: KMeansSettings, whiten: int | None, seed: int) -> None:
        self.head = KMeansHead(n_clusters, settings, seed)
        self.whitening = None if whiten is None else Whitening(whiten)

    def fit(self, features: torch.Tensor) -> FeatureClusters:
        """Find the clusters of `features`, float (N, D); returns itself."""
        if self.whitening is not None:
            self.whitening.fit(features)
        self.head.fit(self._prepared(features))
        return self

    def predict(self, features: torch.Tensor) -> np.ndarray:
        """Cluster of each row of `features` (N, D): int64 (N,)."""
        return self.head.predict(self._prepared(features))

    def _prepared(self, features: torch.Tensor) -> np.ndarray:
        return (features if self.whitening is None else self.whitening(features)).cpu().numpy()

    def state_dict(self) -> dict[str, Any]:
        """What was fitted, as tensors."""
        return {"head": self.head.state_dict(), "whitening": {} if self.whitening is None else self.whitening.state_dict()}

    def load_state_dict(self, state: dict[str, Any], device: str | torch.device = "cpu") -> None:
        """Restore what `state_dict` returned, for features on `device`."""
        self.head.load_state_dict(state["head"])
        if self.whitening is not None:
            self.whitening.load_state_dict(state["whitening"], device)
