"""The weighted triplet loss of JULE (section 3.4): images of one cluster nearer to each other than to those of others."""

from __future__ import annotations

import torch


def draw_triplets(labels: torch.Tensor, negatives: int, random: torch.Generator) -> torch.Tensor:
    """Every pair of one cluster in a batch with images of other clusters, drawn without replacement for each pair.

    Args:
        labels: int64 (N,), the clusters of a batch.
        negatives: images of other clusters for each pair; fewer where the batch has fewer.
        random: on the device of `labels`.

    Returns:
        int64 (T, 3): places in the batch of anchor, positive and negative. The anchor is the earlier one of its pair.
    """
    alike = labels[:, None] == labels
    pairs = alike.triu(1).nonzero()  # (P, 2)
    keys = torch.rand(len(pairs), len(labels), generator=random, device=labels.device)
    keys = keys.masked_fill(alike[pairs[:, 0]], -1)
    best, drawn = keys.topk(min(negatives, len(labels)), dim=1)  # (P, M)
    triplets = torch.cat([pairs[:, None].expand(-1, drawn.shape[1], -1), drawn[:, :, None]], dim=2)  # (P, M, 3)
    return triplets[best >= 0]


def weighted_triplet_loss(features: torch.Tensor, triplets: torch.Tensor, gamma: float, margin: float) -> torch.Tensor:
    """Mean over the triplets (a, p, n) of max(0, gamma |a - p|^2 - |a - n|^2 + margin); 0 without any.

    Args:
        features: (N, D), of unit length.
        triplets: int64 (T, 3), rows of `features`.
        gamma: weight of the positive pairs.
        margin: by which the negative one must be farther away.
    """
    if not len(triplets):
        return features.sum() * 0
    squared = (2 - 2 * features @ features.T).clamp_min(0)  # (N, N)
    anchor, positive, negative = triplets.unbind(1)
    return (gamma * squared[anchor, positive] - squared[anchor, negative] + margin).clamp_min(0).mean()


def grouped_order(labels: torch.Tensor, group: int, random: torch.Generator) -> torch.Tensor:
    """All images once in a random order in which up to `group` of one cluster follow each other: int64 (N,).

    Args:
        labels: int64 (N,).
        group: images of a cluster that stay together; which ones is drawn too.
        random: on the device of `labels`.
    """
    n, device = len(labels), labels.device
    shuffled = torch.randperm(n, generator=random, device=device)
    order = shuffled[labels[shuffled].argsort(stable=True)]  # cluster by cluster, each shuffled
    _, sizes = labels[order].unique_consecutive(return_counts=True)
    first = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    starts = (torch.arange(n, device=device) - first) % group == 0
    groups = starts.cumsum(0) - 1
    place = torch.randperm(int(starts.sum()), generator=random, device=device)
    return order[place[groups].argsort(stable=True)]
