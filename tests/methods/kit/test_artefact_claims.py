"""One maker at a time: processes that want the same artefact, owners that are killed, stopped, or on another host."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from clusterbench.methods.kit import artefact_claims
from clusterbench.methods.kit.artefact_claims import claimed, is_claimed
from clusterbench.methods.kit.artefacts import Artefacts

# Children of one process, so that torch is imported once.
MAKERS = """
import os, sys, time
from pathlib import Path
import torch
from clusterbench.methods.kit.artefacts import Artefacts
root = Path(sys.argv[1])
def make():
    with (root / "log").open("a") as file:
        file.write("begun\\n")
    time.sleep(0.5)
    return {"weights": torch.arange(4.0)}
children = []
for number in range(3):
    child = os.fork()
    if not child:
        store = Artefacts(root)
        found = store.obtain("pretext", "0a", {}, make)
        (root / f"out{number}").write_text(f"{found['weights'].tolist()} {store.used} {store.made}")
        os._exit(0)
    children.append(child)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""
OWNER = """
import sys, time
from pathlib import Path
from clusterbench.methods.kit.artefact_claims import claimed
with claimed(Path(sys.argv[1]), "it", is_made=lambda: False):
    time.sleep(600)
"""


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited for in vain"
        time.sleep(0.02)


def never() -> bool:
    return False


def write_claim(path: Path, **about: object) -> None:
    path.write_text(json.dumps({"token": "theirs", "host": "elsewhere", "pid": 1, **about}))


def test_of_several_processes_one_makes_it_and_the_others_take_it(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", MAKERS, str(tmp_path)], check=True)
    assert (tmp_path / "log").read_text() == "begun\n"
    assert sorted(path.read_text() for path in tmp_path.glob("out*")) == [
        "[0.0, 1.0, 2.0, 3.0] ['pretext/0a'] []", "[0.0, 1.0, 2.0, 3.0] ['pretext/0a'] []",
        "[0.0, 1.0, 2.0, 3.0] [] ['pretext/0a']",
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "pretext").iterdir()) == ["0a"]


def test_a_killed_owner_is_followed_by_the_next_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "claim"
    victim = subprocess.Popen([sys.executable, "-c", OWNER, str(path)])
    until(lambda: is_claimed(path) and str(victim.pid) in path.read_text())
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert path.exists() and not is_claimed(path)
    with claimed(path, "it", is_made=never, stale=1e6):
        assert str(victim.pid) not in path.read_text()
    assert caplog.messages == [f"it: process {victim.pid} on {socket.gethostname()} no longer makes it; made here instead."]
    assert [*tmp_path.iterdir()] == []


def test_an_owner_elsewhere_is_waited_for_as_long_as_it_gives_signs(tmp_path: Path) -> None:
    path, order = tmp_path / "claim", []
    write_claim(path)

    def lives() -> None:
        for _ in range(10):
            time.sleep(0.3)
            os.utime(path)
        order.append("theirs")
        path.unlink()

    owner = threading.Thread(target=lives)
    owner.start()
    with claimed(path, "it", is_made=never, stale=2.0):
        order.append("ours")
    owner.join()
    assert order == ["theirs", "ours"]


def test_an_owner_elsewhere_without_a_sign_of_life_is_gone_whatever_its_clock_says(tmp_path: Path) -> None:
    path = tmp_path / "claim"
    write_claim(path)
    os.utime(path, (4e9, 4e9))  # a clock that is far ahead
    with claimed(path, "it", is_made=never, stale=0.3):
        assert artefact_claims.Owner.here().host in path.read_text()
    assert [*tmp_path.iterdir()] == []


def test_a_claim_that_was_left_half_written_ends_too(tmp_path: Path) -> None:
    (tmp_path / "claim").write_text("")
    with claimed(tmp_path / "claim", "it", is_made=never, stale=0.2):
        assert is_claimed(tmp_path / "claim")
    assert not is_claimed(tmp_path / "claim")


def test_who_waits_goes_on_as_soon_as_it_is_made(tmp_path: Path) -> None:
    path, made = tmp_path / "claim", threading.Event()
    write_claim(path)
    threading.Timer(0.3, made.set).start()
    with claimed(path, "it", is_made=made.is_set):
        assert made.is_set()
    assert "theirs" in path.read_text()  # the owner's claim is the owner's


def test_an_owner_gives_signs_while_it_works(tmp_path: Path) -> None:
    path = tmp_path / "claim"
    with claimed(path, "it", is_made=never, beat=0.05):
        os.utime(path, (1e9, 1e9))
        until(lambda: path.stat().st_mtime > 1e9)
        assert is_claimed(path)


def test_an_owner_that_was_taken_for_gone_leaves_its_successors_claim_alone(tmp_path: Path) -> None:
    path = tmp_path / "claim"
    with claimed(path, "it", is_made=never, beat=0.05):
        write_claim(path)
        os.utime(path, (1e9, 1e9))
        time.sleep(0.3)
        assert path.stat().st_mtime == 1e9
    assert "theirs" in path.read_text()


def test_a_process_does_not_wait_for_itself(tmp_path: Path) -> None:
    path = tmp_path / "claim"
    with claimed(path, "it", is_made=never), claimed(path, "it", is_made=never):
        assert is_claimed(path)
    assert not path.exists()


def test_a_dead_predecessor_with_our_number_is_no_owner(tmp_path: Path) -> None:
    path = tmp_path / "claim"
    write_claim(path, host=artefact_claims.Owner.here().host, pid=os.getpid())
    with claimed(path, "it", is_made=never):
        assert "theirs" not in path.read_text()


def test_an_error_gives_the_claim_back(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), claimed(tmp_path / "claim", "it", is_made=never):
        raise RuntimeError
    assert [*tmp_path.iterdir()] == []


def test_what_is_being_made_is_not_removed(tmp_path: Path) -> None:
    store = Artefacts(tmp_path)
    store.save("pretext", "0a", {"weights": torch.ones(1)}, {})
    (entry,) = store.entries()
    write_claim(tmp_path / "pretext" / ".0a.claim")
    assert not store.remove(entry)
    os.utime(tmp_path / "pretext" / ".0a.claim", (1e9, 1e9))
    assert store.remove(entry)
