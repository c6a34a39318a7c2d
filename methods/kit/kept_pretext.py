"""A contrastive network in the store of artefacts, and what follows from it: features and neighbours.

The same `Pretext` settings on the same images give the same key, whoever asks: the trial that comes first trains the network,
and every other takes it. Features and neighbours are keyed by their network, images and layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ...datasets.base import Images
from .artefacts import Artefacts, artefact_key, images_id
from .backbone_weights import WeightsFile
from .neighbours import nearest_neighbours
from .simclr import VERSION, Layer, Pretext


class KeptPretext:
    """A pretext and its results, taken from `store` or made and kept there.

    Args:
        pretext: the network; random, half trained, or filled with `weights`.
        store: None to keep nothing and to take nothing.
        role: the images that it is trained on.
        weights: the file that its backbone came from, if it is not trained.
        batch: images in a batch of features.
    """

    def __init__(
        self, pretext: Pretext, store: Artefacts | None, *, role: str, weights: WeightsFile | None = None, batch: int = 1000
    ) -> None:
        self.pretext, self.store, self.role, self.weights, self.batch = pretext, store, role, weights, batch

    @contextmanager
    def claimed(self, images: Images) -> Iterator[bool]:
        """Whether the trained network was found in the store (it is filled then); if not, who is inside is to train it.

        Others who want the same one wait meanwhile.
        """
        if self.store is None or self._take(images):
            yield self.store is not None
            return
        with self.store.claim("pretext", self._key(images)):
            yield self._take(images)

    def keep(self, images: Images) -> None:
        """Put the trained network into the store: the tensors `trunk.*` and `projection.*`."""
        if self.store is not None:
            facts = {**self._recipe(), "images": len(images), "shape": images.shape}
            self.store.save("pretext", self._key(images), self.pretext.network.state_dict(), facts)

    def neighbours(self, images: Images, role: str, count: int, layer: Layer) -> tuple[torch.Tensor, int]:
        """The nearest neighbours among the images of `role`, and how many images went through the network for it.

        int64 (n, count + 1) on the images' device: positions among the images of that role, the first its own.
        """
        passed = 0

        def make() -> dict[str, torch.Tensor]:
            nonlocal passed
            features, passed = self._features(images, role, layer)
            return {"neighbours": nearest_neighbours(features, count).to(torch.int32)}

        facts = {"role": role, "layer": layer, "neighbours": count, "images": len(images.role(role))}
        found = self._obtain("neighbours", images, facts, make)
        return found["neighbours"].to(images.device, torch.int64), passed

    def _features(self, images: Images, role: str, layer: Layer) -> tuple[torch.Tensor, int]:
        """Float32 (n, D) of unit length, and how many images went through the network for it."""
        passed = 0

        def make() -> dict[str, torch.Tensor]:
            nonlocal passed
            passed = len(images.role(role))
            return {"features": self.pretext.features(images, images.role(role), layer, self.batch)}

        facts = {"role": role, "layer": layer, "images": len(images.role(role))}
        found = self._obtain("features", images, facts, make)
        return found["features"].to(images.device), passed

    def _obtain(
        self, kind: str, images: Images, facts: dict[str, Any], make: Callable[[], dict[str, torch.Tensor]]
    ) -> dict[str, torch.Tensor]:
        if self.store is None:
            return make()
        key = artefact_key(kind, pretext=self._key(images), **facts)
        return self.store.obtain(kind, key, {**facts, "pretext": self._key(images)}, make)

    def _take(self, images: Images) -> bool:
        """Fill the network from the store; whether it was there."""
        found = None if self.store is None else self.store.load("pretext", self._key(images))
        if found is not None:
            self.pretext.network.load_state_dict(found)
        return found is not None

    def _key(self, images: Images) -> str:
        return artefact_key("pretext", images=images_id(images), **self._recipe())

    def _recipe(self) -> dict[str, Any]:
        """All that decides the network but the images."""
        if self.weights is None:
            return {"method": "simclr", "version": VERSION, "role": self.role, **self.pretext.recipe}
        seen = {name: self.pretext.recipe[name] for name in ("network", "views", "precision")}
        return {"method": "weights", "version": VERSION, "sha256": self.weights.sha256, **seen}
