"""The switches of speed on the command line: named by the record, no part of what makes a trial, refused where they cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_tools import Bench

from clusterbench.bench.scheduling.driver import Job
from clusterbench.methods.kit.execution import Execution, current, using
from clusterbench.results.record import find_records

RANDOM = ("--method", "random", "--preset", "smoke")


def test_a_record_names_the_switches_and_is_that_of_the_same_trial(bench: Bench) -> None:
    assert bench.run(*RANDOM, "--fused", "--no-channels-last").code == 0
    (record,) = find_records(bench.out)
    assert record.provenance["execution"] == {"channels_last": False, "fused": True, "compile": False, "cuda_graphs": False}
    assert current() == Execution()
    again = bench.run(*RANDOM)
    assert "already complete, not run again" in again.err
    assert [found.id for found in find_records(bench.out)] == [record.id]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--compile", "--cuda-graphs"), "CUDA graphs need a GPU, and the device is cpu: leave out --cuda-graphs."),
        (("--cuda-graphs",), "CUDA graphs need a GPU"),
    ],
)
def test_switches_that_cannot_be_are_refused_before_anything_starts(words: tuple[str, ...], said: str, bench: Bench) -> None:
    ran = bench.run(*RANDOM, "--device", "cpu", *words)
    assert (ran.code, bench.folders) == (1, [])
    assert said in ran.said


def test_workers_are_told_how_the_driver_executes(tmp_path: Path) -> None:
    with using(Execution(fused=False, compile=True)):
        told = Job(tmp_path).as_config()["execution"]
    assert Execution(**json.loads(json.dumps(told))) == Execution(fused=False, compile=True)
