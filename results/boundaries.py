"""Scores away from the boundaries between classes, where label maps are drawn inexactly and every method errs.

The benchmark that Potsdam's images come from (ISPRS 2D Semantic Labelling) scores a map a second time with each object of the
truth eroded by a disc of 3 pixels. So do we: the pixels within REACH of another label are left out, and the clusters stand for
the classes that the whole of the maps gave them, so that the two scores differ in the pixels that are judged and in nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from .mapping import intersection_over_union, mapped_accuracy
from .metrics import count_pairs

REACH = 3
AWAY = f"away-{REACH}-confusion"  # the counts of what is left, beside those of all pixels
_ANY_AWAY = re.compile(r"away-(\d+)-confusion")


def away_from_boundaries(labels: np.ndarray, reach: int = REACH) -> np.ndarray:
    """Which pixels have no other label than their own within `reach`.

    A pixel without a label (-1) counts as one of another label: something else, not to be judged, begins there. What is
    beyond the rim of an image has none.

    Args:
        labels: integer (n, H, W), values that 16 bits hold.
        reach: Euclidean distance in pixels; 0 lets all pixels count.

    Returns:
        Bool (n, H, W).
    """
    labels = np.asarray(labels).astype(np.int16, copy=False)
    near = np.zeros(labels.shape, dtype=bool)
    for down in range(reach + 1):
        for across in range(-reach, reach + 1):
            if down**2 + across**2 > reach**2 or (down == 0 and across <= 0):
                continue  # beyond the disc, or the other half of it: each pair of pixels is looked at once
            first, second = _pair(labels.shape, down, across)
            differs = labels[first] != labels[second]
            near[first] |= differs
            near[second] |= differs
    return ~near


def count_pixels(predictions: np.ndarray, labels: np.ndarray, n_clusters: int, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of every cluster and class, all of them and those away from boundaries; to be summed over parts.

    Args:
        predictions: integer (H, n, h, w), clusters by every sub-head; pixels of -1 are not counted.
        labels: integer (n, h, w), classes, -1 where not known.
        n_clusters, n_classes: K and C.

    Returns:
        int64 (H, K, C + 1), whose last column counts what has no known class, and int64 (H, K, C) of those away.

    Raises:
        ValueError: shapes that differ, or a value out of range.
    """
    if labels.size and labels.max() >= n_classes:
        raise ValueError(f"A class is out of range: found {labels.max()}, expected -1..{n_classes - 1}.")
    labels = np.asarray(labels).astype(np.int16)
    away = away_from_boundaries(labels) & (labels >= 0)
    told_apart = labels + np.int16(n_classes) * away  # classes C..2C-1 are those away, so that one count gives both
    told = (np.where(head < 0, np.int64(n_clusters), head) for head in predictions)
    counts = np.stack([count_pairs(head, told_apart, n_clusters + 1, 2 * n_classes)[:-1] for head in told])
    near, kept, unknown = np.split(counts, [n_classes, 2 * n_classes], axis=2)
    return np.concatenate([near + kept, unknown], axis=2), kept


def scores_away(beside: Mapping[str, np.ndarray], head: int, classes: np.ndarray) -> dict[str, Any] | None:
    """The scores of one sub-head away from boundaries; None for what was counted without regard to them.

    Args:
        beside: arrays by name; one named as AWAY, for any reach, int64 (H, K, C), has the counts.
        head: the sub-head.
        classes: int (K,), the class that each cluster stands for.

    Returns:
        `reach` in pixels; `share` of the labelled pixels that are further away than that, in [0, 1]; and their `acc`, `miou`
        and `iou` by class (None for a class that no such pixel is of or was given), all None where there is none.
    """
    for name, counts in beside.items():
        if (match := _ANY_AWAY.fullmatch(name)) is not None:
            return {"reach": int(match[1]), **_scores(counts[head], beside["confusion"][head], classes)}
    return None


def _scores(away: np.ndarray, whole: np.ndarray, classes: np.ndarray) -> dict[str, Any]:
    share = int(away.sum()) / int(whole.sum())
    if not share:
        return {"share": share, "acc": None, "miou": None, "iou": None}
    iou = intersection_over_union(away, classes)
    miou = float(np.mean([value for value in iou if value is not None]))
    return {"share": share, "acc": mapped_accuracy(away, classes), "miou": miou, "iou": iou}


def _pair(shape: tuple[int, ...], down: int, across: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The pixels that have a neighbour `down` rows below and `across` columns to the right, and these neighbours."""
    height, width = shape[-2:]
    left, right = max(0, -across), max(0, across)
    every = slice(None)
    first = every, slice(0, max(height - down, 0)), slice(left, max(width - right, left))
    second = every, slice(down, None), slice(right, max(width - left, right))
    return first, second
