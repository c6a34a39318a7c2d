"""Images as figures show them."""

from __future__ import annotations

from typing import Any

import numpy as np


def shown(images: np.ndarray) -> np.ndarray:
    """Images ready for `imshow`: (n, H, W, 3), grey ones repeated, infrared left out.

    Args:
        images: (n, C, H, W), C = 1 (grey), 3 (RGB) or 4 (RGB and infrared), values 0..255 of any type.

    Returns:
        uint8.
    """
    images = np.repeat(images, 3, axis=1) if images.shape[1] == 1 else images[:, :3]
    return np.clip(np.rint(images), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def weighted_means(images: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The average image of each cluster.

    Args:
        images: uint8 (n, C, H, W).
        weights: (n, K), probability of each cluster for each image.

    Returns:
        float (K, C, H, W), values 0..255; black for a cluster without any weight.
    """
    weights = weights.astype(np.float64)
    sums = np.tensordot(weights.T, images.astype(np.float64), axes=1)  # (K, C, H, W)
    totals = weights.sum(axis=0)[:, None, None, None]
    return np.divide(sums, totals, out=np.zeros_like(sums), where=totals > 0)


def place(axes: Any, image: np.ndarray, centre: tuple[float, float], side: float, colour: str) -> None:
    """Put an image (H, W, 3) into the coordinates of `axes`, `side` long and in a frame of `colour`."""
    from matplotlib.patches import Rectangle

    x, y, half = *centre, side / 2
    axes.imshow(image, extent=(x - half, x + half, y - half, y + half), interpolation="nearest", zorder=3, aspect="equal")
    axes.add_patch(Rectangle((x - half, y - half), side, side, fill=False, edgecolor=colour, linewidth=1.2, zorder=4))
