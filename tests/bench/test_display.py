"""What is shown while a trial runs: how far, how fast, how long still."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from trial_fakes import drift_spec, run, tiny_data

from clusterbench.bench import display
from clusterbench.bench.spec import TrialSpec

SPEC = drift_spec(tiny_data(), preset="short")


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def epoch(number: int, **given: Any) -> dict[str, Any]:
    """A row of epochs.jsonl with three sub-heads, of which the second is chosen."""
    return {
        "epoch": number,
        "losses": {"main": [-1.0, -2.125, -1.5], "auxiliary": -3.0},
        "acc": [0.1, 0.8765, 0.3],
        "nmi": [0.1, 0.7, 0.3],
        "clusters_used": [2, 9, 4],
        "chosen_head": 1,
        "images_per_second": 1234.0,
        **given,
    }


def started(
    kind: type[display.Watcher],
    *,
    planned: int = 10,
    resumed_from: int = 0,
    place: tuple[int, int] = (1, 1),
    spec: TrialSpec = SPEC,
) -> tuple[Any, Clock, io.StringIO]:
    """A watcher of a trial that has just begun, with its clock and its screen."""
    clock, screen = Clock(), io.StringIO()
    console = Console(file=screen, width=90, force_terminal=False, color_system=None)
    watcher = kind(console, place, "cpu", clock)
    watcher.on_start(spec, Path("folder"), planned, resumed_from)
    return watcher, clock, screen


def test_time_left_follows_from_the_share_that_is_done() -> None:
    watcher, clock, _ = started(display.Watcher)
    assert watcher.left is None
    clock.now += 5
    watcher.on_step(1, 4, 100)  # a quarter of the first of ten epochs took 5 s: 39 quarters are left
    assert watcher.left == pytest.approx(39 * 5)
    watcher.on_epoch(epoch(1))
    clock.now += 15
    watcher.on_epoch(epoch(2))  # two epochs took 20 s: eight are left
    assert watcher.left == pytest.approx(80)
    watcher.on_plan(6)  # four of which were found done
    assert watcher.left == pytest.approx(40)


def test_a_resumed_trial_counts_only_what_it_did_itself() -> None:
    watcher, clock, _ = started(display.Watcher, resumed_from=6)
    clock.now += 30
    watcher.on_epoch(epoch(7))
    assert watcher.left == pytest.approx(3 * 30)


def test_a_time_limit_ends_the_trial_before_its_last_epoch() -> None:
    watcher, clock, _ = started(display.Watcher, spec=SPEC.model_copy(update={"time_limit_s": 45.0}))
    clock.now += 20
    watcher.on_epoch(epoch(1))
    assert watcher.left == pytest.approx(25)


def test_speed_is_that_of_the_running_epoch_then_that_of_the_last() -> None:
    watcher, clock, _ = started(display.Watcher)
    clock.now += 2
    watcher.on_step(1, 4, 500)
    assert watcher.images_per_second == pytest.approx(250)
    watcher.on_epoch(epoch(1, images_per_second=77.0))
    assert watcher.images_per_second == 77.0


def test_lines_come_at_the_start_every_ten_seconds_and_at_the_end() -> None:
    watcher, clock, screen = started(display.Lines, planned=30, place=(2, 3))
    for number in range(1, 31):
        clock.now += 1
        watcher.on_epoch(epoch(number))
    lines = screen.getvalue().splitlines()
    assert lines[0] == "trial 2 of 3: drift on tiny, short preset, seed 6, cpu: 30 epochs"
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["epoch 10/30", "epoch 20/30", "epoch 30/30"]
    losses = "loss main -1.000  -2.125*  -1.500, loss auxiliary -3.000"
    told = f"  epoch 10/30: {losses}, ACC 87.6 %, NMI 70.0 %, 9 clusters used, 1,234 images/s, 20 s left"
    assert lines[1] == told


def test_a_long_epoch_is_heard_of_before_it_ends() -> None:
    watcher, clock, screen = started(display.Lines)
    for step in range(1, 41):
        clock.now += 1
        watcher.on_step(step, 80, step * 50)
    lines = screen.getvalue().splitlines()[1:]
    assert len(lines) == 4
    assert lines[1].startswith("  epoch 1/10: 25% of it, 50 images/s, ")


def test_a_resumed_trial_says_where_it_goes_on() -> None:
    _, _, screen = started(display.Lines, resumed_from=6)
    assert screen.getvalue().endswith("10 epochs, going on after epoch 6\n")


def test_the_picture_moves_within_an_epoch_and_shows_every_sub_head() -> None:
    watcher, clock, screen = started(display.Picture, place=(2, 6))
    clock.now += 10
    watcher.on_epoch(epoch(1))
    clock.now += 5
    watcher.on_step(1, 2, 600)
    watcher.console.print(watcher.picture())
    text = screen.getvalue()
    assert "drift on tiny, short preset, seed 6, cpu" in text
    assert "trial 2 of 6" in text
    assert "1/10" in text
    assert "15%" in text
    assert "-1.000  -2.125*  -1.500" in text
    assert "loss auxiliary  -3.000" in text
    assert "ACC 87.6 %, NMI 70.0 %, 9 clusters used" in text
    assert "120 images/s, 15 s gone, 1 min 25 s left" in text
    assert {len(line) for line in text.splitlines()} == {90}


def test_the_picture_of_the_first_moment_can_be_drawn() -> None:
    watcher, _, screen = started(display.Picture, planned=0)
    watcher.console.print(watcher.picture())
    watcher.heading = ""
    watcher.console.print(watcher.picture())
    assert "first epoch" in screen.getvalue()
    assert "preparing" in screen.getvalue()


def test_losses_of_many_sub_heads_are_a_range_and_one_loss_has_no_mark() -> None:
    many = {"losses": {"main": [-float(n) for n in range(1, 21)]}, "chosen_head": 3}
    assert display.losses(many) == {"main": "-20.000 to -1.000 in 20 sub-heads"}
    assert display.losses({"losses": {"objective": 2.5}, "chosen_head": 0}) == {"objective": "2.500"}
    assert display.losses({"losses": {"auxiliary": [1.0, 2.0], "main": [3.0, 4.0]}, "chosen_head": 1}) == {
        "auxiliary": "1.000  2.000",
        "main": "3.000  4.000*",
    }
    assert display.losses({}) == {}


def test_without_labels_only_clusters_are_told() -> None:
    assert display.standing(epoch(1, acc=[None] * 3, nmi=[None] * 3)) == "9 clusters used"
    assert display.standing({}) == ""


def test_what_is_shown_fits_the_console() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "xterm"})
    dumb = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})
    pipe = Console(file=io.StringIO(), force_terminal=False)
    assert type(display.watcher(terminal, (1, 1), "cpu")) is display.Picture
    assert type(display.watcher(dumb, (1, 1), "cpu")) is display.Lines
    assert type(display.watcher(pipe, (1, 1), "cpu")) is display.Lines
    assert type(display.watcher(terminal, (1, 1), "cpu", quiet=True)) is display.Watcher


def test_a_whole_trial_is_drawn_live_and_leaves_the_terminal_clean(tmp_path: Path, drift: type) -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=80, force_terminal=True, _environ={"TERM": "xterm"})
    data = tiny_data()
    with display.watcher(console, (1, 1), "cpu") as observer:
        run(drift_spec(data), data, tmp_path, observer=observer)
    drawn = screen.getvalue()
    assert "6/6" in drawn
    assert drawn.rstrip().endswith(("\x1b[2K", "\x1b[?25h", "\x1b[1A"))  # erased, and the cursor is back


def test_a_whole_trial_in_a_pipe_is_a_few_lines(tmp_path: Path, drift: type) -> None:
    screen = io.StringIO()
    data = tiny_data()
    with display.watcher(Console(file=screen, force_terminal=False), (1, 1), "cpu") as observer:
        run(drift_spec(data), data, tmp_path, observer=observer)
    first, last = screen.getvalue().splitlines()
    assert first == "drift on tiny, smoke preset, seed 6, cpu: 6 epochs"
    assert last.startswith("  epoch 6/6: loss main 0.500*  0.250, loss total 6.000, ACC ")
