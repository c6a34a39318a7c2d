"""Records on disk, small enough to be checked by hand, and a reader of what a figure says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clusterbench.results.figures.jobs import Request
from clusterbench.results.figures.probabilities import Probabilities
from clusterbench.results.record import Record

CLASSES = ("cat", "dog", "owl")
TRUTH = np.arange(30) % 3
# Cluster 2 is cats, 0 dogs, 1 owls; the last three images are clustered wrongly.
CLUSTERS = np.where(np.arange(30) < 27, np.array([2, 0, 1])[TRUTH], np.array([0, 1, 2])[TRUTH])
MakeTrial = Callable[..., Record]


def sure(clusters: np.ndarray, share: float, n_clusters: int = 3) -> np.ndarray:
    """Probabilities (n, K) that give `share` to the image's cluster and the rest to all others alike."""
    others = (1 - share) / (n_clusters - 1)
    return np.where(np.arange(n_clusters) == clusters[:, None], share, others)


@pytest.fixture
def make_trial(make_record: Callable[..., Record], tmp_path: Path) -> MakeTrial:
    """`make_trial(...)`: a record as `make_record` makes it, in a folder with whatever else is given.

    `labels`, `rows` (of epochs.jsonl) and `snapshots` are written beside it if they are given.
    """

    def make(
        *,
        labels: dict[str, Any] | None = None,
        rows: list[dict[str, Any]] | None = None,
        snapshots: Probabilities | None = None,
        **given: Any,
    ) -> Record:
        given = {"dataset": "pets", "n_clusters": 3, **given}
        given.setdefault("provenance", {"data": {"n_classes": len(CLASSES), "class_names": list(CLASSES)}})
        record = make_record(**given)
        about = ("method", "dataset", "preset", "n_clusters", "seed")
        record.folder = tmp_path / "-".join(str(record.spec[name]) for name in about)
        record.folder.mkdir(exist_ok=True)
        if labels is not None:
            np.savez(record.folder / "labels.npz", **labels)
        if rows is not None:
            (record.folder / "epochs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        if snapshots is not None:
            snapshots.write(record.folder)
        return record

    return make


@pytest.fixture
def pets(make_trial: MakeTrial) -> Record:
    """A trial with predictions of two sub-heads (the second was chosen) and snapshots of three epochs."""
    heads = np.stack([np.zeros(30, np.int64), CLUSTERS])
    labels: dict[str, Any] = {"truth": TRUTH}
    for name in ("last", "own-loss", "oracle"):
        labels |= {name: heads, f"{name}/head": 1}
    values = np.stack([sure(CLUSTERS, share) for share in (0.4, 0.7, 1.0)]).astype(np.float16)
    kept = Probabilities(np.arange(30), np.array([0, 1, 2]), np.array([1, 1, 1]), values)
    return make_trial(acc=0.9, labels=labels, snapshots=kept)


def no_images(record: Record, rows: np.ndarray) -> np.ndarray:
    """As many grey images of 4x4 pixels, each as bright as its row's number."""
    return np.broadcast_to(rows[:, None, None, None], (len(rows), 1, 4, 4)).astype(np.uint8)


@pytest.fixture
def ask() -> Callable[..., Request]:
    """`ask(records, ...)`: a request with small grey images."""

    def request(*records: Record, **options: Any) -> Request:
        return Request(list(records), options.pop("images", no_images), **options)

    return request
