"""Per-pixel labels of a segmentation data set, cut and renamed only when they are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import DataError


class LabelMaps:
    """Labels (N, H, W) over a memory map, as the images of the same indices are cut to their central window.

    Args:
        stored: integer (N, H', W'), -1 where not known or not to be judged.
        extents: int64 (N, 2), height and width of each map that count; None for all.
        window: (H, W) of the central part that is given; None for whole maps.
        renamed: int16 (C + 1,): the label of each stored label, and last the label of -1; None to keep them.

    Indexing with an integer, a slice or an int array gives int64 arrays; `numpy.asarray` gives all of them.
    """

    dtype = np.dtype(np.int64)

    def __init__(
        self,
        stored: np.ndarray,
        extents: np.ndarray | None = None,
        window: tuple[int, int] | None = None,
        renamed: np.ndarray | None = None,
    ) -> None:
        if stored.ndim != 3 or not np.issubdtype(stored.dtype, np.integer):
            raise DataError(f"Label maps must be integers of shape (N, H, W), got {stored.dtype} {stored.shape}.")
        self.stored, self.extents, self.window, self.renamed = stored, extents, window, renamed

    def __len__(self) -> int:
        return len(self.stored)

    @property
    def shape(self) -> tuple[int, int, int]:
        height, width = self.window or self.stored.shape[1:]
        return len(self), height, width

    @property
    def ndim(self) -> int:
        return 3

    def __getitem__(self, index: Any) -> np.ndarray:
        if isinstance(index, (int, np.integer)):
            return self[np.asarray([index])][0]
        found = np.arange(len(self))[index]
        maps = np.asarray(self.stored[index])
        if self.window is not None:
            maps = np.stack([self._central(each, row) for each, row in zip(maps, found, strict=True)])
        return (maps if self.renamed is None else self.renamed[maps]).astype(np.int64)  # -1 takes the last of `renamed`

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or np.int64, copy=False)

    def _central(self, labels: np.ndarray, row: int) -> np.ndarray:
        height, width = labels.shape if self.extents is None else self.extents[row]
        assert self.window is not None
        top, left = ((int(size) - side) // 2 for size, side in zip((height, width), self.window, strict=True))
        return labels[top : top + self.window[0], left : left + self.window[1]]
