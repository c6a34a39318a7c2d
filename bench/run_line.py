"""A trial as the `bench run` line that a person types."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from .config import WITHOUT_PRESETS
from .terminal import yaml_line


def run_line(spec: Mapping[str, Any], seeds: str, data_root: Path | None = None, *, unsaid: Collection[str] = ()) -> str:
    """The command that runs the same trial with other seeds, ready to be pasted.

    Args:
        spec: a trial's, as in its record.
        seeds: as `--seeds` takes them.
        data_root: folder of the data, if the command must name it.
        unsaid: presets that need not be named.
    """
    words = ["bench", "run", "--method", spec["method"], "--dataset", spec["dataset"]]
    if spec["preset"] not in (WITHOUT_PRESETS, *unsaid):
        words += ["--preset", spec["preset"]]
    for name, value in (spec.get("overrides") or {}).items():
        words += ["--set", f"{name}={yaml_line(value)}"]
    if spec["protocol"] != "full":
        words += ["--protocol", spec["protocol"]]
    if spec.get("time_limit_s"):
        words += ["--time-limit", f"{spec['time_limit_s']:.12g}s"]
    if data_root is not None:
        words += ["--data-root", str(data_root)]
    return shlex.join([*words, "--seeds", seeds])
