"""The process-wide random generators, for methods and libraries that draw from them: seeded, saved and restored."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def seed_all(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch (CPU and every GPU)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the global generator is what is meant here
    torch.manual_seed(seed)


def random_state(device: str) -> dict[str, Any]:
    """The state of those generators, as tensors and plain values; on a GPU that of `device` is part of it."""
    version, words, spare = random.getstate()
    _, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    state = {
        "python": [version, torch.tensor(words), spare],
        "numpy": [torch.from_numpy(np.asarray(keys).astype(np.int64)), int(position), int(has_gauss), float(gauss)],
        "torch": torch.get_rng_state(),
    }
    return {**state, "cuda": torch.cuda.get_rng_state(device)} if device.startswith("cuda") else state


def restore_random_state(state: dict[str, Any], device: str) -> None:
    """Set the generators to what `random_state` returned."""
    version, words, spare = state["python"]
    random.setstate((version, tuple(words.tolist()), spare))
    keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, gauss))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if device.startswith("cuda") and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
