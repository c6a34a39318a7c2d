"""What a sweep tells: its numbers against closed forms, its command against the configuration, its pictures on disk."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr
from sweep_fakes import Played, make_plan

from clusterbench.bench.cli.values import parse_seeds
from clusterbench.bench.config import resolve
from clusterbench.bench.sweep import pictures, report
from clusterbench.bench.sweep.state import Sample, State, Sweep

ASKED = {"method": "iic", "dataset": "digits", "preset": "short", "overrides": {}, "protocol": "full", "n_clusters": 10}
SPACE = {"lr": {"log_uniform": [1e-4, 1e-2]}, "passes": {"choice": [["main"], ["auxiliary", "main"]]}}


def sweep_of(values: list[tuple[float | None, float | None]], *, states: list[State] | None = None, oracle: str = "") -> Sweep:
    """Samples with these pairs of objective and ACC."""
    samples = [
        Sample(
            number=number,
            settings={"lr": 1e-4 * (number + 1), "passes": [["main"], ["auxiliary", "main"]][number % 2]},
            state=states[number] if states else "complete",
            objective=objective,
            objective_by_epoch=[] if objective is None else [objective],
            acc=acc,
            uses_labels=bool(oracle),
        )
        for number, (objective, acc) in enumerate(values)
    ]
    objective = {"name": oracle or "criterion", "direction": "maximize" if oracle else "minimize", "uses_labels": bool(oracle)}
    return Sweep(
        name="s",
        asked={**ASKED, "seeds": [0, 1]},
        space=SPACE,
        objective=objective,
        search={"name": "optuna", "seed": 0},
        scheduler={"name": "asha", "rungs": [5, 15]},
        samples=samples,
    )


def test_the_rank_correlation_is_the_closed_form_without_ties() -> None:
    generator = np.random.default_rng(3)
    objective, acc = generator.permutation(15) / 7, generator.permutation(15) / 20
    found = report.rank_correlation(sweep_of(list(zip(objective.tolist(), acc.tolist(), strict=True))).samples)
    ranks = [np.argsort(np.argsort(values)) for values in (objective, acc)]
    closed = 1 - 6 * ((ranks[0] - ranks[1]) ** 2).sum() / (15 * (15**2 - 1))
    assert found is not None and found.n == 15
    assert found.rho == pytest.approx(closed)


def test_the_rank_correlation_with_ties_is_scipys_over_samples_that_have_both() -> None:
    pairs: list[Any] = [(0.1, 0.5), (0.1, 0.4), (0.3, 0.4), (0.7, 0.1), (None, 0.9), (0.2, None), (0.9, 0.2)]
    found = report.rank_correlation(sweep_of(pairs).samples)
    both = [pair for pair in pairs if None not in pair]
    expected: Any = spearmanr([pair[0] for pair in both], [pair[1] for pair in both])
    assert found is not None and (found.n, found.rho, found.p) == (5, expected.statistic, expected.pvalue)


@pytest.mark.parametrize("pairs", [[(0.1, 0.2), (0.2, 0.1)], [(0.1, 0.2)] * 5, [(0.1, 0.2), (0.2, 0.2), (0.3, 0.2)], []])
def test_no_rank_correlation_is_told_where_there_is_none(pairs: list[tuple[float, float]]) -> None:
    assert report.rank_correlation(sweep_of(list(pairs)).samples) is None
    assert "not told" in report.guide(sweep_of(list(pairs)))[0]


def test_the_report_says_whether_the_objective_was_a_good_guide() -> None:
    rising = [(0.1 * n, 0.05 * n) for n in range(10)]
    falling = [(0.1 * n, 1 - 0.05 * n) for n in range(10)]
    chance = [(0.1, 0.3), (0.2, 0.1), (0.3, 0.4), (0.4, 0.2)]
    assert "led away" in report.guide(sweep_of(rising))[0] and "+1.00 (n = 10" in report.guide(sweep_of(rising))[0]
    assert "good guide" in report.guide(sweep_of(falling))[0] and "-1.00 (n = 10" in report.guide(sweep_of(falling))[0]
    assert "may be chance" in report.guide(sweep_of(chance))[0]


def test_pruned_samples_are_told_apart_and_never_rank_before_complete_ones() -> None:
    states: list[State] = ["complete", "pruned", "complete", "diverged", "complete", "failed"]
    sweep = sweep_of([(0.5, 0.5), (0.1, 0.9), (0.3, 0.6), (None, None), (0.4, 0.7), (None, None)], states=states)
    assert [sample.number for sample in report.ranked(sweep)] == [2, 4, 0, 1, 3, 5]
    best = report.best_of(sweep)
    assert best is not None and best.number == 2
    assert [report.cells(sweep, sample, rank)[0] for rank, sample in enumerate(report.ranked(sweep), 1)][:4] == [
        "1",
        "2",
        "3",
        "-",
    ]
    told = report.guide(sweep)
    assert "n = 3" in told[0] and "n = 4" in told[1] and "pruned" in told[1]


def test_an_oracle_ranks_by_the_highest_and_is_marked_wherever_it_stands(tmp_path: Path) -> None:
    sweep = sweep_of([(0.5, 0.5), (0.9, 0.9), (0.3, 0.3)], oracle="acc")
    assert [sample.number for sample in report.ranked(sweep)] == [1, 0, 2]
    assert "ACC (oracle: uses labels)" in report.headings(sweep) and "ACC % (labels; not used)" not in report.headings(sweep)
    page = report.write_report(sweep, tmp_path, None, {}).read_text()
    assert "Labels chose these settings" in page and report.TRAP not in page
    assert report.warnings(sweep_of([(0.1, 0.2)])) == []


def test_one_seed_of_each_sample_is_called_luck(tmp_path: Path) -> None:
    sweep = sweep_of([(0.1, 0.2)])
    sweep.asked["seeds"] = [4]
    assert report.warnings(sweep) == [report.LUCK]
    assert report.LUCK in report.write_report(sweep, tmp_path, None, {}).read_text()


def test_the_page_names_the_trap_and_what_was_lost(tmp_path: Path) -> None:
    states: list[State] = ["complete", "failed", "pruned", "running"]
    sweep = sweep_of([(0.5, 0.5), (None, None), (0.3, 0.3), (None, None)], states=states)
    sweep.samples[1].error = "out of memory"
    sweep.refusals, sweep.repeated = {"three needs a kind": 4, "other": 1}, 2
    page = report.write_report(sweep, tmp_path, "bench run --seeds 5", {"A": "a.png", "B": "too few."}).read_text()
    for part in (report.TRAP, "Sample 1 failed: out of memory", "1 of 4 samples were ended early, after 5 or 15 epochs",
                 "5 draws were combinations", "three needs a kind", "2 draws repeated", "1 of 4 samples are not over",
                 "![A](a.png)", "B: too few."):  # fmt: skip
        assert part in page, part
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 4 and len({row.count("|") for row in rows}) == 1


@pytest.mark.usefixtures("valley")
def test_the_best_command_gives_the_best_configuration_with_seeds_that_were_not_swept(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, samples=4, seeds=(0, 2), settings=("epochs=3",))
    sweep = Played(plan, tmp_path / "out").sweep
    best = report.best_of(sweep)
    assert best is not None
    spec = plan.specs(best.settings)[0]
    words = shlex.split(report.best_line(sweep, spec, Path("my data")))
    assert words[:6] == ["bench", "run", "--method", "valley", "--dataset", "tiny"]
    settings = [words[index + 1] for index, word in enumerate(words) if word == "--set"]
    assert resolve("valley", "tiny", set_=settings).config == spec.config
    seeds = parse_seeds(words[words.index("--seeds") + 1])
    assert len(seeds) == 5 and not set(seeds) & {0, 2}
    assert words[words.index("--data-root") + 1] == "my data"


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000


def test_pictures_are_drawn_of_enough_samples(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    sweep = sweep_of([(float(a), float(b)) for a, b in generator.random((12, 2))])
    drawn = pictures.draw(sweep, tmp_path)
    assert list(drawn) == [pictures.PARALLEL, pictures.IMPORTANCE, pictures.ACCURACY]
    assert all(is_png(tmp_path / name) for name in drawn.values())


def test_pictures_of_too_few_samples_say_what_they_need(tmp_path: Path) -> None:
    drawn = pictures.draw(sweep_of([(0.1, None)]), tmp_path)
    assert "at least 2 complete" in drawn[pictures.PARALLEL] and "at least 10 complete" in drawn[pictures.IMPORTANCE]
    assert "no complete sample has labels" in drawn[pictures.ACCURACY] and not list(tmp_path.iterdir())
    oracle = pictures.draw(sweep_of([(0.1, 0.1), (0.2, 0.2)], oracle="acc"), tmp_path)
    assert re.search("ACC itself", oracle[pictures.ACCURACY])
