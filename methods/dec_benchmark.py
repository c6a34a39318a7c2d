"""DEC here beside ClustPy's DEC: scores and processor seconds of both on digits with standardised pixels, in one run.

    uv run --with clustpy==0.0.3 python -m clusterbench.methods.dec_benchmark --seeds 0 1 2 --threads 1

Both cluster the same numbers, 1,797 images with pixels of zero mean and unit variance: ours at the settings of the `short`
preset for digits, ClustPy's at its defaults (Adam, 100 epochs of pre-training end to end, 150 of clustering). The two take
turns, so that both meet the same load on the machine; processor time counts, which other load hardly changes.
ClustPy is no dependency: where it is not installed, its rows are left out and the output says so.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..datasets.base import Images
from .dec import DEC
from .kit.vectors import Vectors, VectorSettings
from .registry import methods

Labels = np.ndarray


@dataclass
class Contestant:
    """One implementation, and what its runs gave.

    Attributes:
        name: what the table calls it.
        cluster: from a seed to the clusters of all images, int (1797,).
    """

    name: str
    cluster: Callable[[int], Labels]
    accuracies: list[float] = field(default_factory=list)
    informations: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def run(self, seed: int, truth: Labels) -> None:
        """Cluster once, score and time it."""
        from sklearn.metrics import normalized_mutual_info_score

        began = time.process_time()
        found = self.cluster(seed)
        self.seconds.append(time.process_time() - began)
        self.accuracies.append(accuracy(found, truth))
        self.informations.append(float(normalized_mutual_info_score(truth, found)))

    def line(self, number: int) -> str:
        """What run `number` gave."""
        acc, nmi, seconds = self.accuracies[number], self.informations[number], self.seconds[number]
        return f"{self.name:14} ACC {acc:.3f}  NMI {nmi:.3f}  {seconds:6.1f} CPU s"

    def summary(self) -> str:
        """Means over all runs, and the sample standard deviation of ACC."""
        spread = statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0
        acc, nmi = statistics.fmean(self.accuracies), statistics.fmean(self.informations)
        return f"{self.name:14} ACC {acc:.3f} +- {spread:.3f}  NMI {nmi:.3f}  {statistics.fmean(self.seconds):6.1f} CPU s a run"


def accuracy(found: Labels, truth: Labels) -> float:
    """Share of images whose cluster is matched to their class, at the best matching of clusters and classes."""
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics.cluster import contingency_matrix

    counts = contingency_matrix(truth, found)
    return float(counts[linear_sum_assignment(counts, maximize=True)].sum() / len(truth))


def preset(pixels: str | None) -> dict[str, Any]:
    """Our settings: the `short` preset for digits, with another scaling of the pixels if one is asked for."""
    settings = methods.card("dec")["presets"]["short"]["datasets"]["digits"]
    return settings if pixels is None else {**settings, "vectors": {"kind": pixels}}


def ours(images: Images, settings: dict[str, Any]) -> Callable[[int], Labels]:
    """Our method."""
    return lambda seed: DEC(10, seed=seed, **settings).fit_predict(images)


def clustpys(images: Images, settings: dict[str, Any]) -> Callable[[int], Labels]:
    """ClustPy's at its defaults, on the same numbers."""
    deep: Any = importlib.import_module("clustpy.deep")
    vectors = Vectors(VectorSettings(**settings["vectors"]), images.shape, "cpu")
    vectors.fit(images, images.role("main"))
    numbers = vectors.of(images.pixels).numpy()
    return lambda seed: deep.DEC(n_clusters=10, random_state=seed).fit(numbers).labels_


def compare(contestants: Sequence[Contestant], seeds: Sequence[int], truth: Labels) -> None:
    """Run all contestants on all seeds in turns and print what they gave."""
    for number, seed in enumerate(seeds):
        for contestant in contestants:
            contestant.run(seed, truth)
            print(f"seed {seed}  {contestant.line(number)}", flush=True)
    for contestant in contestants:
        print(contestant.summary())
    if len(contestants) > 1:
        share = sum(contestants[0].seconds) / sum(contestants[1].seconds)
        print(f"{contestants[0].name} takes {share:.2f} of the processor time of {contestants[1].name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds, one run of each contestant for each")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    scalings = ["mean-square", "standard", "standard-by-pixel"]
    parser.add_argument("--pixels", choices=scalings, help="how they are scaled; as in the preset by default")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    from sklearn.datasets import load_digits

    data = load_digits()
    images = Images.of(np.rint(data.images * (255 / 16)).astype(np.uint8))  # as the data set `digits`
    settings = preset(arguments.pixels)
    contestants = [Contestant("clusterbench", ours(images, settings))]
    if importlib.util.find_spec("clustpy") is None:
        print("ClustPy is not installed (pip install clustpy==0.0.3): only ours is timed")
    else:
        contestants.append(Contestant("ClustPy", clustpys(images, settings)))
    print(f"{cpu_name()}, {arguments.threads} thread(s), Python {platform.python_version()}, torch {torch.__version__}")
    compare(contestants, arguments.seeds, data.target)


def cpu_name() -> str:
    """As Linux calls it; the architecture elsewhere."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
