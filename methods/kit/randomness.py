"""Random streams that depend on nothing but a seed and their purpose, so that a resumed run repeats an undisturbed one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derived_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, e.g. `derived_seed(0, "epoch", 7)`; different purposes give independent streams."""
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(device: str | torch.device, seed: int, *purpose: str | int) -> torch.Generator:
    """A generator on `device` for one purpose of `seed`."""
    return torch.Generator(device).manual_seed(derived_seed(seed, *purpose))


@contextmanager
def seeded(seed: int, *purpose: str | int) -> Iterator[None]:
    """PyTorch's global generators follow one purpose of `seed` inside, and are as before afterwards.

    For what takes no generator: layer constructors and dropout.
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(derived_seed(seed, *purpose))
        yield
