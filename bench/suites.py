"""Suites: named products of methods, data sets and seeds, as data in `suites.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..datasets.registry import not_found, read_cards


@dataclass(frozen=True)
class Suite:
    """Every one of `methods` on every one of `datasets` with the seeds 0..`seeds`-1, all at one preset."""

    name: str
    title: str
    summary: str
    methods: tuple[str, ...]
    datasets: tuple[str, ...]
    seeds: int
    preset: str

    @property
    def trials(self) -> int:
        return len(self.methods) * len(self.datasets) * self.seeds

    def command(self) -> str:
        """The `bench run` line that runs all of it."""
        names = [f"--method {name}" for name in self.methods] + [f"--dataset {name}" for name in self.datasets]
        return f"bench run {' '.join(names)} --seeds {self.seeds} --preset {self.preset}"


@cache
def suites() -> dict[str, Suite]:
    """All suites by name."""
    cards = read_cards(Path(__file__).with_name("suites.yaml"))
    return {
        name: Suite(name, **{**card, "methods": tuple(card["methods"]), "datasets": tuple(card["datasets"])})
        for name, card in cards.items()
    }


def suite(name: str) -> Suite:
    """The suite `name`. Raises `NotFound` with the nearest names."""
    if name not in suites():
        raise not_found("suite", name, sorted(suites()), "bench list suites")
    return suites()[name]
