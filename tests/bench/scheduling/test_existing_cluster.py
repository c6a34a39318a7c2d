"""A Ray that is already there: joined by its address, or reached through its client port; used, and left running."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from test_cluster import ENVIRONMENT, SCRIPT, of, outcome, undisturbed, walks

from clusterbench.bench.sweep.state import read_sweep
from clusterbench.results.record import find_records, read_record

pytestmark = pytest.mark.slow
STARTS_WITHIN = 360.0  # seconds
# Ray's own half minute and minute are too little where everything else is busy too.
PATIENT = {"RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "180", "RAY_raylet_start_wait_time_s": "300"}


@dataclass(frozen=True)
class Head:
    """A head node of two cores, closed by a token.

    Attributes:
        port, client: where it is joined, and reached from outside.
        environment: what a command needs to get in, and to find it without an address.
        process: `ray start --block`; it is over when any part of the cluster is.
    """

    port: int
    client: int
    environment: dict[str, str]
    process: subprocess.Popen[bytes]

    def address(self, way: str) -> str:
        return {"auto": "auto", "joined": f"127.0.0.1:{self.port}", "client": f"ray://127.0.0.1:{self.client}"}[way]


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    scratch = tempfile.mkdtemp(prefix="cb-", dir="/tmp")  # short: Ray puts sockets in it
    keys = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment = {**ENVIRONMENT, **keys, **PATIENT, "RAY_TMPDIR": scratch}
    port, client = free_ports(2)
    command = [
        str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus", "2", "--port", str(port),
        "--ray-client-server-port", str(client), "--include-dashboard", "false", "--disable-usage-stats",
    ]  # fmt: skip
    with Path(scratch, "head.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until_open(port, client, process, Path(scratch, "head.log"))
        yield Head(port, client, {**keys, "RAY_TMPDIR": scratch}, process)
    finally:
        end(process)
        shutil.rmtree(scratch, ignore_errors=True)


def free_ports(n: int) -> list[int]:
    """Ports outside those that Ray gives to its workers (10002 to 19999)."""
    found: list[int] = []
    while len(found) < n:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            if probe.getsockname()[1] >= 20000:
                found.append(probe.getsockname()[1])
    return found


def wait_until_open(port: int, client: int, process: subprocess.Popen[bytes], log: Path) -> None:
    limit = time.monotonic() + STARTS_WITHIN
    while not (is_open(port) and is_open(client)):
        assert process.poll() is None and time.monotonic() < limit, log.read_text()[-3000:]
        time.sleep(0.5)


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def end(process: subprocess.Popen[bytes]) -> None:
    """End the head and all that it started."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def bench(folder: Path, *words: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    code = "import sys; from clusterbench.bench.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *words], cwd=folder, capture_output=True, text=True, env=ENVIRONMENT | environment,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize("way", ["auto", "joined", "client"])
def test_trials_on_a_cluster_that_is_there_end_as_undisturbed_ones(tmp_path: Path, head: Head, way: str) -> None:
    events = walks(tmp_path / "out", head.environment, address=head.address(way), seeds=4)
    assert len(of(events, "finish")) == 4
    assert {event["epoch"] for event in of(events, "epoch")} == {1, 2, 3, 4}
    assert of(events, "plan")[0]["count"] == 4 and events[-1] == {**events[-1], "event": "end", "records": 4}
    assert {record.id: outcome(record) for record in find_records(tmp_path / "out")} == undisturbed(tmp_path / "plain", 4)
    assert head.process.poll() is None and is_open(head.port), "it was there before, and must be there after"


@pytest.mark.parametrize("way", ["joined", "client"])
def test_ctrl_c_ends_the_workers_and_leaves_the_cluster(tmp_path: Path, head: Head, way: str) -> None:
    asked = {"address": head.address(way), "seeds": 4, "settings": {"epochs": 400, "pause": 0.25}}
    command = [sys.executable, str(SCRIPT), str(tmp_path / "out"), json.dumps(asked)]
    environment = ENVIRONMENT | head.environment
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True) as driver:
        assert driver.stdout is not None and driver.stderr is not None
        next(line for line in driver.stdout if '"epoch"' in line)
        driver.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in driver.stderr.read()
    records = find_records(tmp_path / "out")
    assert {record.stop_reason for record in records} == {"interrupted"}
    sizes = {path: path.stat().st_size for path in (tmp_path / "out").glob("*/epochs.jsonl")}
    time.sleep(2)
    assert sizes == {path: path.stat().st_size for path in sizes}, "workers were still writing"
    assert head.process.poll() is None and is_open(head.port)


def test_a_sweep_on_a_cluster_seen_from_outside_leaves_what_it_leaves_anywhere(tmp_path: Path, head: Head) -> None:
    (tmp_path / "space.yaml").write_text("kmeans.normalise: {choice: [none, l2, standard]}\n")
    (tmp_path / "settings.yaml").write_text("kmeans: {restarts: 2}\n")  # seen by this side alone
    words = ["--method", "kmeans", "--dataset", "digits", "--preset", "smoke", "--samples", "3", "--mlflow", "off"]
    words += ["--space", "space.yaml", "--config", "settings.yaml", "--address", head.address("client"), "--out", "out"]
    done = bench(tmp_path, "sweep", *words, environment=head.environment)
    assert done.returncode == 0, done.stderr[-3000:]
    (folder,) = (tmp_path / "out" / "sweeps").iterdir()
    sweep = read_sweep(folder)
    assert sweep is not None and [sample.state for sample in sweep.samples] == ["complete"] * 3
    for sample in sweep.samples:
        record = read_record(folder / sample.records[0])
        assert record.epochs()[-1]["criterion"] == sample.objective
        assert record.spec["config"]["kmeans"]["restarts"] == 2
    assert "[3/3] sample" in done.stderr and "best: sample" in done.stdout and (folder / "report.md").is_file()


def test_a_folder_that_the_cluster_does_not_see_is_refused_before_anything_runs(tmp_path: Path, head: Head) -> None:
    code = """
import sys
from clusterbench.bench.scheduling.placement import connected, set_environment
set_environment(sys.argv[1])
from pathlib import Path
from clusterbench.bench.scheduling import client
from clusterbench.bench.spec import SpecError
with connected(sys.argv[1]):
    client.check_shared(Path("out"))
    client._exists = lambda path: False  # no second machine is here to look from
    try:
        client.check_shared(Path("out"))
    except SpecError as error:
        print(error)
"""
    environment = ENVIRONMENT | head.environment
    done = subprocess.run(
        [sys.executable, "-c", code, head.address("client")], cwd=tmp_path, capture_output=True, text=True, env=environment,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith(f"The cluster does not see {tmp_path / 'out'}. Give a folder that")
    assert list((tmp_path / "out").iterdir()) == []


def test_without_its_token_a_cluster_says_what_it_lacks(tmp_path: Path, head: Head) -> None:
    words = ["--method", "kmeans", "--dataset", "digits", "--preset", "smoke", "--seeds", "2", "--mlflow", "off", "--out", "out"]
    environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
    done = bench(tmp_path, "run", *words, "--address", head.address("client"), environment=environment)
    assert done.returncode == 1 and "RAY_AUTH_TOKEN" in done.stderr.splitlines()[-1]
    assert not find_records(tmp_path / "out")
