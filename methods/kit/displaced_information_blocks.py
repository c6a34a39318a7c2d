"""Maps cut into blocks whose Fourier transforms correlate them over small displacements (overlap-save).

The second map is cut into *cores* that adjoin each other, the first one into *windows*: the cores with a margin of the
largest displacement around them. Within a block a circular correlation is then an ordinary one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional

LARGEST_SIDE = 64  # larger blocks leave a core's caches, smaller ones overlap too much
CPU_BYTES, GPU_BYTES = 2**23, 2**28  # of the spectra of one map that are in memory at a time


@dataclass(frozen=True)
class Blocks:
    """How maps (n, K, h, w) are cut for displacements of up to `reach`.

    Attributes:
        reach: the margin d around every core.
        sides: rows and columns of a window; those of a core are 2d fewer.
        count: cores down and across; together they cover the map.
    """

    reach: int
    sides: tuple[int, int]
    count: tuple[int, int]

    @classmethod
    def of(cls, maps: torch.Tensor, reach: int) -> Blocks:
        """The fastest blocks for `maps` (n, K, h, w)."""
        height, width = maps.shape[-2:]
        (side_y, down), (side_x, across) = _cheapest(height, reach), _cheapest(width, reach)
        return cls(reach, (side_y, side_x), (down, across))

    @property
    def cores(self) -> tuple[int, int]:
        """Rows and columns of a core."""
        return self.sides[0] - 2 * self.reach, self.sides[1] - 2 * self.reach

    @property
    def covered(self) -> tuple[int, int]:
        """Rows and columns of all cores together, at least those of the map."""
        return self.count[0] * self.cores[0], self.count[1] * self.cores[1]

    @property
    def half(self) -> int:
        """Columns of a real window's spectrum; the others are their mirror images."""
        return self.sides[1] // 2 + 1

    @property
    def frequencies(self) -> int:
        return self.sides[0] * self.half

    def parts(self, maps: torch.Tensor) -> Iterator[slice]:
        """Slices of images whose spectra fit into memory, and on a CPU into its caches."""
        budget = CPU_BYTES if maps.device.type == "cpu" else GPU_BYTES
        each = maps.shape[1] * math.prod(self.count) * self.frequencies * 2 * maps.element_size()
        step = max(1, budget // each)
        yield from (slice(start, start + step) for start in range(0, len(maps), step))

    def window_spectra(self, maps: torch.Tensor) -> torch.Tensor:
        """Spectra of the windows of (m, K, h, w): (F, K, M) for the M windows of all images."""
        padded = self._padded(maps, self.reach)
        windows = padded.unfold(2, self.sides[0], self.cores[0]).unfold(3, self.sides[1], self.cores[1])
        return self.spectra(windows)

    def core_spectra(self, maps: torch.Tensor) -> torch.Tensor:
        """Spectra of the cores of (m, K, h, w), each followed by zeros up to a window's sides: (F, K, M)."""
        cores = self._padded(maps, 0).unfold(2, self.cores[0], self.cores[0]).unfold(3, self.cores[1], self.cores[1])
        return self.spectra(cores)

    def spectra(self, blocks: torch.Tensor) -> torch.Tensor:
        """Of (m, K, down, across, rows, columns), zeros added up to a window's sides: (F, K, m * down * across)."""
        found = torch.fft.rfft2(blocks, s=self.sides)  # (m, K, down, across, side, half)
        return found.permute(4, 5, 1, 0, 2, 3).reshape(self.frequencies, blocks.shape[1], -1)

    def inverse(self, spectra: torch.Tensor, count: tuple[int, int]) -> torch.Tensor:
        """The windows of (F, K, M): (m, K, *count, *sides)."""
        every = spectra.view(self.sides[0], self.half, spectra.shape[1], -1, *count)
        return torch.fft.irfft2(every.permute(3, 2, 4, 5, 0, 1), s=self.sides)

    def put_cores(self, maps: torch.Tensor, spectra: torch.Tensor) -> None:
        """Write the cores of (F, K, M) to (m, K, *covered)."""
        cores = self.inverse(spectra, self.count)[..., : self.cores[0], : self.cores[1]]
        maps.copy_(cores.transpose(3, 4).reshape(maps.shape))

    def add_windows(self, maps: torch.Tensor, spectra: torch.Tensor) -> None:
        """Add the windows of (F, K, M), which overlap, to (m, K, *covered) with a margin around it."""
        windows = self.inverse(spectra, self.count)
        for row in range(self.count[0]):
            for column in range(self.count[1]):
                top, left = row * self.cores[0], column * self.cores[1]
                maps[:, :, top : top + self.sides[0], left : left + self.sides[1]] += windows[:, :, row, column]

    def _padded(self, maps: torch.Tensor, margin: int) -> torch.Tensor:
        below, beside = (whole - side for whole, side in zip(self.covered, maps.shape[-2:], strict=True))
        return functional.pad(maps, (margin, beside + margin, margin, below + margin))


def _cheapest(length: int, reach: int) -> tuple[int, int]:
    """The side of a window that makes the transforms of one axis cheapest, and how many windows cover `length`."""
    largest = max(LARGEST_SIDE, 8 * reach)  # at least three quarters of a large window are core
    powers = [power * 2**exponent for exponent in range(1, largest.bit_length()) for power in (2, 3)]
    counts = {side: -(-length // (side - 2 * reach)) for side in powers if 2 * reach < side <= largest}
    side = min(counts, key=lambda each: (counts[each] * each, -each))
    return side, counts[side]
