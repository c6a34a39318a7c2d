"""The benchmark compares like with like, and its table has a line for each case."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest
import torch

from clusterbench.methods.kit.augment import benchmark


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def no_kornia(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


@pytest.mark.parametrize("case", benchmark.CASES, ids=lambda case: case.name)
def test_all_contestants_make_images_of_the_same_shape(case: benchmark.Case, no_kornia: None) -> None:
    shapes = {name: one.run().shape for name, one in benchmark.contestants(case, 3, "cpu").items()}  # type: ignore[attr-defined]
    assert len(set(shapes.values())) == 1, shapes


def test_table_has_a_line_for_each_case(capsys: pytest.CaptureFixture[str], no_kornia: None, one_thread: None) -> None:
    benchmark.main(["--images", "2", "--rounds", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert [line[:42].strip() for line in lines[4:]] == [case.name for case in benchmark.CASES]
    assert "1 thread(s), batches of 2, median of 1 rounds by process_time" in lines[1]
