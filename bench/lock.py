"""One process at a time on one trial."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..results.record import RecordError

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None

NO_LOCKS_HERE = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}  # what network file systems without flock answer


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the record folder `folder` (made if missing) for this process.

    The lock is the kernel's (flock on `.lock`) and ends with the process however that ends. Where there is none, a file
    `.lock-owner` names the host and process; one left by a dead process of this host is taken over.

    Raises:
        RecordError: another process holds it, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("ab")
    except OSError as error:
        raise RecordError(f"Cannot write to {folder}: {error.strerror or error}. Choose another place with --out.") from None
    with file:
        if _flock(file.fileno(), folder):
            yield  # closing the file ends the lock
        else:
            with _owner_file(folder):
                yield


def _flock(descriptor: int, folder: Path) -> bool:
    """Take the lock; False where this system or file system has none."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _held(folder, "Another process") from None
    except OSError as error:
        if error.errno in NO_LOCKS_HERE:
            return False
        raise
    return True


@contextmanager
def _owner_file(folder: Path) -> Iterator[None]:
    path = folder / ".lock-owner"
    try:
        _create(path)
    except FileExistsError:
        if not _is_dead(owner := path.read_text().strip()):
            hint = f" If it is no longer there, delete {path}."
            raise _held(folder, f"Process {owner.partition(' ')[2]} on {owner.partition(' ')[0]}", hint) from None
        path.unlink(missing_ok=True)
        _create(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _create(path: Path) -> None:
    with path.open("x") as file:
        file.write(f"{socket.gethostname()} {os.getpid()}")


def _is_dead(owner: str) -> bool:
    """Whether "host pid" names a process of this host that has ended; of another host nothing is known."""
    host, _, pid = owner.partition(" ")
    if host != socket.gethostname() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return int(pid) == os.getpid()  # a dead predecessor had our number, as happens in containers, where numbers start at 1


def _held(folder: Path, who: str, hint: str = "") -> RecordError:
    return RecordError(f"{who} is running this trial ({folder}). Wait for it to end or stop it, then run again.{hint}")
