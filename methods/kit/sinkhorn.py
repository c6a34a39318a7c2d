"""Balanced codes by the Sinkhorn-Knopp iteration: every prototype receives the same share of a batch.

Caron, Misra, Mairal, Goyal, Bojanowski, Joulin: Unsupervised Learning of Visual Features by Contrasting Cluster
Assignments (NeurIPS 2020), section 3.1; after Cuturi (NeurIPS 2013).
"""

from __future__ import annotations

import torch


@torch.no_grad()
def sinkhorn_codes(similarities: torch.Tensor, temperature: float = 0.05, iterations: int = 3) -> torch.Tensor:
    """Soft assignments of the samples of a batch to prototypes, nearly balanced over the prototypes; without a gradient.

    The matrix exp(similarities / temperature) is scaled alternately to equal sums of its prototypes and of its samples, the
    samples last. No queue of earlier batches takes part.

    Args:
        similarities: (..., N, P), of N samples to P prototypes; every leading index is a batch of its own.
        temperature: the entropy weight epsilon; smaller codes are harder.
        iterations: at least 1. More bring the prototypes' shares closer to 1 / P.

    Returns:
        (..., N, P), float32 or the inputs' float64; each row sums to 1.
    """
    with torch.autocast(similarities.device.type, enabled=False):
        scaled = (similarities if similarities.dtype == torch.float64 else similarities.float()) / temperature
        # The largest exponent becomes 0: scaling cancels in the first step, so that nothing can overflow.
        codes = scaled.sub_(scaled.amax(dim=(-2, -1), keepdim=True)).exp_()
        for _ in range(iterations):
            codes /= codes.sum(dim=-2, keepdim=True) * codes.shape[-1]  # prototypes: 1 / P each
            codes /= codes.sum(dim=-1, keepdim=True)  # samples: 1 each
    return codes
