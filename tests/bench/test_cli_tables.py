"""`bench tables` and `bench leaderboard`: from records on disk to a table on the screen or in a file."""

from __future__ import annotations

import csv
import io
import shlex
import statistics
from itertools import pairwise
from pathlib import Path

import pytest
from cli_tools import Bench, modules_after

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
    assert (
        "bench run --method iic --dataset stl10 --dataset cifar10 --dataset cifar100-20 --dataset mnist --preset paper"
        in table.out
    )


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


def test_all_tables_come_one_after_the_other(ran: Bench) -> None:
    tables = ran("tables", "all")
    titles = [line for line in tables.out.splitlines() if line.startswith("### Table")]
    assert tables.code == 0
    assert [title.split()[2] for title in titles] == ["1", "1", "1", "2", "3", "4", "4"]
    rows = list(csv.DictReader(io.StringIO(ran("tables", "all", "--format", "csv").out)))
    assert sum(row["kind"] == "published" for row in rows) == 163
    assert [row["dataset"] for row in rows if row["kind"] == "reproduced"] == ["digits"]


@pytest.mark.parametrize(("number", "method"), [("1", "kmeans"), ("2", "iic")])
def test_the_command_of_a_cell_without_a_run_fills_it(bench: Bench, number: str, method: str) -> None:
    def offered() -> list[str]:
        words = f"--method {method} --dataset "
        return [
            line for line in bench("tables", number, "--dataset", "digits").out.splitlines() if words in line and "digits" in line
        ]

    before = offered()
    *words, _ = shlex.split(before[0].replace("--preset short", "--preset smoke").replace("--preset paper", "--preset smoke"))
    only_digits = [word for word in words if word not in ("stl10", "cifar10", "cifar100-20", "mnist")]
    kept = [word for word, after in pairwise([*only_digits, ""]) if (word, after) != ("--dataset", "--dataset")]
    assert bench(*kept[1:], "1,", "--mlflow", "off", "--address", "none", "--quiet").code == 0
    after = offered()
    assert len(before) > len([line for line in after if line in before])
    facts = csv.DictReader(io.StringIO(bench("tables", number, "--dataset", "digits", "--format", "csv").out))
    assert "digits" in {fact["dataset"] for fact in facts if fact["kind"] == "reproduced"}


@pytest.mark.parametrize("preset", ["smoke", "paper"])
def test_every_trial_of_suite_table2_belongs_to_the_row_of_its_label(preset: str) -> None:
    from clusterbench.bench.cli.table_sources import here
    from clusterbench.bench.suite_plan import cells, select
    from clusterbench.bench.suites import suite
    from clusterbench.results.groups import Group
    from clusterbench.results.record import Record
    from clusterbench.results.tables.cells import Runs
    from clusterbench.results.tables.table2 import sheets

    (sheet,) = sheets(Runs({}, ()), (), here())
    planned = cells(select(suite("table2"), chosen_datasets=["stl10"], preset=preset))
    assert len(planned) == 6
    for cell in planned:
        assert cell.resolved is not None
        spec = {"method": cell.method, "task": "clustering", "dataset": "stl10", "protocol": "full", "preset": preset, "seed": 0,
                "n_clusters": 10, "config": cell.resolved.config, "overrides": cell.resolved.overrides}  # fmt: skip
        group = Group((Record(id="0" * 12, created="", spec=spec),))
        same = [other.run.label for other in planned if other.resolved and other.resolved.config == cell.resolved.config]
        assert cell.run.label in same
        assert [row.label for row in sheet.rows if row.holds(group)] == same


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("1", "--dataset", "potsdam"), "potsdam is a data set for segmentation: see Table 4."),
        (("4", "--dataset", "digits"), "digits is a data set for clustering: see Table 1, 2 or 3."),
    ],
)
def test_a_data_set_of_another_task_is_refused_with_the_table_that_takes_it(
    bench: Bench, words: tuple[str, ...], told: str
) -> None:
    table = bench("tables", *words)
    assert table.code == 2
    assert told in table.said


def test_a_sample_of_a_data_set_belongs_to_the_table_of_the_whole(bench: Bench) -> None:
    assert "potsdam-3@sample" in bench("tables", "4", "--dataset", "potsdam-3@sample").out
    assert bench("tables", "1", "--dataset", "potsdam-3@sample").code == 2


def test_a_table_of_records_loads_no_torch(bench: Bench) -> None:
    code, modules, _ = modules_after("tables", "all")
    assert code == 0
    assert not {"torch", "mlflow", "ray", "matplotlib", "scipy.stats", "statsmodels"} & modules
