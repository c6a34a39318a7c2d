"""MLflow's own interface on a store of records, as a process of its own on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..results.mlflow_link import QUIET_AND_QUICK, masked, sqlite_file
from ..results.record import RecordError

HOST, USUAL_PORT = "127.0.0.1", 5000
START_PATIENCE_S, END_PATIENCE_S, PAUSE_S = 180.0, 10.0, 0.2
SHOWN_LINES = 3  # of what a server said that did not start
# It would start helpers for features that records do not use.
ENVIRONMENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def check_store(uri: str, out: Path) -> None:
    """Raise `RecordError` where `uri` is no store that an interface can be started on, with what to do instead."""
    if uri.startswith(("http:", "https:", "databricks")):
        raise RecordError(f"{masked(uri)} is a server and shows itself: open it in a browser.")
    path = sqlite_file(uri)
    if path is not None and not path.exists():
        raise RecordError(f"There is no MLflow store {path}. Make it from the records: bench import --out {out}")


def free_port(asked: int | None = None) -> int:
    """The port that was asked for, else 5000 or any free one of this machine. Raises `RecordError` if the asked one is taken."""
    for port in (asked,) if asked else (USUAL_PORT, 0):
        with socket.socket() as probe:
            # As servers do, so that one which has just ended is not in the way.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise RecordError(f"Port {asked} is taken on this machine. Name another one, or leave --port out for a free one.")


@contextmanager
def served(uri: str, port: int) -> Iterator[Server]:
    """MLflow's interface on `uri`, starting on this machine at `port`; gone, with all it started, when the context ends."""
    with tempfile.TemporaryFile() as log:
        server = Server(uri, port, log)
        try:
            yield server
        finally:
            server.end()


class Server:
    """A process of MLflow's server, with those that it starts, in a session of their own: Ctrl-C reaches us alone.

    Args:
        uri: of the store.
        port: to listen on, at the loopback address only.
        log: takes what it prints.
    """

    def __init__(self, uri: str, port: int, log: IO[bytes]) -> None:
        self.address, self.log = f"http://{HOST}:{port}", log
        words = ["server", "--backend-store-uri", uri, "--host", HOST, "--port", str(port), "--workers", "1"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**QUIET_AND_QUICK, **ENVIRONMENT, **os.environ},
            start_new_session=True,
        )

    def wait_until_it_answers(self) -> None:
        """Return when it does. Raises `RecordError` if it ends before, or takes too long."""
        give_up = time.monotonic() + START_PATIENCE_S
        while not self._answers():
            if self.process.poll() is not None:
                raise RecordError(f"MLflow did not start: {self.said()}")
            if time.monotonic() > give_up:
                raise RecordError(f"MLflow did not answer within {START_PATIENCE_S:.0f} seconds: {self.said()}")
            time.sleep(PAUSE_S)

    def wait(self) -> int:
        """Its exit code, once it ends by itself."""
        return self.process.wait()

    def said(self) -> str:
        """The last lines that it printed."""
        self.log.seek(0)
        lines = [line.strip() for line in self.log.read().decode(errors="replace").splitlines() if line.strip()]
        return masked(" / ".join(lines[-SHOWN_LINES:])) or "it said nothing"

    def end(self) -> None:
        """Stop it and all that it started."""
        for kind in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, kind)
                self.process.wait(END_PATIENCE_S)
            except ProcessLookupError:  # nobody of the group is left
                break
            except subprocess.TimeoutExpired:
                continue
        self.process.wait()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=END_PATIENCE_S) as response:
                return response.status == 200
        except (urllib.error.URLError, OSError):
            return False
