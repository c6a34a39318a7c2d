"""The three losses of IMC-SwAV: swapped prediction of codes, information between classes and prototypes, and a logit guard.

Ntelemis, Jin, Thomas: Information Maximization Clustering via Multi-View Self-Labelling (Knowledge-Based Systems 2022,
arXiv 2103.07368), equations 1, 2 and 6, as the authors' code has them.

Letters: V views, L of them large crops, N images, P prototypes, K clusters.
"""

from __future__ import annotations

import math

import torch

LOWEST_LOG = math.log(1e-17)  # the authors' floor under a predicted probability
GUARD_LIMIT, GUARD_WEIGHT = 5.0, 0.01


def swapped_prediction_loss(similarities: torch.Tensor, codes: torch.Tensor, temperature: float = 0.1) -> torch.Tensor:
    """Cross entropy between the code of each large crop and the prediction from every other view (equation 1).

    The mean over all ordered pairs (large crop i, view j other than i); the codes carry no gradient.

    Args:
        similarities: (V, N, P), cosine similarities of every view to the prototypes, the large crops first.
        codes: (L, N, P), of the large crops; each row sums to 1.
        temperature: tau of the prediction softmax(similarities / tau).

    Returns:
        A scalar, at least 0, natural logarithm.
    """
    views, count = similarities.shape[:2]
    large = len(codes)
    targets = codes.sum(0, keepdim=True).repeat(views, 1, 1)  # (V, N, P)
    targets[:large] -= codes  # no crop predicts its own code
    log_predictions = (similarities / temperature).log_softmax(-1).clamp(min=LOWEST_LOG)
    return -(targets * log_predictions).sum() / (count * large * (views - 1))


def multi_view_information_loss(
    logits: torch.Tensor, similarities: torch.Tensor, temperature: float = 0.1, entropy_weight: float = 4.0
) -> torch.Tensor:
    """H(Y|U) - b H(Y) of clusters Y and prototypes U, which is -I(Y;U) - (b - 1) H(Y); mean over all V x V pairs of views.

    Pairs of a view with itself and of small crops are among them. The prototype distribution is the plain softmax, not the
    balanced code (equation 6).

    Args:
        logits: (V, N, K), of the classifier.
        similarities: (V, N, P), of the same images and views to the prototypes; pass them detached.
        temperature: tau of softmax(similarities / tau).
        entropy_weight: b; above 1 it presses towards clusters of equal weight.

    Returns:
        A scalar, from -b ln K (confident, predictable, balanced) to 0.
    """
    classes, prototypes = logits.softmax(-1), (similarities / temperature).softmax(-1)
    joint = torch.einsum("jnk,inp->jikp", classes, prototypes)  # (V, V, K, P)
    joint = joint / joint.sum(dim=(-2, -1), keepdim=True)
    of_prototype, of_class = joint.sum(-2), joint.sum(-1)  # (V, V, P), (V, V, K)
    # H(Y|U) = H(Y, U) - H(U)
    return (_entropy(joint.flatten(-2)) - _entropy(of_prototype) - entropy_weight * _entropy(of_class)).mean()


def logit_guard(logits: torch.Tensor) -> torch.Tensor:
    """0.01 times the sum over the K logits of what exceeds 5 in size, mean over everything else; at least 0.

    It keeps every probability of the classifier above zero, which the logarithms of the information loss need.
    """
    return GUARD_WEIGHT * (logits.abs() - GUARD_LIMIT).relu().sum(-1).mean()


def _entropy(p: torch.Tensor) -> torch.Tensor:
    """Over the last dimension; (..., M) to (...). A probability that underflowed to zero adds nothing, and no infinite slope."""
    return -(p * p.clamp(min=torch.finfo(p.dtype).tiny).log()).sum(-1)
