"""The random network for segmentation: what an untrained network's pixels score, the floor under every learned row.

Row "Random CNN" of Ji, Henriques, Vedaldi (ICCV 2019), Table 4: the argmax of IIC's segmentation network before training.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from pydantic import Field, PositiveInt

from ..datasets.base import Images
from .base import Epoch, Method, MethodConfig, State, Task
from .kit.segmentation_network import SegmentationNetworkSettings, build_network, probability_maps
from .kit.segmentation_views import SegmentationView, SegmentationViewSettings, largest_crop
from .registry import register


class RandomSegmentationConfig(MethodConfig):
    """Settings of the random network for segmentation."""

    sub_heads: PositiveInt = Field(default=1, description="untrained heads, all judged; the first one is the row's")
    evaluation_batch: PositiveInt = Field(default=16, description="images in a batch")
    network: SegmentationNetworkSettings = Field(default_factory=SegmentationNetworkSettings, description="its layers")
    views: SegmentationViewSettings = Field(default_factory=SegmentationViewSettings, description="what it sees of an image")


@register("random-segmentation")
class RandomSegmentation(Method):
    """An untrained segmentation network's own clusters.

    >>> from sklearn.datasets import load_sample_images
    >>> import numpy as np
    >>> photographs = np.stack(load_sample_images().images)[:, ::8, ::8]  # uint8 (2, 54, 80, 3)
    >>> RandomSegmentation(n_clusters=3).fit(photographs).labels_.shape
    (2, 54, 80)
    """

    name: ClassVar[str] = "random-segmentation"
    task: ClassVar[Task] = "segmentation"
    Config = RandomSegmentationConfig
    config: RandomSegmentationConfig

    def train(self, images: Images) -> Iterator[Epoch]:
        """Yield once. Nothing is learned."""
        if hasattr(self, "network"):
            return
        self._build(images.shape, largest_crop(images))
        yield Epoch(1)

    def _build(self, shape: tuple[int, int, int], extent: tuple[int, int]) -> None:
        config = self.config
        self.shape, self.extent = shape, extent
        self.views = SegmentationView(config.views, shape, extent)
        heads = {"main": (self.n_clusters, config.sub_heads)}
        network = build_network(self.views.channels, self.views.size, heads, config.network, self.seed)
        self.network = network.to(self.device)

    def predict_batches(self, images: Images) -> Iterator[np.ndarray]:
        """Cluster of each pixel by each untrained head: int64 (sub_heads, n, H, W), a batch of images at a time."""
        for maps in probability_maps(self.network, self.views, images, self.config.evaluation_batch):
            yield maps.argmax(2).cpu().numpy()

    def predict_heads(self, images: Images) -> np.ndarray:
        """All of `predict_batches`: int64 (sub_heads, len(images), H, W)."""
        return np.concatenate(list(self.predict_batches(images)), axis=1)

    def state_dict(self) -> State:
        """The shapes; the network follows from the seed."""
        return {"shape": list(self.shape), "extent": list(self.extent)}

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned."""
        (channels, height, width), (rows, columns) = state["shape"], state["extent"]
        self._build((channels, height, width), (rows, columns))
