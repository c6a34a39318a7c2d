"""Growth is fitted rightly, and every case does its work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clusterbench.bench.profile.growth import CASES, board_of, exponent, main, measured, pictures


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_exponent_of_a_power_law_is_its_power(power: float) -> None:
    sizes = np.array([10, 100, 1000])
    assert exponent(sizes, 3 * sizes**power) == pytest.approx(power)


def test_pictures_fall_into_ten_patterns() -> None:
    pixels = pictures(30).pixels.int()
    assert pixels.shape == (30, 1, 16, 16)
    same, other = (pixels[0] - pixels[10]).abs(), (pixels[0] - pixels[1]).abs()
    assert same.max() < 56 < other.max()


def test_board_ranks_all_trials(tmp_path: Path) -> None:
    assert len(board_of(12, tmp_path)().rows) == 3  # five seeds a method


@pytest.mark.parametrize("case", CASES)
def test_a_small_size_of_every_case_is_measured(case: str) -> None:
    point = measured(case, 20)
    assert point.size == 20 and point.seconds > 0


def test_command_prints_exponents(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--only", "pairs", "--largest", "1000"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == CASES["pairs"].what and lines[-1].startswith("    ")
    assert any(line.startswith("    time grows with the power ") for line in lines)
