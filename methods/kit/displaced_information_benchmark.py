"""Time and memory of the loss of IIC's segmentation, beside three other ways to compute the same number.

    python -m clusterbench.methods.kit.displaced_information_benchmark --images 8 --size 128
    python -m clusterbench.methods.kit.displaced_information_benchmark --images 75 --size 200 --device cuda

The contestants, forward and backward pass together:

* ours: correlation in blocks by Fourier transform;
* rows: one matrix product of all maps shifted across with all maps shifted down, K * T rows each;
* loop: a matrix product for each of the T^2 displacements;
* conv2d: one convolution whose kernels are the whole second maps, as in the authors' code.

Each runs in a process of its own, so that its peak of memory is its own: what it takes beyond the two maps of probabilities,
of the process on a CPU, of torch's allocator on a GPU. One CPU thread is timed by the processor time it used. The median
round counts, after one that does not. Who needs more memory than there is, or more time than --seconds, is left out.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from .displaced_information import displaced_joint, loss_of_joint

Joint: TypeAlias = Callable[[Tensor, Tensor, int], Tensor]


def rows(p: Tensor, q: Tensor, reach: int) -> Tensor:
    """All displacements across of `p` times all displacements down of `q`."""
    (clusters, height, width), places = p.shape[1:], 2 * reach + 1
    across = functional.pad(p, (reach, reach)).unfold(3, width, 1).permute(1, 3, 0, 2, 4)  # (K, T, n, h, w)
    down = functional.pad(q, (0, 0, reach, reach)).unfold(2, height, 1).permute(1, 2, 0, 4, 3)  # (K, T, n, h, w)
    product = across.reshape(clusters * places, -1) @ down.reshape(clusters * places, -1).T
    return product.view(clusters, places, clusters, places).permute(0, 2, 3, 1).flip(2)


def loop(p: Tensor, q: Tensor, reach: int) -> Tensor:
    """One matrix product for each displacement."""
    clusters, height, width = p.shape[1:]
    padded = functional.pad(p, (reach,) * 4)
    flat = q.transpose(0, 1).reshape(clusters, -1)  # (K, n * h * w)
    steps = range(2 * reach + 1)
    joints = [
        padded[:, :, down : down + height, across : across + width].transpose(0, 1).reshape(clusters, -1) @ flat.T
        for down in steps
        for across in steps
    ]
    return torch.stack(joints, dim=-1).unflatten(-1, (2 * reach + 1, 2 * reach + 1))


def conv2d(p: Tensor, q: Tensor, reach: int) -> Tensor:
    """The authors' form: images as channels, clusters as images and as kernels."""
    return functional.conv2d(p.transpose(0, 1), q.transpose(0, 1), padding=reach)


CONTESTANTS: dict[str, Joint] = {"ours": displaced_joint, "rows": rows, "loop": loop, "conv2d": conv2d}


@dataclass(frozen=True)
class Task:
    """One race: who runs, on maps of which shape (n, K, h, w), how."""

    contestant: str
    shape: tuple[int, int, int, int]
    reach: int
    rounds: int
    threads: int
    device: str


@dataclass(frozen=True)
class Result:
    """Seconds of the median round and bytes of the peak; `failure` instead of them says why there are none."""

    seconds: float = 0.0
    peak: int = 0
    failure: str = ""

    def __str__(self) -> str:
        return self.failure or f"{self.seconds:.3f} s {self.peak / 2**20:,.0f} MiB"


def race(task: Task) -> Result:
    """Run one contestant in this process."""
    torch.set_num_threads(task.threads)
    random = torch.Generator(task.device).manual_seed(0)
    p, q = ((4 * torch.randn(task.shape, generator=random, device=task.device)).softmax(1).requires_grad_() for _ in range(2))
    clock = time.process_time if task.device == "cpu" and task.threads == 1 else time.perf_counter
    before, seconds = _memory(task.device), []
    for _ in range(task.rounds + 1):
        p.grad = q.grad = None
        start = clock()
        loss_of_joint(CONTESTANTS[task.contestant](p, q, task.reach)).backward()
        if task.device != "cpu":
            torch.cuda.synchronize(task.device)
        seconds.append(clock() - start)
    return Result(statistics.median(seconds[1:]), _memory(task.device) - before)


def _memory(device: str) -> int:
    """The highest number of bytes so far: of this process, or of torch's allocator on the GPU."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated(device)
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def race_apart(task: Task, limit: float) -> Result:
    """`race` in a new process that has `limit` seconds and the memory that is free now."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(there, task), daemon=True)
    process.start()
    there.close()
    try:
        return here.recv() if here.poll(limit) else Result(failure=f"> {limit:.0f} s")
    except EOFError:  # the system ended it
        return Result(failure="no memory")
    finally:
        process.kill()
        process.join()


def _report(there: Connection, task: Task) -> None:
    if task.device == "cpu":
        _limit_memory()
    try:
        there.send(race(task))
    except (RuntimeError, MemoryError) as error:  # torch's own type of error is a RuntimeError
        if "memory" not in str(error):
            raise
        there.send(Result(failure="no memory"))


def _limit_memory() -> None:
    """Fail where the machine would begin to swap or kill: at four fifths of its memory."""
    import resource

    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 4 // 5
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time and memory of the loss of IIC's segmentation, forward and backward.")
    parser.add_argument("--images", type=int, default=4, help="images n in a batch")
    parser.add_argument("--size", type=int, default=64, help="rows and columns of an image")
    parser.add_argument("--clusters", type=int, nargs="+", default=[3, 6, 15, 45], help="values of K")
    parser.add_argument("--reach", type=int, default=10, help="largest displacement d; T = 2d + 1")
    parser.add_argument("--rounds", type=int, default=3, help="rounds timed, of which the median counts")
    parser.add_argument("--seconds", type=float, default=300, help="that one contestant has for all of its rounds")
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS), help="contestants")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    given = parser.parse_args(arguments)
    print(f"torch {torch.__version__}, {given.device}, {platform.machine()}, {given.threads} thread(s)")
    print(f"{given.images} images of {given.size}x{given.size}, d = {given.reach}, forward and backward, time and peak memory")
    print(f"{'':<8}" + "".join(f"{name:>24}" for name in given.only))
    for clusters in given.clusters:
        shape = (given.images, clusters, given.size, given.size)
        tasks = [Task(name, shape, given.reach, given.rounds, given.threads, given.device) for name in given.only]
        print(f"K = {clusters:<4}", end="", flush=True)
        for task in tasks:
            print(f"{race_apart(task, given.seconds)!s:>24}", end="", flush=True)
        print()


if __name__ == "__main__":
    main()
