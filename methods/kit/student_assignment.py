"""Soft assignment to centres by Student's t, and the target that sharpens it (Xie, Girshick, Farhadi, ICML 2016, section 3.1).

Letters as in the paper: z_i the embedding of image i, mu_j the centre of cluster j, q_ij the assignment, p_ij the target.
"""

from __future__ import annotations

import torch


def squared_distances(z: torch.Tensor, mu: torch.Tensor) -> torch.Tensor:
    """Squared Euclidean distances of embeddings (N, D) to centres (K, D): (N, K), exact also where they are tiny."""
    return (z.unsqueeze(1) - mu).square().sum(-1)  # (N, K, D) -> (N, K)


def log_assignment(distances: torch.Tensor, alpha: float = 1.0) -> torch.Tensor:
    """ln q_ij, q_ij proportional to (1 + d_ij / alpha) ** (-(alpha + 1) / 2), normalised over j (equation 1).

    Args:
        distances: squared, (N, K).
        alpha: degrees of freedom.
    """
    return (-(alpha + 1) / 2 * torch.log1p(distances / alpha)).log_softmax(-1)


def target_distribution(q: torch.Tensor) -> torch.Tensor:
    """p_ij proportional to q_ij ** 2 / f_j with f_j = sum_i q_ij, normalised over j (equation 3).

    f_j keeps the clusters balanced only if `q` (N, K) is that of the whole data set.
    """
    weight = q.square() / q.sum(0, keepdim=True).clamp_min(torch.finfo(q.dtype).tiny)  # an empty cluster draws nobody
    return weight / weight.sum(1, keepdim=True)


def clustering_loss(p: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
    """KL(P || Q) in nats, averaged over the N images of (N, K) (equation 2). No gradient flows into P."""
    p = p.detach()
    return (torch.xlogy(p, p) - p * log_q).sum(1).mean()
