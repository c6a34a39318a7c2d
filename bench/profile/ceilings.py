"""What the device can do at most, measured here and now: multiplying matrices, and copying memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from .stopwatch import clock_for, synchroniser

SIDES = {"cpu": 1024, "cuda": 8192}
COPIED_BYTES = {"cpu": 2**27, "cuda": 2**30}
SECONDS = 0.4  # of trying; the best attempt counts, because everything else that runs can only slow it down


@dataclass(frozen=True)
class Ceilings:
    """Rates of one device.

    Attributes:
        matrix: floating-point operations a second of a square matrix product in the precision of the training.
        copy: bytes read plus bytes written a second.
    """

    matrix: float
    copy: float


def ceilings(device: str, dtype: torch.dtype = torch.float32, seconds: float = SECONDS) -> Ceilings:
    """Measure both on `device` with the threads that torch has."""
    kind = torch.device(device).type
    side = SIDES[kind]
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    source = torch.ones(COPIED_BYTES[kind], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    wait = synchroniser(device)
    clock = clock_for(device)
    product = _quickest(lambda: torch.mm(left, right), wait, clock, seconds)
    copy = _quickest(lambda: target.copy_(source), wait, clock, seconds)
    return Ceilings(2 * side**3 / product, 2 * source.numel() / copy)


def _quickest(work: Callable[[], object], wait: Callable[[], None], clock: Callable[[], float], seconds: float) -> float:
    """Seconds of the quickest of the attempts that fit into `seconds`, three at least."""
    attempts: list[float] = []
    end = time.perf_counter() + seconds
    while len(attempts) < 3 or time.perf_counter() < end:
        wait()
        began = clock()
        work()
        wait()
        attempts.append(clock() - began)
    return min(attempts)
