"""Which images the n-th step of a training reads, from the number of the step alone: any step can be the next one."""

from __future__ import annotations

from typing import Literal

import torch

from .randomness import generator

Shuffle = Literal["never", "once", "always"]


class ReadingOrder:
    """Reads images in batches of one size without end; a batch may hold the last ones of a pass and the first of the next.

    Args:
        indices: int64 (n,), what is read.
        size: of a batch, which may be more than n.
        shuffle: `never` reads as stored, `once` in one random order, `always` in a new one in every pass.
        seed: decides the random orders.
        purpose: distinguishes this order from others of the same seed.
    """

    def __init__(self, indices: torch.Tensor, size: int, shuffle: Shuffle, seed: int, purpose: str) -> None:
        self.indices, self.size, self.shuffle, self.seed, self.purpose = indices, size, shuffle, seed, purpose

    def batches(self, first: int, count: int) -> tuple[torch.Tensor, ...]:
        """The indices that the `count` steps from step `first` (0 for the very first) read."""
        begin, n = first * self.size, len(self.indices)
        passes = range(begin // n, (begin + count * self.size - 1) // n + 1)
        flat = torch.cat([self._pass(number) for number in passes])
        return flat[begin - passes.start * n :][: count * self.size].split(self.size)

    def _pass(self, number: int) -> torch.Tensor:
        if self.shuffle == "never":
            return self.indices
        device = self.indices.device
        random = generator(device, self.seed, "order", self.purpose, number if self.shuffle == "always" else 0)
        return self.indices[torch.randperm(len(self.indices), generator=random, device=device)]
