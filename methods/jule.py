"""JULE: clusters that merge and features that learn them, by turns.

Yang, Parikh, Batra: Joint Unsupervised Learning of Deep Representations and Image Clusters, CVPR 2016. Links between nearest
images in pixels make thousands of small clusters. Then periods follow: a network learns to tell the clusters by a weighted
triplet loss (section 3.4, `kit/weighted_triplets.py`), and with its new features a share of the clusters merge (section 3.3,
`kit/agglomeration.py`), until the wanted number is left. What is reported, after every period, are the clusters that merging
from the links on by the features of that time comes to, as in the final step of the authors' code.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch.nn import functional

from ..datasets.base import Images
from .base import Epoch, Method, MethodConfig, MethodError, State, check_finite
from .kit.agglomeration import AgglomerationSettings, merged, merged_to
from .kit.arithmetic import Arithmetic, Precision, without_lone_last
from .kit.jule_network import JuleNetwork, network_input
from .kit.neighbour_graph import chains, modularity, nearest_others, neighbour_graph
from .kit.randomness import generator, seeded
from .kit.weighted_triplets import draw_triplets, grouped_order, weighted_triplet_loss
from .registry import register

BLOCK = 2**26  # inner products that are held at a time: 256 MiB


class JULEConfig(MethodConfig):
    """Settings of JULE. The defaults are the authors' for MNIST."""

    epochs: PositiveInt = Field(default=50, description="most periods; merging ends after four or five with a share of 0.9")
    network_epochs: PositiveInt = Field(default=20, description="epochs that the network learns in each period")
    sample: PositiveInt | None = Field(
        default=None, description="cluster only so many images, drawn once; others are where the nearest one is. None: all"
    )
    size: PositiveInt | None = Field(default=None, description="side that images are resized to; none: as they are")
    widths: tuple[PositiveInt, ...] = Field(default=(50, 50), min_length=1, description="channels of each block's convolution")
    pooled: NonNegativeInt = Field(default=1, description="so many of the first blocks end in 2x2 max-pooling")
    kernel: PositiveInt = Field(default=5, description="side of the convolutions")
    features: PositiveInt = Field(default=160, description="numbers in a feature")
    order: Literal["uniform", "grouped"] = Field(
        default="uniform",
        description="batches of any images, or of groups from one cluster each, so that early ones have pairs",
    )
    group: PositiveInt = Field(default=5, description="images of a cluster that stay together, order grouped only")
    batch: Annotated[int, Field(ge=2)] = Field(default=100, description="images in a batch")
    negatives: PositiveInt = Field(default=20, description="images of other clusters for each pair of a batch")
    gamma: PositiveFloat = Field(default=1.0, description="weight of the positive pairs in the loss")
    margin: NonNegativeFloat = Field(default=0.2, description="by which negative images must be farther away")
    merging: AgglomerationSettings = Field(default_factory=AgglomerationSettings, description="of the clusters")
    optimiser: Literal["sgd", "adam"] = Field(default="sgd", description="sgd or adam")
    lr: PositiveFloat = Field(default=0.01, description="first learning rate")
    lr_gamma: NonNegativeFloat = Field(default=1e-4, description="step t has the rate lr (1 + lr_gamma t)^-lr_power")
    lr_power: NonNegativeFloat = Field(default=0.75, description="see lr_gamma")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.9, description="of sgd")
    dampening: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.9, description="share of a new gradient that sgd's momentum leaves out; Torch 7 takes the momentum for it"
    )
    weight_decay: NonNegativeFloat = Field(default=5e-5, description="times the weights, added to their gradient")
    evaluation_batch: PositiveInt = Field(default=1000, description="images in a batch when features are taken")
    precision: Precision = "float32"


