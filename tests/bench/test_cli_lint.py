"""`bench lint`: exit codes and lines."""

from __future__ import annotations

from pathlib import Path

from cli_tools import Bench


def test_a_clean_folder_leaves_with_0_and_an_edited_table_with_1(bench: Bench) -> None:
    assert bench.run("--method", "kmeans", "--preset", "smoke", "--quiet", "--seeds", "3").code == 0
    table = Path("bench-results/board.md")
    assert bench("leaderboard", "--output", str(table)).code == 0
    clean = bench("lint", "bench-results")
    assert (clean.code, clean.out, clean.err) == (0, "", "bench: nothing found in 3 records and 1 tables\n")
    (row,) = (line for line in table.read_text(encoding="utf-8").splitlines() if line.startswith("| kmeans"))
    table.write_text(table.read_text(encoding="utf-8").replace(row, row.replace("| 3 |", "| 1 |")), encoding="utf-8")
    edited = bench("lint", "bench-results")
    assert edited.code == 1
    assert edited.out.startswith("bench-results/board.md: spread of one seed: leaderboard, kmeans on digits: ± ")
    assert edited.err == "bench: 1 findings in 3 records and 1 tables\n"


def test_a_folder_with_nothing_to_look_at_is_told(bench: Bench) -> None:
    Path("empty").mkdir()
    assert "holds neither records nor tables" in bench("lint", "empty").err
    nowhere = bench("lint", "nowhere")
    assert (nowhere.code, nowhere.err.startswith("bench: nowhere is no folder.")) == (1, True)
