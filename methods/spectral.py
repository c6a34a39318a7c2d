"""Self-tuning spectral clustering (Zelnik-Manor and Perona, NIPS 2004) on a graph of nearest neighbours.

Each image is tied to its nearest neighbours, the more closely the smaller their distance is beside the distances that are usual
around both (equation 1 of the paper, `kit/self_tuning.py`). The largest eigenvectors of the normalised affinity turn an image
into a point on a sphere, and k-means finds the clusters there (Ng, Jordan, Weiss, NIPS 2001; `kit/spectral_embedding.py`).

What differs from the paper: the affinity is sparse, since 70,000 images squared take 39 GB; the number of clusters is
given; and k-means stands in place of the paper's search for a rotation, as in its reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field, PositiveInt, model_validator

from ..datasets.base import Images
from .base import Epoch, Method, MethodConfig, MethodError, State
from .kit.clusterers import KMeansHead, KMeansSettings
from .kit.euclidean import nearest
from .kit.inputs import Inputs, InputSettings
from .kit.known_images import KnownImages
from .kit.randomness import generator
from .kit.self_tuning import normalised_cut, pieces_of, self_tuning_affinity, without_self
from .kit.spectral_embedding import spectral_embedding
from .registry import register


class SpectralConfig(MethodConfig):
    """Settings of spectral clustering."""

    input: InputSettings = Field(default_factory=InputSettings, description="what is clustered, and how it is scaled")
    neighbours: PositiveInt = Field(default=10, description="nearest images that each image is tied to")
    scale_neighbour: PositiveInt = Field(default=7, description="the neighbour whose distance is the scale around an image")
    smallest_piece: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.1,
        description="share of the mean cluster size below which a piece of the graph that is tied to nothing else is no cluster: "
        "its images follow the nearest image outside",
    )
    kmeans: KMeansSettings = Field(default_factory=KMeansSettings, description="the k-means on the eigenvectors")

    @model_validator(mode="after")
    def _scale_is_a_neighbour(self) -> SpectralConfig:
        if self.scale_neighbour > self.neighbours:
            raise ValueError(
                f"scale_neighbour={self.scale_neighbour} is not among neighbours={self.neighbours}: raise neighbours"
            )
        return self


@register("spectral")
class Spectral(Method):
    """Spectral clustering with local scales.

    An image that was not among the training images belongs to the cluster of the nearest one that was.

    >>> from sklearn.datasets import load_digits
    >>> images = (load_digits().images * 255 / 16).round().astype("uint8")
    >>> Spectral(n_clusters=10).fit(images).labels_.shape
    (1797,)
    """

    name: ClassVar[str] = "spectral"
    Config = SpectralConfig
    config: SpectralConfig

    def train(self, images: Images) -> Iterator[Epoch]:
        """Yield once: `normalised cut` and `criterion` are the cut of the clusters in the graph, `k-means` its objective."""
        if hasattr(self, "known"):
            return
        self._build(images.shape)
        vectors = self.inputs.fit(images, "main")
        if len(vectors) <= max(self.config.neighbours, self.n_clusters):
            least = max(self.config.neighbours, self.n_clusters) + 1
            raise MethodError(
                f"spectral needs at least {least} images for {self.config.neighbours} neighbours and {self.n_clusters} clusters, "
                f"got {len(vectors)}."
            )
        clusters, losses = self._cluster(vectors)
        self.known = KnownImages(vectors, clusters, self.device)
        yield Epoch(1, losses, losses["normalised cut"], self.inputs.passed(len(vectors)))

    def _build(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self.inputs = Inputs(self, self.config.input, shape)

    def _cluster(self, vectors: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
        """Cluster of each vector (N, D), int64 (N,), and the losses."""
        affinity = self_tuning_affinity(*without_self(*self._neighbours(vectors)), self.config.scale_neighbour)
        pieces = pieces_of(affinity, self.config.smallest_piece * len(vectors) / self.n_clusters, self.n_clusters)
        inside = pieces >= 0
        start = torch.rand(len(vectors), generator=generator("cpu", self.seed, "eigenvectors"), dtype=torch.float64).numpy()
        embedding = spectral_embedding(affinity, pieces, self.n_clusters, start)
        head = KMeansHead(self.n_clusters, self.config.kmeans, self.seed)
        objective = head.fit(embedding.rows[inside])
        clusters = np.full(len(vectors), -1, np.int64)
        clusters[inside] = head.predict(embedding.rows[inside])
        cut = normalised_cut(affinity, clusters, self.n_clusters)
        self.floor = float(max(0.0, self.n_clusters - embedding.eigenvalues.sum()))
        if not inside.all():
            clusters[~inside] = KnownImages(vectors[inside], clusters[inside], self.device).nearest(vectors[~inside])
        return clusters, {"normalised cut": cut, "k-means": objective}

    def _neighbours(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distances to the nearest of each vector, itself among them, and which they are: (N, neighbours + 1) each."""
        found, done = [], 0
        for part in nearest(vectors, vectors, self.config.neighbours + 1, self.device):
            found.append(part)
            done += len(part[0])
            self.on_step(done, len(vectors), done)
        return np.concatenate([part[0] for part in found]), np.concatenate([part[1] for part in found])

    @property
    def loss_floors(self) -> Mapping[str, float]:
        """No clusters of the graph cut less than K minus the K largest eigenvalues, whose relaxation the eigenvectors solve."""
        return {"normalised cut": self.floor, "criterion": self.floor} if hasattr(self, "floor") else {}

    def predict_heads(self, images: Images) -> np.ndarray:
        """Cluster of each image, of the nearest training image for one that is new: int64 (1, len(images))."""
        return self.known.predict(self.inputs.of(images))[None]

    def state_dict(self) -> State:
        """The training images as vectors with their clusters, the scaling, and the lower bound of the cut."""
        return {
            "shape": list(self.shape),
            "inputs": self.inputs.state_dict(),
            "known": self.known.state_dict(),
            "floor": self.floor,
        }

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned."""
        channels, height, width = state["shape"]
        self._build((channels, height, width))
        self.inputs.load_state_dict(state["inputs"])
        self.known, self.floor = KnownImages.of(state["known"], self.device), state["floor"]
