"""`bench show METHOD --card`: which cards there are, and what they are held against."""

from __future__ import annotations

import csv
from pathlib import Path

from cli_tools import Bench

SMOKE = ("--method", "kmeans", "--preset", "smoke", "--quiet")


def test_cards_of_what_was_run_and_a_line_for_what_was_only_published(bench: Bench) -> None:
    assert bench.run(*SMOKE, "--seeds", "3").code == 0
    shown = bench("show", "kmeans", "--card")
    assert shown.code == 0
    assert "Fidelity card: kmeans on digits" in shown.out
    assert "no run" not in shown.out
    (line,) = shown.err.splitlines()
    assert line.startswith("bench: published, and without a run in bench-results: ")
    assert "stl10, cifar10, cifar100-20, mnist" in line
    assert line.endswith("bench run --method kmeans --dataset stl10 --seeds 3 --out bench-results")


def test_a_card_lists_the_presets_lines_about_this_data_set_only(bench: Bench) -> None:
    shown = bench("show", "iic", "--card", "--dataset", "mnist")
    assert "99.2" in shown.out and "bench run --method iic --dataset mnist" in shown.out
    assert bench.run("--method", "iic", "--preset", "smoke", "--quiet").code == 0
    digits = bench("show", "iic", "--card", "--dataset", "digits").out
    assert "Preset paper: As the authors' code ran" in digits
    assert "Preset paper: mnist:" not in digits


def test_cards_go_into_a_file_as_tables_do(bench: Bench) -> None:
    assert bench("show", "iic", "--card", "-d", "mnist", "-d", "cifar10", "--output", "cards.csv").code == 0
    rows = list(csv.DictReader(Path("cards.csv").read_text(encoding="utf-8").splitlines()))
    assert {(row["dataset"], row["published"]) for row in rows} >= {("mnist", "99.2"), ("cifar10", "61.7"), ("cifar10", "0.511")}


def test_a_variant_for_pixels_has_the_published_numbers_of_pixels(bench: Bench) -> None:
    shown = bench("show", "iic-segmentation", "--card", "--dataset", "potsdam")
    assert "45.4" in shown.out and "99.2" not in shown.out


def test_what_cannot_be_shown_is_told_in_one_line(bench: Bench) -> None:
    assert bench("show", "iicc", "--card").err == "bench: Unknown method 'iicc'. Did you mean 'iic'? See 'bench list methods'.\n"
    unknown = bench("show", "iic", "--card", "--dataset", "mnits")
    assert unknown.err.startswith("bench: Unknown data set 'mnits'. Did you mean 'mnist'")
    assert bench("show", "iic", "--dataset", "mnist").code == 2
    assert bench("show", "clustpy:clustpy.deep.IDEC", "--card").code == 1
