"""The mutual information between paired cluster assignments: the objective of IIC.

Ji, Henriques, Vedaldi: Invariant Information Clustering (ICCV 2019), section 3.1, equations 2 and 3.
"""

from __future__ import annotations

import torch

# The authors' floor under every probability before its logarithm: the machine epsilon of float64. It is a normal
# number in float32 and bfloat16, but zero in float16, which is one reason why the loss is never computed there.
EPS = 2.220446049250313e-16


def joint_distribution(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Symmetric joint distribution of the clusters of two views (equation 2 and the symmetrisation below it).

    Args:
        p: cluster probabilities of the first view, (..., N, K); each row sums to 1.
        q: those of the second view, same shape, row n from the same image as row n of `p`.

    Returns:
        (..., K, K), symmetric, summing to 1 over the last two dimensions.
    """
    joint = p.transpose(-2, -1) @ q  # (..., K, K)
    joint = joint + joint.transpose(-2, -1)
    return joint / joint.sum(dim=(-2, -1), keepdim=True)


def information_loss(p: torch.Tensor, q: torch.Tensor, entropy_weight: float = 1.0) -> torch.Tensor:
    """Negative mutual information of paired assignments, one value per leading index (sub-head).

    With joint P and marginal entropies H, the value is H(z, z') - entropy_weight * (H(z) + H(z')), which is -I(z; z')
    for an entropy weight of 1. The lowest possible value is (1 - 2 * entropy_weight) * ln K, reached by confident,
    consistent and balanced assignments; constant or independent assignments give 0 at an entropy weight of 1.

    The authors' code takes the marginals before it clamps and clamps all three; so does this. Half-precision inputs are
    raised to float32 first, also under autocast, because the joint's small entries do not survive a shorter mantissa.

    Args:
        p: cluster probabilities of the first view, (H, N, K) for H sub-heads or (N, K); each row sums to 1.
        q: those of the second view, same shape.
        entropy_weight: the paper's lambda; above 1 it presses towards balanced clusters.

    Returns:
        (H,) or a scalar, float32 or the inputs' float64; natural logarithm.
    """
    if p.shape != q.shape:
        raise ValueError(f"Both views need the same shape, got {tuple(p.shape)} and {tuple(q.shape)}.")
    with torch.autocast(p.device.type, enabled=False):
        if p.dtype in (torch.float16, torch.bfloat16):
            p, q = p.float(), q.float()
        joint = joint_distribution(p, q)
        row = joint.sum(-1, keepdim=True)  # (..., K, 1)
        column = joint.sum(-2, keepdim=True)  # (..., 1, K)
        joint, row, column = joint.clamp(min=EPS), row.clamp(min=EPS), column.clamp(min=EPS)
        return -(joint * (joint.log() - entropy_weight * (row.log() + column.log()))).sum(dim=(-2, -1))


def loss_floor(n_clusters: int, entropy_weight: float = 1.0) -> float:
    """The lowest value that `information_loss` can take: (1 - 2 * entropy_weight) * ln K."""
    return (1.0 - 2.0 * entropy_weight) * torch.log(torch.tensor(float(n_clusters), dtype=torch.float64)).item()
