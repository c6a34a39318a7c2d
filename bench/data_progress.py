"""How far a download or preparation has come: a live bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from rich.console import Console

LINE_EVERY = 10.0  # seconds between two lines where there is no terminal
MILLION = 10**6


class DataProgress:
    """A `datasets.source.Progress` that shows itself; nothing is shown for work that takes no time.

    Args:
        console: where to show it, usually standard error.
        heading: what is going on, e.g. `cifar10`.
        quiet: show nothing.
        clock: seconds that only ever grow.
    """

    def __init__(
        self, console: Console, heading: str = "", *, quiet: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.console, self.heading, self.quiet, self.clock = console, heading, quiet, clock
        self.live = console.is_terminal and not console.is_dumb_terminal and not quiet
        self.bar: Progress | None = None
        self.said = clock()
        self.what = ""

    def __enter__(self) -> DataProgress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.bar:
            self.bar.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """`done` of `total` of `what`; total 0 if nobody knows."""
        if self.live:
            self._draw(what, done, total)
        elif not self.quiet and self.clock() - self.said >= LINE_EVERY:
            self.said = self.clock()
            self.console.print(f"{self.heading}: {what} {amount(done, total)}".rstrip(), markup=False, highlight=False)

    def _draw(self, what: str, done: int, total: int) -> None:
        bar = self.bar = self.bar or self._started()
        text = f"{self.heading}: {what}" if self.heading else what
        if what != self.what:
            for task in bar.task_ids:
                bar.remove_task(task)
            bar.add_task(text, total=total or None, amount="")
            self.what = what
        bar.update(bar.task_ids[-1], completed=done, total=total or None, amount=amount(done, total))

    def _started(self) -> Progress:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[amount]}"), TimeRemainingColumn())
        bar = Progress(*columns, console=self.console, transient=True)
        bar.start()
        return bar


def amount(done: int, total: int) -> str:
    """`12,000 of 50,000`; in millions where both are large (bytes)."""
    if not total:
        return f"{done:,}" if done else ""
    if total > 100 * MILLION:
        return f"{done / MILLION:,.0f} of {total / MILLION:,.0f} million"
    return f"{done:,} of {total:,}"
