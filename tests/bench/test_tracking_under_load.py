"""Tracking as it is used: a real MLflow server that dies and comes back, and a thousand records in one SQLite file."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import tracking_tools as tools

from clusterbench.bench.scheduling.events import Planned
from clusterbench.bench.tracking import MlflowListener
from clusterbench.results import mlflow_courier
from clusterbench.results.record import read_record

pytestmark = pytest.mark.slow
WORKERS, RECORDS = 8, 1000


@contextmanager
def server(folder: Path, port: int) -> Iterator[None]:
    """`mlflow server` over the store in `folder`, killed with all its children at the end."""
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts")]
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True, cwd=folder)
        try:
            wait_for(lambda: answers(port))
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def answers(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition: Callable[[], object], seconds: float = 600) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it never came to that"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


def check_all_there_once(uri: str, n: int) -> None:
    runs = tools.runs(uri)
    names = Counter(run.info.run_name for run in runs)
    assert names == Counter(tools.spec(seed).folder_name() for seed in range(n))
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert all("own-loss/acc" in run.data.metrics and "clusterbench.content" in run.data.tags for run in runs)
    for run in runs[:: max(1, n // 20)]:
        assert tools.history(uri, run) == tools.wanted_history(int(run.data.params["seed"]))


def test_everything_arrives_at_a_server_that_was_killed_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_courier, "LONGEST_PAUSE_S", 2.0)
    uri, port, out, told = tools.new_store(tmp_path), free_port(), tmp_path / "results", []
    trials = tools.planned(30)
    listener = MlflowListener(f"http://127.0.0.1:{port}", out, say=told.append, patience_s=600)
    listener.on_plan(trials)
    with server(tmp_path, port):
        tools.drive(listener, trials[:20], out)
        wait_for(lambda: len(tools.runs(uri)) >= 5)
    assert listener._courier is not None and listener._courier.waiting  # it was killed in the middle of them
    tools.drive(listener, trials[20:], out)
    wait_for(lambda: listener._courier is not None and listener._courier.refusal)
    with server(tmp_path, port):
        wait_for(lambda: listener._courier is not None and not listener._courier.waiting)
        listener.on_end()
    check_all_there_once(uri, 30)
    assert not any("did not reach" in line for line in told)
    found = {path.name for path in (tmp_path / "artifacts").rglob("*") if path.is_file()}
    assert {"record.json", "epochs.jsonl", "config.yaml"} <= found


def test_a_thousand_records_arrive_in_one_file_from_two_drivers_while_eight_workers_write(tmp_path: Path) -> None:
    """One driver is told of the records as they come; the other feeds what it finds in the folder, again and again."""
    uri, told, others_errors = tools.new_store(tmp_path), [], []
    listener = MlflowListener(uri, tmp_path, say=told.append, patience_s=600)
    trials = {trial.spec.seed: trial for trial in tools.planned(RECORDS)}
    listener.on_plan(list(trials.values()))
    share = RECORDS // WORKERS
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, tools.__file__, str(tmp_path), str(first), str(first + share)],
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for first in range(0, RECORDS, share)
        ]
        other = threading.Thread(target=feed_over_and_over, args=(tmp_path, uri, workers, others_errors))
        other.start()
        hear(listener, trials, workers, tmp_path)
        other.join()
    assert [worker.returncode for worker in workers] == [0] * WORKERS
    listener.on_end()
    assert others_errors == [] and not any("locked" in line or "did not reach" in line for line in told)
    check_all_there_once(uri, RECORDS)


def hear(listener: MlflowListener, trials: dict[int, Planned], workers: list[subprocess.Popen[str]], out: Path) -> None:
    """Tell the listener of each record that a worker has written, in turns."""
    for _ in range(RECORDS // WORKERS):
        for worker in workers:
            assert worker.stdout is not None
            trial = trials[int(worker.stdout.readline())]
            listener.on_start(trial.key, "worker", 1)
            listener.on_finish(trial.key, read_record(out / trial.spec.folder_name()))


def feed_over_and_over(out: Path, uri: str, workers: list[subprocess.Popen[str]], errors: list[str]) -> None:
    """In a process of its own, as a second driver is."""
    command = [sys.executable, "-c", "import sys; from clusterbench.bench.cli import main; sys.exit(main(sys.argv[1:]))"]
    at_work = True
    while at_work:
        at_work = any(worker.poll() is None for worker in workers)
        done = subprocess.run([*command, "import", str(out), "--mlflow", uri, "-q"], capture_output=True, text=True, check=False)
        if done.returncode:
            errors.append(done.stdout + done.stderr)
