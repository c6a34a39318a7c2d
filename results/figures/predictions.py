"""What `labels.npz` of a record says of its predictions: how often each cluster met each class, and what it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from ..metrics import count_pairs
from ..record import Record, Selection
from .facts import command, n_classes
from .jobs import Cannot
from .naming import Naming

Arrays: TypeAlias = Mapping[str, np.ndarray]


def has_labels(record: Record) -> bool:
    """Whether the record's predictions are kept."""
    return (record.folder / "labels.npz").is_file()


def arrays_of(record: Record, selection: Selection | None = None) -> Arrays:
    """The arrays of labels.npz, all or those of a selection (`Record.labels`). Raises `Cannot` if they were not kept."""
    if not has_labels(record):
        raise Cannot("the predictions (labels.npz) are not kept beside the record", command(record, "--force"))
    return record.labels(selection)


def counts_and_naming(record: Record, selection: Selection, arrays: Arrays) -> tuple[np.ndarray, Naming]:
    """How often each cluster met each class, int64 (K, C) over all that was judged, and what the clusters stand for.

    Both are of the selection's own sub-head; the naming is the map that the record's accuracy was measured with. Raises
    `Cannot` where nothing is labelled.
    """
    if record.score("acc", selection) is None:
        raise Cannot("nothing is labelled, so no cluster has a class")
    head = int(arrays[f"{selection}/head"])
    counts = _counts(record, arrays, selection, "truth", f"{selection}/confusion", head)
    found_on = counts
    if f"{selection}/mapping" in arrays or f"{selection}/mapping-confusion" in arrays:
        found_on = _counts(record, arrays, f"{selection}/mapping", "mapping/truth", f"{selection}/mapping-confusion", head)
    return counts, Naming.of(found_on, (record.mapping or {}).get("kind", "hungarian"))


def _counts(record: Record, arrays: Arrays, clusters: str, truth: str, stored: str, head: int) -> np.ndarray:
    """The matrix `stored` of a sub-head, else counted from its `clusters` and the `truth`."""
    if stored in arrays:
        return arrays[stored][head].astype(np.int64)
    return count_pairs(arrays[clusters][head], arrays[truth], int(record.spec["n_clusters"]), n_classes(record))[:, :-1]
