"""What scheduling costs: trials that do nothing, on two workers.

    python -m clusterbench.bench.scheduling.benchmark [--trials 40] [--workers 2]

A trial writes its record and is done. Counted is the time from one end to the next once every worker has run a trial;
starting Ray and the workers' imports are told apart.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ...datasets.base import Images
from ...methods.base import Epoch, Method, State
from ...methods.registry import register
from ...results.record import Record
from ..cli.plan import Asked, plan
from .events import Listener, Planned
from .placement import NO_RAY, Placement, set_environment

MODULE = __spec__.name if __spec__ else __name__  # its name also where it runs as __main__


@register("nothing")
class Nothing(Method):
    """Puts every image into the first cluster."""

    name: ClassVar[str] = "nothing"

    def train(self, images: Images) -> Iterator[Epoch]:
        yield Epoch(1)

    def predict_heads(self, images: Images) -> np.ndarray:
        return np.zeros((1, len(images)), np.int64)

    def state_dict(self) -> State:
        return {}

    def load_state_dict(self, state: State) -> None:
        """Nothing."""


class Clock(Listener):
    """When trials end."""

    def __init__(self) -> None:
        self.began = self.planned = time.monotonic()
        self.ends: list[float] = []

    def on_plan(self, trials: Sequence[Planned]) -> None:
        self.planned = time.monotonic()

    def on_finish(self, key: str, record: Record) -> None:
        self.ends.append(time.monotonic())


@dataclass(frozen=True)
class Costs:
    """Seconds: of a trial in this process, of one on warm workers, and of what comes once.

    Attributes:
        bare, warm: a trial, here and on Ray.
        start, first, last: starting Ray, from there to the first end of a trial, and after the last one.
    """

    bare: float
    warm: float
    start: float
    first: float
    last: float


def measured(count: int, workers: int) -> Costs:
    """What scheduling costs with `count` trials, more than twice the number of workers."""
    set_environment("local")
    from .driver import Job, run_many

    trials = plan(Asked(methods=["nothing"], datasets=["digits"], seeds=range(count)))
    planned = [Planned(trial.spec.identity(), trial.spec) for trial in trials]
    with tempfile.TemporaryDirectory() as out:
        bare = _in_this_process(trials, Path(out) / NO_RAY)
        clock = Clock()
        job = Job(Path(out) / "ray", imports=(MODULE,))
        run_many(planned, job, Placement(max_concurrent=workers), clock)
        over = time.monotonic()
    warm = clock.ends[2 * workers :]
    each = (warm[-1] - clock.ends[2 * workers - 1]) / len(warm)
    return Costs(bare, each, clock.planned - clock.began, clock.ends[0] - clock.planned, over - clock.ends[-1])


def main() -> None:
    """Print the seconds of a trial in this process and on Ray."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    costs = measured(options.trials, options.workers)
    print(f"{options.trials} trials that do nothing, {options.workers} workers")
    print(f"in this process           {costs.bare:7.3f} s a trial")
    print(f"on Ray, once warm         {costs.warm:7.3f} s a trial")
    print(f"starting Ray             {costs.start:8.1f} s")
    print(f"to the first end         {costs.first:8.1f} s more")
    print(f"after the last end       {costs.last:8.1f} s")


def _in_this_process(trials: Sequence, out: Path) -> float:
    from ..trial import run_trial

    seconds = []
    for trial in trials:
        began = time.monotonic()
        run_trial(trial.spec, trial.data, out=out, device="cpu")
        seconds.append(time.monotonic() - began)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
