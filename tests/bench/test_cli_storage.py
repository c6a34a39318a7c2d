"""Records on a remote file system: brought here before a trial, pushed there after it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_tools import Bench

from clusterbench.results.record import find_records


@pytest.fixture
def remote(tmp_path: Path) -> tuple[str, Path]:
    """A URI that pyarrow opens, and the folder behind it."""
    folder = tmp_path / "remote"
    folder.mkdir()
    return f"file://{folder}", folder


def test_records_end_up_in_the_remote_folder_and_are_not_made_again(bench: Bench, remote: tuple[str, Path]) -> None:
    uri, folder = remote
    words = ("--method", "kmeans", "--preset", "smoke", "--seeds", "2", "--storage", uri)
    assert bench.run(*words).code == 0
    assert sorted(record.spec["seed"] for record in find_records(folder)) == [0, 1]
    again = bench.run(*words)
    assert again.err.count("already complete") == 2


def test_what_another_node_finished_is_not_run_here(
    bench: Bench, remote: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    uri, _ = remote
    words = ("--method", "kmeans", "--preset", "smoke", "--storage", uri)
    assert bench.run(*words).code == 0
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another node"))
    assert "already complete" in bench.run(*words).err


def test_a_place_that_cannot_be_is_one_line(bench: Bench) -> None:
    ran = bench.run("--method", "kmeans", "--storage", "nonsense://bucket/folder")
    assert ran.code == 1
    assert len(ran.err.strip().splitlines()) == 1 and "nonsense" in ran.err
