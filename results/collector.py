"""The garbage collector, out of the way where thousands of records are read or judged."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """No automatic garbage collection inside; one that is asked for passes over what was there before.

    Records are millions of small objects that live on, and the collector walks through all of them again and again. Without
    this, reading ten thousand takes three times as long, and every correction by statsmodels, which asks for a collection, half a
    second.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()
