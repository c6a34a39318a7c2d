"""`bench ui`: MLflow's interface starts on the records' store, answers on this machine, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from cli_tools import Bench

from clusterbench.bench import interface
from clusterbench.results.record import RecordError

STAND_IN = """\
import http.server, subprocess, sys
if "--port" not in sys.argv:
    sys.exit(0)
port = int(sys.argv[sys.argv.index("--port") + 1])
if "broken" in sys.argv[sys.argv.index("--backend-store-uri") + 1]:
    sys.exit("no such table at sqlite://user:secret@host/db")
child = subprocess.Popen(["sleep", "600"])
print(child.pid, flush=True)
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"OK")
    def log_message(self, *words): pass
http.server.HTTPServer(("127.0.0.1", port), Answer).serve_forever()
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program in the place of MLflow's that serves, has a child of its own and does not care for SIGTERM's manners."""
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN, encoding="utf-8")
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(interface.sys, "executable", str(program))


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


@pytest.mark.usefixtures("stand_in")
def test_it_answers_here_alone_and_takes_its_children_with_it() -> None:
    with interface.served("sqlite:///x.db", interface.free_port()) as server:
        server.wait_until_it_answers()
        assert server.address.startswith("http://127.0.0.1:")
        child = int(server.said())
        assert is_alive(child)
    for _ in range(200):
        if not is_alive(child):
            break
        time.sleep(0.05)
    assert not is_alive(child) and server.process.poll() is not None


@pytest.mark.usefixtures("stand_in")
def test_a_server_that_does_not_start_is_told_in_its_own_words_without_passwords() -> None:
    with (
        pytest.raises(RecordError, match=r"MLflow did not start: no such table at sqlite://user:\*\*\*@host/db"),
        interface.served("sqlite:///broken.db", interface.free_port()) as server,
    ):
        server.wait_until_it_answers()


def test_a_taken_port_is_refused_if_asked_for_and_else_avoided() -> None:
    with socket.socket() as taken:
        taken.bind((interface.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RecordError, match=f"Port {port} is taken"):
            interface.free_port(port)
    with socket.socket() as usual:
        usual.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            usual.bind((interface.HOST, interface.USUAL_PORT))
            usual.listen()
        except OSError:
            pass  # somebody else has it, which serves as well
        assert interface.free_port() not in (0, interface.USUAL_PORT)


def test_a_missing_store_is_told_how_to_make(bench: Bench) -> None:
    shown = bench("ui")
    assert shown.code == 1
    store = bench.out.resolve() / "mlflow.db"
    assert shown.err == f"bench: There is no MLflow store {store}. Make it from the records: bench import --out bench-results\n"
    assert not bench.out.exists()


def test_a_server_needs_no_second_one(bench: Bench) -> None:
    shown = bench("ui", "--mlflow", "http://me:secret@tracker:5000")
    assert shown.err == "bench: http://me:***@tracker:5000 is a server and shows itself: open it in a browser.\n"
    assert bench("ui", "--mlflow", "off").code == 2


@pytest.mark.slow
def test_mlflow_itself_shows_the_store_until_it_is_asked_to_end(bench: Bench, tmp_path: Path) -> None:
    assert bench.run("--method", "kmeans", "--preset", "smoke", "--quiet").code == 0
    assert bench("import").code == 0
    command = [sys.executable, "-c", "import sys; from clusterbench.bench.cli import main; sys.exit(main(['ui']))"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        assert running.stdout is not None
        told = running.stdout.readline()
        address = next(word for word in told.split() if word.startswith("http://127.0.0.1:"))
        body = b'{"experiment_ids": ["1"], "max_results": 5}'
        asked = urllib.request.Request(f"{address}/api/2.0/mlflow/runs/search", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked) as answer:
            assert b"kmeans" in answer.read()
        os.kill(running.pid, signal.SIGINT)
        assert running.wait(60) == 0
        assert running.stdout.read() == "bench: stopped\n"
    assert {path.name for path in tmp_path.iterdir()} == {"bench-results"}, "it leaves nothing where it was started"
