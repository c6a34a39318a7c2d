"""Which labelled images a classifier learns from, and in which batches."""

from __future__ import annotations

import math

import torch

from ...datasets.base import Labelled
from ..base import MethodError
from .randomness import generator

FOLDS = 10  # of STL-10, 1,000 training images each, as the data set defines them


def labelled_subset(
    labelled: Labelled, n_classes: int, *, fraction: float = 1.0, balanced: bool = False, fold: int | None = None, seed: int = 0
) -> torch.Tensor:
    """Rows of `labelled` to learn from: int64, on its device; drawn without replacement, in the order drawn.

    A smaller fraction with the same seed is part of a larger one. Images whose label is not known (-1) are left out.

    Args:
        labelled: images with their labels.
        n_classes: classes 0..n_classes-1.
        fraction: share of them, above 0 to 1; rounded down, as the authors do.
        balanced: draw the share of each class, at least one image of it, instead of the share of all.
        fold: one of the data set's own folds (roles `fold 0`, `fold 1`, ... of the images) instead of all images.
        seed: decides the draw.

    Raises:
        MethodError: a label beyond the classes, a fold that the data does not have, or fewer than two images left.
    """
    rows = torch.arange(len(labelled.labels)) if fold is None else _fold(labelled, fold)
    labels = labelled.labels.cpu()
    rows = rows[labels[rows] >= 0]
    if len(rows) and int(labels[rows].max()) >= n_classes:
        raise MethodError(
            f"A label is {int(labels[rows].max())}, but n_clusters={n_classes} allows 0..{n_classes - 1}: "
            "a classifier needs as many clusters as there are classes."
        )
    rows = rows[torch.randperm(len(rows), generator=generator("cpu", seed, "labels"))]
    rows = rows[_first_of_each_class(labels[rows], fraction)] if balanced else rows[: _share(fraction, len(rows))]
    if len(rows) < 2:
        raise MethodError(f"{len(rows)} labelled images are too few to learn from; raise label_fraction ({fraction:g}).")
    return rows.to(labelled.labels.device)


def labelled_batches(count: int, size: int, steps: int | None, random: torch.Generator) -> tuple[torch.Tensor, ...]:
    """Batches of positions 0..count-1 in random order, on the generator's device.

    Args:
        count: labelled images, at least 2.
        size: of a batch.
        steps: batches; None for one pass over all images. Then the last batch is shorter, but never a single image,
            which batch norm cannot take: that joins the batch before it.
        random: shuffles every pass.
    """
    passes = 1 if steps is None else math.ceil(steps * min(size, count) / count)
    order = torch.cat([torch.randperm(count, generator=random, device=random.device) for _ in range(passes)])
    if steps is not None:
        return order.split(min(size, count))[:steps]
    batches = list(order.split(size))
    if len(batches[-1]) == 1 and len(batches) > 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return tuple(batches)


def _fold(labelled: Labelled, fold: int) -> torch.Tensor:
    name = f"fold {fold}"
    if name not in labelled.images.roles:
        raise MethodError(
            f"This copy of the data has no {name}: the folds of STL-10 are in fold_indices.txt of its original archive. "
            "Put it beside train_X.bin and prepare again (bench data prepare stl10 --force), or leave fold out."
        )
    return labelled.images.role(name).cpu()


def _first_of_each_class(labels: torch.Tensor, fraction: float) -> torch.Tensor:
    """Places of the first `fraction` of each class's labels, in their order; at least one of a class."""
    kept = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        places = (labels == label).nonzero().squeeze(1)
        kept[places[: max(1, _share(fraction, len(places)))]] = True
    return kept.nonzero().squeeze(1)


def _share(fraction: float, count: int) -> int:
    return int(round(fraction * count, 6))  # 0.29 * 100 is 28.999999999999996
