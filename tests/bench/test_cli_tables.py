"""`bench tables` and `bench leaderboard`: from records on disk to a table on the screen or in a file."""

from __future__ import annotations

import csv
import io
import statistics
from pathlib import Path

import pytest
from cli_tools import Bench

from clusterbench.results.record import find_records

RUN = ("--method", "kmeans", "--preset", "smoke", "--quiet")


@pytest.fixture
def ran(bench: Bench) -> Bench:
    """Three seeds of k-means on digits are on record."""
    assert bench.run(*RUN, "--seeds", "3").code == 0
    return bench


def test_table_1_has_the_published_numbers_and_ours(ran: Bench) -> None:
    table = ran("tables", "1")
    accuracies = [100 * record.metrics["own-loss"]["acc"] for record in find_records(ran.out)]
    (row,) = (line for line in table.out.splitlines() if line.startswith("| K-means"))
    assert table.code == 0
    assert "57.2" in row
    assert f"{statistics.fmean(accuracies):.1f} ± {statistics.stdev(accuracies):.1f}" in row
    assert "bench run --method iic --dataset mnist" in table.out


def test_table_1_stands_without_a_single_run(bench: Bench) -> None:
    table = bench("tables", "1", "--dataset", "digits")
    assert table.code == 0
    assert "| digits |" in table.out
    assert "99.2" in table.out


def test_the_leaderboard_in_csv_is_a_row_for_each_setting(ran: Bench) -> None:
    ran.run(*RUN, "--set", "kmeans.pca=4")
    rows = list(csv.DictReader(io.StringIO(ran("leaderboard", "--format", "csv").out)))
    assert [(row["method"], row["n"]) for row in rows] in ([("kmeans", "3"), ("kmeans", "1")], [("kmeans", "1"), ("kmeans", "3")])
    assert [float(row["acc"]) for row in rows] == sorted((float(row["acc"]) for row in rows), reverse=True)


@pytest.mark.parametrize(
    ("name", "beginning"), [("t.md", "### "), ("t.csv", "table,"), ("t.tex", "%"), ("t.html", "<figure"), ("t.txt", "")]
)
def test_the_ending_of_the_output_file_decides_its_format(bench: Bench, name: str, beginning: str) -> None:
    table = bench("tables", "1", "--output", name)
    text = Path(name).read_text(encoding="utf-8")
    assert (table.out, table.err) == ("", f"bench: wrote {name}\n")
    assert text.startswith(beginning)
    assert "57.2" in text
    assert text.endswith("\n")


def test_a_format_that_is_said_outweighs_the_ending(bench: Bench) -> None:
    bench("tables", "1", "--output", "table.txt", "--format", "csv")
    assert next(csv.DictReader(io.StringIO(Path("table.txt").read_text())))["table"] == "1"


def test_an_ending_that_says_nothing_is_refused(bench: Bench) -> None:
    table = bench("tables", "1", "--output", "table.xlsx")
    assert table.code == 2
    assert "say the format with --format" in table.said
    assert not Path("table.xlsx").exists()


def test_the_leaderboard_shows_only_what_is_asked_for(ran: Bench) -> None:
    ran.run("--method", "random", "--preset", "smoke", "--quiet")
    everything, one = ran("leaderboard").out, ran("leaderboard", "--method", "random").out
    assert "kmeans" in everything
    assert "random" in everything
    assert "kmeans" not in one
    assert "random" in one


def test_an_empty_leaderboard_says_how_to_fill_it(bench: Bench) -> None:
    board = bench("leaderboard", "--dataset", "mnist")
    assert board.code == 0
    assert board.err == ("bench: no finished run to rank in bench-results. Make one: bench run --method iic --dataset mnist\n")


def test_a_damaged_record_is_told_and_the_others_stand(ran: Bench) -> None:
    first = find_records(ran.out)[0]
    (first.folder / "record.json").write_text("{")
    board = ran("leaderboard", "--format", "csv")
    assert board.code == 0
    assert board.err.startswith(f"bench: bench-results/{first.folder.name}/record.json is damaged")
    assert next(csv.DictReader(io.StringIO(board.out)))["n"] == "2"


@pytest.mark.parametrize("command", [("tables", "1"), ("leaderboard",)])
def test_an_unknown_data_set_is_refused_with_the_nearest_name(ran: Bench, command: tuple[str, ...]) -> None:
    table = ran(*command, "--dataset", "digist")
    assert table.code == 1
    assert table.err.startswith("bench: Unknown data set 'digist'. Did you mean 'digits'")
