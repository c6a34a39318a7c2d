"""DeepCluster for segmentation: cluster the features of pixels, learn the clusters as labels of pixels, and begin again.

Caron, Bojanowski, Joulin, Douze: Deep Clustering for Unsupervised Learning of Visual Features, ECCV 2018, as the authors of IIC
adapted it to pixels for Table 4 of Ji, Henriques, Vedaldi (ICCV 2019). The network is IIC's trunk with a 1x1 convolution and
batch norm, whose maps are the features. Before every epoch those of a sample of all pixels are clustered by k-means into more
clusters than there are classes; then the network learns for an epoch to tell the clusters of pixels in jittered and mirrored
crops, with a new top layer, because the clusters have new numbers.

Labels of pixels are worked out when their image is shown, by a copy of the network as it was when it was clustered: as many
passes through the network as labelling all images beforehand, without memory for the labels of hundreds of millions of pixels,
and exact for any crop. The clusters that are reported come from another k-means, at the number of classes (`kit.pixel_method`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import nn
from torch.nn import functional

from ..datasets.base import Images
from .base import Epoch, State
from .deepcluster import CLUSTERS_PER_CLASS
from .kit.networks import initialise
from .kit.pixel_clusters import Sampling
from .kit.pixel_label_views import PixelLabelViews
from .kit.pixel_labels import PixelLabels
from .kit.pixel_method import PixelMethod, PixelMethodConfig, PixelNetwork
from .kit.pixel_samples import one_pixel_per_batch, sampled_pixels
from .kit.pseudo_labels import agreement
from .kit.randomness import derived_seed, generator, seeded
from .registry import register

COMPARED = 100_000  # pixels whose labels are compared with those of the epoch before


class DeepClusterSegmentationConfig(PixelMethodConfig):
    """Settings of DeepCluster for segmentation. The defaults are the small network of the `short` presets."""

    clusters: Annotated[int, Field(ge=2)] | None = Field(
        default=None, description="clusters that are learned as labels, more than classes; none: ten for each class"
    )
    features: PositiveInt = Field(default=48, description="channels of the 1x1 layer whose output is clustered")
    pixels: PositiveInt = Field(default=200_000, description="pixels that the clusters to be learned are found on, at most")
    sampling: Sampling = Field(
        default="all-pixels",
        description="pixels that these are: all-pixels, each as likely as any other; or one-pixel-per-batch, as the authors' "
        "code does by mistake (batches of kmeans.batch images)",
    )
    whiten: PositiveInt | None = Field(
        default=None,
        description="axes of a PCA-whitening before that clustering, followed by unit length; none clusters features as they are",
    )
    kmeans_iterations: PositiveInt = Field(default=20, description="iterations of that clustering")
    kmeans_start: Literal["new", "same"] = Field(
        default="new", description="pixels that it starts from: new ones every time, or always the same"
    )
    top_lr: PositiveFloat | None = Field(default=None, description="learning rate of the top layer; none: the network's")


@register("deepcluster-segmentation")
class DeepClusterSegmentation(PixelMethod):
    """DeepCluster (Caron, Bojanowski, Joulin, Douze, ECCV 2018) on pixels.

    >>> from sklearn.datasets import load_sample_images
    >>> import numpy as np
    >>> photographs = np.stack(load_sample_images().images)[:, ::8, ::8]  # uint8 (2, 54, 80, 3)
    >>> DeepClusterSegmentation(n_clusters=3, epochs=1).fit(photographs).labels_.shape
    (2, 54, 80)
    """

    name: ClassVar[str] = "deepcluster-segmentation"
    Config = DeepClusterSegmentationConfig
    config: DeepClusterSegmentationConfig
    judged_by = "cross_entropy"
    Views = PixelLabelViews
    views: PixelLabelViews

    def train(self, images: Images) -> Iterator[Epoch]:
        """Yield after every epoch.

        `losses`: `cross_entropy` of the labels, which have new meanings in every epoch, so that it cannot be compared with
        another's; `assignment_nmi`, the agreement (0 to 1) of the sampled pixels' labels with those before, not with any truth,
        0 in the first epoch; `empty_clusters`, and `largest_cluster` as a share of the sample, which tell of a collapse.
        `criterion` is 1 - `assignment_nmi`: features are settled once they give the same clusters again.
        """
        for epoch in super().train(images):
            compared = epoch.criterion is not None and epoch.number > 1
            criterion = 1 - self.told["assignment_nmi"] if compared else None
            yield replace(epoch, losses={**epoch.losses, **self.told}, criterion=criterion)

    def build_for(self, shape: tuple[int, int, int], extent: tuple[int, int]) -> None:
        """See `PixelMethod.build_for`."""
        super().build_for(shape, extent)
        self.clustered = copy.deepcopy(self.network).requires_grad_(False)  # one for all epochs, so that it is compiled once
        self.learned = self.config.clusters or CLUSTERS_PER_CLASS * self.n_clusters
        self.sample_labels = np.empty(0, np.int64)

    def build_head(self, features: int) -> nn.Module:
        """The 1x1 convolution and batch norm whose output is clustered."""
        return nn.Sequential(nn.Conv2d(features, self.config.features, 1, bias=False), nn.BatchNorm2d(self.config.features))

    def features(self, views: torch.Tensor) -> torch.Tensor:
        """Feature maps (n, D, h, w), before the rectifier, of prepared views (n, channels, H, W); the network at rest."""
        return self._features_by(self.network, views)

    def _features_by(self, network: PixelNetwork, views: torch.Tensor) -> torch.Tensor:
        return network.head(self.arithmetic(network.trunk, views))

    def before_epoch(self, images: Images, number: int) -> int:
        """New labels to learn, from the features as they are; a new top layer for them."""
        self.network.eval()
        rows, weights = self._sample(images)
        start = derived_seed(self.seed, "clustering", number if self.config.kmeans_start == "new" else 0)
        self.labels = PixelLabels(self.learned, self.config.kmeans_iterations, self.config.whiten)
        labels = self.labels.fit(rows, weights, start, self.device)
        self._tell(labels)
        self.clustered.load_state_dict(self.network.state_dict())
        self._new_top(number)
        return len(images.role(self.config.images))

    def _sample(self, images: Images) -> tuple[np.ndarray, np.ndarray | None]:
        """Features of pixels (N, D), of the same ones in every epoch so that their labels can be compared; and their weights."""
        config, random = self.config, generator(images.device, self.seed, "labelled pixels")
        about: dict[str, Any] = {"masked": config.use_masks, "batch": config.kmeans.batch, "role": config.images}
        if config.sampling == "one-pixel-per-batch":
            return one_pixel_per_batch(self.features, self.views, images, random, **about)
        return sampled_pixels(self.features, self.views, images, config.pixels, random, **about), None

    def _tell(self, labels: np.ndarray) -> None:
        """What the epoch reports of its clusters, by the labels (N,) of the sampled pixels."""
        before, self.sample_labels = self.sample_labels, labels[:COMPARED]
        sizes = np.bincount(labels, minlength=self.learned)
        nmi = agreement(torch.from_numpy(before), torch.from_numpy(self.sample_labels)) if len(before) else 0.0
        empty, largest = float((sizes == 0).sum()), float(sizes.max() / sizes.sum())
        self.told = {"assignment_nmi": nmi, "empty_clusters": empty, "largest_cluster": largest}

    def _new_top(self, number: int) -> None:
        """The classifier of the clusters of epoch `number`, with an optimiser of its own."""
        with seeded(self.seed, "top", number):
            top = nn.Conv2d(self.config.features, self.learned, 1, bias=False)
            initialise(top)
        self.top = top.to(self.device)
        self.optimisers["top"] = self.adam(self.top)
        for group in self.optimisers["top"].param_groups:
            group["lr"] = group["first_lr"] = self.config.top_lr or self.config.lr

    def train_step(
        self, images: Images, batch: torch.Tensor, indices: torch.Tensor, random: torch.Generator
    ) -> Mapping[str, torch.Tensor]:
        """One step of both optimisers on the pixels of a batch (n, C, H, W)."""
        crops = self.views.labelled(images, batch, indices, random, masked=self.config.use_masks)
        labels = crops.carried(self.labels_of(crops.plain))
        features = self._features_by(self.network, crops.changed)
        loss = label_loss(self.top(functional.relu(features)), labels)
        for optimiser in self.optimisers.values():
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for optimiser in self.optimisers.values():
            optimiser.step()
        return {"cross_entropy": loss.detach()}

    def labels_of(self, views: torch.Tensor) -> torch.Tensor:
        """The labels to learn, int64 (n, H, W), of prepared views (n, channels, H, W): by the network as it was clustered."""
        self.clustered.eval()
        with torch.inference_mode():
            maps = self._features_by(self.clustered, views)
        return self.labels.of(maps, (views.shape[-2], views.shape[-1])).clone()

    @property
    def loss_floors(self) -> dict[str, float]:
        """Cross-entropy and criterion are at least 0."""
        return {"cross_entropy": 0.0, "criterion": 0.0}

    def state_dict(self) -> State:
        """Network, its optimiser, clusters and position after the last yielded epoch; the next one has a new top layer."""
        state = super().state_dict()
        state["optimisers"].pop("top", None)
        return {**state, "sample_labels": torch.from_numpy(self.sample_labels).to(torch.int32)}

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned."""
        super().load_state_dict(state)
        self.sample_labels = state["sample_labels"].to("cpu", torch.int64).numpy()


def label_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of the labelled pixels: of logits float (n, K, h, w), enlarged to labels int64 (n, H, W), -1 for none.

    0 where no pixel has a label.
    """
    enlarged = functional.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=False)
    total = functional.cross_entropy(enlarged, labels, ignore_index=-1, reduction="sum")
    return total / (labels >= 0).sum().clamp_min(1)
