"""Streaming from prepared arrays against the usual way, in one run over the same images, and what it needs of memory.

    python -m clusterbench.datasets.streaming_benchmark [--images 5000] [--side 96] [--batch 256] [--data-root DIR]

The usual way is torchvision's ImageFolder over JPEG files with a DataLoader of two workers that decode and stack uint8
tensors. Ours is the shuffled stream from a memory map, as a trial reads it when its images do not fit in memory. With a data
root that holds STL-10 (or any prepared data set of 3-channel images, --dataset) the images are real.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from .base import Images
from .catalogue import load
from .errors import DataError
from .streaming import AHEAD

SAMPLED_EVERY = 0.001  # seconds between two looks at the memory
START = """
import sys, time
import torch
began = time.perf_counter()
from clusterbench.datasets.catalogue import load
data = load(sys.argv[1], root=sys.argv[2] or None).under("full")
images = data.train.to("cpu")
images.batch(images.order("main", 256, torch.Generator().manual_seed(0))[0])
print(time.perf_counter() - began, len(images))
"""


def write_jpegs(pixels: torch.Tensor, folder: Path) -> None:
    """`pixels` uint8 (N, 3, H, W) as JPEG files of quality 90 in ten class folders."""
    from PIL import Image

    for row, image in enumerate(pixels):
        path = folder / f"class{row % 10}" / f"{row:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path, quality=90)


def usual_rate(folder: Path, batch: int, passes: int) -> float:
    """Images a second through ImageFolder and a DataLoader with two workers, the best of some passes."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import PILToTensor

    files = ImageFolder(str(folder), PILToTensor())
    loader = DataLoader(files, batch_size=batch, shuffle=True, num_workers=2, persistent_workers=True)
    return max(_rate(pixels for pixels, _ in loader) for _ in range(passes))


def streamed_rate(images: Images, batch: int, passes: int) -> float:
    """Images a second through our stream, shuffled, the best of some passes."""
    random = torch.Generator().manual_seed(0)
    return max(_rate(images.batches(images.order("main", batch, random))) for _ in range(passes))


def _rate(batches: Iterator[torch.Tensor]) -> float:
    began, seen, total = time.perf_counter(), 0, torch.zeros((), dtype=torch.int64)
    for pixels in batches:
        total += pixels[:, 0, 0, 0].sum()  # touch every image
        seen += len(pixels)
    return seen / (time.perf_counter() - began)


def streamed_memory(images: Images, batch: int) -> tuple[int, int]:
    """Bytes of memory that one pass adds at its peak, and bytes of the batches that it holds at a time."""
    order = images.order("main", batch, torch.Generator().manual_seed(1))
    before = _own_memory()
    with _peak() as peak:
        for pixels in images.batches(order):
            pixels[:, 0, 0, 0].sum()
            time.sleep(0.002)  # a consumer that is slower than the reader, so that all buffers are in use
    return peak[0] - before, (AHEAD + 2) * batch * images.pixels[0].numel()


@contextmanager
def _peak() -> Iterator[list[int]]:
    """The largest memory of the process itself while the context lasts; pages of the memory map belong to the system."""
    peak, over = [_own_memory()], threading.Event()

    def watch() -> None:
        while not over.wait(SAMPLED_EVERY):
            peak[0] = max(peak[0], _own_memory())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


def _own_memory() -> int:
    about = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return sum(int(about[kind].split()[0]) * 1024 for kind in ("RssAnon", "RssShmem"))


def _images(name: str, root: Path | None, count: int, side: int) -> tuple[torch.Tensor, str]:
    """Real images if the data set is here, else smooth random ones."""
    try:
        found = load(name, root=root).under("full").train.pixels
        if found.shape[1] == 3:
            return found[:count], f"{name}, {found.shape[2]}x{found.shape[3]}"
    except DataError as absent:
        print(absent)
    random = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (count, 3, side // 8, side // 8), generator=random, dtype=torch.uint8)
    smooth = torch.nn.functional.interpolate(coarse.float(), size=side, mode="bilinear")
    return smooth.to(torch.uint8), f"generated, {side}x{side}"


def main() -> None:
    """Print both rates, their ratio, the memory, and the time of a second start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="stl10")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--data-root", type=Path, default=None)
    parser.add_argument("--start", metavar="DATASET", help="also time the second start of this prepared data set")
    options = parser.parse_args()
    pixels, what = _images(options.dataset, options.data_root, options.images, options.side)
    with tempfile.TemporaryDirectory() as place:
        write_jpegs(pixels, Path(place) / "jpeg")
        np.save(Path(place) / "images.npy", pixels.numpy())
        mapped = torch.from_numpy(np.load(Path(place) / "images.npy", mmap_mode="c"))
        images = Images(mapped).to("cpu", memory_share=0)
        usual = usual_rate(Path(place) / "jpeg", options.batch, options.passes)
        ours = streamed_rate(images, options.batch, options.passes)
        added, buffers = streamed_memory(images, options.batch)
    print(
        f"{len(pixels):,} images ({what}), batches of {options.batch}, torch {torch.__version__}, best of {options.passes} passes"
    )
    print(f"ImageFolder, JPEG, DataLoader with 2 workers {usual:12,.0f} images/s")
    print(f"memory map, shuffled stream                  {ours:12,.0f} images/s")
    print(f"ratio {ours / usual:.1f}")
    print(
        f"memory added at the peak {added / 2**20:.1f} MiB, batch buffers {buffers / 2**20:.1f} MiB, ratio {added / buffers:.2f}"
    )
    if options.start:
        root = str(options.data_root or "")
        command = [sys.executable, "-c", START, options.start, root]
        runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(3)]
        print(f"second start of {options.start} ({int(runs[0][1]):,} images) to the first batch, beyond importing torch: "
              f"{statistics.median(float(seconds) for seconds, _ in runs):.2f} s")  # fmt: skip


if __name__ == "__main__":
    main()
