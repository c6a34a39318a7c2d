"""What a trial shows while it runs: a live picture in a terminal, a line now and then elsewhere, or nothing.

The picture goes to standard error, so that standard output holds results only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..results.grid import duration, percent
from .observer import Observer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from .spec import TrialSpec

LINE_EVERY = 10.0  # seconds between two lines where there is no terminal
REDRAWN = 5  # pictures a second
MOST_HEADS = 10  # losses of more sub-heads than this are shown as a range
BAR_WIDTH = 44
WIDTH = 100  # of the picture, if the terminal has as much
Clock = Callable[[], float]


class Watcher(Observer):
    """Follows one trial and knows how far it is; its subclasses show that. A context manager around the trial.

    Args:
        console: where to show it.
        place: which trial of how many, e.g. `(1, 3)`.
        device: what it runs on, for the heading.
        clock: seconds that only ever grow.
    """

    def __init__(
        self, console: Console, place: tuple[int, int] = (1, 1), device: str = "cpu", clock: Clock = time.monotonic
    ) -> None:
        self.console, self.place, self.device, self.clock = console, place, device, clock
        self.heading, self.planned, self.epochs, self.resumed_from = "", 0, 0, 0
        self.limit: float | None = None  # seconds of training
        self.share = 0.0  # of the epoch that is running
        self.images = 0  # in the epoch that is running
        self.started = self.epoch_started = clock()
        self.row: Mapping[str, Any] = {}
        self.notice = ""  # the last one, with its epoch

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def on_start(self, spec: TrialSpec, folder: Path, planned_epochs: int, resumed_from: int) -> None:
        self.heading = f"{spec.method} on {spec.dataset}, {spec.preset} preset, seed {spec.seed}, {self.device}"
        self.planned, self.epochs, self.resumed_from = planned_epochs, resumed_from, resumed_from
        self.limit = spec.time_limit_s
        self.started = self.epoch_started = self.clock()

    def on_plan(self, planned_epochs: int) -> None:
        self.planned = planned_epochs

    def on_step(self, done: int, total: int, images: int) -> None:
        self.share, self.images = done / max(total, 1), images

    def on_epoch(self, row: Mapping[str, Any]) -> None:
        self.row, self.epochs, self.share, self.images = row, int(row["epoch"]), 0.0, 0
        self.epoch_started = self.clock()

    def on_notice(self, epoch: int, text: str) -> None:
        self.notice = f"epoch {epoch}: {text}"

    @property
    def elapsed(self) -> float:
        """Seconds since the trial started or was taken up again."""
        return self.clock() - self.started

    @property
    def left(self) -> float | None:
        """Seconds to the last planned epoch at the pace so far, or to the time limit; None before there is a pace."""
        done = self.epochs - self.resumed_from + self.share
        if done <= 0 or not self.planned:
            return None
        to_the_end = self.elapsed / done * (self.planned - self.epochs - self.share)
        to_the_limit = to_the_end if self.limit is None else self.limit - self.elapsed
        return max(0.0, min(to_the_end, to_the_limit))

    @property
    def images_per_second(self) -> float | None:
        """Of the epoch that is running, else of the last one."""
        seconds = self.clock() - self.epoch_started
        return self.images / seconds if self.images and seconds > 0 else self.row.get("images_per_second")


class Lines(Watcher):
    """A line at the start and at most every ten seconds: for files, pipes and dumb terminals."""

    spoken = 0.0

    def on_start(self, spec: TrialSpec, folder: Path, planned_epochs: int, resumed_from: int) -> None:
        super().on_start(spec, folder, planned_epochs, resumed_from)
        again = f", going on after epoch {resumed_from}" if resumed_from else ""
        self._say(f"{_place(self.place)}{self.heading}: {planned_epochs} {_epochs(planned_epochs)}{again}")

    def on_step(self, done: int, total: int, images: int) -> None:
        super().on_step(done, total, images)
        if self.clock() - self.spoken >= LINE_EVERY:
            self._say(f"  epoch {self.epochs + 1}/{self.planned}: {self.share:.0%} of it{self._pace()}")

    def on_epoch(self, row: Mapping[str, Any]) -> None:
        super().on_epoch(row)
        if self.clock() - self.spoken >= LINE_EVERY or self.epochs == self.planned:
            told = [*(f"loss {name} {text}" for name, text in losses(row).items()), standing(row)]
            self._say(f"  epoch {self.epochs}/{self.planned}: {', '.join(part for part in told if part)}{self._pace()}")

    def on_notice(self, epoch: int, text: str) -> None:
        super().on_notice(epoch, text)
        self._say(f"  {self.notice}")

    def _pace(self) -> str:
        speed = f", {self.images_per_second:,.0f} images/s" if self.images_per_second else ""
        return speed + (f", {duration(self.left)} left" if self.left else "")

    def _say(self, line: str) -> None:
        self.spoken = self.clock()
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


class Picture(Watcher):
    """A panel that is redrawn several times a second and gone when the trial ends."""

    def __enter__(self) -> Picture:
        self.live = Live(get_renderable=self.picture, console=self.console, refresh_per_second=REDRAWN, transient=True)
        self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.live.stop()

    def picture(self) -> RenderableType:
        """How things stand now."""
        if not self.heading:
            return Text("preparing ...", style="dim")
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        table.add_row("epoch", self._progress())
        for name, text in losses(self.row).items():
            table.add_row(f"loss {name}", text)
        table.add_row("now", standing(self.row) or "first epoch")
        if self.notice:
            table.add_row("note", Text(self.notice, style="yellow"))
        speed = f"{self.images_per_second:,.0f} images/s, " if self.images_per_second else ""
        left = f"{duration(self.left)} left" if self.left is not None else "time left not known yet"
        table.add_row("time", f"{speed}{duration(self.elapsed)} gone, {left}")
        return Panel(
            table,
            title=Text(self.heading, style="bold"),
            subtitle=_place(self.place).rstrip(": "),
            title_align="left",
            width=min(WIDTH, self.console.width),
        )

    def _progress(self) -> RenderableType:
        line = Table.grid(padding=(0, 1))
        done = self.epochs + self.share
        bar = ProgressBar(total=max(self.planned, 1), completed=done, width=BAR_WIDTH)
        line.add_row(f"{self.epochs}/{self.planned}", bar, f"{done / max(self.planned, 1):.0%}")
        return line


def watcher(console: Console, place: tuple[int, int], device: str, *, quiet: bool = False) -> Watcher:
    """What fits `console`: the picture in a terminal, else lines, and nothing if `quiet`."""
    if quiet:
        return Watcher(console, place, device)
    return (Picture if console.is_terminal and not console.is_dumb_terminal else Lines)(console, place, device)


def losses(row: Mapping[str, Any]) -> dict[str, str]:
    """The losses of an epoch by name, a number for each sub-head, and the bound where one is known.

    The chosen one of the predicting head is marked with `*`.
    """
    told, floors = {}, row.get("loss_floors") or {}
    by_name: Mapping[str, Any] = row.get("losses") or {}
    for name, given in by_name.items():
        values = given if isinstance(given, list) else [given]
        predicts = len(values) > 1 and (name == "main" or len(by_name) == 1)
        marked = row.get("chosen_head") if predicts else None
        if len(values) > MOST_HEADS:
            told[name] = f"{min(values):.3f} to {max(values):.3f} in {len(values)} sub-heads"
        else:
            told[name] = "  ".join(f"{value:.3f}{'*' if head == marked else ''}" for head, value in enumerate(values))
        told[name] += f" (bound {floors[name]:.3f})" if name in floors else ""
    return told


def standing(row: Mapping[str, Any]) -> str:
    """ACC, NMI, clusters used and effective clusters of the head that the method chooses; empty before the first epoch."""
    head = row.get("chosen_head", 0)
    named = {"ACC": row.get("acc"), "NMI": row.get("nmi")}
    told = [f"{name} {percent(values[head])} %" for name, values in named.items() if values and values[head] is not None]
    used, effective = row.get("clusters_used"), row.get("effective_clusters")
    if used:
        told.append(f"{used[head]} clusters used" + (f" ({effective[head]:.1f} effectively)" if effective else ""))
    return ", ".join(told)


def _place(place: tuple[int, int]) -> str:
    number, count = place
    return f"trial {number} of {count}: " if count > 1 else ""


def _epochs(count: int) -> str:
    return "epoch" if count == 1 else "epochs"