@register("jule")
class JULE(Method):
    """Joint unsupervised learning of representations and clusters (Yang, Parikh, Batra, CVPR 2016).

    An epoch of the record is a period: `network_epochs` epochs of the network, then merging. Their number is not known before.

    >>> from sklearn.datasets import load_digits
    >>> images = (load_digits().images * 255 / 16).round().astype("uint8")
    >>> JULE(n_clusters=10, epochs=1, network_epochs=1, widths=(8,), kernel=3, features=16).fit(images).labels_.shape
    (1797,)
    """

    name: ClassVar[str] = "jule"
    Config = JULEConfig
    config: JULEConfig

    def train(self, images: Images) -> Iterator[Epoch]:
        """Yield after every period.

        `losses`: `triplet`, the mean of the period's last epoch; `clusters`, how many the next period would learn. `criterion`
        is 1 - the modularity of the reported clusters in the graph of nearest features: it tells of collapse as well.
        """
        if not hasattr(self, "network"):
            self.build(images.shape)
        places = self._places(images)
        if not len(self.labels):
            self.labels = chains(nearest_others(self._pixels(images, places), 1)[:, 0].cpu().numpy())
        while not self._is_over:
            number = self.epochs_done + 1
            loss = self._learn(images, places, number)
            criterion = self._cluster(images, places)
            self.epochs_done = number
            told = {"triplet": loss, "clusters": float(self.labels.max() + 1)}
            yield Epoch(number, told, criterion, len(places) * (self.config.network_epochs + 1))

    def build(self, shape: tuple[int, int, int]) -> None:
        """Network and optimiser for images of `shape` (C, H, W)."""
        config = self.config
        channels, height, width = shape
        seen = (channels, config.size or height, config.size or width)
        with seeded(self.seed, "weights"):
            network = JuleNetwork(seen, config.widths, config.pooled, config.kernel, config.features)
        self.arithmetic = Arithmetic(self.device, config.precision)
        self.network = self.arithmetic.ready(network)
        self.optimiser = self._optimiser()
        self.shape, self.epochs_done = shape, 0
        self.labels = self.answer = np.zeros(0, np.int64)
        self.learned = torch.zeros(0, config.features, device=self.device)
        self.known: Images | None = None

    def _optimiser(self) -> torch.optim.Optimizer:
        config, parameters = self.config, self.network.parameters()
        if config.optimiser == "adam":
            return torch.optim.Adam(parameters, lr=config.lr, weight_decay=config.weight_decay)
        return torch.optim.SGD(
            parameters, lr=config.lr, momentum=config.momentum, dampening=config.dampening, weight_decay=config.weight_decay
        )

    def _places(self, images: Images) -> torch.Tensor:
        """The images that are clustered, int64 (n,): the main ones, or a sample of them."""
        main = images.role("main")
        if len(main) < max(self.n_clusters, 2):
            raise MethodError(f"{self.name} needs at least as many images as clusters, got {len(main)} for {self.n_clusters}.")
        most = self.config.sample
        if most is None or most >= len(main):
            return main
        if most < self.n_clusters:
            raise MethodError(f"sample={most} images cannot make {self.n_clusters} clusters: set it larger.")
        random = generator(self.device, self.seed, "sample")
        return main[torch.randperm(len(main), generator=random, device=main.device)[:most]].sort().values

    def _learn(self, images: Images, places: torch.Tensor, number: int) -> float:
        """Period `number` of the network: the mean loss of its last epoch."""
        labels = torch.from_numpy(self.labels).to(self.device)
        epochs, seen, done = self.config.network_epochs, 0, 0
        loss = torch.zeros((), device=self.device)
        self.network.train()
        for epoch in range(epochs):
            random = generator(self.device, self.seed, "epoch", number, epoch)
            order = self._order(labels, random)
            loss.zero_()
            for drawn, batch in zip(order, images.batches([places[drawn] for drawn in order]), strict=True):
                self._set_rate((number - 1) * epochs * len(order) + done)
                loss += self.train_step(batch, labels[drawn], random)
                done, seen = done + 1, seen + len(drawn)
                self.on_step(done, epochs * len(order), seen)
            check_finite(loss, number, self.name)
        return loss.item() / len(order)

    def _order(self, labels: torch.Tensor, random: torch.Generator) -> tuple[torch.Tensor, ...]:
        """Batches of places in `labels`, each once."""
        if self.config.order == "grouped":
            order = grouped_order(labels, self.config.group, random)
        else:
            order = torch.randperm(len(labels), generator=random, device=labels.device)
        return without_lone_last(order.split(self.config.batch))

    def _set_rate(self, step: int) -> None:
        rate = self.config.lr * (1 + self.config.lr_gamma * step) ** -self.config.lr_power
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def train_step(self, batch: torch.Tensor, labels: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """One step on uint8 images (M, C, H, W) and their clusters (M,): the loss, detached."""
        triplets = draw_triplets(labels, self.config.negatives, random)
        loss = weighted_triplet_loss(self._features(batch), triplets, self.config.gamma, self.config.margin)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def _features(self, batch: torch.Tensor) -> torch.Tensor:
        """Unit vectors (M, D) of uint8 images (M, C, H, W)."""
        return functional.normalize(self.arithmetic(self.network, network_input(batch, self.config.size)), dim=1)

    @torch.inference_mode()
    def _all_features(self, images: Images, places: torch.Tensor) -> torch.Tensor:
        """At rest, of the images at `places`: float32 (len(places), D)."""
        self.network.eval()
        found = torch.empty(len(places), self.config.features, device=self.device)
        done = 0
        for batch in images.batches(places.split(self.config.evaluation_batch)):
            found[done : done + len(batch)] = self._features(batch)
            done += len(batch)
        return found

    def _pixels(self, images: Images, places: torch.Tensor) -> torch.Tensor:
        """The images that the network sees as unit vectors: float32 (len(places), C * H * W)."""
        channels, height, width = self.shape
        size = self.config.size
        found = torch.empty(len(places), channels * (size * size if size else height * width), device=self.device)
        done = 0
        for batch in images.batches(places.split(self.config.evaluation_batch)):
            found[done : done + len(batch)] = functional.normalize(network_input(batch, size).flatten(1), dim=1)
            done += len(batch)
        return found

    def _cluster(self, images: Images, places: torch.Tensor) -> float:
        """Merge by the features of now, for the next period and for the report; 1 - the modularity of what is reported."""
        self.learned = self._all_features(images, places)
        merging, features = self.config.merging, self.learned.cpu().numpy()
        graph = neighbour_graph(self.learned, merging.neighbours)
        self.labels = merged(graph, features, self.labels, self.n_clusters, merging)
        self.answer = merged_to(graph, features, chains(graph.nearest), self.n_clusters, merging)
        self.known = images if len(places) == len(images) and self.config.sample is None else None
        return 1 - modularity(graph, self.answer)

    @property
    def _is_over(self) -> bool:
        is_merged = self.epochs_done > 0 and self.labels.max() < self.n_clusters
        return is_merged or self.epochs_done >= self.config.epochs

    @property
    def planned_epochs(self) -> int:
        """The most that `train` may yield, once it has begun as many as the present number of clusters needs."""
        if not hasattr(self, "network") or not len(self.labels):
            return self.config.epochs
        if self._is_over:
            return self.epochs_done
        count, periods = int(self.labels.max()) + 1, self.epochs_done
        while count > self.n_clusters or periods == 0:
            count -= min(math.ceil(self.config.merging.share * count), max(count - self.n_clusters, 0))
            periods += 1
        return min(periods, self.config.epochs)

    @property
    def loss_floors(self) -> dict[str, float]:
        """No triplet loss is negative, and no K clusters have a modularity above 1 - 1 / K."""
        return {"triplet": 0.0, "clusters": 1.0, "criterion": 1 / self.n_clusters}

    def predict_heads(self, images: Images) -> np.ndarray:
        """The reported cluster of each image that was clustered, and of the nearest such image for others: int64 (1, N)."""
        if self.known is images:
            return self.answer[None]
        answer = torch.from_numpy(self.answer).to(self.device)
        features = self._all_features(images, images.role("all"))
        blocks = features.split(max(1, BLOCK // len(self.learned)))
        return torch.cat([answer[(block @ self.learned.T).argmax(1)] for block in blocks])[None].cpu().numpy()

    def state_dict(self) -> State:
        """Network, solver, clusters, and the features that other images are compared with."""
        return {
            "model": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "labels": torch.from_numpy(self.labels.astype(np.int32)),
            "answer": torch.from_numpy(self.answer.astype(np.int32)),
            "features": self.learned,
            "epochs_done": self.epochs_done,
            "shape": list(self.shape),
        }

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned."""
        channels, height, width = state["shape"]
        self.build((channels, height, width))
        self.network.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.labels, self.answer = (state[name].numpy().astype(np.int64) for name in ("labels", "answer"))
        self.learned = state["features"].to(self.device)
        self.epochs_done = state["epochs_done"]
