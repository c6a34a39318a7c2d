"""The stopwatch counts every moment once, for the innermost stage."""

from __future__ import annotations

import pytest

from clusterbench.bench.profile.stopwatch import Stopwatch


def at(times: list[float]) -> Stopwatch:
    """A stopwatch whose clock shows `times` one after the other."""
    shown = iter(times)
    return Stopwatch("cpu", lambda: next(shown))


def test_nested_stages_do_not_count_twice() -> None:
    watch = at([0, 1, 3, 7, 15, 31])  # made, enter a, enter b, leave b, leave a, take
    watch.enter("a")
    watch.enter("b")
    watch.leave()
    watch.leave()
    assert watch.take() == {"other": 1 + 16, "a": 2 + 8, "b": 4}


def test_background_after_an_outermost_stage_holds_until_another_ends() -> None:
    watch = at([0, 1, 2, 5, 6, 8])
    watch.enter("forward")
    watch.leave(background="loss")
    watch.enter("backward")
    watch.leave()
    assert watch.take() == {"other": 1 + 2, "forward": 1, "loss": 3, "backward": 1}


def test_time_before_a_restart_is_forgotten() -> None:
    watch = at([0, 100, 101])
    watch.restart()
    assert watch.take() == {"other": 1}


def test_stage_ends_when_its_work_breaks() -> None:
    watch = at([0, 1, 4, 6])
    with pytest.raises(ValueError, match="broken"), watch.stage("a"):
        raise ValueError("broken")
    assert watch.take() == {"other": 1 + 2, "a": 3}
