"""What each way to execute networks brings: epochs with a switch beside epochs without, and how far the losses move.

    python -m clusterbench.bench.execution_benchmark [--method iic] [--dataset digits] [--preset short] [--device auto]

The ratio is seconds of an epoch over those of the usual execution: below 1 a switch pays on this device, for this network. The
first epochs, in which networks are compiled, count by themselves (`s to compile`); the difference of losses is that of epoch 1.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ..datasets.base import Images
from ..methods.base import Epoch, MethodError
from ..methods.kit.execution import Execution, using
from ..methods.registry import methods
from .cli.plan import Asked, Trial, plan
from .devices import keep_freed_memory, resolve_device, set_threads
from .profile.run import hardware
from .profile.stopwatch import clock_for, synchroniser
from .snapshots import subset

USUAL = "usual"
SWITCHES: Mapping[str, Execution] = {
    USUAL: Execution(),
    "no channels-last": Execution(channels_last=False),
    "fused optimiser": Execution(fused=True),
    "compiled": Execution(compile=True),
    "CUDA graphs": Execution(compile=True, cuda_graphs=True),
}


@dataclass(frozen=True)
class Switched:
    """Epochs with one switch.

    Attributes:
        name: of the switch.
        seconds: of an epoch, the median.
        ratio: to the usual execution.
        extra: seconds that the first epoch took more than that.
        difference: the greatest of the losses of epoch 1 from those of the usual execution.
    """

    name: str
    seconds: float
    ratio: float
    extra: float
    difference: float


def measure(trial: Trial, names: list[str], device: str, *, images: int, epochs: int) -> list[Switched]:
    """Train with each switch in turns, an epoch at a time.

    Args:
        trial: method with settings for more than `epochs` epochs, and data.
        names: of `SWITCHES`; those that this device cannot have are left out. `USUAL` is measured in any case.
        device: `cpu` or `cuda:N`.
        images: train on so many of the training images.
        epochs: that count of each; one more comes before them.
    """
    train = trial.data.train
    shown = subset(train, torch.arange(min(images, len(train))).numpy()).to(device)
    able = [name for name in dict.fromkeys([USUAL, *names]) if _can(SWITCHES[name], device)]
    trained = {name: _epochs(trial, shown, device) for name in able}
    wait, clock = synchroniser(device), clock_for(device)
    seconds: dict[str, list[float]] = {name: [] for name in able}
    losses: dict[str, np.ndarray] = {}
    for number in range(1 + epochs):
        for name in able:
            with using(SWITCHES[name]):
                wait()
                began = clock()
                epoch = next(trained[name])
                wait()
            seconds[name].append(clock() - began)
            if number == 0:
                losses[name] = np.concatenate([np.atleast_1d(value) for value in epoch.losses.values()])
    middle = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    return [
        Switched(
            name,
            middle[name],
            middle[name] / middle[USUAL],
            max(0.0, seconds[name][0] - middle[name]),
            float(np.abs(losses[name] - losses[USUAL]).max()),
        )
        for name in able
    ]


def _can(switches: Execution, device: str) -> bool:
    try:
        switches.check(device)
    except MethodError:
        return False
    return True


def _epochs(trial: Trial, images: Images, device: str) -> Iterator[Epoch]:
    spec = trial.spec
    return methods.get(spec.method)(spec.n_clusters, seed=spec.seed, device=device, **spec.config).train(images)


def main() -> None:
    """Print the table, and write it where `--output` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="iic")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--preset", default="short")
    parser.add_argument("--switches", default=",".join(SWITCHES), help="some of: " + ", ".join(SWITCHES))
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
    found = measure(trial, options.switches.split(","), device, images=options.images, epochs=options.epochs)
    about = f"{options.method} on {options.dataset}, {options.preset} preset, {hardware(device)}, torch {torch.__version__}"
    print(about if device != "cpu" else f"{about}, {torch.get_num_threads()} threads")
    print(f"{'execution':>18}{'s an epoch':>12}{'ratio':>8}{'s to compile':>14}{'losses moved':>14}")
    for each in found:
        print(f"{each.name:>18}{each.seconds:12.3f}{each.ratio:8.2f}{each.extra:14.1f}{each.difference:14.1e}")
    if options.output is not None:
        options.output.write_text(json.dumps({"about": about, "switches": [asdict(each) for each in found]}, indent=2) + "\n")


if __name__ == "__main__":
    main()
