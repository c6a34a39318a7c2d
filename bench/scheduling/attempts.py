"""Which trial comes next, and what becomes of one that broke. Knows no scheduler, so that every rule can be tested."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from .events import Planned

HELD_AGAIN_AFTER = 10.0  # seconds before a trial that another process runs is asked for again


class Kind(str, Enum):
    """Why a trial broke, as far as it decides what comes next."""

    OUT_OF_MEMORY = "out of memory"
    HOPELESS = "hopeless"  # it would break in the same way again: wrong settings, missing data
    HELD = "held"  # another process is running it
    LOST = "lost"  # its process or node died
    OTHER = "other"


@dataclass(frozen=True)
class Failure:
    """What broke a trial: the kind, and one line for a person."""

    kind: Kind
    reason: str


class Verdict(str, Enum):
    RETRY = "retry"
    FAIL = "fail"
    WAIT = "wait"


@dataclass
class Item:
    """One trial on its way: how often it was begun, and whether nothing may run beside it."""

    planned: Planned
    attempt: int = 0
    failures: int = 0
    alone: bool = False
    not_before: float = 0.0


class Attempts:
    """The trials that are left, in their order.

    Args:
        planned: trials to run; those that are done are passed over.
        retries: how often a trial that broke is taken up again, at least 0.
        limit: trials at a time, at least 1; halved when memory runs out.
        clock: seconds that only ever grow.
    """

    def __init__(
        self, planned: Iterable[Planned], *, retries: int, limit: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.waiting = deque(Item(trial) for trial in planned if trial.done is None)
        self.running: dict[str, Item] = {}
        self.retries, self.limit, self.clock = retries, limit, clock

    @property
    def are_over(self) -> bool:
        return not self.waiting and not self.running

    def next(self) -> Item | None:
        """The trial to begin now; None if none may: the limit is reached, one runs alone, or all that are left must wait."""
        if len(self.running) >= self.limit or any(item.alone for item in self.running.values()):
            return None
        for item in list(self.waiting):
            if item.not_before <= self.clock() and not (item.alone and self.running):
                self.waiting.remove(item)
                item.attempt += 1
                self.running[item.planned.key] = item
                return item
        return None

    def finished(self, key: str) -> None:
        """A trial is over and recorded."""
        self.running.pop(key, None)

    def broke(self, key: str, failure: Failure) -> tuple[Verdict, str | None]:
        """What becomes of a trial that broke, and what a person should be told besides.

        Out of memory: half as many run at a time from now on, and the trial is tried again without counting it, in the
        end alone; if it broke alone, it fails. Held by another process: asked for again later. Hopeless: fails. Anything
        else is tried again from its last checkpoint as often as `retries` allows.
        """
        item = self.running.pop(key)
        if failure.kind is Kind.HELD:
            item.attempt -= 1
            item.not_before = self.clock() + HELD_AGAIN_AFTER
            self.waiting.append(item)
            return Verdict.WAIT, None
        if failure.kind is Kind.OUT_OF_MEMORY:
            return self._out_of_memory(item)
        item.failures += 1
        if failure.kind is Kind.HOPELESS or item.failures > self.retries:
            return Verdict.FAIL, None
        self.waiting.appendleft(item)
        return Verdict.RETRY, None

    def attempts_left(self, key: str) -> int:
        """How often a trial that waits may still break."""
        return next((self.retries - item.failures for item in self.waiting if item.planned.key == key), 0)

    def _out_of_memory(self, item: Item) -> tuple[Verdict, str | None]:
        if item.alone or (self.limit == 1 and not self.running):
            return Verdict.FAIL, None
        self.limit, note = halved(self.limit)
        item.alone = self.limit == 1
        self.waiting.appendleft(item)
        return Verdict.RETRY, note


def halved(limit: int, what: str = "trials") -> tuple[int, str | None]:
    """How many run at a time once memory ran out, and what a person should be told; nothing if it is one as before."""
    fewer = max(1, limit // 2)
    return fewer, f"memory ran out: {fewer} {what} at a time from now on" if fewer < limit else None


def tells_of_memory(text: str) -> bool:
    """Whether an error's type and words, Python's, torch's or Ray's, say that memory ran out."""
    lower = text.lower()
    return "outofmemory" in lower.replace(" ", "") or "can't allocate memory" in lower


def loss(said: str) -> Failure:
    """What became of a worker that did not tell its end, by what Ray says of it."""
    if tells_of_memory(said):
        return Failure(Kind.OUT_OF_MEMORY, "its process was ended because the node's memory ran out")
    return Failure(Kind.LOST, "its process was killed or its node was lost")
