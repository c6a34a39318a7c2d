"""The critical-difference diagram."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clusterbench.results.figures import plan, ranks
from clusterbench.results.figures.jobs import Cannot, Request
from clusterbench.results.record import Record

Ask, Make = Callable[..., Request], Callable[..., Record]
METHODS = ("iic", "scan", "kmeans", "random")


@pytest.fixture
def board(make_trial: Make) -> list[Record]:
    """Four methods of three seeds on six data sets, in one order but for the first two."""
    accs = {"iic": [0.9] * 6, "scan": [0.95] * 3 + [0.7] * 3, "kmeans": [0.5] * 6, "random": [0.3] * 6}
    return [
        make_trial(method=method, dataset=f"d{i}", seed=seed, acc=accs[method][i] + seed / 1e3)
        for i in range(6)
        for method in METHODS
        for seed in range(3)
    ]  # fmt: skip


def test_the_diagram_shows_average_ranks_and_joins_what_is_not_told_apart(board: list[Record], ask: Ask) -> None:
    (job,) = ranks.jobs(ask(*board))
    assert job.stem == "ranks-paper"
    drawn = job.draw()
    above, below = drawn.figure.axes
    assert [text.get_text().split() for text in above.texts] == [
        ["iic", "1.50"], ["scan", "1.50"], ["4.00", "random"], ["3.00", "kmeans"]
    ]  # fmt: skip
    # 4 methods on 6 data sets differ from 2.569 * sqrt(4 * 5 / 36) = 1.91 on: only `random` from the first two.
    bars = [line.get_xdata() for line in above.lines if line.get_linewidth() > 3]
    assert sorted((min(bar), max(bar)) for bar in bars) == [(1.5, 3.0), (3.0, 4.0)]
    assert [label.get_text() for label in below.get_yticklabels()] == ["iic", "scan", "kmeans", "random"]
    assert "critical difference" in drawn.figure.get_supxlabel() and "1.91" in drawn.figure.get_supxlabel()
    assert drawn.shows.startswith("average ranks of 4 methods on d0, d1, d2, d3, d4, d5")


def test_where_friedman_finds_nothing_one_bar_joins_all(make_trial: Make, ask: Ask) -> None:
    records = [
        make_trial(method=method, dataset=f"d{i}", seed=seed, acc=0.5 + 0.1 * ((i + place) % 3) + seed / 1e3)
        for i in range(3) for place, method in enumerate(METHODS[:3]) for seed in range(3)
    ]  # fmt: skip
    (job,) = ranks.jobs(ask(*records))
    figure = job.draw().figure
    assert "no difference between the methods is shown" in figure.get_supxlabel()
    (bar,) = [line.get_xdata() for line in figure.axes[0].lines if line.get_linewidth() > 3]
    assert np.ptp(bar) == 0  # all three have an average of 2


def test_budgets_and_protocols_are_figures_of_their_own(board: list[Record], ask: Ask) -> None:
    others = [record.model_copy(update={"spec": {**record.spec, "preset": "short", "protocol": "split"}}) for record in board]
    assert [job.stem for job in ranks.jobs(ask(*board, *others))] == ["ranks-paper", "ranks-short-split"]


def test_the_oracle_is_not_ranked(board: list[Record], ask: Ask) -> None:
    (job,) = ranks.jobs(ask(*board, selection="oracle"))
    with pytest.raises(Cannot, match="labels made rank nothing"):
        job.draw()


def test_too_little_to_rank_is_told_with_a_command(board: list[Record], ask: Ask, tmp_path: Path) -> None:
    (job,) = plan.plan(["ranks"], ask(*board[:24]))  # two data sets
    (outcome,) = plan.draw_all([job], tmp_path, ["png"])
    assert outcome.problems[0].why.startswith("no three methods share three data sets")
    assert outcome.problems[0].remedy.startswith("bench suite run table1")


def test_it_is_saved_in_both_formats(board: list[Record], ask: Ask, tmp_path: Path) -> None:
    (outcome,) = plan.draw_all(plan.plan(["ranks"], ask(*board)), tmp_path, ["png", "svg"])
    assert [file.name for file in outcome.files] == ["ranks-paper.png", "ranks-paper.svg"]
    assert "kmeans" in outcome.files[1].read_text(encoding="utf-8")
