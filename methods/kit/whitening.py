"""PCA-whitening: features turned to their principal axes, each scaled to unit variance."""

from __future__ import annotations

import torch
from torch.nn import functional

from ..base import MethodError

BLOCK = 8192  # rows at a time
# Of the largest variance. Axes below are rounding errors, which whitening would blow up to unit variance.
NEGLIGIBLE = 1e-10


class Whitening:
    """PCA-whitening to at most `dimensions` axes, fitted once and applied to any features of the same size.

    What faiss's `PCAMatrix(D, d, eigen_power=-0.5)` computes, but that axes without variance are left out: where features
    have a lower rank than `dimensions`, faiss divides by rounding errors or by zero.

    Args:
        dimensions: axes that are kept, those of the largest variance.
    """

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions

    def fit(self, features: torch.Tensor) -> Whitening:
        """Find the axes of `features`, float (N, D) with N >= 2, in double precision on their device; returns itself.

        Raises:
            MethodError: the features are all the same, or not finite.
        """
        mean, covariance = moments(features)
        if not bool(torch.isfinite(covariance).all()):
            raise MethodError("The features are not finite, so they cannot be whitened. Lower the learning rate (--set lr=...).")
        variances, axes = torch.linalg.eigh(covariance)  # ascending
        variances, axes = variances.flip(0)[: self.dimensions], axes.flip(1)[:, : self.dimensions]
        kept = int((variances > NEGLIGIBLE * variances[0]).sum())
        if not kept:
            raise MethodError("All images have the same features (collapse). Lower the learning rate (--set lr=...).")
        self.mean = mean.float()  # (D,)
        self.axes = (axes[:, :kept] * variances[:kept].rsqrt()).float()  # (D, d)
        return self

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Whitened features: (N, D) to float32 (N, d), d at most `dimensions`, at most the rank of what was fitted."""
        return torch.cat([(block.float() - self.mean) @ self.axes for block in features.split(BLOCK)])

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The fitted mean and axes."""
        return {"mean": self.mean, "axes": self.axes}

    def load_state_dict(self, state: dict[str, torch.Tensor], device: str | torch.device = "cpu") -> None:
        """Restore what `state_dict` returned, on `device`."""
        self.mean, self.axes = state["mean"].to(device), state["axes"].to(device)


def moments(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (D,) and covariance (D, D), divided by N, of float (N, D); both float64, in blocks of rows."""
    mean = torch.stack([block.double().sum(0) for block in features.split(BLOCK)]).sum(0) / len(features)
    covariance = torch.zeros(features.shape[1], features.shape[1], dtype=torch.float64, device=features.device)
    for block in features.split(BLOCK):
        centred = block.double() - mean
        covariance.addmm_(centred.T, centred)
    return mean, covariance / len(features)


def whitened(features: torch.Tensor, dimensions: int) -> torch.Tensor:
    """Features (N, D) whitened by their own axes and scaled to unit length: what DeepCluster clusters, float32 (N, d)."""
    return functional.normalize(Whitening(dimensions).fit(features)(features), dim=1)
