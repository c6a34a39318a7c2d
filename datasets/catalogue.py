"""The data sets by name: ours from the card files of this folder, other people's from `clusterbench.datasets`.

A data set is a card and a loader. The card says what it is and, under `files`, which files it is read from; so its
state on this machine is known without importing its module. The loader is a function `(root, download) -> Dataset`
registered under the same name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from . import roots
from .registry import Registry

if TYPE_CHECKING:
    from .base import Dataset

datasets: Registry[Callable[[Path | None, bool], Dataset]] = Registry(
    "data set", "clusterbench.datasets", Path(__file__).parent, "clusterbench.datasets"
)
register = datasets.register


def load(name: str, *, root: Path | str | None = None, download: bool = False) -> Dataset:
    """The data set `name`, verified and in memory.

    Args:
        name: one of `datasets.names()`.
        root: a data root that is searched before $CLUSTERBENCH_DATA and the user's cache.
        download: fetch what is missing into the first of these folders.

    Raises:
        NotFound: there is no such data set.
        DataError: its files are missing or damaged.
    """
    return datasets.get(name)(Path(root) if root else None, download)


def present(name: str, root: Path | str | None = None) -> str | None:
    """Where `name` would be read from on this machine: a data root, or its card's `source` if it comes with a package.

    None if files are missing. Opens no file, so a damaged one counts as present. Raises `NotFound` and, for a data
    root that does not exist, `DataError`.
    """
    card = datasets.card(name)
    if not card.get("files"):
        return card.get("source", card["summary"])
    found = roots.find(card["files"], root)
    return str(found) if found else None
