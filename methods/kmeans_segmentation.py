"""K-means on pixels: on their colours, the oldest row of the tables of segmentation, or on the features of any trunk.

Row "K-means" of Ji, Henriques, Vedaldi (ICCV 2019), Table 4: mini-batch k-means on the raw values of pixels, fitted on a
random sample of them and judged on all. With `features=trunk` the same k-means judges a network in place of colours: an
untrained one, or the trunk of any finished record (`start`), whose own clusters do not count then.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import nn

from ..datasets.base import Images
from .base import Epoch, Method, MethodConfig, State, Task
from .kit.arithmetic import Arithmetic
from .kit.features import load_trunk
from .kit.finetune_start import TrainedWeights, read_start
from .kit.networks import initialise
from .kit.pixel_clusters import PixelClusters, PixelKMeansSettings
from .kit.randomness import seeded
from .kit.segmentation_network import SegmentationNetworkSettings, build_trunk
from .kit.segmentation_views import SegmentationView, SegmentationViewSettings, largest_crop
from .registry import register


class KMeansSegmentationConfig(MethodConfig):
    """Settings of k-means on pixels."""

    features: Literal["colours", "trunk"] = Field(default="colours", description="what is clustered")
    start: TrainedWeights | None = Field(
        default=None,
        description="of features=trunk: folder of a finished record of a method for segmentation, whose trunk, layers and "
        "channels are taken; none: an untrained trunk",
    )
    kmeans: PixelKMeansSettings = Field(default_factory=PixelKMeansSettings, description="how pixels are drawn and clustered")
    network: SegmentationNetworkSettings = Field(
        default_factory=SegmentationNetworkSettings, description="layers of the trunk of features=trunk"
    )
    views: SegmentationViewSettings = Field(
        default_factory=SegmentationViewSettings, description="channels, and crop in training"
    )

    @model_validator(mode="before")
    @classmethod
    def _take_over_the_start(cls, settings: Any) -> Any:
        """A folder becomes weights with their checksum; layers and channels are those that they were trained with."""
        if not isinstance(settings, dict) or not isinstance(settings.get("start"), (str, Path)):
            return settings
        weights, config, _ = read_start(settings["start"], None)
        if not {"network", "views"} <= config.keys():
            raise ValueError(f"start: {settings['start']} is no record of a method for segmentation with a trained trunk")
        seen = {name: config["views"].get(name) for name in ("crop", "channels") if config["views"].get(name)}
        return {**settings, "start": weights, "network": config["network"], "views": seen}

    @model_validator(mode="after")
    def _start_is_of_use(self) -> KMeansSegmentationConfig:
        if self.start is not None and self.features != "trunk":
            raise ValueError("start gives a trained trunk, but colours are clustered; add features=trunk or leave it out")
        return self


@register("kmeans-segmentation")
class KMeansSegmentation(Method):
    """K-means on the colours of pixels, or on a trunk's features.

    >>> from sklearn.datasets import load_sample_images
    >>> import numpy as np
    >>> photographs = np.stack(load_sample_images().images)[:, ::8, ::8]  # uint8 (2, 54, 80, 3)
    >>> KMeansSegmentation(n_clusters=3).fit(photographs).labels_.shape
    (2, 54, 80)
    """

    name: ClassVar[str] = "kmeans-segmentation"
    task: ClassVar[Task] = "segmentation"
    version: ClassVar[int] = 2
    Config = KMeansSegmentationConfig
    config: KMeansSegmentationConfig

    def train(self, images: Images) -> Iterator[Epoch]:
        """Yield once: `objective` and `criterion` are the mean squared distance of the sampled pixels to their centres."""
        if hasattr(self, "clusters"):
            return
        self._build(images.shape, largest_crop(images), self.config.start)
        objective = self.clusters.fit(self._maps, self.views, images)
        yield Epoch(1, {"objective": objective}, objective, len(images.role("main")) if self.trunk is not None else 0)

    def _build(self, shape: tuple[int, int, int], extent: tuple[int, int], start: TrainedWeights | None = None) -> None:
        config = self.config
        self.shape, self.extent = shape, extent
        self.views = SegmentationView(config.views, shape, extent)
        self.arithmetic = Arithmetic(self.device)
        self.trunk = self._built_trunk(start) if config.features == "trunk" else None
        self.clusters = PixelClusters(self.n_clusters, config.kmeans, self.seed)

    def _built_trunk(self, start: TrainedWeights | None) -> nn.Module:
        with seeded(self.seed, "weights"):
            trunk = build_trunk(self.views.channels, self.views.size, self.config.network)
            initialise(trunk)
        if start is not None:
            load_trunk(trunk, start.check())
        return self.arithmetic.ready(trunk).eval()

    def _maps(self, views: torch.Tensor) -> torch.Tensor:
        """Features of prepared views (n, channels, H, W): the colours themselves, or a trunk's maps."""
        return views if self.trunk is None else self.arithmetic(self.trunk, views)

    def predict_batches(self, images: Images) -> Iterator[np.ndarray]:
        """Nearest centre of each pixel: int64 (1, n, H, W), a batch of images at a time."""
        return self.clusters.assign(self._maps, self.views, images)

    def predict_heads(self, images: Images) -> np.ndarray:
        """All of `predict_batches`: int64 (1, len(images), H, W)."""
        return np.concatenate(list(self.predict_batches(images)), axis=1)

    def state_dict(self) -> State:
        """The centres, the shapes and the trunk, if there is one."""
        model = {} if self.trunk is None else {"model": {f"trunk.{name}": each for name, each in self.trunk.state_dict().items()}}
        return {"clusters": self.clusters.state_dict(), "shape": list(self.shape), "extent": list(self.extent), **model}

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned."""
        (channels, height, width), (rows, columns) = state["shape"], state["extent"]
        self._build((channels, height, width), (rows, columns))
        if self.trunk is not None:
            self.trunk.load_state_dict({name.removeprefix("trunk."): each for name, each in state["model"].items()})
        self.clusters.load_state_dict(state["clusters"], self.device)
