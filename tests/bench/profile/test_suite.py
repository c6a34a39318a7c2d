"""All benchmarks by one command: what they measure, what is kept, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clusterbench.bench.cli import main
from clusterbench.bench.config import resolve
from clusterbench.bench.profile import benchmarks, every_method
from clusterbench.bench.profile.every_method import UNTRAINED, all_steps, stages
from clusterbench.bench.profile.outcome import Goal, Outcome
from clusterbench.bench.profile.page import main as write_page
from clusterbench.bench.profile.page import page
from clusterbench.bench.profile.suite import SUITE, Report, read_report, write_report
from clusterbench.bench.profile.where import Where
from clusterbench.bench.spec import SpecError
from clusterbench.methods.kit.autoencoder import parts
from clusterbench.methods.registry import methods

QUICK = Where(quick=True)
MACHINE: dict[str, Any] = {"hardware": "a processor", "device": "cpu", "cores": 2, "threads": 1, "quick": False, "python": "3.11",
                           "torch": "2.9", "measured": "2026-01-01"}  # fmt: skip


def outcome(key: str, value: float = 1.0) -> Outcome:
    return Outcome(key, f"Title of {key}", "settings", ({"figure": value},), (Goal("figure", value, 2.0),))


def test_quick_steps_have_a_ratio() -> None:
    (row,) = all_steps(QUICK, ["vae"]).rows
    assert row["step / bare"] == pytest.approx(float(row["step ms"] or 0) / float(row["bare ms"] or 1))  # type: ignore[arg-type]


def test_classifier_is_measured_without_its_base(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # what is prepared here stays out of other tests
    rows = all_steps(Where(quick=True, data_root=shared_data), ["cutout", "triplets-finetune"]).rows
    assert [row["method"] for row in rows if float(row["step / bare"] or 0) > 0] == ["cutout", "triplets-finetune"]  # type: ignore[arg-type]


def test_every_method_but_the_untrained_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(every_method, "_rows", lambda where, name, preset: seen.append(name) or [])
    all_steps(QUICK)
    assert set(seen) | set(UNTRAINED) == set(methods.names()) and not set(seen) & set(UNTRAINED)


def test_stages_of_dec_are_all_steps_of_its_training() -> None:
    config = resolve("dec", "mnist", "short").config
    found = stages("dec", config, 20)
    assert [stage.name for stage in found] == ["layer 1", "layer 2", "layer 3", "layer 4", "all layers", "clusters"]
    assert [stage.steps for stage in found] == [6000] * 4 + [20000, 160 * 150]
    shortened = resolve("dec", "mnist", "short", None, found[-1].settings).config
    pretraining = every_method.PretrainingSettings(**shortened["pretraining"])
    assert len(parts(pretraining, 4)) + 1 == found[-1].after_epoch  # each layer an epoch, all layers, and k-means


def test_method_without_data_says_why(tmp_path: Path) -> None:
    (row,) = every_method._rows(Where(data_root=tmp_path), "iic", "short")
    assert "mnist" in str(row["why not"])


def test_mean_counts_each_stage_by_its_steps() -> None:
    class Fake:
        def __init__(self, step: float, bare: float) -> None:
            self.step_ms, self.bare_ms = step, bare

    found = [(every_method.Stage(steps=3), Fake(2.0, 1.0)), (every_method.Stage(steps=1), Fake(10.0, 9.0))]
    assert every_method._mean(found)["step / bare"] == pytest.approx((3 * 2 + 10) / (3 * 1 + 9))  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [benchmarks.segmentation_loss, benchmarks.search, benchmarks.output, benchmarks.start_up])
def test_quick_benchmark_has_figures(make: Any) -> None:
    found = make(QUICK)
    assert found.rows and found.key in SUITE
    assert all(isinstance(value, (int, float)) for row in found.rows for name, value in row.items() if name.endswith(" s"))


def test_growth_fits_exponents(monkeypatch: pytest.MonkeyPatch) -> None:
    point = benchmarks.growth.Point
    monkeypatch.setattr(benchmarks.growth, "measured_apart", lambda name, size: point(size, 1e-6 * size**2, 1000 * size))
    found = benchmarks.growing(Where())
    fits = [row for row in found.rows if row["size"] == "fit"]
    assert len(fits) == len(benchmarks.growth.CASES)
    assert all(row["exponent of time"] == pytest.approx(2) and row["exponent of memory"] == pytest.approx(1) for row in fits)
    assert {goal.is_met for goal in found.goals if "images" in goal.what} == {False}  # 2 is more than 1.1


def test_kept_figures_stay_where_others_are_measured_again(tmp_path: Path) -> None:
    file = tmp_path / "new" / "machine.json"
    write_report(file, Report(MACHINE, (outcome("growth"), outcome("steps", 1.0))))
    write_report(file, Report(MACHINE, (outcome("steps", 3.0),)))
    kept = read_report(file)
    assert [each.key for each in kept.outcomes] == ["steps", "growth"]
    assert kept.outcomes[0].rows == ({"figure": 3.0},)


@pytest.mark.parametrize(("name", "value"), [("hardware", "another"), ("threads", 2), ("quick", True)])
def test_figures_of_other_circumstances_are_not_mixed(tmp_path: Path, name: str, value: object) -> None:
    write_report(tmp_path / "machine.json", Report(MACHINE, (outcome("steps"),)))
    with pytest.raises(SpecError, match=f"with {name} .*name another file"):
        write_report(tmp_path / "machine.json", Report({**MACHINE, name: value}, (outcome("growth"),)))


@pytest.mark.parametrize("content", ["[]", "no json", '{"schema": 1}', '{"schema": 9, "machine": {}, "benchmarks": []}'])
def test_foreign_file_is_refused_and_kept(tmp_path: Path, content: str) -> None:
    file = tmp_path / "other.json"
    file.write_text(content)
    with pytest.raises(SpecError, match=r"other\.json"):
        write_report(file, Report(MACHINE, (outcome("steps"),)))
    assert file.read_text() == content


def test_page_shows_every_machine(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_report(tmp_path / f"{name}.json", Report({**MACHINE, "hardware": name}, (outcome("growth"),)))
    write_page([str(tmp_path)])
    text = (tmp_path / "README.md").read_text()
    assert "# one, cpu, 1 of 2 cores" in text and "# two, cpu" in text and text.count("## Title of growth") == 2


def test_committed_page_is_made_of_the_committed_figures() -> None:
    folder = Path(__file__).parents[3] / "results" / "benchmarks"
    reports = [read_report(path) for path in sorted(folder.glob("*.json"))]
    assert reports and (folder / "README.md").read_text(encoding="utf-8") == page(reports)


def test_command_runs_shows_and_keeps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "machine.json"
    words = ("--suite", "--quick", "--only", "search", "--threads", "1", "--quiet")
    assert main(["profile", *words, "--output", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "scikit-learn, faiss, torch" in shown and "20 neighbours" in shown
    content = json.loads(file.read_text())
    assert [each["key"] for each in content["benchmarks"]] == ["search"]
    assert content["machine"]["quick"] is True and content["machine"]["threads"] == 1 and content["machine"]["hardware"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--suite", "--only", "nothing"], 1, "There is no benchmark 'nothing'"),
        (["--suite", "--preset", "paper"], 2, "benchmarks have settings of their own"),
        (["--suite", "--flame", "x.html"], 2, "benchmarks have settings of their own"),
        (["--quick"], 2, "Only with --suite"),
        ([], 2, "Name a method"),
    ],
)
def test_what_makes_no_sense_is_told(words: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", *words]) == code
    assert told in " ".join(capsys.readouterr().err.replace("│", " ").split())
