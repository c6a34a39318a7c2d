"""From the options of `bench run` to trials: everything is checked here, before the first of them starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ...datasets.catalogue import datasets, load
from ...methods.registry import methods
from ..config import Resolved, resolve
from ..spec import TrialSpec, make_spec

if TYPE_CHECKING:
    from ...datasets.base import TrialData


@dataclass(frozen=True)
class Asked:
    """What one command line asks for: every method on every data set with every seed, all with the same settings."""

    methods: Sequence[str]
    datasets: Sequence[str]
    seeds: Sequence[int] = (0,)
    preset: str = "short"
    settings: Sequence[str] = ()
    config_file: Path | None = None
    epochs: int | None = None
    clusters: int | None = None
    time_limit_s: float | None = None
    protocol: Literal["full", "split"] = "full"
    data_root: Path | None = None
    download: bool = False


@dataclass(frozen=True)
class Trial:
    """One trial that can be run."""

    spec: TrialSpec
    data: TrialData

    @property
    def heading(self) -> str:
        return f"{self.spec.method} on {self.spec.dataset}, seed {self.spec.seed}"


def plan(asked: Asked) -> list[Trial]:
    """The trials, data set by data set. Names and settings are checked before any data is read or fetched.

    Raises whatever `resolve`, `load` and `make_spec` raise for what cannot be run: nothing has been started then.
    """
    for registry, names in ((methods, asked.methods), (datasets, asked.datasets)):
        for name in names:
            registry.card(name)  # raises NotFound
    pairs = [(dataset, method) for dataset in dict.fromkeys(asked.datasets) for method in dict.fromkeys(asked.methods)]
    resolved = {pair: _resolve(asked, *pair) for pair in pairs}
    data = {
        name: load(name, root=asked.data_root, download=asked.download).under(asked.protocol)
        for name in dict.fromkeys(asked.datasets)
    }
    return [
        Trial(make_spec(resolved[dataset, method], data[dataset], seed=seed, time_limit_s=asked.time_limit_s), data[dataset])
        for dataset, method in pairs
        for seed in asked.seeds
    ]


def _resolve(asked: Asked, dataset: str, method: str) -> Resolved:
    settings = [*asked.settings, *([f"n_clusters={asked.clusters}"] if asked.clusters is not None else [])]
    return resolve(method, dataset, asked.preset, asked.config_file, settings, asked.epochs)
