"""The words of the command line that is running, for what remembers it."""

from __future__ import annotations

from contextvars import ContextVar

words: ContextVar[tuple[str, ...]] = ContextVar("words", default=())
"""What stood after `bench`; empty where a command's function was called by itself."""
