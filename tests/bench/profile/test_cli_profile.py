"""`bench profile` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clusterbench.bench.cli import main

SMALL = ("--dataset", "digits", "--preset", "smoke", "--steps", "3", "--threads", "1", "--quiet")


def test_several_methods_stand_in_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "--method", "iic", "--method", "ae", *SMALL]) == 0
    shown = capsys.readouterr().out
    assert "digits, preset smoke, cpu" in shown and "step / bare" in shown
    assert [line.split()[0] for line in shown.splitlines() if line.startswith(("iic", "ae"))] == ["iic", "ae"]


def test_json_has_every_figure(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    assert main(["profile", "--method", "vae", *SMALL, "--json", "--output", str(file)]) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert found == json.loads(file.read_text())[0]
    assert found["ratio"] == pytest.approx(found["step_ms"] / found["bare_ms"])
    assert found["matrix_share"] == pytest.approx(found["flops"] / (found["step_ms"] / 1000) / found["matrix_rate"])
    assert set(found["stages_ms"]) == {"data", "augmentation", "forward", "loss", "backward", "optimiser", "other"}
    assert found["steps"] == 3 and found["threads"] == 1 and found["timed_by"] == "processor time"


def test_later_stage_is_reached_by_training_first(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--images", "300", "--after-epoch", "1", "--json")
    assert main(["profile", "--method", "scan", *SMALL, *options]) == 0
    assert json.loads(capsys.readouterr().out)[0]["method"] == "scan"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--method", "kmeans"), "the training ended before a step was measured"),
        (("--method", "iik"), "Did you mean 'iic'"),
        (("--method", "iic", "--device", "cuda:9"), "cuda:9"),
    ],
)
def test_what_cannot_be_profiled_is_told_in_one_line(
    words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", *words, *SMALL]) == 1
    assert told in capsys.readouterr().err


def test_flame_page_shows_calls_of_the_method(tmp_path: Path) -> None:
    assert main(["profile", "--method", "dec", "--flame", str(tmp_path / "dec.html"), *SMALL]) == 0
    page = (tmp_path / "dec.html").read_text(encoding="utf-8")
    assert "methods/kit/autoencoder.py(" in page and "aten::addmm" in page


def test_trace_of_two_methods_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "--method", "iic", "--method", "ae", "--trace", "x.json", *SMALL]) == 2
    assert "A trace is of one method" in capsys.readouterr().err
