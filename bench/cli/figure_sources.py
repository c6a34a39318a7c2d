"""What figures need beside the records: the images, and what a method can give."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ...datasets.catalogue import load
from ...datasets.errors import DataError
from ...datasets.registry import NotFound
from ...methods.base import Method
from ...methods.registry import methods
from ...results.figures.jobs import Cannot
from ...results.record import Record

if TYPE_CHECKING:
    import numpy as np

    from ...datasets.base import TrialData


class ImageSource:
    """Gives the scored images of records from the data sets on this machine.

    Args:
        data_root: searched first for data.
    """

    def __init__(self, data_root: Path | None = None) -> None:
        self.data_root = data_root
        self._loaded: dict[tuple[str, str], TrialData] = {}

    def __call__(self, record: Record, rows: np.ndarray) -> np.ndarray:
        """uint8 (n, C, H, W) at `rows`. Raises `Cannot` if the data is not here, or is another copy than the record's."""
        import torch

        data = self._data(record.spec["dataset"], record.spec["protocol"])
        if data.fingerprint != record.spec["data_fingerprint"]:
            raise Cannot(f"the copy of {data.name} on this machine has other images than the record's (its checksum differs)")
        return data.score.batch(torch.as_tensor(rows, dtype=torch.int64)).numpy()

    def _data(self, dataset: str, protocol: str) -> TrialData:
        key = dataset, protocol
        if key not in self._loaded:
            try:
                self._loaded[key] = load(dataset, root=self.data_root).under(protocol)  # type: ignore[arg-type] - from a record
            except (DataError, NotFound) as error:
                raise Cannot(str(error).rstrip(".")) from None
        return self._loaded[key]


@cache
def _has_probabilities(method: str) -> bool:
    try:
        return methods.get(method).predict_proba is not Method.predict_proba
    except NotFound:  # of a package that is not installed here; its records may hold them all the same
        return True


def gives_probabilities(record: Record) -> bool:
    """Whether the record's method says how probable each cluster is."""
    return _has_probabilities(record.spec["method"])
