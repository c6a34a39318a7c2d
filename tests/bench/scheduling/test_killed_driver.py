"""The driver of a suite is killed again and again; what is on disk is all that the next one needs."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_cluster import ENVIRONMENT, SCRIPT, outcome, undisturbed

from clusterbench.results.record import find_records

KILLS = 20


@pytest.mark.slow
def test_a_suite_of_10_trials_whose_driver_is_killed_20_times_is_complete_in_the_end(tmp_path: Path) -> None:
    settings = {"epochs": 6, "pause": 0.5}
    command = [sys.executable, str(SCRIPT), str(tmp_path / "out"), json.dumps({"seeds": 10, "settings": settings, "retries": 5})]
    dice = random.Random(0)
    for _ in range(KILLS):
        kill_one(command, dice.choice(["plan", "epoch"]), dice.uniform(0, 3))
    last = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=True)
    events = [json.loads(line) for line in last.stdout.splitlines() if line.startswith("{")]
    assert events[-1]["event"] == "end"
    records = find_records(tmp_path / "out")
    assert sorted(record.spec["seed"] for record in records) == list(range(10))
    assert {record.id: outcome(record) for record in records} == undisturbed(tmp_path / "plain", 10, **settings)
    assert any(record.cost["resumed"] for record in records), "no driver was killed in the middle of a trial"
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name.endswith((".tmp", ".partial"))]


def kill_one(command: list[str], after: str, seconds: float) -> None:
    """Start a driver, and kill it so long after its first event of one kind: the plan, when workers are starting, or an epoch."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT, text=True) as driver:
        assert driver.stdout is not None
        next((line for line in driver.stdout if f'"event": "{after}"' in line), None)
        time.sleep(seconds)
        driver.kill()


@pytest.mark.slow
def test_nothing_of_a_killed_drivers_cluster_stays_behind(tmp_path: Path) -> None:
    """Workers that outlived their driver would go on writing into records that the next driver works on."""
    asked = {"seeds": 4, "settings": {"epochs": 400, "pause": 0.25}}
    command = [sys.executable, str(SCRIPT), str(tmp_path / "out"), json.dumps(asked)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT, text=True) as driver:
        assert driver.stdout is not None
        next(line for line in driver.stdout if '"epoch"' in line)
        driver.kill()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        before = {path: path.stat().st_size for path in (tmp_path / "out").glob("*/epochs.jsonl")}
        time.sleep(2)
        if before == {path: path.stat().st_size for path in (tmp_path / "out").glob("*/epochs.jsonl")}:
            break
    else:
        pytest.fail("workers were still writing a minute after their driver was killed")


@pytest.mark.slow
def test_two_drivers_on_one_folder_run_every_trial_once_and_damage_none(tmp_path: Path) -> None:
    asked = {"seeds": 6, "settings": {"epochs": 4, "pause": 0.3}}
    command = [sys.executable, str(SCRIPT), str(tmp_path / "out"), json.dumps(asked)]
    drivers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT, text=True) for _ in range(2)
    ]
    told = [driver.communicate(timeout=900)[0] for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0]
    for out in told:
        events = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        assert events[-1]["event"] == "end" and events[-1]["records"] == 6
        assert not [event for event in events if event["event"] == "fail"]
    records = find_records(tmp_path / "out")
    assert all(record.cost["resumed"] == 0 for record in records)
    assert {record.id: outcome(record) for record in records} == undisturbed(tmp_path / "plain", 6, epochs=4, pause=0.3)
