"""K-means on the colours of pixels: the oldest row of the tables of segmentation.

Row "K-means" of Ji, Henriques, Vedaldi (ICCV 2019), Table 4: mini-batch k-means on the raw values of pixels, fitted on a
random sample of them and judged on all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field, PositiveInt

from ..datasets.base import Images
from .base import Epoch, Method, MethodConfig, MethodError, State, Task
from .kit.randomness import derived_seed, generator
from .kit.segmentation_pixels import sampled_pixels
from .kit.segmentation_views import SegmentationView, SegmentationViewSettings, largest_crop
from .registry import register


class KMeansSegmentationConfig(MethodConfig):
    """Settings of k-means on pixels."""

    pixels: PositiveInt = Field(default=10_000_000, description="pixels that it is fitted on, at most; drawn from all images")
    batch_pixels: PositiveInt = Field(default=10_000, description="pixels in one step of mini-batch k-means")
    rounds: PositiveInt = Field(default=100, description="most passes over the sample; it stops when nothing improves")
    restarts: PositiveInt = Field(default=3, description="starts that are tried on a small part of the sample")
    use_masks: bool = Field(default=True, description="fit on those pixels only that the data set's masks name (COCO-Stuff)")
    evaluation_batch: PositiveInt = Field(default=64, description="images in a batch")
    views: SegmentationViewSettings = Field(
        default_factory=SegmentationViewSettings, description="channels, and crop in training"
    )


@register("kmeans-segmentation")
class KMeansSegmentation(Method):
    """K-means on the colours of pixels.

    >>> from sklearn.datasets import load_sample_images
    >>> import numpy as np
    >>> photographs = np.stack(load_sample_images().images)[:, ::8, ::8]  # uint8 (2, 54, 80, 3)
    >>> KMeansSegmentation(n_clusters=3).fit(photographs).labels_.shape
    (2, 54, 80)
    """

    name: ClassVar[str] = "kmeans-segmentation"
    task: ClassVar[Task] = "segmentation"
    Config = KMeansSegmentationConfig
    config: KMeansSegmentationConfig

    def train(self, images: Images) -> Iterator[Epoch]:
        """Yield once: `objective` and `criterion` are the mean squared distance of the sampled pixels to their centres."""
        if hasattr(self, "centres"):
            return
        from sklearn.cluster import MiniBatchKMeans

        config = self.config
        self._build(images.shape, largest_crop(images))
        random = generator(images.device, self.seed, "pixels")
        size = config.evaluation_batch
        sample = sampled_pixels(images, self.views, config.pixels, random, masked=config.use_masks, batch=size).cpu().numpy()
        if len(sample) < self.n_clusters:
            raise MethodError(f"k-means needs a pixel for each of its {self.n_clusters} clusters, got {len(sample)} pixels.")
        kmeans = MiniBatchKMeans(
            self.n_clusters,
            batch_size=config.batch_pixels,
            max_iter=config.rounds,
            n_init=config.restarts,
            random_state=derived_seed(self.seed, "k-means") % 2**32,
        ).fit(sample)
        self.centres = torch.from_numpy(kmeans.cluster_centers_.astype(np.float32)).to(self.device)
        objective = float(kmeans.inertia_) / len(sample)
        yield Epoch(1, {"objective": objective}, objective)

    def _build(self, shape: tuple[int, int, int], extent: tuple[int, int]) -> None:
        self.shape, self.extent = shape, extent
        self.views = SegmentationView(self.config.views, shape, extent)

    @torch.inference_mode()
    def predict_batches(self, images: Images) -> Iterator[np.ndarray]:
        """Nearest centre of each pixel: int64 (1, n, H, W), a batch of images at a time."""
        offsets = self.centres.square().sum(1).view(1, -1, 1, 1) / 2
        for batch in images.batches(images.order("all", self.config.evaluation_batch)):
            nearness = torch.einsum("nchw,kc->nkhw", self.views.test(batch), self.centres) - offsets
            yield nearness.argmax(1).cpu().numpy()[None]

    def predict_heads(self, images: Images) -> np.ndarray:
        """All of `predict_batches`: int64 (1, len(images), H, W)."""
        return np.concatenate(list(self.predict_batches(images)), axis=1)

    def state_dict(self) -> State:
        """The centres and the shapes."""
        return {"centres": self.centres, "shape": list(self.shape), "extent": list(self.extent)}

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned."""
        (channels, height, width), (rows, columns) = state["shape"], state["extent"]
        self._build((channels, height, width), (rows, columns))
        self.centres = state["centres"].to(self.device)
