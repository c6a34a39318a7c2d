"""SIFT and k-means: descriptors of patches, made by hand before there were networks, clustered as pixels.

Row "SIFT" of Ji, Henriques, Vedaldi (ICCV 2019), Table 4: dense SIFT of the grey image at the centres of cells of 10x10 pixels,
mini-batch k-means on the descriptors, and a score of the pixels at these centres alone. Here a map is made for all pixels, each
of the cluster of the cell that it lies in, so that the row is judged as the others are; the score at the centres stands beside it
in the record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field, PositiveInt

from ..datasets.base import Images
from .base import Epoch, Method, MethodConfig, State, Task
from .kit.dense_sift import DenseSIFT, DenseSIFTSettings, nearest_cells
from .kit.pixel_clusters import SampleClusters, SampleKMeansSettings
from .kit.pixel_samples import LowestDraws
from .kit.randomness import generator
from .kit.segmentation_views import SegmentationView, SegmentationViewSettings, largest_crop
from .registry import register

CENTRES = "cell-centres"
UNSAID = -1


class SIFTConfig(MethodConfig):
    """Settings of SIFT and k-means."""

    sift: DenseSIFTSettings = Field(default_factory=DenseSIFTSettings, description="the descriptors")
    crop: PositiveInt | None = Field(
        default=None, description="side of the square that is cut from an image in training; none: as much as all images have"
    )
    kmeans: SampleKMeansSettings = Field(
        default_factory=SampleKMeansSettings, description="how descriptors, of a pixel each, are drawn and clustered"
    )


@register("sift")
class SIFT(Method):
    """K-means on dense SIFT descriptors.

    >>> from sklearn.datasets import load_sample_images
    >>> import numpy as np
    >>> photographs = np.stack(load_sample_images().images)[:, ::4, ::4]  # uint8 (2, 107, 160, 3)
    >>> SIFT(n_clusters=3).fit(photographs).labels_.shape
    (2, 107, 160)
    """

    name: ClassVar[str] = "sift"
    task: ClassVar[Task] = "segmentation"
    Config = SIFTConfig
    config: SIFTConfig

    def train(self, images: Images) -> Iterator[Epoch]:
        """Yield once: `objective` and `criterion` are the mean squared distance of the drawn descriptors to their centres."""
        if hasattr(self, "clusters"):
            return
        self._build()
        objective = self.clusters.fit_sample(self._drawn(images), self.device)
        yield Epoch(1, {"objective": objective}, objective)

    def _build(self) -> None:
        self.sift = DenseSIFT(self.config.sift)
        self.clusters = SampleClusters(self.n_clusters, self.config.kmeans, self.seed)

    def _drawn(self, images: Images) -> np.ndarray:
        """Descriptors of a random crop of each main image, at the cells whose centres count: float32 (N, 128)."""
        settings, random = self.config.kmeans, generator(images.device, self.seed, "pixels")
        views = SegmentationView(SegmentationViewSettings(crop=self.config.crop), images.shape, largest_crop(images))
        order = images.order("main", settings.batch)
        rows, columns = (self.sift.places(length) for length in views.size)
        most = len(rows) * len(columns) * len(images.role("main"))
        lowest = LowestDraws(settings.pixels, most)
        for indices, raw in zip(order, images.batches(order), strict=True):
            crops, mask = views.crops(images, raw, indices, random, masked=settings.use_masks)
            found = torch.from_numpy(self.sift((crops * 255).round().byte())).flatten(0, 2)
            if mask is not None:
                found = found[mask.cpu()[:, rows][:, :, columns].flatten()]
            draws = torch.rand(len(found), generator=random, device=images.device, dtype=torch.float64).cpu()
            lowest.offer(draws, found.__getitem__)
        return lowest.kept()

    def predict_batches(self, images: Images) -> Iterator[np.ndarray]:
        """Cluster of the cell that each pixel is nearest to: int64 (1, n, H, W), a batch of images at a time."""
        step = self.config.sift.step
        for cells in self._cells(images):
            rows, columns = (nearest_cells(*each, step) for each in zip(images.shape[1:], cells.shape[1:], strict=True))
            yield cells[:, rows][:, :, columns][None]

    def predict_heads(self, images: Images) -> np.ndarray:
        """All of `predict_batches`: int64 (1, len(images), H, W)."""
        return np.concatenate(list(self.predict_batches(images)), axis=1)

    @property
    def other_predictions(self) -> Mapping[str, Callable[[Images], Iterator[np.ndarray]]]:
        """`cell-centres`, the published evaluation: the centres of cells alone, -1 for all other pixels."""
        return {CENTRES: self._at_centres}

    def _at_centres(self, images: Images) -> Iterator[np.ndarray]:
        rows, columns = (self.sift.places(length) for length in images.shape[1:])
        for cells in self._cells(images):
            found = np.full((1, len(cells), *images.shape[1:]), UNSAID, dtype=np.int64)
            found[0, :, rows[:, None], columns] = cells.transpose(1, 2, 0)
            yield found

    def _cells(self, images: Images) -> Iterator[np.ndarray]:
        """Cluster of the descriptor of each cell: int64 (n, rows, columns), a batch of images at a time."""
        for raw in images.batches(images.order("all", self.config.kmeans.batch)):
            maps = torch.from_numpy(self.sift(raw)).movedim(-1, 1).to(self.device)  # (n, 128, rows, columns)
            yield self.clusters.nearness(maps).argmax(1).cpu().numpy()

    def state_dict(self) -> State:
        """The centres."""
        return {"clusters": self.clusters.state_dict()}

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned."""
        self._build()
        self.clusters.load_state_dict(state["clusters"], self.device)
