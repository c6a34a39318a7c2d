"""Runs command lines as a user does, and keeps what they print."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clusterbench.bench.cli import main

LIST_MODULES = (
    "import json, sys; from clusterbench.bench.cli import main; code = main(sys.argv[1:]); "
    "print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)"
)


@dataclass(frozen=True)
class Ran:
    """How a command line ended: its exit code and what it wrote to its two outputs."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Standard error as one line, without the frames that usage errors are drawn in."""
        return " ".join(re.sub(r"[│╭╮╰╯─]", " ", self.err).split())


class Bench:
    """`bench(...)` in this process, with an output folder of its own and without a tracker."""

    def __init__(self, capture: pytest.CaptureFixture[str], out: Path) -> None:
        self.capture, self.out = capture, out

    def __call__(self, *words: str) -> Ran:
        self.capture.readouterr()
        code = main(words)
        captured = self.capture.readouterr()
        return Ran(code, captured.out, captured.err)

    def run(self, *words: str) -> Ran:
        """`bench run` on `digits`, untracked, in this process."""
        return self("run", "--dataset", "digits", "--mlflow", "off", "--address", "none", *words)

    @property
    def folders(self) -> list[str]:
        """Names of the record folders, without the identity at their ends."""
        return sorted(path.parent.name.rpartition("-")[0] for path in self.out.glob("*/record.json"))


def modules_after(*words: str) -> tuple[int, set[str], str]:
    """Exit code, loaded modules and output of `bench WORDS` in a fresh process."""
    done = subprocess.run([sys.executable, "-c", LIST_MODULES, *words], capture_output=True, text=True, check=True)
    ended: list[Any] = json.loads(done.stderr.splitlines()[-1])
    return ended[0], set(ended[1]), done.stdout
