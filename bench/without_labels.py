"""What a trial finds out about its clusters where nothing is labelled, for its record: sizes, confidence, silhouette."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch

from ..datasets.base import Images
from ..methods.base import Method
from ..results.figures.probabilities import Probabilities
from ..results.unlabelled import SILHOUETTE_SAMPLE, cluster_sizes, confidence_summary, silhouette
from .selection import Choice
from .snapshots import subset

LARGEST_SIDE = 32
log = logging.getLogger(__name__)


def examine(method: Method, score: Images, choice: Choice, kept: Probabilities | None) -> dict[str, Any]:
    """`Record.diagnostics["unlabelled"]`, as `results.unlabelled.told` describes it.

    Whatever goes wrong in measuring costs that measure and not the trial; the log says so.

    Args:
        method: as its last epoch left it.
        score: the images that the trial is judged on.
        choice: clusters of the epoch and sub-head that the method's own loss chose.
        kept: cluster probabilities of a sample after the last epoch; None if the method gives none.
    """
    clusters = choice.predictions[choice.head]
    found: dict[str, Any] = {"epoch": choice.epoch, "sizes": cluster_sizes(clusters, method.n_clusters).tolist()}
    found["confidence"] = _confidence(kept)
    try:
        found["silhouette"] = _silhouette(method, score, clusters)
    except Exception as error:  # scikit-learn and foreign methods raise what they like
        log.warning("%s: no silhouette: %s", method.name, error)
        found["silhouette"] = None
    return found


def _confidence(kept: Probabilities | None) -> dict[str, Any] | None:
    if kept is None or not len(kept.epochs):
        return None
    return {**confidence_summary(kept.values[-1].astype(np.float64).max(axis=1)), "epoch": int(kept.epochs[-1])}


def _silhouette(method: Method, score: Images, clusters: np.ndarray) -> dict[str, Any] | None:
    """On the method's own features where it can be asked for them, else on pixels."""
    rows = np.linspace(0, len(clusters) - 1, min(len(clusters), SILHOUETTE_SAMPLE)).round().astype(np.int64)
    sample = subset(score, rows).to(method.device)
    features_of = getattr(method, "features_of", None)
    of = "the method's features" if features_of else "pixels"
    features = features_of(sample).cpu().numpy() if features_of else pixel_vectors(sample.batch(sample.role("all")))
    value = silhouette(features, clusters[rows])
    return None if value is None else {"value": value, "features": of, "n": len(rows)}


def pixel_vectors(images: torch.Tensor) -> np.ndarray:
    """uint8 (n, C, H, W) as float32 (n, D) in [0, 1], averaged down to at most 32x32 pixels so that any image will do."""
    pixels = images.cpu().float() / 255
    size = min(pixels.shape[2], LARGEST_SIDE), min(pixels.shape[3], LARGEST_SIDE)
    if size != tuple(pixels.shape[2:]):
        pixels = torch.nn.functional.adaptive_avg_pool2d(pixels, size)
    return pixels.flatten(1).numpy()
