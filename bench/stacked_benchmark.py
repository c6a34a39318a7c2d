"""How many seeds of a small network come free: an epoch of several seeds together beside as many epochs alone.

    python -m clusterbench.bench.stacked_benchmark [--seeds 1,2,4,8] [--dataset digits] [--device auto] [--output FILE.json]

For each number of seeds: seconds of an epoch of all together, the images that go through their networks in a second, and how many
times as many that is as one seed has by itself (the gain). Seeds come free as long as the gain is their number. On a CPU the
arithmetic itself takes the time, and no more is to be expected than what fewer calls save.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ..datasets.base import Images
from ..methods.base import Method
from ..methods.registry import methods
from .cli.plan import Asked, Trial, plan
from .devices import keep_freed_memory, resolve_device, set_threads
from .profile.run import hardware
from .profile.stopwatch import clock_for, synchroniser
from .snapshots import subset

ALONE = 0  # one seed by itself, without a stack


@dataclass(frozen=True)
class Timing:
    """Epochs of `seeds` seeds at once.

    Attributes:
        seeds: how many were trained together; 0 for one seed trained by itself, without a stack.
        seconds: of an epoch of all of them, the median.
        images_per_second: through the networks of all of them.
        gain: images_per_second as a multiple of what one seed has by itself.
    """

    seeds: int
    seconds: float
    images_per_second: float
    gain: float


def measure(trial: Trial, seeds: Sequence[int], device: str, *, images: int, epochs: int) -> list[Timing]:
    """Time a seed by itself, and each number of `seeds` together, in turns, so that a busy machine is busy for all of them.

    Args:
        trial: method with settings for more than `epochs` epochs, and data; the seeds are 0, 1, ...
        seeds: numbers of seeds to stack.
        device: `cpu` or `cuda:N`.
        images: train on so many of the training images.
        epochs: epochs of each that count; one more comes before them.

    Raises:
        MethodError: the method trains one seed at a time.
    """
    train = trial.data.train
    shown = subset(train, torch.arange(min(images, len(train))).numpy()).to(device)
    turns = {count: _epochs_of(trial, count, shown, device) for count in (ALONE, *seeds)}
    wait, clock = synchroniser(device), clock_for(device)
    seconds: dict[int, list[float]] = {count: [] for count in turns}
    passed: dict[int, int] = {}
    for _ in range(1 + epochs):
        for count, turn in turns.items():
            wait()
            began = clock()
            passed[count] = turn()
            wait()
            seconds[count].append(clock() - began)
    middle = {count: statistics.median(times[1:]) for count, times in seconds.items()}
    speed = {count: passed[count] / middle[count] for count in turns}
    return [Timing(count, middle[count], speed[count], speed[count] / speed[ALONE]) for count in turns]


def _epochs_of(trial: Trial, count: int, images: Images, device: str) -> Callable[[], int]:
    """What trains the next epoch of `count` seeds, and says how many images went through their networks."""
    spec = trial.spec
    kind = methods.get(spec.method)
    made: list[Method] = [kind(spec.n_clusters, seed=seed, device=device, **spec.config) for seed in range(max(count, 1))]
    if count == ALONE:
        epochs = made[0].train(images)
        return lambda: next(epochs).images
    return lambda: sum(getattr(epoch, "images", 0) for epoch in kind.train_stacked(made, images))


def main() -> None:
    """Print the table, and write it where `--output` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="iic")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--preset", default="short")
    parser.add_argument("--seeds", default="1,2,4,8", help="numbers of seeds to train together")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=3, help="timed epochs of each")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, help="CPU threads; one alone is timed by processor time")
    parser.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args()
    device = resolve_device(options.device)
    set_threads(options.threads)
    keep_freed_memory()
    epochs = options.epochs + 1
    asked = Asked([options.method], [options.dataset], preset=options.preset, epochs=epochs, data_root=options.data_root)
    (trial,) = plan(asked)
    seeds = [int(number) for number in options.seeds.split(",")]
    found = measure(trial, seeds, device, images=options.images, epochs=options.epochs)
    about = f"{options.method} on {options.dataset}, {options.preset} preset, {hardware(device)}, torch {torch.__version__}"
    print(about if device != "cpu" else f"{about}, {torch.get_num_threads()} threads")
    print(f"{'seeds together':>16}{'s an epoch':>12}{'images/s':>12}{'gain':>8}")
    for each in found:
        name = "one by itself" if each.seeds == ALONE else str(each.seeds)
        print(f"{name:>16}{each.seconds:12.3f}{each.images_per_second:12,.0f}{each.gain:8.2f}")
    if options.output is not None:
        options.output.write_text(json.dumps({"about": about, "timings": [asdict(each) for each in found]}, indent=2) + "\n")


if __name__ == "__main__":
    main()
