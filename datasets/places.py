"""Where a data set is on this machine: prepared, as original files, or not at all. Imports nothing heavy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from . import roots
from .names import SAMPLE, DatasetName, parse

PREPARED = "prepared"
MANIFEST = "manifest.json"
GENERIC_SPLITS = ("train", "test", "unlabeled", "all")


@dataclass(frozen=True)
class State:
    """Attributes:
    kind: `prepared`, `originals` (here, but not prepared yet), `package` (comes with one) or `absent`.
    where: the folder, or the package's name; None if absent.
    """

    kind: Literal["prepared", "originals", "package", "absent"]
    where: str | None = None


def state(name: str, card: Mapping[str, Any], root: Path | str | None = None) -> State:
    """The state of the data set `name` on this machine, by the names of files alone.

    Raises `DataError` for a data root that was named and does not exist.
    """
    parsed = parse(name)
    if parsed.path is None and not parsed.is_sample and "layouts" not in card:
        return State("package", str(card.get("source") or card["summary"]))
    store = find_store(parsed, card, root)
    if store is not None:
        return State("prepared", str(store))
    if parsed.path is not None:
        return State("originals", str(parsed.path)) if parsed.path.exists() else State("absent")
    found = None if parsed.is_sample else find_originals(parsed.base, card, root)
    return State("originals", str(found)) if found else State("absent")


def store_name(parsed: DatasetName, card: Mapping[str, Any]) -> str:
    """Name of the folder of prepared arrays: several data sets may be views of the arrays of one."""
    if parsed.path is None and "store" in card:
        return str(card["store"])
    return parsed.folder


def find_store(parsed: DatasetName, card: Mapping[str, Any], root: Path | str | None = None) -> Path | None:
    """The folder of prepared arrays in the first data root that has one."""
    folders = (data_root / PREPARED / store_name(parsed, card) for data_root in roots.data_roots(root))
    return next((folder for folder in folders if (folder / MANIFEST).is_file()), None)


def store_target(parsed: DatasetName, card: Mapping[str, Any], root: Path | str | None = None) -> Path:
    """Where arrays are prepared: in the first data root that can be written to; the user's cache always counts as one."""
    candidates = roots.data_roots(root)
    writable = next((folder for folder in candidates[:-1] if _is_writable(folder)), candidates[-1])
    return writable / PREPARED / store_name(parsed, card)


def _is_writable(folder: Path) -> bool:
    """Whether its permissions let anybody write, and this process too; root is let in anywhere, but respects them here."""
    return bool(folder.stat().st_mode & 0o222) and os.access(folder, os.W_OK)


def find_originals(base: str, card: Mapping[str, Any], root: Path | str | None = None) -> Path | None:
    """The first data root that holds the original files of `base`, or arrays or an image folder named like it."""
    return next((folder for folder in roots.data_roots(root) if has_originals(base, card, folder)), None)


def has_originals(base: str, card: Mapping[str, Any], folder: Path) -> bool:
    """Whether `folder` holds, by their names, files that `base` can be read from."""
    if any(not roots.missing(layout, folder) for layout in card.get("layouts", ())):
        return True
    own = folder / str(card.get("store", base))
    return any((own / f"{split}.npz").is_file() or (own / split).is_dir() for split in GENERIC_SPLITS)


def all_stores(root: Path | str | None = None) -> list[Path]:
    """The folders of everything that is prepared in any data root."""
    found = (path.parent for place in roots.data_roots(root) for path in sorted((place / PREPARED).glob(f"*/{MANIFEST}")))
    return [folder for folder in found if not folder.name.startswith(".")]


def sample_stores(root: Path | str | None = None) -> list[str]:
    """Names of the samples that are prepared."""
    return sorted({folder.name for folder in all_stores(root) if folder.name.endswith(SAMPLE)})
