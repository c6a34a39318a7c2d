"""Clusters of the features of pixels as labels to learn from: found on a sample of pixels, given to any (DeepCluster)."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from ..base import Diverged, MethodError
from .pseudo_labels import centres_and_nearest
from .whitening import Whitening

SMALLEST_LENGTH = 1e-12  # of a whitened feature, as torch.nn.functional.normalize has it


class PixelLabels:
    """K-means on the features of pixels, optionally whitened and scaled to unit length.

    Args:
        clusters: number of labels.
        iterations: of the k-means, by faiss from one random start.
        whiten: axes of the PCA-whitening, after which features are scaled to unit length; None clusters them as they are.

    Attributes:
        centres: float32 (clusters, d), from `fit` on.
    """

    centres: torch.Tensor

    def __init__(self, clusters: int, iterations: int, whiten: int | None) -> None:
        self.clusters, self.iterations = clusters, iterations
        self.whitening = None if whiten is None else Whitening(whiten)

    def fit(self, rows: np.ndarray, weights: np.ndarray | None, seed: int, device: str | torch.device) -> np.ndarray:
        """Find the clusters.

        Args:
            rows: float32 (N, D), features of a sample of pixels.
            weights: float (N,), how many pixels each row stands for; None for one each.
            seed: decides the start.
            device: where maps will be labelled.

        Returns:
            The label of each row, int64 (N,).

        Raises:
            MethodError: fewer rows than clusters; all features are the same; faiss is missing.
            Diverged: features that are not finite.
        """
        if len(rows) < self.clusters:
            raise MethodError(f"{len(rows)} pixels cannot fill {self.clusters} clusters of pseudo-labels; lower 'clusters'.")
        if not np.isfinite(rows.sum(dtype=np.float64)):
            raise Diverged("The features of pixels are not finite. Lower the learning rate (--set lr=...).")
        if self.whitening is not None:
            features = torch.from_numpy(rows)
            rows = functional.normalize(self.whitening.fit(features)(features), dim=1, eps=SMALLEST_LENGTH).numpy()
            self.whitening.load_state_dict(self.whitening.state_dict(), device)
        centres, labels = centres_and_nearest(np.ascontiguousarray(rows), self.clusters, self.iterations, seed, weights)
        self.centres = torch.from_numpy(centres.astype(np.float32)).to(device)
        return labels

    @torch.inference_mode()
    def of(self, maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """The label of each pixel: of feature maps float (n, D, h, w), enlarged (bilinear) to `size` (H, W): int64 (n, H, W).

        Whitening and products with the centres are linear, so it is the products that are enlarged, not all D features.
        """
        half_squares = self.centres.square().sum(1).view(-1, 1, 1) / 2
        if self.whitening is not None:
            axes = self.whitening.axes.T[:, :, None, None]  # (d, D, 1, 1)
            maps = functional.conv2d(maps, axes, -self.whitening.axes.T @ self.whitening.mean)
        products = _enlarged(functional.conv2d(maps, self.centres[:, :, None, None]), size)  # (n, clusters, H, W)
        if self.whitening is None:
            return (products - half_squares).argmax(1)
        return torch.stack([_nearest_direction(*each, half_squares, size) for each in zip(products, maps, strict=True)])


def _nearest_direction(
    products: torch.Tensor, maps: torch.Tensor, half_squares: torch.Tensor, size: tuple[int, int]
) -> torch.Tensor:
    """Labels (H, W) of one image by features of unit length: the distances to its centres, times the length before."""
    lengths = _enlarged(maps[None], size)[0].norm(dim=0).clamp_min(SMALLEST_LENGTH)  # (H, W)
    return (products - half_squares * lengths).argmax(0)


def _enlarged(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return functional.interpolate(maps, size, mode="bilinear", align_corners=False)
