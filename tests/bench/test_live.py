"""What is shown while many trials run: right counts, a time left that can be worked out by hand, and never more than fits."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console
from trial_fakes import drift_spec, tiny_data

from clusterbench.bench.live import ManyTrials, own_loss
from clusterbench.bench.scheduling.events import Listener, Listeners, Planned, Progress
from clusterbench.bench.tally import Tally, heading
from clusterbench.results.record import Record

SPEC = drift_spec(tiny_data(), preset="short")


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def trials(n: int, done: int = 0, **about: Any) -> list[Planned]:
    """`n` trials that differ in their seed, of which the first `done` were finished before."""
    specs = [SPEC.model_copy(update={"seed": seed, **about}) for seed in range(n)]
    prefix = about.get("method", "")
    return [Planned(f"{prefix}{seed}", spec, record() if seed < done else None) for seed, spec in enumerate(specs)]


def record(seconds: float | None = None, acc: float | None = 0.5, **fields: Any) -> Record:
    metrics = {"own-loss": {"acc": acc}, "oracle": {"acc": 0.99}}
    return Record(
        **{
            "id": "0123456789ab",
            "created": "2026-01-01",
            "status": "complete",
            "spec": {},
            "metrics": metrics,
            "cost": {"total_seconds": seconds},
            "epochs_done": 10,
            **fields,
        }
    )


def row(epoch: int, **given: Any) -> dict[str, Any]:
    """A row of epochs.jsonl with three sub-heads, of which the second is chosen."""
    losses = {"auxiliary": -3.0, "main": [-1.0, -2.125, -1.5]}
    return {"epoch": epoch, "losses": losses, "acc": [0.1, 0.8765, 0.3], "chosen_head": 1, "images_per_second": 1234.0, **given}


def shown(width: int = 100, height: int = 50, terminal: bool = True, **options: Any) -> tuple[ManyTrials, Clock, io.StringIO]:
    """The display with its clock and its screen. The live picture is not started: tests draw it themselves."""
    clock, screen = Clock(), io.StringIO()
    environment = {"TERM": "xterm"}
    console = Console(
        file=screen, width=width, height=height, force_terminal=terminal, color_system=None, _environ=environment, highlight=False
    )
    display = ManyTrials(console, clock=clock, **options)
    display.draws = False
    return display, clock, screen


def drawn(display: ManyTrials, screen: io.StringIO) -> list[str]:
    screen.truncate(0)
    screen.seek(0)
    display.console.print(display.picture())
    return screen.getvalue().splitlines()


def tally(n: int, done: int = 0) -> tuple[Tally, Clock]:
    clock = Clock()
    counted = Tally(clock)
    counted.on_plan(trials(n, done))
    return counted, clock


def test_time_left_is_that_of_the_work_over_the_places_it_is_done_in() -> None:
    counted, clock = tally(10)
    assert counted.left is None
    for key in ("0", "1"):
        counted.on_start(key, "here", 1)
    assert counted.left is None  # nothing is known of the pace
    clock.now += 20
    counted.on_epoch("0", row(2, train_seconds=9.0, evaluate_seconds=1.0))
    assert counted.left is None  # nobody has said how many epochs there are
    counted.on_progress("0", Progress(2, 10))
    counted.on_progress("1", Progress(0, 10, share=0.5))
    # Trial 0 was resumed after its first epoch; the second took 10 s, so 8 more take 80 s, and all that is seen of it 100 s.
    # Trial 1 did half an epoch in 20 s, so 9.5 more take 380 s, and the whole of it 400 s.
    # The eight that wait take as long as the mean of these, 250 s each. All that in two places:
    assert counted.running["0"].left(clock()) == pytest.approx(80)
    assert counted.running["1"].left(clock()) == pytest.approx(380)
    assert counted.left == pytest.approx((80 + 380 + 8 * 250) / 2)


def test_finished_trials_say_how_long_waiting_ones_take() -> None:
    counted, clock = tally(10)
    for key in ("0", "1"):
        counted.on_start(key, "here", 1)
    clock.now += 30
    counted.on_finish("0", record(28.0))  # held its place for 30 s
    counted.on_start("2", "here", 1)
    clock.now += 10
    counted.on_finish("1", record(70.0))  # was resumed: seen for 40 s, but it took 70
    counted.on_start("3", "here", 1)
    clock.now += 5
    # A trial takes 50 s. Trial 2 has 15 s behind it, trial 3 has 5; six more wait.
    assert counted.left == pytest.approx((35 + 45 + 6 * 50) / 2)


def test_the_longest_running_trial_decides_at_the_end() -> None:
    counted, clock = tally(2)
    for key in ("0", "1"):
        counted.on_start(key, "here", 1)
    clock.now += 10
    counted.on_progress("0", Progress(0, 10, share=0.5))  # 190 s left
    counted.on_progress("1", Progress(9, 10, share=0.0))
    clock.now += 10
    counted.on_progress("1", Progress(9, 10, share=0.5))
    # Trial 1 was first heard of in its tenth epoch, of which it did half in 10 s: 10 s left. Trial 0: 20 s for half an epoch.
    assert counted.running["1"].left(clock()) == pytest.approx(10)
    assert counted.left == pytest.approx(20 / 0.5 * 9.5)
    counted.on_fail("0", "gone", None)
    assert counted.left == pytest.approx(10)
    counted.on_finish("1", record())
    assert counted.left == 0.0


def test_kinds_of_trials_are_told_apart_in_what_they_take() -> None:
    clock = Clock()
    counted = Tally(clock)
    counted.on_plan([*trials(4, method="slow"), *trials(4, method="fast"), *trials(4, method="new")])
    counted.on_start("slow0", "here", 1)
    clock.now += 100
    counted.on_finish("slow0", record())
    counted.on_start("fast0", "here", 1)
    clock.now += 2
    counted.on_finish("fast0", record())
    assert counted.left == pytest.approx(3 * 100 + 3 * 2 + 4 * 51)  # nothing is known of the new method but the others' mean


def test_fewer_places_make_the_rest_take_longer() -> None:
    counted, clock = tally(9)
    for key in "0123":
        counted.on_start(key, "here", 1)
    clock.now += 10
    for key in "0123":
        counted.on_retry(key, "no memory", 1)
    counted.on_start("0", "here", 2)
    clock.now += 10
    counted.on_finish("0", record())
    counted.on_start("1", "here", 2)
    assert counted.left == pytest.approx(8 * 10)


def test_a_time_limit_ends_a_trial_before_its_last_epoch() -> None:
    clock = Clock()
    counted = Tally(clock)
    counted.on_plan(trials(1, time_limit_s=45.0))
    counted.on_start("0", "here", 1)
    clock.now += 20
    counted.on_progress("0", Progress(0, 100, share=0.9))
    assert counted.left == pytest.approx(25)


def test_a_start_that_is_heard_of_late_does_not_make_a_trial_look_fast() -> None:
    counted, clock = tally(1)
    clock.now += 10
    counted.on_start("0", "here", 1)
    counted.on_epoch("0", row(1, train_seconds=8.0, evaluate_seconds=1.0))
    counted.on_progress("0", Progress(1, 11))
    assert counted.left == pytest.approx(90)


def test_counts_stay_right_whatever_order_things_happen_in() -> None:
    counted, _ = tally(8, done=2)
    assert counted.states == {"done": 2, "waiting": 6}
    assert counted.before == 2
    counted.on_start("2", "here", 1)
    counted.on_start("3", "here", 1)
    counted.on_retry("3", "killed", 1)
    counted.on_start("3", "there", 2)
    counted.on_retry("4", "its worker died before it was heard of", 1)
    counted.on_fail("5", "no data", None)
    counted.on_finish("2", record())
    counted.on_epoch("2", row(9))  # late
    counted.on_progress("2", Progress(9, 9))
    assert {state: n for state, n in counted.states.items() if n} == {"done": 3, "running": 1, "waiting": 3, "failed": 1}
    assert list(counted.running) == ["3"]
    assert counted.share == pytest.approx(4 / 8)
    counted.on_progress("3", Progress(1, 4, share=0.0))
    assert counted.share == pytest.approx(4.25 / 8)
    counted.on_plan([*trials(8), *trials(3, method="later")])  # a search asks for more
    assert counted.total == 11
    assert counted.states["waiting"] == 6


def busy(display: ManyTrials, clock: Clock, n_running: int, n_finished: int, n_failed: int) -> None:
    """A sweep in full swing, with long names and one note."""
    spec = {"dataset": "folder:/a/very/long/path/to/a/data/set", "overrides": {"lr": 0.001, "batch_size": 128}}
    display.on_plan(trials(1200, done=7, **spec))
    keys = iter(range(7, 1200))
    for key in (next(keys) for _ in range(n_running)):
        display.on_start(str(key), "worker-17.cluster.example.org cuda:3", 1)
        clock.now += 1
        display.on_epoch(str(key), row(3))
        display.on_progress(str(key), Progress(3, 2000, share=0.5, images_per_second=98765.4))
    for key in (next(keys) for _ in range(n_finished)):
        display.on_start(str(key), "here", 1)
        display.on_finish(str(key), record(3725.0))
    for key in (next(keys) for _ in range(n_failed)):
        display.on_start(str(key), "here", 1)
        display.on_fail(str(key), "the loss is not finite:\n" + "nan " * 80, Path("/somewhere/record.json"))
    display.on_note("From now on 4 trials run at a time instead of 8, " + "because of memory " * 10)


@pytest.mark.parametrize("width", [20, 60, 100, 200])
@pytest.mark.parametrize("height", [5, 10, 50])
@pytest.mark.parametrize(("n_running", "n_finished", "n_failed"), [(0, 0, 0), (3, 1, 1), (64, 30, 40), (64, 0, 0), (0, 9, 9)])
def test_the_picture_fits_every_terminal(width: int, height: int, n_running: int, n_finished: int, n_failed: int) -> None:
    display, clock, screen = shown(width, height)
    busy(display, clock, n_running, n_finished, n_failed)
    lines = drawn(display, screen)
    assert len(lines) <= max(height - 1, 6)
    assert max(map(cell_len, lines)) <= width


def test_what_does_not_fit_is_counted() -> None:
    display, clock, screen = shown(120, 20)
    busy(display, clock, 64, 30, 40)
    lines = drawn(display, screen)
    assert lines[0] == "trials: 37 of 1,200 done, 64 running, 1,059 waiting, 40 failed"
    assert lines[2].startswith("From now on 4 trials run at a time")
    rows = [line for line in lines if re.search(r" 3/2000 ", line)]
    finished = [line for line in lines if line.startswith("done: drift on folder")]
    failures = [line for line in lines if line.startswith("failed: drift on folder")]
    assert f"... and {64 - len(rows)} more" in [line.strip() for line in lines]
    assert f"... and {40 - len(failures)} more failed" in [line.strip() for line in lines]
    assert min(len(rows), len(finished), len(failures)) >= 3
    assert len(rows) + len(finished) + len(failures) + 2 + 1 + 3 == len(lines) == 19


def test_a_running_trial_shows_where_how_far_how_well_how_fast_and_how_long() -> None:
    display, clock, screen = shown(130, title="sweep iic on mnist")
    display.on_plan(trials(3, overrides={"lr": 0.01}))
    display.on_start("1", "node-2 cuda:0", 1)
    clock.now += 30
    display.on_epoch("1", row(1))
    display.on_progress("1", Progress(1, 4, share=0.0, images_per_second=5678.0))
    first, second, heads, line = drawn(display, screen)
    assert first == "sweep iic on mnist: 0 of 3 done, 1 running, 2 waiting"
    assert re.fullmatch(r"━+╸ +8%, 30 s gone, about 5 min 30 s left *", second)  # 90 s, then 2 * 120 s
    assert heads.split() == ["trial", "where", "epoch", "loss", "ACC", "%", "images/s", "left"]
    assert re.match(r"drift on tiny, seed 1, lr=0\.01 +node-2 cuda:0 ", line)
    assert re.search(r" 1/4 +━+ +-2\.125 +87\.6 +5,678 +1 min 30 s", line)


def test_a_trial_that_has_said_nothing_and_one_without_labels_can_be_drawn() -> None:
    display, clock, screen = shown(100)
    display.on_plan(trials(2))
    display.on_start("0", "here", 1)
    display.on_start("1", "here", 1)
    clock.now += 1
    display.on_epoch("1", row(1, acc=[None, None, None], losses={}, images_per_second=None))
    lines = drawn(display, screen)
    assert "starting" in lines[3]
    assert lines[4].split()[-5:] == ["1", "-", "-", "-", "-"]


def test_finished_and_failed_trials_are_told_with_results_and_reasons() -> None:
    display, _, screen = shown(200)
    display.on_plan(trials(4))
    display.on_finish("0", record(75.0, acc=0.8123))
    display.on_finish("1", record(5.0, acc=None, status="stopped", stop_reason="pruned", epochs_done=3))
    display.on_fail("2", "it diverged.", Path("out/record.json"))
    lines = drawn(display, screen)[2:]
    assert [line.strip() for line in lines] == [
        "done: drift on tiny, seed 0: ACC 81.2 %, 1 min 15 s",
        "done: drift on tiny, seed 1: 5.0 s, pruned after epoch 3",
        "failed: drift on tiny, seed 2: it diverged. (more in out/record.json)",
    ]


def test_long_names_lose_their_middle_before_results_and_reasons_are_cut_off() -> None:
    display, _, screen = shown(60)
    busy(display, Clock(), 2, 1, 1)
    running, _, finished, failure = drawn(display, screen)[4:]
    assert running.startswith("drift on …01, batch_size=128  ")
    assert re.fullmatch(r"done: drift on .*….* batch_size=128: ACC 50\.0 %, 1 h 02 min", finished)
    assert re.fullmatch(r"failed: drift on.*….* batch_size=128: the loss is not finite: …", failure)


def test_the_last_failure_is_told_even_in_the_lowest_terminal() -> None:
    display, clock, screen = shown(100, 10)
    busy(display, clock, 20, 5, 3)
    assert drawn(display, screen)[-1].startswith("failed: ")


def test_markup_in_reasons_is_shown_as_it_is() -> None:
    display, _, screen = shown(200)
    display.on_plan(trials(2))
    display.on_fail("0", "size mismatch [3, 4] [/bold]", None)
    display.on_note("see [link]")
    text = "\n".join(drawn(display, screen))
    assert "size mismatch [3, 4] [/bold]" in text
    assert "see [link]" in text


def test_plain_lines_tell_each_change_once_and_a_summary_every_half_minute() -> None:
    display, clock, screen = shown(100, terminal=False, title="suite quick")
    display.on_plan(trials(4, done=1))
    display.on_start("1", "this node, cpu", 1)
    for epoch in range(1, 41):
        clock.now += 1
        display.on_epoch("1", row(epoch))
        display.on_progress("1", Progress(epoch, 40))
    display.on_retry("1", "its process was killed.", 1)
    display.on_start("1", "this node, cpu", 2)
    display.on_finish("1", record(80.0))
    display.on_retry("2", "it broke.", 0)
    display.on_fail("2", "it broke again.", Path("log"))
    display.on_note("One trial at a time from now on.")
    display.on_end()
    display.on_end()
    assert screen.getvalue().splitlines()[:-1] == [
        "suite quick: 4 in all, 1 done before, 3 to run",
        "started: drift on tiny, seed 1 (this node, cpu)",
        "suite quick: 1 of 4 done, 1 running, 2 waiting; 30 s gone, about 1 min 30 s left",  # 10 s, then 2 * 40 s
        "broke: drift on tiny, seed 1: its process was killed. It is taken up again (1 more try after this).",
        "started: drift on tiny, seed 1 (this node, cpu, attempt 2)",
        "finished 2 of 4: drift on tiny, seed 1: ACC 50.0 %, 1 min 20 s",
        "broke: drift on tiny, seed 2: it broke. It is taken up again (the last try).",
        "failed: drift on tiny, seed 2: it broke again. (more in log)",
        "One trial at a time from now on.",
        "suite quick: 2 of 4 done, 0 running, 1 waiting, 1 failed; 40 s gone, about 1 min 20 s left",
    ]


def test_troubles_that_another_listener_prints_are_not_said_twice() -> None:
    display, _, screen = shown(terminal=False, troubles=False)
    display.on_plan(trials(1))
    display.on_retry("0", "it broke.", 1)
    display.on_note("a note")
    display.on_fail("0", "it broke.", None)
    assert screen.getvalue().splitlines() == ["trials: 1 in all, 0 done before, 1 to run"]


def test_nothing_is_shown_when_quiet() -> None:
    for terminal in (True, False):
        screen = io.StringIO()
        console = Console(file=screen, force_terminal=terminal, _environ={"TERM": "xterm"})
        display = ManyTrials(console, quiet=True)
        display.on_plan(trials(2))
        display.on_start("0", "here", 1)
        display.on_fail("0", "it broke.", None)
        display.on_end()
        assert screen.getvalue() == ""


def test_results_of_others_stand_above_the_live_picture_which_leaves_nothing_behind() -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=80, height=20, force_terminal=True, color_system=None, _environ={"TERM": "xterm"})

    class Results(Listener):
        live_while_printing: bool | None = None

        def on_finish(self, key: str, record: Record) -> None:
            self.live_while_printing = display.live is not None
            screen.write(f"RESULT {key}\n")  # on another stream to the same terminal

    results = Results()
    with ManyTrials(console, title="many") as display:
        listeners = Listeners([display, display.above(results)])
        listeners.on_plan(trials(2))
        listeners.on_start("0", "here", 1)
        listeners.on_finish("0", record(1.0))
        assert display.live is not None
        assert display.live.is_started
    assert results.live_while_printing is False
    assert display.live is None
    assert "RESULT 0" in visible_lines(screen.getvalue())
    assert visible_lines(screen.getvalue()) == ["RESULT 0"]


def visible_lines(written: str) -> list[str]:
    """What a terminal shows in the end: the control sequences that rich uses, interpreted."""
    lines, at = [""], 0
    for part in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", written):
        if part == "\n":
            at += 1
            lines.extend([""] * (at + 1 - len(lines)))
        elif part.endswith("A"):
            at -= int(part[2:-1] or 1)
        elif part.endswith("K"):
            lines[at] = ""
        elif not part.startswith("\x1b") and part != "\r":
            lines[at] += part
    return [line for line in lines if line.strip()]


def test_an_error_amid_trials_leaves_the_terminal_clean() -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=80, height=20, force_terminal=True, color_system=None, _environ={"TERM": "xterm"})
    with pytest.raises(KeyboardInterrupt), ManyTrials(console) as display:  # noqa: PT012
        display.on_plan(trials(2))
        raise KeyboardInterrupt
    assert visible_lines(screen.getvalue()) == []
    assert screen.getvalue().rindex("\x1b[?25h") > screen.getvalue().rindex("\x1b[?25l")  # the cursor is back


def test_the_own_loss_is_that_of_the_head_that_predicts() -> None:
    assert own_loss(row(1)) == -2.125
    assert own_loss({"losses": {"objective": 2.5}, "chosen_head": 0}) == 2.5
    assert own_loss({"losses": {"total": [7.0]}, "chosen_head": 4}) == 7.0
    assert own_loss({"losses": {}}) is None


def test_trials_of_a_sweep_are_told_apart_by_what_was_changed() -> None:
    first, second = trials(1, overrides={"lr": 0.01}), trials(1, overrides={"lr": 0.1, "net.width": 8})
    assert heading(first[0]) == "drift on tiny, seed 0, lr=0.01"
    assert heading(second[0]) == "drift on tiny, seed 0, lr=0.1, net.width=8"
