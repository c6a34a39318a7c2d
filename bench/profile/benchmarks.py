"""The other benchmarks of the suite, each as an `Outcome`: they call what the modules named in their docstrings measure."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...datasets.base import Images
from ...datasets.catalogue import load
from ...methods.iic import IIC
from ...methods.kit.displaced_information_benchmark import CONTESTANTS, Task, race_apart
from .. import output_benchmark
from ..config import resolve
from ..devices import keep_freed_memory
from . import growth, per_image, searching
from .outcome import Figure, Goal, Outcome
from .where import Where

Row = dict[str, Figure]
AUTHORS_WORKERS = 2
PATIENCE_S = 60.0  # for one contestant's rounds of the segmentation loss
HELP_S = 0.5
GROWTH = 1.1  # largest exponent in images, pairs and trials; classes have 2
CLASSES_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Pipeline:
    """A network to feed: from a preset and settings, by `steps` in each of `turns` turns, with the ratio ours must reach."""

    network: str
    dataset: str
    preset: str
    settings: tuple[str, ...]
    steps: int
    turns: int
    least: float


PIPELINES = (
    Pipeline("mnist's short preset", "mnist", "short", (), 6, 5, 2.5),
    Pipeline("small, default widths", "mnist", "short", ("widths=[16,32,64,128]",), 6, 5, 2.5),
    # 140 pairs of the paper's 700 in a step, which would take ten seconds of a CPU
    Pipeline("the paper's", "mnist", "paper", ("batch_pairs=140",), 1, 3, 1.05),
)
QUICK_PIPELINE = Pipeline("smoke", "digits", "smoke", (), 1, 1, 0.0)


def images_per_second(where: Where) -> Outcome:
    """Batches augmented as a whole beside transforms of single images (`profile/per_image.py`)."""
    keep_freed_memory()
    rows: list[Row] = []
    goals: list[Goal] = []
    for case in (QUICK_PIPELINE,) if where.quick else PIPELINES:
        data = load(case.dataset, root=where.data_root, download=where.download, progress=where.progress).under("full")
        config = resolve("iic", case.dataset, case.preset, None, case.settings).config
        method = IIC(data.n_classes, device=where.device, **config)
        images = Images(data.train.pixels[:8_000]).to(where.device)
        where.progress(f"image by image, {case.network}", 0, 1)
        rates = per_image.compare(method, images, AUTHORS_WORKERS, case.steps, case.turns)
        ours = next(iter(rates.values()))
        about: Row = {"data": case.dataset, "network": case.network, "pairs": method.config.batch_pairs}
        rows += [{**about, "pipeline": name, "views/s": rate, "ours / this": ours / rate} for name, rate in rates.items()]
        goals += _pipeline_goals(case, {name: ours / rate for name, rate in list(rates.items())[1:]})
    how = f"{where.about}, IIC's network and step for all, median of turns by the wall clock"
    return Outcome("per-image", "Whole batches beside transforms of single images", how, tuple(rows), tuple(goals))


def _pipeline_goals(case: Pipeline, ratios: dict[str, float]) -> list[Goal]:
    """Ours beside the best per-image pipeline of each kind."""
    authors = [ratio for name, ratio in ratios.items() if name.startswith(per_image.AS_THE_AUTHORS)]
    once = [ratio for name, ratio in ratios.items() if not name.startswith(per_image.AS_THE_AUTHORS)]
    if not case.least:
        return []
    return [
        Goal(f"{case.network}: ours / image by image", min(once), case.least, at_most=False),
        Goal(f"{case.network}: ours / as the authors", min(authors), case.least, at_most=False),
    ]


def segmentation_loss(where: Where) -> Outcome:
    """The loss of IIC's segmentation beside other forms of it (`methods/kit/displaced_information_benchmark.py`)."""
    sizes, clusters, images, reach = ((16,), (3,), 1, 2) if where.quick else ((32, 64, 128), (3, 15, 45), 4, 10)
    device = where.device.partition(":")[0]
    rows: list[Row] = []
    for size, k in ((size, k) for size in sizes for k in clusters):
        row: Row = {"pixels": f"{size}x{size}", "clusters": k}
        for name in CONTESTANTS:
            where.progress(f"segmentation loss, {size}x{size}, {k} clusters: {name}", 0, 1)
            found = race_apart(Task(name, (images, k, size, size), reach, 1, where.threads, device), PATIENCE_S)
            row[f"{name} s"] = found.seconds if not found.failure else found.failure
            row[f"{name} MiB"] = None if found.failure else round(found.peak / 2**20)
        rows.append(row)
    how = f"{where.about}, {images} images, displacements up to {reach}, forward and backward, one round after one"
    return Outcome("segmentation-loss", "The segmentation loss by image size and clusters", how, tuple(rows))


def search(where: Where) -> Outcome:
    """k-means and neighbours by three libraries (`profile/searching.py`)."""
    sizes, turns = ((500,), 1) if where.quick else ((2_000, 10_000, 30_000), 3)
    rows: list[Row] = []
    for count in sizes:
        points = searching.vectors(count, 128)
        where.progress(f"searching, {count:,} vectors", 0, 1)
        for what, contest in (
            ("k-means, 10 clusters, 20 iterations", searching.kmeans_contest(points, 10, 20, where.device)),
            ("20 neighbours", searching.neighbour_contest(points, 20, where.device)),
        ):
            found = searching.race(contest, turns, where.device)
            rows.append({"vectors": count, "what": what} | {f"{name} s": seconds for name, (seconds, _) in found.items()})
    how = f"{where.about}, vectors of 128 numbers, exact, the same start for all, median of {turns} turns"
    return Outcome("search", "K-means and nearest neighbours: scikit-learn, faiss, torch", how, tuple(rows))


