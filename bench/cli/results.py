"""What a person sees of finished trials: a card for one, a line for each of several and a summary at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ...results.record import Record
from .. import card
from ..scheduling.events import Listener, Planned
from .errors import say

SVG_WIDTH = 100


class Results(Listener):
    """Prints results to standard output, and on standard error what went wrong.

    Args:
        quiet: print results only.
        said: folders that the suggested commands must name too: `out`, `data_root`.
        viewer: asked at the end for the command that shows what the tracker got; None if there is none.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        said: Mapping[str, Path | None] | None = None,
        viewer: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.quiet, self.said, self.viewer = quiet, dict(said or {}), viewer
        self.console, self.progress = Console(highlight=False), Console(stderr=True, highlight=False)
        self.trials: dict[str, Planned] = {}
        self.records: list[Record] = []
        self.failures: list[tuple[str, str]] = []

    def on_plan(self, trials: Sequence[Planned]) -> None:
        self.trials = {trial.key: trial for trial in trials}
        for trial in trials:
            if trial.done is not None:
                ended = "already complete" if trial.done.is_complete else f"stopped by its {trial.done.stop_reason} before"
                self.on_note(f"{trial.heading}: {ended}, not run again (--force would)")
                self.on_finish(trial.key, trial.done)

    def on_finish(self, key: str, record: Record) -> None:
        self.records.append(record)
        if self.is_one:
            card.show(self.console, record, self._next_steps())
        else:
            card.show_line(self.console, record)

    def on_retry(self, key: str, reason: str, attempts_left: int) -> None:
        again = f"{attempts_left} more {'try' if attempts_left == 1 else 'tries'} after this" if attempts_left else "the last try"
        say(f"{self.trials[key].heading}: {reason} It is taken up again ({again}).")

    def on_fail(self, key: str, reason: str, log: Path | None) -> None:
        more = f" (more in {log})" if log else ""
        say(f"{self.trials[key].heading}: {reason}")
        self.failures.append((self.trials[key].heading, reason + more))

    def on_note(self, text: str) -> None:
        if not self.quiet:
            self.progress.print(text, markup=False, soft_wrap=True)

    @property
    def is_one(self) -> bool:
        return len(self.trials) == 1

    def conclude(self, svg: Path | None = None) -> None:
        """The summary of several, and the picture."""
        if not self.is_one and (self.records or self.failures):
            card.show_summary(self.console, self.records, self.failures)
            if self.records:
                card.show_next(self.console, self._next_steps())
        if svg and self.records:
            self._draw(svg)

    def _next_steps(self) -> list[str]:
        return card.next_steps(self.records, viewer=self.viewer(), **self.said)

    def _draw(self, path: Path) -> None:
        """The same results as an SVG picture of a terminal, without the fonts that rich would have it fetch from the network."""
        import io
        import re

        looks: dict[str, Any] = {"force_terminal": True, "color_system": "truecolor", "highlight": False}
        canvas = Console(record=True, file=io.StringIO(), width=SVG_WIDTH, **looks)
        if self.is_one:
            card.show(canvas, self.records[0], self._next_steps())
        else:
            card.show_summary(canvas, self.records, self.failures)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            re.sub(r"@font-face \{.*?\}", "", canvas.export_svg(title="bench run"), flags=re.DOTALL), encoding="utf-8"
        )
