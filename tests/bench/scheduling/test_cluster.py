"""Many trials on Ray: the same records as in one process, whatever breaks on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clusterbench.results.record import Record, find_records

SCRIPT = Path(__file__).with_name("many_walks.py")
Events = list[dict[str, Any]]
# One thread each, as a trial on Ray has by default: sums of floats depend on the number of threads.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parent)}


def walks(out: Path, environment: Mapping[str, str] | None = None, **asked: Any) -> Events:
    """What a driver told, event by event."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(out), json.dumps(asked)],
        capture_output=True, text=True, timeout=900, env=ENVIRONMENT | dict(environment or {}), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def of(events: Events, kind: str) -> Events:
    return [event for event in events if event["event"] == kind]


def outcome(record: Record) -> tuple[Any, ...]:
    """What must not depend on where and how often a trial was begun."""
    labels = {name: array.tolist() for name, array in sorted(record.labels().items())}
    rows = [(row["epoch"], row["acc"], row["losses"]) for row in record.epochs()]
    return record.id, record.status, record.metrics, labels, rows


def undisturbed(out: Path, seeds: int, **settings: Any) -> dict[str, tuple[Any, ...]]:
    """The same trials one after the other in one process."""
    code = "import sys, json, walking; from clusterbench.bench.cli import main; sys.exit(main(json.loads(sys.argv[1])))"
    words = ["run", "--method", "walking", "--dataset", "digits", "--seeds", str(seeds), "--address", "none", "--mlflow", "off"]
    words += ["--out", str(out), "--quiet", *(f"--set={name}={json.dumps(value)}" for name, value in settings.items())]
    subprocess.run([sys.executable, "-c", code, json.dumps(words)], check=True, capture_output=True, env=ENVIRONMENT)
    return {record.id: outcome(record) for record in find_records(out)}


def test_24_trials_on_three_nodes_of_which_one_is_lost_end_as_undisturbed_ones(tmp_path: Path) -> None:
    settings = {"pause": 0.1, "held_from": 6, "held_until": str(tmp_path / "lost")}
    events = walks(tmp_path / "ray", nodes=3, seeds=24, settings=settings, lose_a_node_at=6)
    found = {record.id: outcome(record) for record in find_records(tmp_path / "ray")}
    assert len(found) == 24
    assert not of(events, "fail")
    (lost,) = of(events, "lost a node")
    assert lost["key"] in {event["key"] for event in of(events, "retry")}
    assert found == undisturbed(tmp_path / "plain", 24, **settings)


def test_what_breaks_is_taken_up_again_and_what_goes_on_breaking_fails_alone(tmp_path: Path) -> None:
    flag = str(tmp_path / "broke")
    events = walks(
        tmp_path / "out", seeds=4, retries=1, settings={"fault": "killed", "fault_at": 3, "fault_file": flag, "pause": 0.05}
    )
    assert [event["reason"] for event in of(events, "retry")] == ["its process was killed or its node was lost"]
    assert len(of(events, "finish")) == 4
    resumed = {event["key"]: event["resumed"] for event in of(events, "finish")}
    assert resumed[of(events, "retry")[0]["key"]] == 1
    always = {"fault": "raises", "fault_at": 2, "fault_file": flag, "always": True}
    events = walks(tmp_path / "always", seeds=2, retries=1, settings=always)
    assert (len(of(events, "retry")), len(of(events, "fail")), len(of(events, "finish"))) == (2, 2, 0)
    assert all("the device fell off" in event["reason"] for event in of(events, "fail"))
    assert all(Path(event["log"]).is_file() for event in of(events, "fail"))


def test_when_memory_runs_out_fewer_run_at_a_time_and_nothing_is_lost(tmp_path: Path) -> None:
    flag = str(tmp_path / "full")
    settings = {"fault": "memory", "fault_at": 2, "fault_file": flag, "pause": 0.05}
    events = walks(tmp_path / "out", seeds=4, retries=0, settings=settings)
    assert len(of(events, "finish")) == 4 and not of(events, "fail")
    assert of(events, "note")[0]["text"] == "memory ran out: 1 trials at a time from now on"


def test_labels_of_a_trial_on_ray_are_those_of_a_trial_in_this_process(tmp_path: Path) -> None:
    walks(tmp_path / "ray", seeds=2)
    plain = undisturbed(tmp_path / "plain", 2)
    for record in find_records(tmp_path / "ray"):
        assert outcome(record) == plain[record.id]
        assert np.array_equal(record.labels()["truth"], record.labels()["truth"])
