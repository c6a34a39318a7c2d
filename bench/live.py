"""What many trials show while they run: one live picture in a terminal, plain lines elsewhere, or nothing.

It goes to standard error, so that standard output holds results only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..results.grid import NONE, duration, percent
from ..results.record import Record
from .display import REDRAWN
from .scheduling.events import Listener, Listeners, Planned, Progress
from .tally import Clock, Over, Running, Tally, heading

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

SUMMARY_EVERY = 30.0  # seconds between two summaries where there is no terminal
MOST_FINISHED = 5
GAP = 2  # spaces between two columns
NARROWEST_HEADING = 8
Item = TypeVar("Item")


class Column(NamedTuple):
    """A column of the table of running trials, shown in terminals at least `needs` wide."""

    title: str
    width: int
    needs: int


COLUMNS = {
    "where": Column("where", 18, 120),
    "epoch": Column("epoch", 9, 0),
    "bar": Column("", 8, 100),
    "loss": Column("loss", 8, 80),
    "acc": Column("ACC %", 6, 0),
    "speed": Column("images/s", 9, 90),
    "left": Column("left", 11, 0),
}


class ManyTrials(Tally):
    """Shows many trials on `console`. A context manager, so that an error leaves the terminal clean.

    Args:
        console: usually standard error's.
        quiet: show nothing.
        clock: seconds that only ever grow.
        title: what these trials are, e.g. `suite table1`.
        troubles: say retries, failures and notes in plain lines; False where another listener prints them.
    """

    def __init__(
        self,
        console: Console,
        *,
        quiet: bool = False,
        clock: Clock = time.monotonic,
        title: str = "trials",
        troubles: bool = True,
    ) -> None:
        super().__init__(clock)
        self.console, self.title, self.troubles = console, title, troubles
        self.draws = console.is_terminal and not console.is_dumb_terminal and not quiet
        self.speaks = not self.draws and not quiet
        self.note = ""
        self.live: Live | None = None
        self.summed_up = clock()

    def __enter__(self) -> ManyTrials:
        return self

    def __exit__(self, *error: object) -> None:
        self._hide()

    def above(self, listener: Listener) -> Listener:
        """`listener`, whose printing stands above the picture, whichever stream it goes to."""
        return _Above(self, listener)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """The picture is gone inside, and comes back below what was printed meanwhile."""
        was_live = self.live is not None
        self._hide()
        try:
            yield
        finally:
            if was_live:
                self._show()

    def on_plan(self, trials: Sequence[Planned]) -> None:
        super().on_plan(trials)
        self._say(f"{self.title}: {self.total:,} in all, {self.before:,} done before, {self.states['waiting']:,} to run")
        self._show()

    def on_start(self, key: str, where: str, attempt: int) -> None:
        super().on_start(key, where, attempt)
        again = f", attempt {attempt}" if attempt > 1 else ""
        self._say(f"started: {heading(self.trials[key])} ({where}{again})")

    def on_progress(self, key: str, progress: Progress) -> None:
        super().on_progress(key, progress)
        self._sum_up()

    def on_epoch(self, key: str, row: Mapping[str, Any]) -> None:
        super().on_epoch(key, row)
        for notice in row.get("notices") or ():
            self.note = f"{heading(self.trials[key])}, epoch {row['epoch']}: {notice}"
            self._say_trouble(self.note)
        self._sum_up()

    def on_finish(self, key: str, record: Record) -> None:
        super().on_finish(key, record)
        self._say(f"finished {self.states['done']:,} of {self.total:,}: {self.finished[-1].told}")

    def on_retry(self, key: str, reason: str, attempts_left: int) -> None:
        super().on_retry(key, reason, attempts_left)
        left = f"{attempts_left} more {'try' if attempts_left == 1 else 'tries'} after this" if attempts_left else "the last try"
        self.note = f"broke: {heading(self.trials[key])}: {reason} It is taken up again ({left})."
        self._say_trouble(self.note)

    def on_fail(self, key: str, reason: str, log: Path | None) -> None:
        super().on_fail(key, reason, log)
        self._say_trouble(f"failed: {self.failed[-1].told}")

    def on_note(self, text: str) -> None:
        self.note = text
        self._say_trouble(text)

    def on_end(self) -> None:
        self._hide()
        self._say(f"{self.title}: {self.summary}")

    @property
    def summary(self) -> str:
        """Counts and times in a line."""
        return f"{self._counts}; {self._times}"

    def picture(self) -> RenderableType:
        """How things stand now, in no more lines than the terminal has."""
        head = [self._first_line(), self._second_line()]
        if self.note:
            head.append(_line(self.note, "yellow"))
        room = max(self.console.height - 1 - len(head), 3)  # the cursor stands in the last line
        failures = self._failures(max(1, room // 4))
        finished = [self._over("done", each, "dim") for each in _last(self.finished, min(MOST_FINISHED, room // 5))]
        return Group(*head, *self._running(room - len(failures) - len(finished)), *finished, *failures)

    def _first_line(self) -> Text:
        failed = (f", {self.states['failed']:,} failed" if self.states["failed"] else "", "red")
        return _line(Text.assemble((self.title, "bold"), f": {self._counts_but_failed}", failed))

    def _second_line(self) -> RenderableType:
        told = f"{self.share:.0%}, {self._times}"
        line = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=1.0, completed=self.share, width=max(self.console.width - len(told) - 2, 4))
        line.add_row(bar, _line(told))
        return line

    @property
    def _counts_but_failed(self) -> str:
        states = self.states
        return f"{states['done']:,} of {self.total:,} done, {states['running']:,} running, {states['waiting']:,} waiting"

    @property
    def _counts(self) -> str:
        failed = self.states["failed"]
        return self._counts_but_failed + (f", {failed:,} failed" if failed else "")

    @property
    def _times(self) -> str:
        left = self.left
        rest = "time left not known yet" if left is None else f"about {duration(left)} left"
        return f"{duration(self.elapsed)} gone, {rest}"

    def _running(self, room: int) -> list[RenderableType]:
        """The table of running trials, in `room` lines with its heading."""
        running = tuple(self.running.values())
        if not running or room < 2:
            return []
        shown, hidden = _fitting(running, room - 1)
        columns = {name: column for name, column in COLUMNS.items() if self.console.width >= column.needs}
        taken = sum(column.width + GAP for column in columns.values())
        table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim")
        name_width = max(self.console.width - taken, NARROWEST_HEADING)
        table.add_column("trial", no_wrap=True, width=name_width)
        for name, column in columns.items():
            side = "left" if name in ("where", "bar") else "right"
            table.add_column(column.title, justify=side, width=column.width, no_wrap=True)
        now = self.clock()
        for each in shown:
            cells = _cells(each, now)
            table.add_row(Text(_shortened(heading(each.trial), name_width)), *(cells[name] for name in columns))
        return [table, _line(f"... and {hidden:,} more", "dim")] if hidden else [table]

    def _failures(self, room: int) -> list[RenderableType]:
        n = self.states["failed"]
        shown = _last(self.failed, room if n <= room else max(room - 1, 1))
        lines: list[RenderableType] = [self._over("failed", each, "red") for each in shown]
        if len(lines) < min(n, room):
            lines.append(_line(f"... and {n - len(shown):,} more failed", "red"))
        return lines

    def _over(self, state: str, over: Over, style: str) -> RenderableType:
        """A trial that is over; of its heading what its outcome leaves room for, but half of the line if it is longer."""
        width = self.console.width - len(f"{state}: : ")
        room = max(width - len(over.outcome), width // 2)
        return _line(f"{state}: {_shortened(over.heading, room)}: {over.outcome}", style)

    def _show(self) -> None:
        if self.draws and self.live is None:
            # A new one each time: one that was stopped would erase what was printed since.
            self.live = Live(get_renderable=self.picture, console=self.console, refresh_per_second=REDRAWN, transient=True)
            self.live.start()

    def _hide(self) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None

    def _say_trouble(self, text: str) -> None:
        if self.troubles:
            self._say(text)

    def _say(self, line: str) -> None:
        if self.speaks:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)
            self._sum_up()

    def _sum_up(self) -> None:
        if self.speaks and self.clock() - self.summed_up >= SUMMARY_EVERY:
            self.summed_up = self.clock()
            self.console.print(f"{self.title}: {self.summary}", markup=False, highlight=False, soft_wrap=True)


class _Above(Listeners):
    """Passes everything on to a listener, with the picture put aside where that may print."""

    def __init__(self, picture: ManyTrials, listener: Listener) -> None:
        super().__init__([listener])
        self.picture = picture

    def on_plan(self, trials: Sequence[Planned]) -> None:
        with self.picture.aside():
            super().on_plan(trials)

    def on_finish(self, key: str, record: Record) -> None:
        with self.picture.aside():
            super().on_finish(key, record)

    def on_retry(self, key: str, reason: str, attempts_left: int) -> None:
        with self.picture.aside():
            super().on_retry(key, reason, attempts_left)

    def on_fail(self, key: str, reason: str, log: Path | None) -> None:
        with self.picture.aside():
            super().on_fail(key, reason, log)

    def on_note(self, text: str) -> None:
        with self.picture.aside():
            super().on_note(text)

    def on_end(self) -> None:
        with self.picture.aside():
            super().on_end()


def own_loss(row: Mapping[str, Any]) -> float | None:
    """The loss of the sub-head that the method predicts with at present: of `main` where there are several losses."""
    by_name: Mapping[str, Any] = row.get("losses") or {}
    if not by_name:
        return None
    given = by_name["main"] if "main" in by_name else next(iter(by_name.values()))
    values = given if isinstance(given, list) else [given]
    return values[row.get("chosen_head", 0) if len(values) > 1 else 0]


def _cells(running: Running, now: float) -> dict[str, RenderableType]:
    row, epochs = running.row, int(running.done)
    accuracies, loss = row.get("acc"), own_loss(row)
    speed, left = running.images_per_second, running.left(now)
    return {
        "where": running.where,
        "epoch": f"{epochs}/{running.planned}" if running.planned else str(epochs or "starting"),
        "bar": ProgressBar(total=1.0, completed=running.share, width=COLUMNS["bar"].width),
        "loss": NONE if loss is None else f"{loss:.3f}",
        "acc": percent(accuracies[row.get("chosen_head", 0)]) if accuracies else NONE,
        "speed": f"{speed:,.0f}" if speed else NONE,
        "left": duration(left),
    }


def _line(text: str | Text, style: str = "") -> Text:
    """One line, cut off at the edge of the terminal."""
    line = Text(" ".join(text.split()), style=style) if isinstance(text, str) else text
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def _shortened(text: str, width: int) -> str:
    """`text` without its middle where it is too long: what tells trials apart stands at both ends."""
    end = width * 2 // 3
    return text if len(text) <= width else f"{text[: width - end - 1]}…{text[len(text) - end :]}"


def _fitting(items: Sequence[Item], room: int) -> tuple[Sequence[Item], int]:
    """As many of `items` as fit with a line that says how many do not, and that number."""
    shown = items if len(items) <= room else items[: room - 1]
    return shown, len(items) - len(shown)


def _last(items: Sequence[Item], n: int) -> Sequence[Item]:
    """The last `n`, of those that are remembered."""
    return tuple(items)[-n:] if n > 0 else ()
