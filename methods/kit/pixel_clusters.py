"""K-means on the features of pixels: the one evaluation head of all rows of segmentation that learn features and no clusters.

The rows "K-means", "Doersch", "Isola" and "DeepCluster" of Ji, Henriques, Vedaldi (ICCV 2019), Table 4, end in mini-batch
k-means on features enlarged to the size of the image, fitted on a sample of the pixels of the labelled images and applied to all.
The evaluator that the authors released draws one pixel of each batch where many were meant; `sampling` can do that too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch.nn import functional

from ...datasets.base import Images
from ..base import Diverged, MethodError
from .pixel_samples import MapsOf, one_pixel_per_batch, sampled_pixels
from .randomness import derived_seed, generator
from .segmentation_views import SegmentationView

Sampling = Literal["all-pixels", "one-pixel-per-batch"]


class SampleKMeansSettings(BaseModel):
    """How vectors are drawn and clustered."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pixels: PositiveInt = Field(default=10_000_000, description="pixels that it is fitted on, at most; drawn from all images")
    use_masks: bool = Field(default=True, description="fit on those pixels only that the data set's masks name (COCO-Stuff)")
    batch_pixels: PositiveInt = Field(default=10_000, description="pixels in one step of mini-batch k-means")
    rounds: PositiveInt = Field(default=100, description="most passes over the sample; it stops when nothing improves")
    restarts: PositiveInt = Field(default=3, description="starts that are tried on a small part of the sample")
    batch: PositiveInt = Field(default=32, description="images that are read at a time")


class PixelKMeansSettings(SampleKMeansSettings):
    """How pixels are drawn and clustered."""

    sampling: Sampling = Field(
        default="all-pixels",
        description="what is drawn: all-pixels, each as likely as any other; or one-pixel-per-batch, standing for its whole "
        "batch, as the evaluator that IIC's authors released does by mistake",
    )


class SampleClusters:
    """Mini-batch k-means, fitted on a sample.

    Args:
        n_clusters: number of clusters.
        settings: see `SampleKMeansSettings`.
        seed: decides which pixels are drawn, and the starts.

    Attributes:
        centres: float32 (n_clusters, D), on the device of the images; None before `fit_sample` or `load_state_dict`.
    """

    def __init__(self, n_clusters: int, settings: SampleKMeansSettings, seed: int) -> None:
        self.n_clusters, self.settings, self.seed = n_clusters, settings, seed
        self.centres: torch.Tensor | None = None

    def fit_sample(self, sample: np.ndarray, device: str | torch.device, weights: np.ndarray | None = None) -> float:
        """Find the clusters of the vectors `sample`, float32 (N, D), of the `weights` (N,); None for equal ones.

        Returns:
            The mean squared distance of the vectors to their centres.

        Raises:
            MethodError: fewer vectors than clusters, values that are not finite.
        """
        from sklearn.cluster import MiniBatchKMeans

        if len(sample) < self.n_clusters:
            hint = "" if weights is None else " Take smaller batches (--set kmeans.batch=1) or sampling=all-pixels."
            raise MethodError(
                f"k-means needs a pixel for each of its {self.n_clusters} clusters, got {len(sample)} pixels.{hint}"
            )
        if not np.isfinite(sample.sum(dtype=np.float64)):
            raise Diverged("The features of pixels are not finite. Lower the learning rate (--set lr=...).")
        kmeans = MiniBatchKMeans(
            self.n_clusters,
            batch_size=self.settings.batch_pixels,
            max_iter=self.settings.rounds,
            n_init=self.settings.restarts,
            random_state=derived_seed(self.seed, "k-means") % 2**32,
        ).fit(sample, sample_weight=weights)
        self.centres = torch.from_numpy(kmeans.cluster_centers_.astype(np.float32)).to(device)
        return float(kmeans.inertia_) / (len(sample) if weights is None else float(weights.sum()))

    def nearness(self, maps: torch.Tensor) -> torch.Tensor:
        """How near features (n, D, h, w) are to each centre: (n, n_clusters, h, w), half the negative squared distance.

        Without the square of the feature, which is the same for all centres; so it is linear in the feature.
        """
        if self.centres is None:
            raise MethodError("Pixels cannot be assigned before there are clusters: call fit first.")
        return functional.conv2d(maps, self.centres[:, :, None, None], -self.centres.square().sum(1) / 2)

    def state_dict(self) -> dict[str, Any]:
        """The centres, if there are any."""
        return {} if self.centres is None else {"centres": self.centres}

    def load_state_dict(self, state: dict[str, Any], device: str | torch.device) -> None:
        """Restore what `state_dict` returned, for images on `device`."""
        self.centres = state["centres"].to(device) if state else None


class PixelClusters(SampleClusters):
    """Mini-batch k-means, fitted on the pixels of some images and applied to all pixels of any.

    The arguments are those of `SampleClusters`, but for `settings`: see `PixelKMeansSettings`.
    """

    settings: PixelKMeansSettings

    def __init__(self, n_clusters: int, settings: PixelKMeansSettings, seed: int) -> None:
        super().__init__(n_clusters, settings, seed)

    def fit(self, maps_of: MapsOf, views: SegmentationView, images: Images, role: str = "main") -> float:
        """Find the clusters of the pixels of one crop of each image of a role.

        Args:
            maps_of: from a batch as `views` gives it, float (n, channels, H, W), to feature maps float (n, D, h, w) of any
                height and width, which are enlarged (bilinear). Called without gradients; a network must be at rest.
            views: how the images are cut and what is seen of them.
            images: what is clustered.
            role: of the images that are clustered.

        Returns:
            The mean squared distance of the drawn pixels to their centres.

        Raises:
            MethodError: fewer pixels than clusters, features that are not finite.
        """
        settings, random = self.settings, generator(images.device, self.seed, "pixels")
        about = {"masked": settings.use_masks, "batch": settings.batch, "role": role}
        if settings.sampling == "all-pixels":
            return self.fit_sample(sampled_pixels(maps_of, views, images, settings.pixels, random, **about), images.device)
        sample, weights = one_pixel_per_batch(maps_of, views, images, random, **about)
        return self.fit_sample(sample, images.device, weights)

    @torch.inference_mode()
    def assign(self, maps_of: MapsOf, views: SegmentationView, images: Images) -> Iterator[np.ndarray]:
        """Nearest centre of each pixel of all images, in their order: int64 (1, n, H, W), a batch of images at a time.

        Nearness is linear in the feature, so it is enlarged, n_clusters maps in place of D: the same as of enlarged features.
        """
        for raw in images.batches(images.order("all", self.settings.batch)):
            seen = views.test(raw)
            near = self.nearness(maps_of(seen))
            enlarged = functional.interpolate(near, seen.shape[-2:], mode="bilinear", align_corners=False)
            yield enlarged.argmax(1).cpu().numpy()[None]
