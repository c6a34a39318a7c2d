from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clusterbench.bench import lock
from clusterbench.bench.lock import exclusive
from clusterbench.results.record import RecordError


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that knows no locks."""

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(lock, "fcntl", SimpleNamespace(flock=refuse, LOCK_EX=2, LOCK_NB=4))


def hold_twice(folder: Path) -> str:
    with exclusive(folder), pytest.raises(RecordError) as refusal, exclusive(folder):
        pass
    return str(refusal.value)


def test_a_second_holder_is_refused_in_one_line(tmp_path: Path) -> None:
    message = hold_twice(tmp_path / "trial")
    assert "is running this trial" in message and str(tmp_path / "trial") in message and "\n" not in message


def test_another_process_is_refused_while_the_first_runs_and_let_in_afterwards(tmp_path: Path) -> None:
    imports = "import sys; from pathlib import Path; from clusterbench.bench.lock import exclusive"
    code = f"{imports}\nwith exclusive(Path(sys.argv[1])): print('in')"
    command = [sys.executable, "-c", code, str(tmp_path)]
    with exclusive(tmp_path):
        second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode != 0 and "is running this trial" in second.stderr
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "in\n"


def test_it_ends_with_the_block_also_by_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path):
        raise ZeroDivisionError
    with exclusive(tmp_path):
        pass


def test_a_place_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="Choose another place with --out"), exclusive(tmp_path / "file" / "trial"):
        pass


@pytest.mark.usefixtures("no_flock")
def test_without_locks_the_owner_file_of_a_living_process_holds(tmp_path: Path) -> None:
    (tmp_path / ".lock-owner").write_text(f"{socket.gethostname()} {os.getppid()}")
    with pytest.raises(RecordError, match=f"Process {os.getppid()} on .*delete .*.lock-owner"), exclusive(tmp_path):
        pass


@pytest.mark.usefixtures("no_flock")
def test_without_locks_a_process_of_another_host_is_believed_to_live(tmp_path: Path) -> None:
    (tmp_path / ".lock-owner").write_text("some-other-host 1")
    with pytest.raises(RecordError, match="some-other-host"), exclusive(tmp_path):
        pass


@pytest.mark.usefixtures("no_flock")
def test_without_locks_the_owner_file_of_a_dead_process_is_taken_over_and_ours_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    (tmp_path / ".lock-owner").write_text(f"{socket.gethostname()} {ended.pid}")
    with exclusive(tmp_path):
        assert (tmp_path / ".lock-owner").read_text() == f"{socket.gethostname()} {os.getpid()}"
    assert not (tmp_path / ".lock-owner").exists()


def test_another_refusal_is_not_taken_for_a_missing_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(descriptor: int, operation: int) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(lock, "fcntl", SimpleNamespace(flock=broken, LOCK_EX=2, LOCK_NB=4))
    with pytest.raises(OSError, match="Input/output error"), exclusive(tmp_path):
        pass
