"""Ctrl-C while Ray Tune runs: the first one lets the workers end what they are at, the second one stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

NOTE = "stopping after the epochs that are running, if they end soon; Ctrl-C again stops at once"


class Interruption:
    """Whether Ctrl-C was pressed.

    Args:
        note: told so by the first `is_heard` after it, if anybody asks.

    Attributes:
        happened: whether it was.
    """

    def __init__(self, note: Callable[[str], None] | None = None) -> None:
        self.note = note
        self.happened = self.noted = False

    def is_heard(self) -> bool:
        """Whether it happened; for Tune's `Stopper` to ask. A handler of signals had better not print or call Ray itself."""
        if self.happened and self.note and not self.noted:
            self.noted = True
            self.note(NOTE)
        return self.happened

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Inside, the first Ctrl-C only sets `happened`; the next one is the usual one again."""
        if threading.current_thread() is not threading.main_thread():  # only there signals can be handled
            yield
            return

        def stop(number: int, frame: FrameType | None) -> None:
            self.happened = True
            signal.signal(signal.SIGINT, before)

        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
