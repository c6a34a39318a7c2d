"""How time and memory grow with the number of images, of classes, of pairs in a batch, and of trials.

    python -m clusterbench.bench.profile.growth
    python -m clusterbench.bench.profile.growth --only images --largest 1000000

Every size of every case runs in a process of its own with one thread, timed by the processor time that it used; memory is
what the process grew by beyond what it held before the work began. A fitted exponent of 1 means that twice the size takes
twice as long. The fit takes all sizes; the last step alone is printed too, because what every size pays hides growth at small
ones.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

from ...datasets.base import Images
from ...methods.base import Method
from ...methods.iic import IIC
from ...methods.kit.information import information_loss
from ...methods.kmeans import KMeans
from ...results.grid import Table
from ...results.leaderboard import leaderboard
from ...results.record import RecordWriter, find_records
from .memory import PeakMemory

Work = Callable[[], object]
HEADS, PAIRS = 5, 1000
SIDE = 16  # pixels of generated images
SMALL = {"widths": (8, 16), "sub_heads": HEADS, "batch_pairs": 500, "repeats": 1}
VIEWS = {"size": SIDE, "crop": SIDE, "crops_transformed": [12, SIDE]}


def pictures(count: int) -> Images:
    """Noise around one of ten patterns, always the same: uint8 (count, 1, SIDE, SIDE)."""
    random = torch.Generator().manual_seed(0)
    patterns = torch.randint(0, 200, (10, 1, SIDE, SIDE), generator=random)
    noise = torch.randint(0, 56, (count, 1, SIDE, SIDE), generator=random, dtype=torch.uint8)
    return Images(patterns.to(torch.uint8)[torch.arange(count) % 10] + noise)


def iic_epoch(count: int, folder: Path) -> Work:
    """An epoch of IIC on `count` images, and the clusters of all."""
    images = pictures(count)
    return lambda: _trained(IIC(10, epochs=1, views=VIEWS, **SMALL), images)


def kmeans(count: int, folder: Path) -> Work:
    """k-means on the pixels of `count` images, ten iterations of one start."""
    images = pictures(count)
    return lambda: _trained(KMeans(10, kmeans={"restarts": 1, "iterations": 10}), images)


def _trained(method: Method, images: Images) -> None:
    next(iter(method.train(images)))
    method.predict_heads(images)


def loss_of_classes(count: int, folder: Path) -> Work:
    """IIC's loss of 1,000 pairs and its gradient, with 5 heads of `count` clusters each."""
    return _loss(PAIRS, count)


def loss_of_pairs(count: int, folder: Path) -> Work:
    """The same of `count` pairs with 5 heads of 10 clusters."""
    return _loss(count, 10)


def _loss(pairs: int, clusters: int) -> Work:
    random = torch.Generator().manual_seed(0)
    p, q = (torch.randn(HEADS, pairs, clusters, generator=random).softmax(-1).requires_grad_() for _ in range(2))
    return lambda: information_loss(p, q).mean().backward()


def board_of(count: int, folder: Path) -> Callable[[], Table]:
    """Reading `count` records, written into `folder`, and ranking them."""
    scores = {"acc": 0.5, "nmi": 0.4, "ari": 0.3, "clusters_used": 10, "epoch": 1, "head": 0, "heads": {"n": 1}}
    random = np.random.default_rng(0)
    for number in range(count):
        method, seed = f"method{number // 5}", number % 5
        spec = {"method": method, "method_version": 1, "task": "clustering", "dataset": "digits", "data_fingerprint": "f" * 64,
                "protocol": "full", "seed": seed, "n_clusters": 10, "preset": "short", "overrides": {}, "config": {"epochs": 1},
                "time_limit_s": None}  # fmt: skip
        writer = RecordWriter(folder / f"{method}-s{seed}")
        writer.start(id=f"{number:012x}", spec=spec)
        shifted = {**scores, "acc": float(random.uniform(0.3, 0.9))}
        writer.finish(metrics={"own-loss": shifted, "last": shifted, "oracle": shifted}, metrics_version=1, epochs_done=1)
    return lambda: leaderboard(find_records(folder))


@dataclass(frozen=True)
class Case:
    """What is measured over which sizes."""

    what: str
    make: Callable[[int, Path], Work]
    sizes: tuple[int, ...]


CASES = {
    "images": Case("an epoch of IIC, and prediction, by images", iic_epoch, (1_000, 10_000, 100_000, 1_000_000)),
    "kmeans": Case("k-means on pixels, by images", kmeans, (1_000, 10_000, 100_000, 1_000_000)),
    "classes": Case("IIC's loss and gradient of 1,000 pairs, 5 heads, by classes", loss_of_classes, (10, 30, 100, 300, 1_000)),
    "pairs": Case("IIC's loss and gradient, 5 heads of 10 classes, by pairs", loss_of_pairs, (300, 1_000, 10_000, 100_000)),
    "trials": Case("reading and ranking records, by trials", board_of, (10, 100, 1_000, 10_000)),
}


@dataclass(frozen=True)
class Point:
    """One size: seconds, and bytes beyond what was there before; None where the growth was hidden."""

    size: int
    seconds: float
    peak_bytes: int | None


def measured(case: str, size: int) -> Point:
    """In this process: the median of three rounds for work under a second, of one for longer work."""
    seconds: list[float] = []
    with tempfile.TemporaryDirectory(prefix="clusterbench-growth-") as folder:
        work = CASES[case].make(size, Path(folder))
        memory = PeakMemory("cpu")
        while len(seconds) < 3 and (not seconds or sum(seconds) < 1):
            began = time.process_time()
            work()
            seconds.append(time.process_time() - began)
    return Point(size, statistics.median(seconds), memory.peak())


def measured_apart(case: str, size: int) -> Point:
    """`measured` in a new process. Raises `RuntimeError` if that breaks."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(there, case, size), daemon=True)
    process.start()
    there.close()
    try:
        return here.recv()
    except EOFError:
        raise RuntimeError(f"{case} with {size:,} broke: see the lines above; not enough memory?") from None
    finally:
        process.join()


def _send(there: Connection, case: str, size: int) -> None:
    torch.set_num_threads(1)
    there.send(measured(case, size))


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Slope of a straight line through the logarithms, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def main(arguments: list[str] | None = None) -> None:
    """Print a table of sizes and the fitted exponents for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--largest", type=int, default=None, help="leave out larger sizes")
    given = parser.parse_args(arguments)
    for name in given.only:
        case = CASES[name]
        print(case.what)
        points = []
        for size in (size for size in case.sizes if size <= (given.largest or math.inf)):
            points.append(measured_apart(name, size))
            print(f"{size:>12,} {points[-1].seconds:>10.4f} s {_mebibytes(points[-1].peak_bytes):>12}", flush=True)
        if len(points) > 1:
            print(f"    time grows with the power {_powers([(point.size, point.seconds) for point in points])}")
        held = [(point.size, point.peak_bytes) for point in points if point.peak_bytes]
        if len(held) > 1:
            print(f"    memory grows with the power {_powers(held)}")


def _powers(points: Sequence[tuple[float, float]]) -> str:
    sizes, values = zip(*points, strict=True)
    return f"{exponent(sizes, values):.2f} (last step {exponent(sizes[-2:], values[-2:]):.2f})"


def _mebibytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 2**20:,.0f} MiB"


if __name__ == "__main__":
    main()
