from __future__ import annotations

import platform
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from clusterbench.bench import devices
from clusterbench.bench.devices import available_cores, keep_freed_memory, resolve_device, set_threads
from clusterbench.bench.randomness import random_state, restore_random_state, seed_all
from clusterbench.bench.spec import SpecError


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(("asked", "device"), [("auto", "cuda:0"), ("cpu", "cpu"), ("cuda", "cuda:0"), ("CUDA:1", "cuda:1")])
def test_with_gpus_the_first_is_taken_unless_told_otherwise(asked: str, device: str) -> None:
    assert resolve_device(asked) == device


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_auto_is_the_cpu() -> None:
    assert resolve_device("auto") == resolve_device("cpu") == "cpu"


@pytest.mark.usefixtures("no_gpu")
def test_a_gpu_that_is_not_there_is_refused_with_the_reason_and_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    with pytest.raises(SpecError, match="'cuda:0' is not usable: this build of torch has no CUDA. Use --device cpu."):
        resolve_device("cuda:0")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    with pytest.raises(SpecError, match="torch finds no GPU"):
        resolve_device("cuda")


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_beyond_the_last_is_refused_with_those_there_are() -> None:
    with pytest.raises(SpecError, match="There is no 'cuda:2': this machine has 2 GPUs, cuda:0 to cuda:1"):
        resolve_device("cuda:2")


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("asked", ["gpu", "cuda:", "cuda:-1", "cuda:x", "auto:1", ""])
def test_what_is_no_device_is_refused(asked: str) -> None:
    with pytest.raises(SpecError, match="Use auto, cpu, cuda or cuda:N"):
        resolve_device(asked)


def test_threads_are_set_as_asked_and_otherwise_to_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        assert set_threads(3) == torch.get_num_threads() == 3
        monkeypatch.setattr(devices, "available_cores", lambda: 2)
        assert set_threads() == 2
        with pytest.raises(SpecError, match="at least 1"):
            set_threads(0)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("quota", "cores"), [("150000 100000", 2), ("max 100000", 64), ("50000 100000", 1), ("9900000 100000", 64)]
)
def test_a_container_has_the_cores_of_its_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(quota + "\n")
    monkeypatch.setattr(devices, "CGROUP_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(devices.os, "sched_getaffinity", lambda pid: set(range(64)))
    assert available_cores() == cores


def draws() -> list[float]:
    return [random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(1).item()]  # noqa: NPY002


def test_all_global_generators_follow_the_seed() -> None:
    seed_all(3)
    first = draws()
    seed_all(3)
    assert draws() == first
    seed_all(4)
    assert all(a != b for a, b in zip(draws(), first, strict=True))


def test_restored_generators_go_on_where_they_were_saved(tmp_path: Path) -> None:
    seed_all(3)
    draws()  # leaves the second value of a pair of normal draws behind, in Python's generator and in NumPy's
    torch.save(random_state("cpu"), tmp_path / "state.pt")
    onward = draws()
    seed_all(0)
    restore_random_state(torch.load(tmp_path / "state.pt", weights_only=True), "cpu")
    assert draws() == onward


FAULTS = """
import resource, sys, torch
from clusterbench.bench.devices import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()


def step():  # frees 64 MiB, well above the 16 MiB or so that glibc keeps by itself
    tensors = [torch.zeros(2**21).add_(1) for _ in range(8)]


step()  # the first one loads code and fetches the memory in any case
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the settings")
def test_freed_memory_is_used_again_instead_of_being_fetched_anew() -> None:
    faults = {way: int(subprocess.check_output([sys.executable, "-c", FAULTS, way])) for way in ("keep", "return")}
    assert faults["keep"] < faults["return"] / 3


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", missing)
    assert keep_freed_memory() is False
