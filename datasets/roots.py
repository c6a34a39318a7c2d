"""Where data sets lie on this machine. Looks, but opens and imports nothing heavy."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from .errors import DataError

VARIABLE = "CLUSTERBENCH_DATA"


def data_roots(explicit: Path | str | None = None) -> list[Path]:
    """The folders that are searched, in this order: `explicit` (`--data-root`), $CLUSTERBENCH_DATA, the user's cache.

    Raises:
        DataError: a folder that was named, as an option or in the variable, does not exist.
    """
    named = {"--data-root": explicit, f"${VARIABLE}": os.environ.get(VARIABLE)}
    roots = []
    for origin, root in named.items():
        if not root:
            continue
        if not Path(root).expanduser().is_dir():
            raise DataError(f"The data root {root} ({origin}) is not a folder. Correct it, or create it with: mkdir -p {root}")
        roots.append(Path(root).expanduser())
    return list(dict.fromkeys([*roots, cache_root()]))


def download_root(explicit: Path | str | None = None) -> Path:
    """The folder that downloads go to: the first of `data_roots`. The user's cache may not exist yet."""
    return data_roots(explicit)[0]


def cache_root() -> Path:
    """`clusterbench/data` in the user's cache directory ($XDG_CACHE_HOME, else ~/.cache)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "clusterbench" / "data"


def missing(files: Iterable[str], root: Path) -> list[str]:
    """Those of `files` that `root` holds neither as they are nor with `.gz` added."""
    return [name for name in files if variant(root, name) is None]


def variant(root: Path, name: str) -> Path | None:
    """The file or folder `name` in `root`, unpacked if it is there, else with `.gz` added, else None."""
    return next((path for path in (root / name, root / f"{name}.gz") if path.exists()), None)
