"""K-means on pixels, or on the features of a network, random or trained: the oldest row of every table.

scikit-learn's k-means++ for small data, faiss for large; see `kit/clusterers.py` for the settings that move the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from pydantic import Field

from ..datasets.base import Images
from .base import Epoch, Method, MethodConfig, State
from .kit.clusterers import KMeansHead, KMeansSettings
from .kit.features import NetworkSettings, pixel_features
from .kit.inputs import Source, extractor_of
from .registry import register


class KMeansConfig(MethodConfig):
    """Settings of k-means."""

    later: ClassVar[tuple[tuple[str, ...], ...]] = (("network.views.crop_unit",),)

    features: Source = Field(default="pixels", description="what is clustered")
    kmeans: KMeansSettings = Field(default_factory=KMeansSettings, description="normalisation, PCA, restarts, library")
    network: NetworkSettings = Field(default_factory=NetworkSettings, description="the network of features=network")


@register("kmeans")
class KMeans(Method):
    """K-means on pixels or on a network's features.

    >>> from sklearn.datasets import load_digits
    >>> images = (load_digits().images * 255 / 16).round().astype("uint8")
    >>> KMeans(n_clusters=10).fit(images).labels_.shape
    (1797,)
    """

    name: ClassVar[str] = "kmeans"
    Config = KMeansConfig
    config: KMeansConfig

    def train(self, images: Images) -> Iterator[Epoch]:
        """Yield once: `objective` and `criterion` are the mean squared distance to the nearest centre."""
        if hasattr(self, "head"):
            return
        self._build(images.shape)
        objective = self.head.fit(self._features(images))
        passed = len(images) if self.config.features == "network" else 0
        yield Epoch(1, {"objective": objective}, objective, passed)

    def _build(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self.head = KMeansHead(self.n_clusters, self.config.kmeans, self.seed)
        if self.config.features == "network":
            self.extractor = extractor_of(self, self.config.network, shape)

    def _features(self, images: Images) -> np.ndarray:
        """Float32 (N, D)."""
        return pixel_features(images) if self.config.features == "pixels" else self.extractor.of(images).cpu().numpy()

    def predict_heads(self, images: Images) -> np.ndarray:
        """Nearest centre of each image: int64 (1, len(images))."""
        return self.head.predict(self._features(images))[None]

    def state_dict(self) -> State:
        """The centres and the scaling of the features; a network's weights follow from the seed, or are where they were."""
        return {"head": self.head.state_dict(), "shape": list(self.shape)}

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned."""
        channels, height, width = state["shape"]
        self._build((channels, height, width))
        self.head.load_state_dict(state["head"])
