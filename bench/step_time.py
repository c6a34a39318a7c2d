"""How much of a training step of IIC is the network's own arithmetic.

    python -m clusterbench.bench.step_time --dataset mnist --preset short --data-root DIR

Times the whole step (choosing the batch, augmenting it, forward, loss, backward, optimiser, progress call) against the
bare step: the same network and optimiser on a batch of views that is already there, forward, loss, backward, optimiser.
Both are timed in turns in one process, because the machine's speed drifts, and compared by their medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from ..datasets.base import Images
from ..datasets.catalogue import load
from ..methods.iic import IIC
from ..methods.kit.randomness import generator
from .config import resolve
from .devices import keep_freed_memory


def step_times(method: IIC, images: Images, steps: int) -> tuple[list[float], list[float]]:
    """Seconds of `steps` whole and `steps` bare steps, in turns, after three of each to warm up; `method` is built anew."""
    method.build(images.shape)
    random = generator(method.device, method.seed, "step time")
    per_step = method.config.batch_pairs // method.config.repeats
    order = torch.randperm(len(images), generator=random, device=method.device)[: len(images) // per_step * per_step].split(
        per_step
    )
    batch = images.batch(order[0])
    originals = method.views.original(batch, random)
    transformed = method.views.copies(batch, method.config.repeats, random)

    def whole(number: int) -> None:
        method.train_step(images.batch(order[number % len(order)]), "main", random)
        method.on_step(number, len(order), 0)

    def bare(number: int) -> None:
        loss = method.view_losses(originals, transformed, "main")
        method.optimiser.zero_grad(set_to_none=True)
        loss.mean().backward()
        method.optimiser.step()

    times: tuple[list[float], list[float]] = ([], [])
    for number in range(steps + 3):
        for step, seconds in zip((whole, bare), times, strict=True):
            seconds.append(_timed(step, number, method.device))
    return times[0][3:], times[1][3:]


def _timed(step: Callable[[int], None], number: int, device: str) -> float:
    began = time.perf_counter()
    step(number)
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def main() -> None:
    """Print both step times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--preset", default="short", choices=["paper", "half-hour", "short", "smoke"])
    parser.add_argument("--data-root", type=Path, default=None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    keep_freed_memory()  # as bench run does
    data = load(options.dataset, root=options.data_root).under("full")
    settings = resolve("iic", options.dataset, options.preset).config
    method = IIC(data.n_classes, device=options.device, **settings)
    images = Images(data.train.pixels[: 20 * method.config.batch_pairs]).to(options.device)
    whole, bare = (statistics.median(seconds) * 1000 for seconds in step_times(method, images, options.steps))
    passed = method.config.batch_pairs // method.config.repeats * (1 + method.config.repeats)
    where = f"{options.device}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"iic on {options.dataset}, preset {options.preset}, {where}")
    print(f"{method.config.batch_pairs} pairs a step, {passed} images through the network, medians of {options.steps} steps")
    print(f"whole step {whole:8.2f} ms   {passed / whole * 1000:9.0f} images/s")
    print(f"bare step  {bare:8.2f} ms   {passed / bare * 1000:9.0f} images/s")
    print(f"whole / bare = {whole / bare:.3f}")


if __name__ == "__main__":
    main()
