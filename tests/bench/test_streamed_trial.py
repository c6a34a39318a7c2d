"""A trial whose images are streamed ends with the same numbers as one whose images are resident."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli_tools import Bench


@pytest.mark.parametrize("method", ["iic", "kmeans", "random"])
def test_streamed_and_resident_trials_agree(bench: Bench, tmp_path: Path, method: str) -> None:
    labels = {}
    for share in ("0", "1"):
        out = tmp_path / share
        common = ("run", "--method", method, "--dataset", "digits", "--preset", "smoke", "--mlflow", "off", "--out", str(out))
        assert bench(*common, "--memory-share", share).code == 0
        folder = next(out.glob("*/record.json")).parent
        labels[share] = np.load(folder / "labels.npz")["last"]
        record = json.loads((folder / "record.json").read_text())
        assert record["status"] == "complete"
    assert np.array_equal(labels["0"], labels["1"])


def test_a_share_outside_of_zero_to_one_is_refused(bench: Bench) -> None:
    assert bench.run("--method", "kmeans", "--memory-share", "1.5").code == 2
