"""A base that a classifier stands on, in the store of artefacts: trained once for all classifiers, whatever their labels.

The same method, settings, seed and number of clusters on the same images give the same key, so all label fractions, folds and
readouts of a table share one training. What is kept is the part that classifiers use, its trunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from torch import nn

from ...datasets.base import Images
from ..base import Method
from .artefacts import Artefacts, artefact_key, images_id

KIND = "base"


class Kept(Protocol):
    """What a classifier asks of the store; `KeptPretext` is another one."""

    def claimed(self, images: Images) -> AbstractContextManager[bool]:
        """Whether the trained base was found (its trunk is filled then); if not, who is inside is to train it."""
        ...

    def keep(self, images: Images) -> None:
        """Put what was trained on `images` into the store."""
        ...


class KeptBase:
    """A trunk, taken from `store` or kept there once it is trained.

    Args:
        base: the method that trains it.
        trunk: its part that is kept; filled in place.
        store: None to keep nothing and to take nothing.
    """

    def __init__(self, base: Method, trunk: nn.Module, store: Artefacts | None) -> None:
        self.base, self.trunk, self.store = base, trunk, store

    @contextmanager
    def claimed(self, images: Images) -> Iterator[bool]:
        """See `Kept`. Others who want the same base wait meanwhile."""
        if self.store is None or self._take(images):
            yield self.store is not None
            return
        with self.store.claim(KIND, self._key(images)):
            yield self._take(images)

    def keep(self, images: Images) -> None:
        """See `Kept`."""
        if self.store is not None:
            facts = {**self._recipe(), "images": len(images), "shape": images.shape}
            self.store.save(KIND, self._key(images), self.trunk.state_dict(), facts)

    def _take(self, images: Images) -> bool:
        found = None if self.store is None else self.store.load(KIND, self._key(images))
        if found is not None:
            self.trunk.load_state_dict(found)
        return found is not None

    def _key(self, images: Images) -> str:
        return artefact_key(KIND, images=images_id(images), **self._recipe())

    def _recipe(self) -> dict[str, Any]:
        """All that decides the trunk but the images."""
        base = self.base
        return {
            "method": base.name,
            "version": base.version,
            "config": base.config,
            "seed": base.seed,
            "n_clusters": base.n_clusters,
        }
