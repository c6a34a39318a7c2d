"""Ceilings are rates of real work."""

from __future__ import annotations

from unittest import mock

import pytest
import torch

from clusterbench.bench.profile import ceilings as module


def test_rates_follow_from_the_quickest_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products that take 4, 2 and 3 seconds, copies that take 1 second each."""
    shown = iter([0, 4, 10, 12, 20, 23, 30, 31, 40, 41, 50, 51])
    monkeypatch.setattr(module, "clock_for", lambda device: lambda: float(next(shown)))
    with mock.patch.object(module.time, "perf_counter", side_effect=iter([0.0, 9.0, 0.0, 9.0])):
        found = module.ceilings("cpu", seconds=1.0)
    assert found.matrix == 2 * module.SIDES["cpu"] ** 3 / 2
    assert found.copy == 2 * module.COPIED_BYTES["cpu"]


def test_this_machine_has_rates() -> None:
    found = module.ceilings("cpu", torch.float32, seconds=0.01)
    assert found.matrix > 1e8 and found.copy > 1e7
