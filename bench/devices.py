"""Where a trial computes: the device that was asked for, and as many threads as there are cores for it."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

from .spec import SpecError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def resolve_device(asked: str = "auto") -> str:
    """`cpu` or `cuda:N` for what a user asked for.

    Args:
        asked: `auto` (the first GPU if there is one, else the CPU), `cpu`, `cuda` (the first GPU) or `cuda:N`.

    Raises:
        SpecError: not a device, or one that is not here.
    """
    import torch

    name = asked.strip().lower()
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return "cpu"
    found = re.fullmatch(r"(?:auto|cuda)(?::(\d+))?", name)
    if not found or name.startswith("auto:"):
        raise SpecError(f"Unknown device {asked!r}. Use auto, cpu, cuda or cuda:N.")
    if not torch.cuda.is_available():
        raise SpecError(f"The device {asked!r} is not usable: {_why_no_cuda()}. Use --device cpu.")
    index, count = int(found.group(1) or 0), torch.cuda.device_count()
    if index >= count:
        raise SpecError(f"There is no {asked!r}: this machine has {count} GPU{'s'[: count != 1]}, cuda:0 to cuda:{count - 1}.")
    return f"cuda:{index}"


def set_threads(threads: int | None = None) -> int:
    """Let torch use `threads` CPU threads, by default one for each available core; returns how many it uses now.

    Raises `SpecError` for less than one.
    """
    import torch

    if threads is not None and threads < 1:
        raise SpecError(f"The number of threads must be at least 1, got {threads}.")
    torch.set_num_threads(threads or min(torch.get_num_threads(), available_cores()))
    return torch.get_num_threads()


def keep_freed_memory() -> bool:
    """Let the C library keep the memory that tensors free instead of giving it back to the system after every step.

    A training step on a CPU allocates and frees the same tens of megabytes over and over; fetching them anew as zeroed
    pages costs a part of every step. Only glibc has the two settings; elsewhere nothing is done and False returned.
    """
    import ctypes

    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_TRIM_THRESHOLD, 2**31 - 1)) and bool(mallopt(M_MMAP_THRESHOLD, 32 * 2**20))


def available_cores() -> int:
    """Cores that this process may use: by its affinity, and in a container by its quota."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(affinity, _quota() or affinity)


def _quota() -> int | None:
    """Whole cores of the container's quota, rounded up; None without one."""
    try:
        limit, period = CGROUP_QUOTA.read_text().split()
        return max(1, math.ceil(int(limit) / int(period)))
    except (OSError, ValueError):  # no such file, or the quota is "max"
        return None


def _why_no_cuda() -> str:
    import torch

    if torch.version.cuda is None and torch.version.hip is None:
        return "this build of torch has no CUDA"
    return "torch finds no GPU (check nvidia-smi and CUDA_VISIBLE_DEVICES)"
