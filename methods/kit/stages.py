"""A mark on the code that prepares images, so that a profiler can tell it from the network's arithmetic.

Unmarked parts of a step (reading the batch, forward, backward, optimiser) can be told from outside, by torch's own hooks.
Without a listener a mark costs the call of one function.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Listener = Callable[[], AbstractContextManager[None]]
_listeners: list[Listener] = []


def augmentation(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Marks a function that makes what the network sees from stored images."""

    @functools.wraps(function)
    def marked(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        if not _listeners:
            return function(*arguments, **named)
        with _listeners[-1]():
            return function(*arguments, **named)

    return marked


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """While it is open, every marked call runs inside the context that `listener` returns."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
