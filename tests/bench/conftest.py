"""Makes `trial_fakes` and `cli_tools` importable, registers the fake method and readies the command line where a test asks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import cli_tools

sys.path.append(str(Path(__file__).parent))


@pytest.fixture
def drift() -> Iterator[type]:
    """The method `drift`, registered for one test."""
    import trial_fakes

    with trial_fakes.registered(trial_fakes.Drift):
        yield trial_fakes.Drift


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> cli_tools.Bench:
    """The command line, working in an empty folder of its own."""
    import cli_tools

    monkeypatch.chdir(tmp_path)
    return cli_tools.Bench(capsys, tmp_path / "bench-results")
