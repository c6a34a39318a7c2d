"""`bench leaderboard --html`: the page from the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cli_tools import Bench, modules_after

from clusterbench.bench.output_benchmark import write_records
from clusterbench.results.record import scan_records

RUN = ("--method", "kmeans", "--preset", "smoke", "--quiet")


@pytest.fixture
def ran(bench: Bench) -> Bench:
    """Two seeds of k-means and one of the random network on digits are on record."""
    assert bench.run(*RUN, "--seeds", "2").code == 0
    assert bench.run("--method", "random", "--preset", "smoke", "--quiet").code == 0
    return bench


def test_the_page_is_written_with_pictures_and_no_table_is_printed(ran: Bench) -> None:
    made = ran("leaderboard", "--html", "board.html")
    assert (made.code, made.out) == (0, "")
    assert "wrote board.html: 3 runs of 2 settings, 2 with sample images" in made.said
    assert Path("board.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_table_may_be_asked_for_beside_it(ran: Bench) -> None:
    made = ran("leaderboard", "--html", "board.html", "--format", "csv", "--samples", "0")
    assert made.out.startswith("dataset,")
    assert Path("board.html").is_file()
    assert "sample images" not in made.said


def test_the_page_holds_only_what_is_asked_for(ran: Bench) -> None:
    assert "1 runs of 1 settings" in ran("leaderboard", "--html", "board.html", "--method", "random", "--samples", "0").said


def test_without_records_there_is_no_page_but_advice(bench: Bench) -> None:
    made = bench("leaderboard", "--html", "board.html")
    assert made.code == 1
    assert re.search(r"There is no record .* bench run --method iic", made.said)
    assert not Path("board.html").exists()


def test_a_page_without_pictures_needs_no_torch(tmp_path: Path) -> None:
    write_records(tmp_path / "out", 12)
    words = ("leaderboard", "--out", str(tmp_path / "out"), "--html", str(tmp_path / "board.html"), "--samples", "0")
    code, modules, _ = modules_after(*words)
    assert code == 0
    assert not modules & {"torch", "matplotlib", "mlflow", "ray"}


def test_the_benchmarks_records_are_sound(tmp_path: Path) -> None:
    write_records(tmp_path, 25)
    records, damaged = scan_records(tmp_path)
    assert (len(records), damaged) == (25, [])
    assert {len(record.epochs()) for record in records} == {40}
    assert {record.labels()["own-loss"].shape for record in records} == {(5, 1797)}
