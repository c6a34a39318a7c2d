"""The random network: what an untrained network scores, the floor under every learned row.

The IIC paper's row (Table 1) is the untrained IIC network's own answer, the argmax of its heads; clustering the same
network's features with k-means is another, stronger baseline and has its own readout.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt

from ..datasets.base import Images
from .base import Epoch, Method, MethodConfig, State
from .kit.clusterers import KMeansHead, KMeansSettings
from .kit.features import NetworkFeatures, NetworkSettings
from .kit.networks import SubHeads, initialise
from .kit.randomness import seeded
from .registry import register


class RandomConfig(MethodConfig):
    """Settings of the random network."""

    later: ClassVar[tuple[tuple[str, ...], ...]] = (("network.views.crop_unit",),)

    readout: Literal["head", "kmeans"] = Field(
        default="head", description="the network's own argmax (the published row), or k-means on its features"
    )
    sub_heads: PositiveInt = Field(default=5, description="untrained heads, all judged; the first one is the row's")
    network: NetworkSettings = Field(default_factory=NetworkSettings, description="the network and its view of the images")
    kmeans: KMeansSettings = Field(default_factory=KMeansSettings, description="settings of readout=kmeans")


@register("random")
class RandomNetwork(Method):
    """An untrained network's own clusters, or k-means on its features.

    >>> from sklearn.datasets import load_digits
    >>> images = (load_digits().images * 255 / 16).round().astype("uint8")
    >>> RandomNetwork(n_clusters=10, network={"views": {"crop": 8, "size": 16}}).fit(images).labels_.shape
    (1797,)
    """

    name: ClassVar[str] = "random"
    Config = RandomConfig
    config: RandomConfig

    def train(self, images: Images) -> Iterator[Epoch]:
        """Yield once. Nothing is learned, but for the centres of readout=kmeans."""
        if hasattr(self, "extractor"):
            return
        self.build(images.shape)
        if self.config.readout == "head":
            yield Epoch(1)  # nothing has gone through the network yet
            return
        objective = self.clusterer.fit(self.extractor.of(images).cpu().numpy())
        yield Epoch(1, {"objective": objective}, objective, len(images))

    def build(self, shape: tuple[int, int, int]) -> None:
        """The network and its heads, untrained, for images of `shape` (C, H, W)."""
        self.shape = shape
        self.extractor = NetworkFeatures(self.config.network, shape, self.seed, self.device)
        self.clusterer = KMeansHead(self.n_clusters, self.config.kmeans, self.seed)
        with seeded(self.seed, "heads"):
            heads = SubHeads(self.extractor.trunk.features, self.n_clusters, self.config.sub_heads)
            initialise(heads)
        self.heads = heads.to(self.device)

    @torch.inference_mode()
    def predict_heads(self, images: Images) -> np.ndarray:
        """Clusters by each untrained head, int64 (sub_heads, len(images)), or by k-means, (1, len(images))."""
        features = self.extractor.of(images)  # (N, D)
        if self.config.readout == "kmeans":
            return self.clusterer.predict(features.cpu().numpy())[None]
        return self.heads(features).argmax(-1).cpu().numpy()

    def state_dict(self) -> State:
        """The shape, and the centres of readout=kmeans; the network follows from the seed."""
        centres = self.clusterer.state_dict() if self.config.readout == "kmeans" else {}
        return {"clusterer": centres, "shape": list(self.shape)}

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned."""
        channels, height, width = state["shape"]
        self.build((channels, height, width))
        self.clusterer.load_state_dict(state["clusterer"])
