"""How long the rest takes: means of past runs of the same settings, and no guess without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clusterbench.bench.estimate import Estimate, PastRuns
from clusterbench.bench.outlook import Outlook, State
from clusterbench.bench.suite_plan import Cell, cells
from clusterbench.bench.suites import Suite, suite
from clusterbench.results.record import Record

TEXT = """
title: t
runs:
  - {methods: [kmeans, iic], datasets: digits, preset: smoke, seeds: 2}
  - {methods: iic, datasets: digits, preset: smoke, set: {epochs: 3}}
  - {methods: iic, datasets: digits, preset: smoke, clusters: 20, time_limit: 60}
"""


@pytest.fixture
def planned(tmp_path: Path) -> list[Cell]:
    (tmp_path / "mine.yaml").write_text(TEXT)
    mine: Suite = suite(str(tmp_path / "mine.yaml"))
    return cells(mine)


def ran(cell: Cell, seconds: float | None, seed: int = 0, **fields: Any) -> Record:
    """A complete record of `cell`, but for what `fields` say."""
    assert cell.resolved
    spec = {
        "method": cell.method,
        "dataset": cell.dataset,
        "protocol": cell.run.protocol,
        "seed": seed,
        "preset": "smoke",
        "config": cell.resolved.config,
        "overrides": cell.resolved.overrides,
        "n_clusters": 10,
        "time_limit_s": cell.run.time_limit,
        **fields.pop("spec", {}),
    }
    known = {"id": f"{seed:012x}", "created": "2025-06-01T10:00:00.000+00:00", "status": "complete", "spec": spec}
    return Record(**{**known, "cost": {"total_seconds": seconds}, **fields})


def to_do(cell: Cell, share_left: float = 1.0, seed: int = 9) -> Outlook:
    return Outlook(cell, seed, State.TO_DO if share_left == 1 else State.BEGUN, "", share_left)


def test_the_mean_is_over_all_seeds_of_the_same_settings_and_nothing_else(planned: list[Cell]) -> None:
    kmeans, iic, fewer_epochs, more_clusters = planned
    other_size = ran(kmeans, 1e6, spec={"dataset": "mnist"})
    past = PastRuns([ran(kmeans, 2.0, 0), ran(kmeans, 4.0, 1), other_size, ran(fewer_epochs, 100.0), ran(more_clusters, 30.0)])
    assert past.mean(kmeans) == 3.0
    assert past.mean(iic) is None
    assert past.mean(fewer_epochs) == 100.0
    assert past.mean(more_clusters) == 30.0


def test_other_protocols_clusters_and_time_limits_are_other_work(planned: list[Cell]) -> None:
    kmeans, *_ = planned
    others = [{"protocol": "split"}, {"overrides": {"n_clusters": 50}}, {"time_limit_s": 5.0}]
    assert PastRuns([ran(kmeans, 1.0, spec=each) for each in others]).mean(kmeans) is None


def test_only_runs_that_came_to_their_end_count(planned: list[Cell]) -> None:
    kmeans, *_ = planned
    unfinished = [
        ran(kmeans, 500.0, status="stopped", stop_reason="interrupted"),
        ran(kmeans, 500.0, status="failed"),
        ran(kmeans, 500.0, status="running"),
        ran(kmeans, None),
    ]
    assert PastRuns(unfinished).mean(kmeans) is None
    at_its_limit = ran(kmeans, 60.0, status="stopped", stop_reason="time limit")
    assert PastRuns([*unfinished, at_its_limit]).mean(kmeans) == 60.0


def test_the_estimate_counts_what_is_left_and_divides_by_the_trials_at_a_time(planned: list[Cell]) -> None:
    kmeans, iic, fewer_epochs, _ = planned
    past = PastRuns([ran(kmeans, 10.0, 0), ran(kmeans, 20.0, 1), ran(iic, 100.0)])
    done = Outlook(iic, 0, State.DONE, "done", 0.0)
    left = [to_do(kmeans), to_do(kmeans, seed=8), to_do(iic, 0.25), to_do(fewer_epochs), done]
    estimate = past.estimate(left)
    assert estimate == Estimate(seconds=15 + 15 + 25, trials=3, unknown=1, past=3, at_a_time=1)
    assert past.estimate(left, 2).seconds == 27.5
    assert past.estimate(left, 16).seconds == 25  # no sooner than the longest of them


def test_the_estimate_says_what_it_stands_on(planned: list[Cell]) -> None:
    kmeans, iic, *_ = planned
    past = PastRuns([ran(kmeans, 3600.0)])
    assert str(past.estimate([to_do(kmeans)])) == (
        "about 1 h 00 min for 1 trial, one at a time, by the mean of 1 past run of the same settings"
    )
    assert str(past.estimate([to_do(kmeans), to_do(kmeans, seed=8), to_do(iic)], 2)) == (
        "about 1 h 00 min for 2 trials, divided by 2 at a time, by the mean of 1 past run of the same settings; "
        "no past run of the other 1"
    )
    assert str(past.estimate([to_do(iic)])) == "no past run of these settings to go by"
    assert str(past.estimate([])) == "nothing"
