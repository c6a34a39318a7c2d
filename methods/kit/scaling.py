"""What is done to features before they are clustered: a normalisation and a PCA, fitted once and applied to any images."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from ..base import MethodError


class ScalingSettings(BaseModel):
    """How features are scaled before they are compared by distance."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    normalise: Literal["none", "l2", "standard"] = Field(
        default="none",
        description="features as they are, scaled to unit length, or each dimension to zero mean and unit variance",
    )
    pca: Annotated[int, Field(ge=1)] | None = Field(default=None, description="dimensions kept by a PCA before; none by default")


class Scaling:
    """Normalisation and optional PCA of features, fitted once and applied to any features of the same dimension.

    Args:
        settings: see `ScalingSettings`.
        seed: decides what the PCA draws where it is approximated.
        name: of the settings, for messages.
    """

    def __init__(self, settings: ScalingSettings, seed: int, name: str) -> None:
        self.settings, self.seed, self.name = settings, seed, name

    def fit(self, features: np.ndarray) -> np.ndarray:
        """Take the statistics of `features`, float (N, D), and scale them: float32 (N, D').

        Raises:
            MethodError: fewer images or dimensions than the PCA is to keep.
        """
        dimension, settings = features.shape[1], self.settings
        # An empty `axes` means no PCA.
        self.shift, self.scale = np.zeros((1, dimension), np.float32), np.ones((1, dimension), np.float32)
        self.axes = np.zeros((0, 0), np.float32)
        if settings.normalise == "standard":
            self.shift, deviation = features.mean(0, keepdims=True), features.std(0, keepdims=True)
            self.scale = np.where(deviation > 0, deviation, 1).astype(np.float32)  # a constant dimension stays constant
        if settings.pca is not None:
            self.axes = self._principal_axes(self(features), settings.pca)
        return self(features)

    def _principal_axes(self, scaled: np.ndarray, kept: int) -> np.ndarray:
        """Float32 (D, kept)."""
        from sklearn.decomposition import PCA

        if kept > min(scaled.shape):
            raise MethodError(f"{self.name}.pca must be at most {min(scaled.shape)} for these features, got {kept}.")
        return PCA(kept, random_state=self.seed).fit(scaled).components_.T.astype(np.float32)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Scaled features: (N, D) to float32 (N, D')."""
        features = np.asarray(features, np.float32)
        if self.settings.normalise == "l2":
            features = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
        elif self.settings.normalise == "standard":
            features = (features - self.shift) / self.scale
        # Distances do not depend on the origin, so the PCA's centring can be left out.
        return np.ascontiguousarray(features @ self.axes if self.axes.size else features)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The fitted arrays, as tensors."""
        return {name: torch.from_numpy(np.ascontiguousarray(getattr(self, name))) for name in ("shift", "scale", "axes")}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        for name, value in state.items():
            setattr(self, name, value.numpy())
