"""Records made up for tests, with scores that are easy to follow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clusterbench.results.record import Record

MakeRecord = Callable[..., Record]


def scored(acc: float | None) -> dict[str, Any]:
    """A selection whose other scores follow from ACC, with three sub-heads 0.02 below it and 0.03 apart."""
    if acc is None:
        return {
            "acc": None,
            "nmi": None,
            "ari": None,
            "clusters_used": 7,
            "epoch": 3,
            "head": 0,
            "heads": {"n": 3, "acc_mean": None},
        }
    heads = {"n": 3, "acc_mean": acc - 0.02, "acc_std": 0.03, "acc": [acc, acc - 0.02, acc - 0.04]}
    return {"acc": acc, "nmi": acc - 0.1, "ari": acc - 0.2, "clusters_used": 10, "epoch": 3, "head": 0, "heads": heads}


@pytest.fixture
def make_record() -> MakeRecord:
    """`make_record("iic", "mnist", seed=1, acc=0.97, ...)`; what is not a field of the spec is one of the record."""

    def make(
        method: str = "iic", dataset: str = "mnist", *, acc: float | None = 0.9, oracle: float | None = None, **given: Any
    ) -> Record:
        spec = {"method": method, "method_version": 1, "task": "clustering", "dataset": dataset, "data_fingerprint": "f" * 64,
                "protocol": "full", "seed": 0, "n_clusters": 10, "preset": "paper", "overrides": {}, "config": {"epochs": 3},
                "time_limit_s": None}  # fmt: skip
        changed = {name: value for name, value in given.get("overrides", {}).items() if name != "n_clusters"}
        spec["config"] = {"epochs": 3, **changed}
        spec |= {name: given.pop(name) for name in list(given) if name in spec}
        name = f"{method}-{dataset}-{spec['preset']}-s{spec['seed']}"
        fields: dict[str, Any] = {
            "id": "0123456789ab", "status": "complete", "created": "2025-06-01T10:00:00.000+00:00", "folder": Path(name),
            "metrics": {"last": scored(acc), "own-loss": scored(acc), "oracle": scored(acc if oracle is None else oracle)},
            "metrics_version": 1, "epochs_done": 3, "planned_epochs": 3, "cost": {"total_seconds": 90.0, "images": 3_000_000},
            "provenance": {"data": {"n_classes": 10, "notes": []}},
        }  # fmt: skip
        return Record(**{**fields, **given, "spec": spec})

    return make
