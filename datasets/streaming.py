"""Batches from a memory map: read ahead by one thread, through pinned memory to a GPU."""

from __future__ import annotations

import math
import mmap
import os
import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import torch

AHEAD = 2  # batches that are read before they are asked for: one hides reading, one more evens out its jitter
CGROUP = Path("/sys/fs/cgroup")


def prefetched(pixels: torch.Tensor, order: Sequence[torch.Tensor], device: torch.device) -> Iterator[torch.Tensor]:
    """`pixels[indices]` on `device` for each of `order`, the next `AHEAD` batches being read meanwhile.

    At most `AHEAD` + 2 batches are in memory at a time: those that wait, the one that is being read and the one in use.

    Args:
        pixels: uint8 (N, C, H, W) on the CPU, usually a memory map.
        order: int64 index tensors on the CPU.
        device: where the batches go. To a GPU they are copied from pinned memory, so that the copy runs beside kernels.
    """
    ready: queue.Queue[torch.Tensor | BaseException] = queue.Queue(maxsize=AHEAD)
    left = threading.Event()  # set when the consumer goes away
    reader = threading.Thread(target=_read, args=(pixels, order, device, ready, left), name="batches", daemon=True)
    reader.start()
    try:
        for _ in order:
            batch = ready.get()
            if isinstance(batch, BaseException):
                raise batch
            yield batch.to(device, non_blocking=True) if device.type == "cuda" else batch
            del batch  # so that it does not stay in memory while the next one is waited for
    finally:
        left.set()
        _drain(ready)
        reader.join()


def _read(
    pixels: torch.Tensor,
    order: Sequence[torch.Tensor],
    device: torch.device,
    ready: queue.Queue[torch.Tensor | BaseException],
    left: threading.Event,
) -> None:
    try:
        for indices in order:
            if left.is_set():
                return
            target = _buffer((len(indices), *pixels.shape[1:]), pinned=device.type == "cuda")
            ready.put(torch.index_select(pixels, 0, indices, out=target))  # releases the interpreter
            del target
    except BaseException as error:  # the consumer raises it where it can be handled
        ready.put(error)


def _buffer(shape: tuple[int, ...], pinned: bool) -> torch.Tensor:
    """Memory for one batch: pinned, which torch keeps and hands out again, or the process's own.

    The latter is asked of the system and goes back to it with the batch: from the C library's heap, batches that two
    threads allocate and free in turns take up to five times the memory of those that are alive.
    """
    size = math.prod(shape)
    if pinned or not size:
        return torch.empty(shape, dtype=torch.uint8, pin_memory=pinned)
    own = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):  # Linux: one page fault for 2 MiB instead of 512 of them, twice as fast in all
        with suppress(OSError):  # a kernel without huge pages
            own.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(own, dtype=torch.uint8).view(shape)


def _drain(ready: queue.Queue[torch.Tensor | BaseException]) -> None:
    while True:
        try:
            ready.get_nowait()
        except queue.Empty:
            return


def fits(pixels: torch.Tensor, device: torch.device, share: float) -> bool:
    """Whether `pixels` take at most `share` of the memory that is free on `device`."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
    else:
        free = available_memory()
    return pixels.numel() <= share * free


def available_memory() -> int:
    """Bytes of main memory that can be had without swapping, within a container's limit."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
        held = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        limit, used = (int((CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        return max(0, min(free, limit - used + int(held["file"])))  # the page cache gives way to whoever needs memory
    except (OSError, ValueError, KeyError, StopIteration):  # no such file, or the limit is "max"
        return free


def central_windows(batch: torch.Tensor, extents: torch.Tensor | None, window: tuple[int, int]) -> torch.Tensor:
    """The central `window` (h, w) of each image's extent.

    Args:
        batch: (n, C, H, W).
        extents: int64 (n, 2), height and width that count, from the upper left corner, each at least the window's; None
            for whole images.
    """
    height, width = window
    if extents is None:
        top, left = (batch.shape[2] - height) // 2, (batch.shape[3] - width) // 2
        return batch[:, :, top : top + height, left : left + width]
    offsets = (extents - torch.tensor(window, device=extents.device)) // 2  # (n, 2)
    rows = offsets[:, :1] + torch.arange(height, device=batch.device)  # (n, h)
    columns = offsets[:, 1:] + torch.arange(width, device=batch.device)  # (n, w)
    image = torch.arange(len(batch), device=batch.device)
    cut = batch[image[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # (n, h, w, C)
    return cut.permute(0, 3, 1, 2).contiguous()
