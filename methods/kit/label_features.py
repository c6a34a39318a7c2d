"""The losses of DAC: pairs of images that a network finds alike are pulled together, pairs that it finds different apart.

Chang, Wang, Meng, Xiang, Pan: Deep Adaptive Image Clustering, ICCV 2017, section 3. An image's *label features* are its cluster
probabilities at unit length, so that the similarity of two images is a cosine between 0 and 1. n images, k clusters.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch

PairLoss: TypeAlias = Literal["cross-entropy", "squared"]
Anchor: TypeAlias = Literal["features", "probabilities", "sharpened"]
EPSILON = 1e-7  # Keras': chances are kept so far from 0 and 1


def label_features(probabilities: torch.Tensor) -> torch.Tensor:
    """Cluster probabilities (n, k) at unit length."""
    return probabilities / probabilities.norm(dim=1, keepdim=True)


def similarities(probabilities: torch.Tensor) -> torch.Tensor:
    """Cosines (n, n) between the label features of probabilities (n, k), 0 to 1 up to rounding."""
    features = label_features(probabilities)
    return features @ features.T


def pair_targets(similarity: torch.Tensor, upper: float, lower: float | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Which pairs are taken for alike, and which count (equations 6 and 7).

    Args:
        similarity: (n, n), by the network as it was before the step.
        upper: pairs that are more similar are alike.
        lower: pairs that are less similar are different, and those in between do not count; None: all that are not alike
            are different.

    Returns:
        Two float tensors (n, n) of 0 and 1: the targets, and the weights of the pairs.
    """
    alike = similarity > upper
    if lower is None:
        return alike.to(similarity.dtype), torch.ones_like(similarity)
    return alike.to(similarity.dtype), (alike | (similarity < lower)).to(similarity.dtype)


def binary_cross_entropy(chances: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """-t ln c - (1 - t) ln(1 - c) of each element, in nats, c kept `EPSILON` away from 0 and 1. Targets may be any number."""
    kept = chances.clamp(EPSILON, 1 - EPSILON)
    return -(targets * kept.log() + (1 - targets) * torch.log1p(-kept))


def pair_loss(probabilities: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, kind: PairLoss) -> torch.Tensor:
    """Mean loss of the pairs that count (equation 8).

    Args:
        probabilities: (n, k), with a gradient.
        targets, weights: (n, n), as `pair_targets` gives them; no pair counts: the loss is 0.
        kind: binary cross-entropy of similarity and target in nats, or their squared difference.
    """
    found = similarities(probabilities)
    losses = (found - targets).square() if kind == "squared" else binary_cross_entropy(found, targets)
    return (weights * losses).sum() / weights.sum().clamp_min(1)


def anchor_loss(probabilities: torch.Tensor, judged: torch.Tensor, kind: Anchor) -> torch.Tensor:
    """Mean binary cross-entropy between what the network says now and what it said before.

    Args:
        probabilities: (n, k), with a gradient.
        judged: (n, k), the probabilities before.
        kind: label features to label features, probabilities to probabilities, or probabilities now to label features before,
            which are larger and so make the network surer.
    """
    now = label_features(probabilities) if kind == "features" else probabilities
    before = judged if kind == "probabilities" else label_features(judged)
    return binary_cross_entropy(now, before).mean()
