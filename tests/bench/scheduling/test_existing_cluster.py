"""A Ray that is already there: joined by its address, or reached through its client port; and left running."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_cluster import ENVIRONMENT, of, outcome, undisturbed, walks

from clusterbench.results.record import find_records


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, str]]:
    """A head node of two cores: its address, and that of its client port."""
    port, client = free_port(), free_port()
    command = [
        str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus", "2",
        "--node-ip-address", "127.0.0.1", "--port", str(port),
        "--ray-client-server-port", str(client), "--include-dashboard", "false", "--disable-usage-stats",
    ]  # fmt: skip
    head = subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", client)) == 0:
                break
        time.sleep(0.5)
    try:
        yield f"127.0.0.1:{port}", f"ray://127.0.0.1:{client}"
    finally:
        os.killpg(head.pid, signal.SIGTERM)
        try:
            head.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(head.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("way", [0, 1], ids=["joined", "through its client port"])
def test_trials_on_a_cluster_that_is_there_end_as_undisturbed_ones(tmp_path: Path, cluster: tuple[str, str], way: int) -> None:
    events = walks(tmp_path / "out", address=cluster[way], seeds=4)
    assert len(of(events, "finish")) == 4
    assert {event["epoch"] for event in of(events, "epoch")} == {1, 2, 3, 4}
    assert of(events, "plan")[0]["count"] == 4
    assert {record.id: outcome(record) for record in find_records(tmp_path / "out")} == undisturbed(tmp_path / "plain", 4)
