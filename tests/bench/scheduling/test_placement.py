"""How much of a cluster a trial takes, and so how many run at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer

from clusterbench.bench.cli.placement_options import gpu_share, memory_size, placement_of
from clusterbench.bench.scheduling.placement import GIB, Placement, connected, said_by
from clusterbench.bench.spec import SpecError

CLUSTER = {"CPU": 16.0, "GPU": 4.0, "memory": 64.0 * GIB, "node:10.0.0.1": 1.0}


@pytest.mark.parametrize(
    ("placement", "trials"),
    [
        (Placement(), 4),  # a whole GPU each
        (Placement(gpus_per_trial=0.25), 16),
        (Placement(gpus_per_trial=0.25, cpus_per_trial=2), 8),
        (Placement(gpus_per_trial=0), 16),
        (Placement(gpus_per_trial=0, memory_per_trial=20 * GIB), 3),
        (Placement(gpus_per_trial=0, max_concurrent=5), 5),
        (Placement(gpus_per_trial=1 / 3), 12),
        (Placement(gpus_per_trial=2), 2),
    ],
)
def test_as_many_trials_run_as_fit(placement: Placement, trials: int) -> None:
    assert placement.concurrency(CLUSTER) == trials


def test_without_gpus_trials_take_cores_alone() -> None:
    assert Placement().resources({"CPU": 2.0, "memory": 8.0 * GIB}) == {"CPU": 1.0}


@pytest.mark.parametrize(
    ("placement", "message"),
    [
        (Placement(cpus_per_trial=17), "asks for 17 CPU, the whole cluster has 16"),
        (Placement(gpus_per_trial=5), "asks for 5 GPU, the whole cluster has 4"),
        (Placement(memory_per_trial=65 * GIB), "asks for 65 GiB of memory, the whole cluster has 64"),
    ],
)
def test_what_no_node_could_ever_hold_is_refused(placement: Placement, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        placement.resources(CLUSTER)


@pytest.mark.parametrize(("text", "share"), [(None, None), ("auto", "auto"), ("0", 0.0), ("0.25", 0.25), ("2", 2.0)])
def test_a_share_of_a_gpu_is_read(text: str | None, share: object) -> None:
    assert gpu_share(text) == share


@pytest.mark.parametrize("text", ["half", "-1", "1.5", "nan", "1e9"])
def test_what_is_no_share_of_a_gpu_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="--gpus-per-trial takes"):
        gpu_share(text)


@pytest.mark.parametrize(
    ("text", "size"), [(None, None), ("4G", 4 * GIB), ("500m", 500 * 2**20), ("1.5G", 3 * GIB // 2), ("123", 123)]
)
def test_a_size_of_memory_is_read(text: str | None, size: int | None) -> None:
    assert memory_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1G", "0"])
def test_what_is_no_size_of_memory_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="--memory-per-trial takes"):
        memory_size(text)


def test_the_options_make_a_placement() -> None:
    assert placement_of("auto", 2, "0.5", "1G", 3) == Placement("auto", 2, 0.5, GIB, 3)


CODE = """
import os, sys
from clusterbench.bench.scheduling.placement import set_environment
set_environment(sys.argv[1])
print(os.environ.get("RAY_AUTH_MODE"), len(os.environ.get("RAY_AUTH_TOKEN", "")))
"""


@pytest.mark.parametrize(
    ("address", "given", "has_file", "mode"),
    [
        ("local", {}, True, "token 64"),  # a cluster of our own, with a token of its own
        ("local", {"RAY_AUTH_MODE": "disabled"}, False, "disabled 0"),
        ("auto", {"RAY_AUTH_TOKEN": "a"}, True, "None 1"),  # ray.init looks for tokens itself
        ("ray://far:10001", {}, False, "None 0"),
        ("ray://far:10001", {}, True, "token 0"),
        ("ray://far:10001", {"RAY_AUTH_TOKEN": "a"}, False, "token 1"),
        ("ray://far:10001", {"RAY_AUTH_TOKEN_PATH": "there"}, False, "token 0"),
        ("ray://far:10001", {"RAY_AUTH_MODE": "disabled"}, True, "disabled 0"),
    ],
)
def test_a_cluster_seen_from_outside_is_shown_the_token_that_there_is(
    tmp_path: Path, address: str, given: dict[str, str], has_file: bool, mode: str
) -> None:
    if has_file:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("a" * 64)
    environment = {**os.environ, "HOME": str(tmp_path), **given}
    done = subprocess.run([sys.executable, "-c", CODE, address], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == mode


def test_of_a_traceback_of_another_process_the_last_line_is_told() -> None:
    assert said_by(ConnectionError("Traceback:\n  File x\nRuntimeError: the server did not start\n")) == (
        "RuntimeError: the server did not start"
    )
    assert said_by(ConnectionError()) == "ConnectionError"


class Ray(ModuleType):
    """In place of Ray: the client port fails so many times after it has answered."""

    def __init__(self, failures: int) -> None:
        super().__init__("ray")
        self.failures, self.tries, self.is_there = failures, 0, False

    def is_initialized(self) -> bool:
        return self.is_there

    def init(self, **options: object) -> None:
        self.tries += 1
        if self.tries <= self.failures:
            raise ConnectionAbortedError(
                "Initialization failure from server:\nRuntimeError: Starting Ray client server failed.\n"
            )
        self.is_there = True

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}

    def shutdown(self) -> None:
        self.is_there = False


@pytest.mark.parametrize(("address", "failures", "tries"), [("ray://far:1", 2, 3), ("ray://far:1", 0, 1), ("far:1", 0, 1)])
def test_a_client_port_that_answered_and_failed_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, address: str, failures: int, tries: int
) -> None:
    ray = Ray(failures)
    monkeypatch.setitem(sys.modules, "ray", ray)
    with connected(address) as cluster:
        assert cluster == {"CPU": 2.0} and ray.tries == tries
    assert not ray.is_there


@pytest.mark.parametrize(("address", "tries"), [("ray://far:1", 3), ("far:1", 1)])
def test_a_cluster_that_goes_on_failing_is_one_line_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, address: str, tries: int
) -> None:
    ray = Ray(100)
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(SpecError, match="RuntimeError: Starting Ray client server failed.*RAY_AUTH_TOKEN"), connected(address):
        pass
    assert ray.tries == tries
