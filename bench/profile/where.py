"""Where and how a suite of benchmarks runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ...datasets.source import Progress, silent


@dataclass(frozen=True)
class Where:
    """What all benchmarks of one suite share.

    Attributes:
        device: `cpu` or `cuda:N`.
        threads: CPU threads that torch has.
        data_root: folder of the data sets, the usual one if None; `download` fetches what is missing.
        quick: sizes at which everything is over in a minute or two, to see that it works; no figure of it is worth keeping.
        progress: told what is being measured.
    """

    device: str = "cpu"
    threads: int = 1
    data_root: Path | None = None
    download: bool = False
    quick: bool = False
    progress: Progress = field(default=silent, compare=False)

    @property
    def about(self) -> str:
        """`cpu, 1 thread`."""
        return f"{self.device}, {self.threads} thread{'s'[: self.threads != 1]}"
