"""The data sets by name: ours from the card files of this folder, other people's from `clusterbench.datasets`.

A data set is a card and a recipe. The card says what it is; listing reads nothing else. The recipe reads its original
files, which the preparation turns into memory-mapped arrays once. Other people's packages may register a recipe too, or
a plain function `(root, download) -> Dataset`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .names import parse
from .registry import Card, Registry

if TYPE_CHECKING:
    from .source import Progress, Recipe
    from .splits import Dataset

NOT_OF_A_SAMPLE = {"size_mb", "prepared_mb", "layouts", "checksums", "store", "label_map"}
"""What a card says of the whole data set only. The sample of a view is no view: it has images and labels of its own."""
Loader = Callable[[Path | None, bool], "Dataset"]


class Catalogue(Registry["Recipe | Loader"]):
    """The registry of data sets; it also knows a card for every `folder:PATH`, `npz:PATH` and `NAME@sample`."""

    def card(self, name: str) -> Card:
        """The card of `name`, without importing its module."""
        parsed = parse(name)
        card = super().card(parsed.base)
        if "store" in card:  # a view of another data set's arrays differs from it in its labels only
            card = {**super().card(card["store"]), **card}
        if not parsed.is_sample:
            return card
        return {
            **{key: value for key, value in card.items() if key not in NOT_OF_A_SAMPLE},
            "title": f"{card['title']}, a sample",
            "summary": f"a small stand-in of {parsed.base}, for trying a pipeline; its results are not results on {parsed.base}",
            "images": None,
            "download": False,
        }

    def get(self, name: str) -> Recipe | Loader:
        """What reads `name`. Raises `NotFound` for an unknown name."""
        base = parse(name).base
        return super().get(super().card(base).get("store", base))


datasets: Catalogue = Catalogue("data set", "clusterbench.datasets", Path(__file__).parent, "clusterbench.datasets")
register = datasets.register


def load(name: str, *, root: Path | str | None = None, download: bool = False, progress: Progress | None = None) -> Dataset:
    """The data set `name`, prepared now if it was not before, its arrays memory-mapped.

    Args:
        name: one of `datasets.names()`, `folder:PATH`, `npz:PATH` or `NAME@sample`.
        root: a data root that is searched before $CLUSTERBENCH_DATA and the user's cache.
        download: fetch what is missing into the first of these folders.
        progress: told how far a download or preparation has come.

    Raises:
        NotFound: there is no such data set.
        DataError: its files are missing or damaged.
    """
    from .preparation.prepare import load_prepared
    from .source import Recipe, silent

    found = None if parse(name).path else datasets.get(name)
    if found is None or isinstance(found, Recipe):
        return load_prepared(name, root=root, download=download, progress=progress or silent)
    return found(Path(root) if root else None, download)


def present(name: str, root: Path | str | None = None) -> str | None:
    """Where `name` would be read from on this machine, in a few words; None if it is not here.

    Opens no array, so a damaged file counts as present. Raises `NotFound` and, for a data root that does not exist,
    `DataError`.
    """
    from .places import state

    return state(name, datasets.card(name), root).where
