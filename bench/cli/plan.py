"""From the options of `bench run` to trials: everything is checked here, before the first of them starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...datasets.catalogue import datasets, load
from ...datasets.source import Progress, silent
from ...methods.registry import methods
from ..config import Resolved, method_for, resolve
from ..spec import TrialSpec, check_protocol, make_spec

if TYPE_CHECKING:
    from ...datasets.base import Protocol, TrialData


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
    protocol: Protocol = "full"
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


def plan(asked: Asked, progress: Progress = silent) -> list[Trial]:
    """The trials, data set by data set. Names, tasks and settings are checked before any data is read or fetched.

    Args:
        asked: what the command line asks for.
        progress: told how far a download or preparation has come.

    Raises whatever `resolve`, `load` and `make_spec` raise for what cannot be run: nothing has been started then.
    """
    for registry, names in ((methods, asked.methods), (datasets, asked.datasets)):
        for name in names:
            registry.card(name)  # raises NotFound
    named = [(dataset, method) for dataset in dict.fromkeys(asked.datasets) for method in asked.methods]
    pairs = list(dict.fromkeys((dataset, method_for(method, dataset)) for dataset, method in named))
    for _, method in pairs:
        check_protocol(method, asked.protocol)
    resolved = {pair: _resolve(asked, *pair) for pair in pairs}
    data = {name: _load(asked, name, progress) for name in dict.fromkeys(asked.datasets)}
    return [
        Trial(make_spec(resolved[dataset, method], data[dataset], seed=seed, time_limit_s=asked.time_limit_s), data[dataset])
        for dataset, method in pairs
        for seed in asked.seeds
    ]


def _load(asked: Asked, name: str, progress: Progress) -> TrialData:
    def told(what: str, done: int, total: int) -> None:
        progress(f"{name}: {what}", done, total)

    return load(name, root=asked.data_root, download=asked.download, progress=told).under(asked.protocol)


def _resolve(asked: Asked, dataset: str, method: str) -> Resolved:
    settings = [*asked.settings, *([f"n_clusters={asked.clusters}"] if asked.clusters is not None else [])]
    return resolve(method, dataset, asked.preset, asked.config_file, settings, asked.epochs)
