"""Deep InfoMax's objectives: estimates of mutual information from a critic's scores, and the match with a prior.

Hjelm, Fedorov, Lavoie-Marchildon, Grewal, Bachman, Trischler, Bengio: Learning Deep Representations by Mutual Information
Estimation and Maximization, ICLR 2019, sections 3.1 to 3.3, in the form of the authors' code (`functions/dim_losses.py`). Scores
are T[i, j, l]: how well the code of image i goes with place l of image j. Pairs with i = j are positive, all others negative.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch.nn import functional

Estimator = Literal["jsd", "infonce", "dv"]
LOG_2 = math.log(2)


def critic_scores(codes: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Scalar products of all codes (N, U) with all places (M, U, L): (N, M, L)."""
    return torch.einsum("iu,jul->ijl", codes, places)


def jensen_shannon(scores: torch.Tensor) -> torch.Tensor:
    """Minus the Jensen-Shannon estimate: E_neg[sp(T) - ln 2] - E_pos[ln 2 - sp(-T)] (equation 4, shifted as in their code).

    Args:
        scores: float (N, N, L), N >= 2.

    Returns:
        A scalar, at least -2 ln 2; 0 for scores of 0, which tell nothing.
    """
    negative = functional.softplus(scores) * _others(scores)
    positive = functional.softplus(-scores.diagonal(dim1=0, dim2=1))  # (L, N)
    return negative.sum() / _negatives(scores) + positive.mean() - 2 * LOG_2


def info_nce(scores: torch.Tensor) -> torch.Tensor:
    """The cross-entropy of telling an image's own place from all places of the other images (equation 5).

    Each pair of a code and a place of its own image is one question, with the (N - 1) L places of the other images as the
    wrong answers; the other places of the same image do not count. The authors' code gives these a score of -10 instead.

    Args:
        scores: float (N, N, L), N >= 2.

    Returns:
        A scalar in nats, at least 0; ln(1 + (N - 1) L) for a guess.
    """
    others = scores.masked_fill(_others(scores) == 0, -torch.inf).flatten(1).logsumexp(1)  # (N,)
    positive = scores.diagonal(dim1=0, dim2=1)  # (L, N)
    return functional.softplus(others - positive).mean()


def donsker_varadhan(scores: torch.Tensor) -> torch.Tensor:
    """Minus the Donsker-Varadhan estimate (equation 2): ln E_neg[exp T] - E_pos[T].

    Args:
        scores: float (N, N, L), N >= 2.

    Returns:
        A scalar in nats without a lower bound; 0 for scores that are all the same.
    """
    negative = scores.masked_fill(_others(scores) == 0, -torch.inf).flatten().logsumexp(0)
    return negative - math.log(_negatives(scores)) - scores.diagonal(dim1=0, dim2=1).mean()


ESTIMATORS: Mapping[Estimator, Callable[[torch.Tensor], torch.Tensor]] = {
    "jsd": jensen_shannon,
    "infonce": info_nce,
    "dv": donsker_varadhan,
}
FLOORS: Mapping[Estimator, float] = {"jsd": -2 * LOG_2, "infonce": 0.0}


def gradient_penalty(logits: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """The squared length of a discriminator's gradient, averaged over the points (Mescheder et al., ICML 2018).

    Args:
        logits: (N,), what it makes of `points`, each by itself.
        points: (N, D), which require gradients.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), points, create_graph=True)
    return gradient.square().sum(1).mean()


def _others(scores: torch.Tensor) -> torch.Tensor:
    """(N, N, 1): 0 for pairs of the same image, 1 for all others."""
    return 1 - torch.eye(len(scores), device=scores.device, dtype=scores.dtype)[:, :, None]


def _negatives(scores: torch.Tensor) -> int:
    images, _, places = scores.shape
    return images * (images - 1) * places
