"""Which pixels of the training images count.

IIC's authors train on COCO-Stuff with such masks: only pixels of the classes that are judged count in the loss. A mask tells
which pixels these are and nothing of their classes; it comes from labels all the same, and the records say so.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

READ_AT_A_TIME = 256  # images


@dataclass(frozen=True, eq=False)
class PixelMasks:
    """A mask for each image of a set, an eighth of a byte for each pixel, and no way back to the labels.

    Attributes:
        bits: uint8 (N, ceil(H * W / 8)), the pixels of each image row by row, the first in the highest bit.
        size: (H, W).
    """

    bits: torch.Tensor = field(repr=False)
    size: tuple[int, int]

    def batch(self, indices: torch.Tensor) -> torch.Tensor:
        """The masks of the images at `indices` (int64 on the device, any order, repeats allowed): bool (n, H, W)."""
        packed = self.bits.index_select(0, indices).unsqueeze(-1)  # (n, bytes, 1)
        places = torch.arange(7, -1, -1, dtype=torch.uint8, device=packed.device)
        single = packed.bitwise_right_shift(places).bitwise_and(1).flatten(1)  # (n, 8 * bytes)
        height, width = self.size
        return single[:, : height * width].view(-1, height, width).bool()

    def to(self, device: torch.device) -> PixelMasks:
        """The same masks on `device`."""
        return PixelMasks(self.bits.to(device), self.size)


@dataclass(frozen=True, eq=False)
class UnreadMasks:
    """The masks that labels give, before somebody needs them: true where a label is one of the data set's classes.

    `Images.to` makes `PixelMasks` of them, so that no method is handed what leads to a label.

    Attributes:
        labels: integer (N, H, W), -1 where not known; may be a memory map.
        renamed: int16 (C + 1,): the label of each stored label, and last that of -1; None if they are as stored.
    """

    labels: np.ndarray = field(repr=False)
    renamed: np.ndarray | None = field(default=None, repr=False)

    def batch(self, indices: torch.Tensor) -> torch.Tensor:
        """As `PixelMasks.batch`."""
        return torch.from_numpy(self._read(indices.cpu().numpy())).to(indices.device)

    def to(self, device: torch.device) -> PixelMasks:
        """All of them, read now, on `device`."""
        count, height, width = self.labels.shape
        bits = np.empty((count, -(-height * width // 8)), np.uint8)
        for start in range(0, count, READ_AT_A_TIME):
            rows = slice(start, start + READ_AT_A_TIME)
            found = self._read(rows)
            bits[rows] = np.packbits(found.reshape(len(found), -1), axis=1)
        return PixelMasks(torch.from_numpy(bits).to(device), (height, width))

    def _read(self, rows: np.ndarray | slice) -> np.ndarray:
        labels = np.asarray(self.labels[rows])
        return (labels if self.renamed is None else self.renamed[labels]) >= 0
