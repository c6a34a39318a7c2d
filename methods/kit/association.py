"""The losses of association: walks from one set of points to another and back should end where they began.

Haeusser, Mordvintsev, Cremers: Learning by Association, CVPR 2017, and Haeusser, Plapp, Golkov, Aljalbout, Cremers: Associative
Deep Clustering, GCPR 2018. A walk steps from a point of `a` to a point of `b` with the softmax of their dot products as chances,
and back in the same way. n points in `a`, m in `b`, d numbers each.
"""

from __future__ import annotations

import math

import torch

EPSILON = 1e-8  # added to chances before their logarithm, as the authors do


def association_losses(a: torch.Tensor, b: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Walker and visit loss of points `a` (n, d) with `labels`, int64 (n,), and points `b` (m, d), in nats.

    The walker loss is the mean cross-entropy between where a round trip should end, at any point of the same label with the
    same chance, and where it does. The visit loss is the cross-entropy between an even visit of all of `b` and the mean visit.
    """
    match = a @ b.T  # (n, m)
    there, back = match.softmax(1), match.T.softmax(1)
    same = (labels[:, None] == labels[None, :]).to(match.dtype)
    walker = -(same / same.sum(1, keepdim=True) * _log(there @ back)).sum(1).mean()
    visit = -_log(there.mean(0, keepdim=True)).mean()
    return walker, visit


def _log(chances: torch.Tensor) -> torch.Tensor:
    """ln of chances (n, m) whose rows add up to 1, and still do after `EPSILON` has been added."""
    return (chances + EPSILON).log().log_softmax(1)


def walker_floor(points_of_a_label: int) -> float:
    """The least walker loss, where every label has as many points: the entropy of the right end."""
    return math.log(points_of_a_label)


def visit_floor(points: int) -> float:
    """The least visit loss of so many points: that of an even visit."""
    return math.log(points)


def transformation_loss(embeddings: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Mean of |1 - H(p_i, p_j) - z_i z_j| over all pairs of images, H the cross-entropy of their clusters in nats.

    Args:
        embeddings: z, (n, d).
        logits: (n, k), p is their softmax.
    """
    cross_entropies = -logits.softmax(1) @ logits.log_softmax(1).T  # (n, n)
    return (1 - cross_entropies - embeddings @ embeddings.T).abs().mean()


def embedding_penalties(embeddings: torch.Tensor, target: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums, not means: of |z| over all numbers of embeddings (n, d), and of the squared distance of their lengths to `target`."""
    return embeddings.abs().sum(), (embeddings.norm(dim=1) - target).square().sum()
