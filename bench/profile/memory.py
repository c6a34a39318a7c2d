"""The most memory that a training held."""

from __future__ import annotations

import resource
import sys

import torch


class PeakMemory:
    """From its making on: of a GPU what torch allocated, on a CPU how far the process grew beyond its size before."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.is_gpu = torch.device(device).type == "cuda"
        if self.is_gpu:
            torch.cuda.reset_peak_memory_stats(device)
        self._before = 0 if self.is_gpu else _largest_size()

    def peak(self) -> int | None:
        """Bytes; None if the process had been larger before, which hides it."""
        if self.is_gpu:
            return torch.cuda.max_memory_allocated(self.device)
        grown = _largest_size() - self._before
        return grown or None


def _largest_size() -> int:
    """Bytes that the process had resident at most, so far."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
