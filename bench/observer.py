"""Whoever wants to know how one trial goes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ..results.record import Record
from .spec import TrialSpec

log = logging.getLogger(__name__)


class Observer:
    """Told how a trial goes. No call but `on_notice` does anything by default; none is made for a trial finished before."""

    def on_start(self, spec: TrialSpec, folder: Path, planned_epochs: int, resumed_from: int) -> None:
        """Training begins, after the epoch `resumed_from` (0: from the start)."""

    def on_plan(self, planned_epochs: int) -> None:
        """Another number of epochs is planned than at the start: the method found a part of its work done."""

    def on_step(self, done: int, total: int, images: int) -> None:
        """`done` of `total` steps of the running epoch are over, with `images` images."""

    def on_epoch(self, row: dict[str, Any]) -> None:
        """An epoch is over and scored: its row of epochs.jsonl."""

    def on_notice(self, epoch: int, text: str) -> None:
        """Something about the training that a reader should know at once, e.g. a collapse. In the log by default."""
        log.warning("epoch %d: %s", epoch, text)

    def on_finish(self, record: Record) -> None:
        """The trial is over (complete or out of time) and its record written."""
