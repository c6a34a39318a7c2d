"""The objectives of SCAN (Van Gansbeke et al., ECCV 2020): semantic clustering, choice of a model, and self-labelling.

Letters: H heads, B images in a batch, N images in all, K clusters, J neighbours.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

LOWEST_LOG = -100.0  # at which the authors' binary cross-entropy cuts logarithms off
SMALLEST = 1e-8  # mean probability below which the authors' entropy does not look


class SemanticLoss(NamedTuple):
    """Per head, (H,) each; `total` is consistency - weight * entropy."""

    total: Tensor
    consistency: Tensor
    entropy: Tensor


def semantic_loss(anchors: Tensor, neighbours: Tensor, entropy_weight: float) -> SemanticLoss:
    """Equation 2: an image and its neighbour belong into the same cluster, surely; all clusters are used.

    Args:
        anchors, neighbours: logits (H, B, K) of images and of one neighbour each, float32 or float64.
        entropy_weight: lambda; 5 in all of the authors' configurations.

    The entropy is that of the mean of the anchors' probabilities alone, as in the authors' code.
    """
    log_p, log_q = anchors.log_softmax(-1), neighbours.log_softmax(-1)
    log_agreement = (log_p + log_q).logsumexp(-1)  # (H, B), ln <p, q>
    consistency = -log_agreement.clamp(min=LOWEST_LOG).mean(-1)
    entropy = marginal_entropy(log_p.exp())
    return SemanticLoss(consistency - entropy_weight * entropy, consistency, entropy)


def marginal_entropy(probabilities: Tensor) -> Tensor:
    """Entropy in nats of the mean of probabilities (H, N, K) over N: (H,)."""
    mean = probabilities.mean(1).clamp(min=SMALLEST)
    return -(mean * mean.log()).sum(-1)


def semantic_floor(n_clusters: int, entropy_weight: float) -> float:
    """The lowest value of the semantic loss: sure and equal clusters of equal size."""
    return -entropy_weight * math.log(n_clusters)


def selection_loss(probabilities: Tensor, neighbours: Tensor) -> Tensor:
    """What chooses among epochs and heads: the semantic loss over all neighbours, with an entropy weight of 1.

    Args:
        probabilities: (H, N, K).
        neighbours: int64 (N, J), rows of `probabilities`; the authors take each image itself and 5 others.

    Returns:
        (H,), lower is better. Products are formed for pairs of neighbours only, never for all N x N pairs.
    """
    columns = neighbours.unbind(1)
    pairs = ((probabilities * probabilities[:, column]).sum(-1) for column in columns)  # (H, N) each
    total = sum((-pair.log().clamp(min=LOWEST_LOG).mean(-1) for pair in pairs), torch.zeros_like(probabilities[:, 0, 0]))
    return total / len(columns) - marginal_entropy(probabilities)


class SelfLabelLoss(NamedTuple):
    """`loss` (), and `confident` (), how many images it is the mean of; without any the loss is 0 and says nothing."""

    loss: Tensor
    confident: Tensor


def self_label_loss(weak: Tensor, strong: Tensor, threshold: float, *, balanced: bool) -> SelfLabelLoss:
    """Cross-entropy of a strongly changed image with the cluster of the unchanged one, where that is sure.

    Args:
        weak: logits (B, K) of the test view, which give the labels; no gradient flows to them.
        strong: logits (B, K) of the strong view.
        threshold: probability above which an image counts.
        balanced: weigh a cluster with `n` of the `m` images that count by m / n; the mean is divided by all used weights.
    """
    surest, label = weak.detach().softmax(-1).max(-1)  # (B,) each
    counts = surest > threshold
    confident = counts.sum()
    weight = counts.to(strong.dtype)
    if balanced:
        sizes = torch.zeros(strong.shape[1], dtype=strong.dtype, device=strong.device).scatter_add_(0, label, weight)
        weight = weight * (confident / sizes.clamp(min=1))[label]
    each = functional.cross_entropy(strong, label, reduction="none")  # (B,)
    smallest = torch.finfo(strong.dtype).tiny
    return SelfLabelLoss((each * weight).sum() / weight.sum().clamp(min=smallest), confident)
