"""DeepCluster: cluster the features, learn the clusters as labels, and begin again.

Caron, Bojanowski, Joulin, Douze: Deep Clustering for Unsupervised Learning of Visual Features, ECCV 2018. Every epoch the
features of all images are PCA-whitened, scaled to unit length and clustered by k-means into many more clusters than there
are classes (section 3.2); the network then learns for one epoch to tell the clusters of the images, each cluster drawn
equally often (section 3.3), with a new top layer, because the clusters have new numbers.

The clusters that are reported come from another k-means, at the number of classes, on the features after every epoch, as
the authors of IIC evaluated it. The defaults are a small network for CPUs; the card has the settings of IIC's authors, who
made the published rows on small images, and of DeepCluster's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch.nn import functional

from ..datasets.base import Images
from .base import Epoch, Method, MethodConfig, State, check_finite
from .kit import augment
from .kit.arithmetic import Arithmetic, Precision, without_lone_last
from .kit.clusterers import KMeansSettings
from .kit.deepcluster_network import FeatureNetwork, Network, SobelInput, top_layer, trunk_of
from .kit.deepcluster_views import DeepClusterViews, DeepClusterViewSettings
from .kit.feature_clusters import FeatureClusters
from .kit.pseudo_labels import Sampling, agreement, cluster, draw
from .kit.randomness import derived_seed, generator, seeded
from .kit.whitening import whitened
from .registry import register

CLUSTERS_PER_CLASS = 10


class DeepClusterConfig(MethodConfig):
    """Settings of DeepCluster. The defaults are the small network of the `short` presets."""

    epochs: PositiveInt = Field(default=50, description="epochs, each of as many images as there are")
    clusters: Annotated[int, Field(ge=2)] | None = Field(
        default=None, description="clusters that are learned as labels, many more than classes; none: ten for each class"
    )
    reassign: PositiveInt = Field(default=1, description="epochs between two clusterings; more for few images")
    images: Literal["all", "main"] = Field(
        default="all", description="images that are learned from: with the unlabelled ones of STL-10, or without"
    )
    sampling: Sampling = Field(
        default="uniform",
        description="images of an epoch: uniform over clusters, each once, or as upstream's code errs",
    )
    clustering_view: Literal["central", "training"] = Field(
        default="central", description="view whose features are clustered: the central crop, or one as in training"
    )
    frozen_views: bool = Field(
        default=False, description="draw the training view of each image once after each clustering, not whenever it is shown"
    )
    whiten: PositiveInt | None = Field(
        default=256, description="axes of the PCA-whitening before the clustering; none clusters the features as they are"
    )
    kmeans_iterations: PositiveInt = Field(default=20, description="iterations of the clustering")
    kmeans_start: Literal["new", "same"] = Field(
        default="new", description="images that the clustering starts from: new ones every time, or always the same"
    )
    batch: Annotated[int, Field(ge=2)] = Field(default=256, description="images in a batch")
    optimiser: Literal["adam", "sgd"] = Field(default="adam", description="of the network and, always new, of the top layer")
    lr: PositiveFloat = Field(default=1e-3, description="learning rate of the network")
    top_lr: PositiveFloat | None = Field(default=None, description="learning rate of the top layer; none: the network's")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.9, description="of sgd; the top layer has none")
    weight_decay: NonNegativeFloat = Field(default=0.0, description="of all weights")
    network: Network = Field(
        default="small", description="small, vgg (ClusterNet6c), resnet (ClusterNet5g); alexnet, vgg16 for 224 pixels"
    )
    widths: tuple[PositiveInt, ...] = Field(
        default=(16, 32, 64, 128), min_length=1, description="channels per layer of the small network"
    )
    kernel: Literal[1, 3, 5, 7] = Field(default=3, description="side of the small network's convolutions")
    features: PositiveInt = Field(default=256, description="outputs of the linear layer whose output is clustered")
    feature_norm: bool = Field(default=False, description="batch norm after that layer")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.5, description="share of features that the top layer misses")
    evaluation_whiten: PositiveInt | None = Field(
        default=20, description="axes of a PCA-whitening before the k-means that is scored, about two a class; none: no whitening"
    )
    kmeans: KMeansSettings = Field(
        default_factory=lambda: KMeansSettings(restarts=5, iterations=50, normalise="l2"),
        description="the k-means that is scored",
    )
    evaluation_batch: PositiveInt = Field(default=1000, description="images in a batch at test time")
    precision: Precision = "float32"
    views: DeepClusterViewSettings = Field(default_factory=DeepClusterViewSettings, description="the transformations")


@register("deepcluster")
class DeepCluster(Method):
    """DeepCluster (Caron, Bojanowski, Joulin, Douze, ECCV 2018).

    >>> from sklearn.datasets import load_digits
    >>> images = (load_digits().images * 255 / 16).round().astype("uint8")
    >>> views = {"crop": 8, "crops_transformed": [7, 8], "size": 16}
    >>> DeepCluster(n_clusters=10, epochs=1, views=views).fit(images).labels_.shape
    (1797,)
    """

    name: ClassVar[str] = "deepcluster"
    Config = DeepClusterConfig
    config: DeepClusterConfig

    def train(self, images: Images) -> Iterator[Epoch]:
        """Yield after every epoch.

        `losses`: `cross_entropy` of the pseudo-labels, which have new meanings after each clustering, so that it cannot be
        compared with another epoch's; `assignment_nmi`, the agreement (0 to 1) of the pseudo-labels with those before, not
        with any truth, 0 for the first ones; `empty_clusters`, and `largest_cluster` as a share of the images, which tell
        of a collapse. `criterion` is 1 - `assignment_nmi`: features are settled once they give the same clusters again.
        """
        if not hasattr(self, "network"):
            self.build(images.shape)
        for number in range(self.epochs_done + 1, self.config.epochs + 1):
            if (number - 1) % self.config.reassign == 0:
                self._assign(images, number)
            loss = self._epoch(images, number)
            self._fit_clusters(images, number)
            self.epochs_done = number
            compared = self.assigned_in > 1
            sizes = self.labels.bincount(minlength=self.clusters)
            told = {
                "cross_entropy": loss,
                "assignment_nmi": self.nmi,
                "empty_clusters": float((sizes == 0).sum()),
                "largest_cluster": float(sizes.max() / sizes.sum()),
            }
            yield Epoch(number, told, 1 - self.nmi if compared else None, self._images_passed(images, number))

    def build(self, shape: tuple[int, int, int]) -> None:
        """Network and optimiser for images of `shape` (C, H, W)."""
        config, views = self.config, DeepClusterViews(self.config.views, shape)
        self.shape, self.views, self.epochs_done, self.nmi = shape, views, 0, 0.0
        self.clusters = config.clusters or CLUSTERS_PER_CLASS * self.n_clusters
        entry = SobelInput(config.views.sobel, config.views.include_rgb, config.views.mean, config.views.std)
        with seeded(self.seed, "weights"):
            trunk = trunk_of(config.network, views.channels, views.size, config.widths, config.kernel)
            network = FeatureNetwork(entry, trunk, config.features, norm=config.feature_norm, dropout=config.dropout)
        self.arithmetic = Arithmetic(self.device, config.precision)
        self.network = self.arithmetic.ready(network)
        self.optimiser = self._optimiser(self.network, config.lr, config.momentum)
        self.labels = torch.empty(0, dtype=torch.int64, device=self.device)
        self.next_features: torch.Tensor | None = None  # for the next clustering
        self.frozen: torch.Tensor | None = None
        self.known: tuple[Images, np.ndarray] | None = None

    def _optimiser(self, module: torch.nn.Module, lr: float, momentum: float) -> torch.optim.Optimizer:
        if self.config.optimiser == "adam":
            return torch.optim.Adam(module.parameters(), lr=lr, weight_decay=self.config.weight_decay)
        return torch.optim.SGD(module.parameters(), lr=lr, momentum=momentum, weight_decay=self.config.weight_decay)

    def _new_top(self, number: int) -> None:
        """The classifier of the clusters of epoch `number`, with an optimiser of its own."""
        with seeded(self.seed, "top", number):
            self.top = top_layer(self.config.features, self.clusters).to(self.device)
        self.top_optimiser = self._optimiser(self.top, self.config.top_lr or self.config.lr, momentum=0.0)

    def _assign(self, images: Images, number: int) -> None:
        """New pseudo-labels (steps 1 to 4): int64 (N,), of the images of `config.images` in their stored order."""
        features, self.next_features = self.next_features, None
        if features is None:
            training = self.config.clustering_view == "training"
            random = generator(self.device, self.seed, "clustering view", number) if training else None
            features = self._features(images, self.config.images, random)
        if self.config.whiten is not None:
            features = whitened(features, min(self.config.whiten, self.network.rank))
        start = derived_seed(self.seed, "clustering", number if self.config.kmeans_start == "new" else 0)
        before, self.labels = self.labels, cluster(features, self.clusters, self.config.kmeans_iterations, start)
        self.nmi = agreement(before, self.labels) if len(before) else 0.0
        self.assigned_in, self.frozen = number, None
        self._new_top(number)

    def _epoch(self, images: Images, number: int) -> float:
        """One epoch of classification (step 5): its mean cross-entropy."""
        random = generator(self.device, self.seed, "epoch", number)
        order = self._order(random)
        total, seen = torch.zeros((), device=self.device), 0
        self.network.train()
        with seeded(self.seed, "dropout", number):
            for step, (drawn, view) in enumerate(zip(order, self._training_views(images, order, random), strict=True), start=1):
                total += self.train_step(view, self.labels[drawn])
                seen += len(drawn)
                self.on_step(step, len(order), seen)
        loss = total / len(order)
        check_finite(loss, number, self.name)
        return loss.item()

    def _order(self, random: torch.Generator) -> tuple[torch.Tensor, ...]:
        """Batches of places in `labels`; the last one may be shorter."""
        return without_lone_last(draw(self.labels, self.config.sampling, random).split(self.config.batch))

    def _training_views(self, images: Images, order: Sequence[torch.Tensor], random: torch.Generator) -> Iterator[torch.Tensor]:
        """The batches of `order` as the network learns from them: float32 (M, C, S, S)."""
        if self.config.frozen_views:
            frozen = self._frozen_views(images)
            yield from (augment.to_float(frozen[drawn]) for drawn in order)
            return
        places = images.role(self.config.images)
        for batch in images.batches([places[drawn] for drawn in order]):
            yield self.views.training(batch, random)

    def _frozen_views(self, images: Images) -> torch.Tensor:
        """One training view of each image, uint8 (N, C, S, S); the same until the next clustering."""
        if self.frozen is None:
            random = generator(self.device, self.seed, "frozen views", self.assigned_in)
            batches = images.batches(images.order(self.config.images, self.config.evaluation_batch))
            self.frozen = torch.cat([(self.views.training(batch, random) * 255).round().to(torch.uint8) for batch in batches])
        return self.frozen

    def train_step(self, view: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """One step of both optimisers on images (M, C, S, S) in [0, 1] and their clusters (M,): the loss, detached."""
        loss = functional.cross_entropy(self.top(self.network.activated(self._network_features(view))), labels)
        self.optimiser.zero_grad(set_to_none=True)
        self.top_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.top_optimiser.step()
        return loss.detach()

    def _network_features(self, view: torch.Tensor) -> torch.Tensor:
        """Float32 (M, D)."""
        return self.network(view, self.arithmetic)

    @torch.inference_mode()
    def _features(self, images: Images, role: str, random: torch.Generator | None = None) -> torch.Tensor:
        """Features of the images of `role` in their stored order, at rest: float32 (n, D); training views if `random`."""
        self.network.eval()
        order, done = images.order(role, self.config.evaluation_batch), 0
        features = torch.empty(sum(map(len, order)), self.config.features, device=self.device)
        for batch in images.batches(order):
            view = self.views.test(batch) if random is None else self.views.training(batch, random)
            features[done : done + len(batch)] = self._network_features(view)
            done += len(batch)
        return features

    @property
    def _shares_features(self) -> bool:
        """Whether the next clustering can have the features that this epoch's clusters were scored on."""
        return self.config.clustering_view == "central" and self.config.images == "all"

    def _fit_clusters(self, images: Images, number: int) -> None:
        """The k-means that is scored, on the main images at the end of epoch `number`."""
        features = self._features(images, "all" if self._shares_features else "main")
        if self._shares_features and number % self.config.reassign == 0 and number < self.config.epochs:
            self.next_features = features
        has_others = "main" in images.roles
        main = features[images.role("main")] if self._shares_features and has_others else features
        self.feature_clusters = self._unfitted_clusters().fit(main)
        self.known = None if has_others else (images, self.feature_clusters.predict(main))

    def _unfitted_clusters(self) -> FeatureClusters:
        axes = self.config.evaluation_whiten and min(self.config.evaluation_whiten, self.network.rank)
        return FeatureClusters(self.n_clusters, self.config.kmeans, axes, self.seed)

    def _images_passed(self, images: Images, number: int) -> int:
        """Images through the network in epoch `number`, as if it had never been interrupted."""
        learned, main = len(images.role(self.config.images)), len(images.role("main"))
        if self._shares_features:
            return learned * (2 + (number == 1))
        return learned + main + learned * (self.assigned_in == number)

    @property
    def loss_floors(self) -> dict[str, float]:
        """Cross-entropy and criterion are at least 0."""
        return {"cross_entropy": 0.0, "criterion": 0.0}

    def predict_heads(self, images: Images) -> np.ndarray:
        """Nearest centre of each image's features: int64 (1, len(images))."""
        if self.known is not None and self.known[0] is images:  # the images that the centres were fitted on
            return self.known[1][None]
        return self.feature_clusters.predict(self._features(images, "all"))[None]

    def state_dict(self) -> State:
        """Network, pseudo-labels, clusters and position after the last yielded epoch; the top layer if it is kept."""
        keeps_top = self.epochs_done % self.config.reassign != 0
        return {
            "model": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "top": self.top.state_dict() if keeps_top else {},
            "top_optimiser": self.top_optimiser.state_dict() if keeps_top else {},
            "labels": self.labels.to(torch.int32),
            "assignment_nmi": self.nmi,
            "assigned_in": self.assigned_in,
            "clusters": self.feature_clusters.state_dict(),
            "epochs_done": self.epochs_done,
            "shape": list(self.shape),
        }

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned."""
        channels, height, width = state["shape"]
        self.build((channels, height, width))
        self.network.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.labels = state["labels"].to(self.device, torch.int64)
        self.nmi, self.assigned_in, self.epochs_done = state["assignment_nmi"], state["assigned_in"], state["epochs_done"]
        self.feature_clusters = self._unfitted_clusters()
        self.feature_clusters.load_state_dict(state["clusters"], self.device)
        if state["top"]:
            self._new_top(self.assigned_in)
            self.top.load_state_dict(state["top"])
            self.top_optimiser.load_state_dict(state["top_optimiser"])
