"""How much of a contrastive training step is the network's own arithmetic.

    python -m clusterbench.methods.kit.simclr_benchmark --device cpu --threads 1 --batch 32

Times the whole step (choosing the batch among resident images, both views of it, forward, loss, backward, optimiser) against the
bare step: the same network and optimiser on views that are already there. Both are timed in turns in one process, because the
machine's speed drifts, and compared by their medians. One CPU thread is timed by the processor time it used, which other load
on the machine hardly changes; everything else by the clock. The images are noise, which takes as long as any others.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from ...datasets.base import Images
from .arithmetic import Arithmetic
from .backbones import BackboneSettings
from .contrastive_views import SimCLRViewSettings
from .randomness import generator
from .simclr import Pretext, PretextSettings

WARM_UP = 2  # steps of each kind that do not count
BATCHES = 8  # that the resident images are enough for


def step_times(pretext: Pretext, images: Images, steps: int) -> tuple[list[float], list[float]]:
    """Seconds of `steps` whole and `steps` bare steps, in turns, after some of each to warm up."""
    device, size = pretext.arithmetic.device, pretext.settings.batch
    random = generator(device, 0, "step time")
    order = torch.randperm(len(images), generator=random, device=device).split(size)
    batch = images.batch(order[0])
    views = torch.cat([pretext.views.view(batch, random), pretext.views.view(batch, random)])
    pretext.network.train()
    whole, bare = [], []
    for number in range(steps + WARM_UP):
        chosen = order[number % len(order)]
        whole.append(_timed(lambda chosen=chosen: pretext.train_step(images.batch(chosen), random), device))
        bare.append(_timed(lambda: pretext.step_on(views), device))
    return whole[WARM_UP:], bare[WARM_UP:]


def operations(pretext: Pretext) -> int:
    """Floating-point operations of the bare step for one image: two views, forward and backward; a multiply-add is two."""
    channels, size = pretext.views.channels, pretext.views.size
    views = torch.zeros(2 * pretext.settings.batch, channels, size, size, device=pretext.arithmetic.device)
    with FlopCounterMode(display=False) as counter:
        pretext.step_on(views)
    return counter.get_total_flops() // pretext.settings.batch


def _timed(step: Callable[[], object], device: str) -> float:
    on_cpu = torch.device(device).type == "cpu"
    clock = time.process_time if on_cpu and torch.get_num_threads() == 1 else time.perf_counter
    began = clock()
    step()
    if not on_cpu:
        torch.cuda.synchronize(device)
    return clock() - began


def _name_of(device: str) -> str:
    return platform.processor() or "cpu" if device == "cpu" else torch.cuda.get_device_name(device)


def main() -> None:
    """Print both step times, their ratio, and the rate of the network's arithmetic."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    shape = (3, options.size, options.size)
    settings, network = PretextSettings(batch=options.batch), BackboneSettings(name=options.network)
    pretext = Pretext(settings, network, SimCLRViewSettings(), shape, 0, Arithmetic(options.device, options.precision))
    random = generator("cpu", 0, "images")
    pixels = torch.randint(0, 256, (BATCHES * options.batch, *shape), dtype=torch.uint8, generator=random)
    per_image = operations(pretext)
    times = step_times(pretext, Images(pixels).to(options.device), options.steps)
    where = f"{_name_of(options.device)}, {options.threads} threads, torch {torch.__version__}, {options.precision}"
    print(f"SimCLR step of {options.network} at {options.size}x{options.size}, {options.batch} images, {where}")
    medians = [statistics.median(seconds) for seconds in times]
    for name, seconds in zip(("whole step", "bare step"), medians, strict=True):
        rate = options.batch / seconds
        print(f"{name:10} {1000 * seconds:9.2f} ms {rate:9.1f} images/s {rate * per_image / 1e12:8.3f} TFLOP/s")
    print(f"whole / bare = {medians[0] / medians[1]:.3f}, medians of {options.steps} steps; {per_image / 1e9:.2f} GFLOP an image")


if __name__ == "__main__":
    main()
