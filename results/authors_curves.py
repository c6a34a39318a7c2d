"""How far the IIC authors' own runs had come after so many epochs: `authors_curves.csv`, for ours to be drawn over.

Read from the training logs that come with their code (xu-ji/IIC, `examples/logs_clustering.tar.gz`). Run 569 is Table 1's
STL-10, 570 the same with another order of the heads, 640 CIFAR-10, 579 CIFAR100-20 and 685 MNIST. They are single runs
without a fixed seed, scored on the images that they were trained on. An epoch makes all passes of the `paper` preset of
our `iic` (run 570: main, main, auxiliary).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Point:
    """One run after one epoch.

    Attributes:
        run: the authors' number of the run.
        dataset: our name of the data set.
        epoch: finished epochs; 0 for the untrained network.
        best: ACC in percent of the sub-head that is best by labels.
        mean: ACC in percent, mean over the five sub-heads; None where the logs' reader noted none.
        loss_main, loss_auxiliary: printed losses of the two heads, in nats; None likewise.
    """

    run: int
    dataset: str
    epoch: int
    best: float
    mean: float | None
    loss_main: float | None
    loss_auxiliary: float | None


def authors_curves(dataset: str | None = None) -> dict[int, tuple[Point, ...]]:
    """The points of every run on `dataset` (of all runs without one), by the run's number and in order of the epochs."""
    runs: dict[int, list[Point]] = {}
    for point in _points():
        if dataset in (None, point.dataset):
            runs.setdefault(point.run, []).append(point)
    return {run: tuple(points) for run, points in runs.items()}


@cache
def _points() -> tuple[Point, ...]:
    path = Path(__file__).with_name("authors_curves.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(_point(row) for row in csv.DictReader(file))


def _point(row: dict[str, str]) -> Point:
    known = {name: float(row[name]) if row[name] else None for name in ("mean", "loss_main", "loss_auxiliary")}
    return Point(run=int(row["run"]), dataset=row["dataset"], epoch=int(row["epoch"]), best=float(row["best"]), **known)
