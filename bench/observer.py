"""Whoever wants to know how one trial goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..results.record import Record
from .spec import TrialSpec


class Observer:
    """Told how a trial goes. Every call does nothing by default; none is made for a trial that was finished before."""

    def on_start(self, spec: TrialSpec, folder: Path, planned_epochs: int, resumed_from: int) -> None:
        """Training begins, after the epoch `resumed_from` (0: from the start)."""

    def on_step(self, done: int, total: int, images: int) -> None:
        """`done` of `total` steps of the running epoch are over, with `images` images."""

    def on_epoch(self, row: dict[str, Any]) -> None:
        """An epoch is over and scored: its row of epochs.jsonl."""

    def on_finish(self, record: Record) -> None:
        """The trial is over (complete or out of time) and its record written."""
