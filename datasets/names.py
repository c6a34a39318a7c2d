"""Names of data sets: `cifar10`, `cifar10@sample`, `folder:PATH`, `folder:PATH@64`, `npz:PATH`."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from .errors import DataError

SAMPLE = "@sample"
OWN = ("folder", "npz")  # kinds of data sets that are a user's own path
SMALLEST_SIDE, LARGEST_SIDE = 4, 1024


@dataclass(frozen=True)
class DatasetName:
    """A data set's name in its parts.

    Attributes:
        public: as the user writes it, and as it stands in records.
        base: the name of its card: `cifar10`, `folder:PATH` or `npz:PATH`.
        path: of a user's own images; None for a named data set.
        size: pixels of the square that a user's images are brought to, if the name says so.
        is_sample: whether it is the small stand-in of `base`.
    """

    public: str
    base: str
    path: Path | None = None
    size: int | None = None
    is_sample: bool = False

    @property
    def folder(self) -> str:
        """Name of the folder of its prepared arrays; two paths never share one."""
        if self.path is None:
            return self.public
        kind = self.base.partition(":")[0]
        whole = f"{self.path.absolute()}@{self.size or ''}"
        readable = re.sub(r"[^A-Za-z0-9._-]+", "_", self.path.absolute().name)[:40].strip(".") or "_"
        return f"{kind}-{readable}-{hashlib.sha256(whole.encode()).hexdigest()[:10]}"


def parse(name: str) -> DatasetName:
    """The parts of `name`. Raises `DataError` for a path that is missing from it, or a size out of range."""
    kind, colon, rest = name.partition(":")
    if not colon or kind not in OWN:
        base = name.removesuffix(SAMPLE)
        return DatasetName(name, base, is_sample=base != name)
    size = re.fullmatch(r"(.+)@(\d+)", rest)
    if kind == "folder" and size and not Path(rest).exists():
        rest, side = size[1], int(size[2])
        if not SMALLEST_SIDE <= side <= LARGEST_SIDE:
            raise DataError(f"{name}: images can be brought to {SMALLEST_SIDE} to {LARGEST_SIDE} pixels, not {side}.")
    else:
        side = None
    if not rest:
        raise DataError(f"{name} lacks the path: write {kind}:PATH.")
    return DatasetName(name, f"{kind}:PATH", Path(rest).expanduser(), side)
