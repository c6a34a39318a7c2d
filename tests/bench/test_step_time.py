"""The step-time benchmark runs on real digits and says what it measured."""

import pytest

from clusterbench.bench import step_time


def test_it_prints_both_steps_and_their_ratio(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["step_time", "--dataset", "digits", "--preset", "smoke", "--steps", "4"])
    step_time.main()
    title, batch, whole, bare, ratio = capsys.readouterr().out.splitlines()
    assert title.startswith("iic on digits, preset smoke, cpu")
    assert "200 pairs a step, 250 images through the network, medians of 4 steps" in batch
    printed = [float(line.split()[2]) for line in (whole, bare)]
    assert float(ratio.removeprefix("whole / bare = ")) == pytest.approx(printed[0] / printed[1], rel=0.02)
