"""One maker at a time: a file beside what is being made says who makes it, on this machine or on another of a shared file system.

It needs nothing of the file system but that a file can be created only once and has a time of change, so it works where
locks do not (network mounts, object stores under a mount).
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

BEAT = 15.0  # seconds between two signs of life of an owner
STALE = 150.0  # seconds without one after which an owner counts as gone: network mounts show a change up to a minute late
SHORTEST_LOOK, LONGEST_LOOK = 0.05, 5.0  # seconds between two looks at somebody else's claim
log = logging.getLogger(__name__)
_held: set[str] = set()  # tokens of the claims of this process


@dataclass(frozen=True)
class Owner:
    """Who holds a claim; all empty while its file is being written."""

    token: str = ""
    host: str = ""
    pid: int = 0

    @classmethod
    def here(cls) -> Owner:
        """A new claim of this process."""
        return cls(uuid.uuid4().hex, _host(), os.getpid())

    @property
    def is_dead(self) -> bool:
        """Whether it is a process of this host that has ended, or had the number that is ours now."""
        if self.host != _host() or self.token in _held:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return self.pid == os.getpid()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host.partition('/')[0]}" if self.token else "another process"


@contextmanager
def claimed(path: Path, what: str, *, is_made: Callable[[], bool], beat: float = BEAT, stale: float = STALE) -> Iterator[None]:
    """Hold the claim `path`; wait for whoever holds it until it is free, `is_made()` is true, or its owner is gone.

    An owner is gone if its process has ended (seen at once on its own host), or if it has given no sign of life for `stale`
    seconds. Two that find the same owner gone in the same instant may both go on: what is made is then made twice, and kept
    once. A claim that this very process holds is not waited for, because it could wait for itself.

    Args:
        path: the claim's file; its folder exists.
        what: name in messages of what is made.
        is_made: whether what the claim is for is there by now.
        beat: seconds between two signs of life.
        stale: seconds without one until an owner is gone.

    Where the file system refuses to create the file, nothing is held and the work goes on: a claim saves work, no more.
    """
    mine = Owner.here()
    if not _taken(path, mine, what, is_made, stale):
        yield
        return
    _held.add(mine.token)
    ended = threading.Event()
    threading.Thread(target=_give_signs, args=(path, mine, ended, beat), name=f"claim {path.name}", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        _held.discard(mine.token)
        if _owner_of(path) == mine:
            path.unlink(missing_ok=True)


def is_claimed(path: Path, stale: float = STALE) -> bool:
    """Whether somebody seems to hold the claim `path` now. Clocks of other hosts are trusted here, as far as `stale` goes."""
    try:
        silent = time.time() - path.stat().st_mtime
    except OSError:
        return False
    owner = _owner_of(path)
    return owner is not None and not owner.is_dead and silent < stale


def _taken(path: Path, mine: Owner, what: str, is_made: Callable[[], bool], stale: float) -> bool:
    """Create the claim, after waiting for it if need be; False if it is not needed or cannot be had."""
    seen, since, pause, told = None, time.monotonic(), SHORTEST_LOOK, False
    while True:
        try:
            if _created(path, mine):
                return True
        except OSError as error:
            log.warning("%s is made without a claim: %s (%s).", what, error.strerror or error, path)
            return False
        owner = _owner_of(path)
        if is_made() or (owner is not None and owner.token in _held):
            return False
        sign = (owner, _changed(path))
        if sign != seen:
            seen, since = sign, time.monotonic()
        if owner is not None and (owner.is_dead or time.monotonic() - since > stale):
            log.warning("%s: %s no longer makes it; made here instead.", what, owner)
            _remove(path, owner)
            continue
        if owner is not None and not told:
            log.warning("%s is being made by %s; waiting for it.", what, owner)
            told = True
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_LOOK)


def _created(path: Path, mine: Owner) -> bool:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"token": mine.token, "host": mine.host, "pid": mine.pid}, file)
    return True


def _owner_of(path: Path) -> Owner | None:
    """Who holds the claim; None if it is free."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return None
    try:
        content = json.loads(text)
        return Owner(str(content["token"]), str(content["host"]), int(content["pid"]))
    except (ValueError, KeyError, TypeError):
        return Owner()


def _changed(path: Path) -> int:
    """Nanoseconds of its last sign of life. The file is opened, so that a network mount looks at the server's copy."""
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return 0


def _give_signs(path: Path, mine: Owner, ended: threading.Event, beat: float) -> None:
    """Touch the claim until it is given back, or somebody who missed the signs has taken it."""
    while not ended.wait(beat) and _owner_of(path) == mine:
        with suppress(OSError):
            os.utime(path)


def _remove(path: Path, gone: Owner) -> None:
    """Take away the claim of `gone`, unless somebody has just done so. Moved first: only one of several can."""
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    with suppress(OSError):
        if _owner_of(path) == gone:
            os.rename(path, aside)
            aside.unlink()


def _host() -> str:
    """This host, and its space of process numbers where there are several (containers that share the host's name)."""
    try:
        return f"{socket.gethostname()}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return socket.gethostname()
