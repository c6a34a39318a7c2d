"""Clusters by the names of classes, as a record's score matched them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..mapping import NO_CLASS, Kind, map_clusters


@dataclass(frozen=True, eq=False)
class Naming:
    """What each cluster stands for.

    Attributes:
        classes: int64 (K,), the class that the score gives a cluster; -1 for none.
        nearest: int64 (K,), the same, and for a cluster without a class the one that most of its images are of.
    """

    classes: np.ndarray
    nearest: np.ndarray

    @classmethod
    def of(cls, counts: np.ndarray, kind: Kind = "hungarian") -> Naming:
        """From a confusion matrix, integer (K, C) with clusters in rows."""
        return cls.from_classes(map_clusters(counts, kind), counts)

    @classmethod
    def from_classes(cls, classes: np.ndarray, counts: np.ndarray) -> Naming:
        """From the class of each cluster, int (K,), where it is known already."""
        classes = np.asarray(classes, dtype=np.int64)
        return cls(classes, np.where(classes == NO_CLASS, counts.argmax(axis=1), classes))

    @property
    def order(self) -> np.ndarray:
        """int64 (K,): the clusters class by class, in each class the matched one first."""
        return np.lexsort((np.arange(len(self.classes)), self.classes == NO_CLASS, self.nearest))

    def names(self, class_names: Sequence[str]) -> list[str]:
        """A name for each cluster: that of its class, in parentheses where the score gives it none."""
        found = [class_names[int(label)] for label in self.nearest]
        return [name if label != NO_CLASS else f"({name})" for name, label in zip(found, self.classes, strict=True)]