def start_up(where: Where) -> Outcome:
    """Commands that should answer at once, by the processor time of their process."""
    lines = (["--help"], ["list"], ["show", "iic"], ["profile", "--help"])
    rows: list[Row] = []
    for words in lines:
        ran = [output_benchmark.run(*words) for _ in range(1 if where.quick else 5)]
        seconds, computed = (statistics.median(each) for each in zip(*((one.seconds, one.computed) for one in ran), strict=True))
        rows.append(
            {"command": f"bench {' '.join(words)}", "wall s": seconds, "processor s": computed, "why not": ran[0].failure or None}
        )
    goal = Goal("bench --help, processor s", float(rows[0]["processor s"] or 0), HELP_S)
    return Outcome("start-up", "Starting the command line", "median of 5, each a new process", tuple(rows), (goal,))


def scheduling(where: Where) -> Outcome:
    """Trials that do nothing, by Ray and without it (`scheduling/benchmark.py`)."""
    from ..scheduling.benchmark import measured

    workers = 2
    rows: list[Row] = []
    for count in (10,) if where.quick else (40, 200):
        where.progress(f"scheduling {count} trials", 0, 1)
        costs = measured(count, workers)
        rows.append({"trials": count, "here s a trial": costs.bare, "warm s a trial": costs.warm, "start s": costs.start,
                     "to the first end s": costs.first, "after the last s": costs.last})  # fmt: skip
    how = f"{workers} workers, trials that write their record and are done, wall clock"
    return Outcome("scheduling", "What scheduling a trial costs", how, tuple(rows))


def output(where: Where) -> Outcome:
    """Tables and page by number of records (`output_benchmark.py`)."""
    sizes = (20,) if where.quick else (100, 1_000, 10_000)
    rows: list[Row] = []
    for count in sizes:
        where.progress(f"tables and page of {count:,} records", 0, 1)
        with tempfile.TemporaryDirectory(prefix="clusterbench-output-") as folder:
            tables, board, page = output_benchmark.measured(count, Path(folder))
            size = None if board.failure else page.stat().st_size / 1e6
        failed = tables.failure or board.failure or None
        rows.append({"records": count, "tables s": tables.computed, "page s": board.computed, "page MB": size, "why not": failed})
    goals: list[Goal] = []
    if len(sizes) > 1:
        for name in ("tables s", "page s"):
            power = growth.exponent(sizes[-2:], [float(row[name] or np.nan) for row in rows[-2:]])
            goals.append(Goal(f"{name.removesuffix(' s')}, exponent of the last step", power, GROWTH))
    how = "synthetic records with curves and labels, processor time with start-up"
    return Outcome("output", "Tables and leaderboard page", how, tuple(rows), tuple(goals))


def growing(where: Where, largest: int | None = None) -> Outcome:
    """Time and memory by number of images, classes, pairs and trials, with fitted exponents (`profile/growth.py`)."""
    most = largest or (1_000 if where.quick else 1_000_000)
    rows: list[Row] = []
    goals: list[Goal] = []
    for name, case in growth.CASES.items():
        points = []
        for size in (size for size in case.sizes if size <= most):
            where.progress(f"{case.what}: {size:,}", 0, 1)
            points.append(growth.measured_apart(name, size))
            held = points[-1].peak_bytes
            rows.append({"what": case.what, "size": size, "s": points[-1].seconds, "MiB": held and round(held / 2**20)})
        if len(points) > 1:
            rows.append(_fitted(case.what, points))
        if not where.quick:
            goals += _goals(name, points)
    how = "one thread, a process for each size, processor time; memory beyond what the process held before the work"
    return Outcome("growth", "Growth with images, classes, pairs and trials", how, tuple(rows), tuple(goals))


def _fitted(what: str, points: Sequence[growth.Point]) -> Row:
    """Exponents of a straight line through the logarithms of all sizes, and of the last two alone."""
    sizes, seconds = [point.size for point in points], [point.seconds for point in points]
    held = [(point.size, point.peak_bytes) for point in points if point.peak_bytes]
    memory = growth.exponent(*zip(*held, strict=True)) if len(held) > 1 else None
    return {"what": what, "size": "fit", "exponent of time": growth.exponent(sizes, seconds),
            "its last step": growth.exponent(sizes[-2:], seconds[-2:]), "exponent of memory": memory}  # fmt: skip


def _goals(name: str, points: Sequence[growth.Point]) -> list[Goal]:
    power = growth.exponent([point.size for point in points], [point.seconds for point in points])
    goals = [Goal(f"{name}, exponent of time", power, 2.0 if name == "classes" else GROWTH)]
    if name == "classes" and points[-1].size == 1_000 and points[-1].peak_bytes:
        goals.append(Goal("1,000 classes with 5 heads, GiB", points[-1].peak_bytes / 2**30, CLASSES_BYTES / 2**30))
    return goals
