"""Deep Embedded Clustering: an autoencoder's embedding, pulled towards its own confident cluster assignments.

Xie, Girshick, Farhadi: Unsupervised Deep Embedding for Clustering Analysis, ICML 2016. After pre-training (section 3.3,
`kit/autoencoder.py`) k-means places centres in the embedding; then encoder and centres minimise KL(P || Q), where Q are soft
assignments by Student's t and P sharpens them (section 3.1). Where the authors' text and their released code differ, the code's
way is the default: the image itself gets no noise (`pretraining.image_dropout`).

Scores that ports report above the paper's come from another pre-training, not from this loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import nn

from ..datasets.base import Images
from .base import Diverged, Epoch, Method, MethodConfig, MethodError, State, check_finite
from .kit.arithmetic import Arithmetic, Precision
from .kit.autoencoder import Autoencoder, Pretraining, PretrainingSettings, Share, parts, sgd
from .kit.clusterers import KMeansHead, KMeansSettings
from .kit.randomness import generator, seeded
from .kit.reading_order import ReadingOrder, Shuffle
from .kit.student_assignment import clustering_loss, log_assignment, squared_distances, target_distribution
from .kit.vectors import VectorReader, Vectors, VectorSettings
from .registry import register


class DECConfig(MethodConfig):
    """Settings of DEC. The defaults pre-train shortly and by Adam, and shuffle the images; the rest is the authors'."""

    vectors: VectorSettings = Field(default_factory=VectorSettings, description="what the network sees of an image")
    hidden: tuple[PositiveInt, ...] = Field(default=(500, 500, 2000), min_length=1, description="units of the hidden layers")
    embedding: PositiveInt = Field(default=10, description="numbers in the embedding, whatever the number of clusters")
    pretraining: PretrainingSettings = Field(default_factory=PretrainingSettings, description="of the autoencoder")
    pretraining_role: Literal["main", "auxiliary"] = Field(
        default="main", description="images that pre-train: those that are clustered, or (STL-10) the unlabelled ones too"
    )
    pretraining_images: PositiveInt | None = Field(default=None, description="only the first so many of them, in reading order")
    shuffle: Shuffle = Field(
        default="always", description="never reads images as stored, once in one random order, always in a new one in every pass"
    )
    restarts: PositiveInt = Field(default=20, description="of the k-means that places the first centres")
    alpha: PositiveFloat = Field(default=1.0, description="degrees of freedom of Student's t")
    interval: PositiveInt = Field(default=160, description="steps between two updates of the target")
    tolerance: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.001, description="stop when fewer than this share of the images changed cluster since the last update"
    )
    patience: PositiveInt = Field(
        default=1, description="take the mean of that share over so many updates: above 1 where the share is a few images only"
    )
    most_updates: PositiveInt = Field(default=1000, description="stop after so many updates in any case")
    batch: PositiveInt = Field(default=256, description="images in a batch of the clustering")
    lr: PositiveFloat = Field(default=0.01, description="learning rate of the clustering, for encoder and centres")
    momentum: Share = Field(
        default=0.9, description="of the clustering; forgotten at every update, where the authors' solver begins anew"
    )
    evaluation_batch: PositiveInt = Field(default=2000, description="images in a batch at test time")
    precision: Precision = "float32"


class DECNetwork(nn.Module):
    """The autoencoder, and the centres of the clusters in its embedding."""

    def __init__(self, sizes: tuple[int, ...], n_clusters: int, deviation: float) -> None:
        super().__init__()
        self.autoencoder = Autoencoder(sizes, deviation)
        self.centres = nn.Parameter(torch.zeros(n_clusters, sizes[-1]))


@register("dec")
class DEC(Method):
    """Deep Embedded Clustering (Xie, Girshick, Farhadi, ICML 2016).

    An epoch is a part of the pre-training (predictions: the nearest of K random images in the embedding so far), or the k-means
    start, or the steps between two updates of the target. The number of updates is not known before.

    >>> from sklearn.datasets import load_digits
    >>> images = (load_digits().images * 255 / 16).round().astype("uint8")
    >>> short = {"layer_iterations": 50, "finetune_iterations": 50}
    >>> DEC(n_clusters=10, hidden=(32, 32, 64), pretraining=short, interval=10, most_updates=2).fit(images).labels_.shape
    (1797,)
    """

    name: ClassVar[str] = "dec"
    version: ClassVar[int] = 2  # 1 summed the reconstruction error over the numbers of an image
    Config = DECConfig
    config: DECConfig

    def train(self, images: Images) -> Iterator[Epoch]:
        """Yield after each part of the pre-training, after k-means, and after each interval of the clustering.

        `losses` are `layer 1` to `layer 4` and `reconstruction`; `kmeans`, the mean squared distance to the centres; then
        `clustering` (mean KL in nats) and `changed`, the share of images whose cluster changed. `criterion` is that share's mean
        over the last `patience` updates: what the authors stop by.
        """
        if not hasattr(self, "network"):
            self._begin(images)
        if self._is_over:
            return
        reader = self.judged = VectorReader(images, self.vectors)
        yield from self._pretrain(reader)
        if self.epochs_done == len(self.pretraining.plan):
            yield self._place_centres(reader)
        yield from self._cluster(reader)

    def _pretrain(self, reader: VectorReader) -> Iterator[Epoch]:
        order = self._pretraining_order(reader.images)
        anchors = generator(self.device, self.seed, "anchors")
        main = reader.images.role("main")
        anchored = main[torch.randperm(len(main), generator=anchors, device=main.device)[: self.n_clusters]]
        for done, part in list(enumerate(self.pretraining.plan))[self.epochs_done :]:
            size = self.config.pretraining.batch
            batches = reader.batches(order.batches(part.first, part.steps))
            random = generator(self.device, self.seed, "noise", done)
            loss = self.pretraining.run(part, batches, random, self._on_pretraining_step)
            self._check_pretraining(loss, done + 1)
            self.epochs_done = done + 1
            with torch.no_grad():
                self.network.centres.copy_(self._embed(reader, (anchored,)))
            yield Epoch(self.epochs_done, {self.pretraining.name(part): loss.item()}, None, part.steps * size)

    def _on_pretraining_step(self, done: int, steps: int) -> None:
        self.on_step(done, steps, done * self.config.pretraining.batch)

    def _check_pretraining(self, loss: torch.Tensor, epoch: int) -> None:
        if not bool(torch.isfinite(loss)):
            hint = "Lower pretraining.lr, or scale the images: --set vectors.kind=mean-square."
            raise Diverged(f"{self.name}: the loss of the pre-training is not finite in epoch {epoch}. {hint}")

    def _pretraining_order(self, images: Images) -> ReadingOrder:
        """What the pre-training reads. Where only some images are read, shuffling them once decides which."""
        config = self.config
        indices, most = images.role(config.pretraining_role), config.pretraining_images
        if most is not None and most < len(indices):
            once: Shuffle = "never" if config.shuffle == "never" else "once"
            (indices,) = ReadingOrder(indices, most, once, self.seed, "pretraining images").batches(0, 1)
        return ReadingOrder(indices, config.pretraining.batch, config.shuffle, self.seed, "pretraining")

    def _place_centres(self, reader: VectorReader) -> Epoch:
        """k-means in the embedding of all images."""
        main = reader.images.role("main")
        embedded = self._embed(reader, main.split(self.config.evaluation_batch))
        head = KMeansHead(self.n_clusters, KMeansSettings(restarts=self.config.restarts), self.seed)
        objective = head.fit(embedded.cpu().numpy())
        with torch.no_grad():
            self.network.centres.copy_(torch.from_numpy(head.centres))
        self.epochs_done += 1
        return Epoch(self.epochs_done, {"kmeans": objective}, None, len(main))

    def _cluster(self, reader: VectorReader) -> Iterator[Epoch]:
        main = reader.images.role("main")
        rows = torch.arange(len(main), device=main.device)
        order = ReadingOrder(rows, self.config.batch, self.config.shuffle, self.seed, "clustering")
        distances = self._distances(reader, main)
        while not self._is_over:
            p = target_distribution(log_assignment(distances, self.config.alpha).exp())
            loss = self._interval(reader, main, p, order.batches(self._updates * self.config.interval, self.config.interval))
            before, distances = distances.argmin(1), self._distances(reader, main)
            changed = (distances.argmin(1) != before).double().mean().item()
            self.changed = [*self.changed, changed][-self.config.patience :]
            self.epochs_done += 1
            check_finite(loss, self.epochs_done, self.name)
            seen = self.config.interval * self.config.batch + len(main)
            yield Epoch(self.epochs_done, {"clustering": loss.item(), "changed": changed}, self._unrest, seen)

    def _interval(
        self, reader: VectorReader, main: torch.Tensor, p: torch.Tensor, order: tuple[torch.Tensor, ...]
    ) -> torch.Tensor:
        """Train encoder and centres towards the fixed target `p` (n, K): the mean loss of the batches, detached.

        Args:
            reader: the images.
            main: int64 (n,), those that are clustered.
            p: their targets.
            order: rows of `main` and `p` in batches.
        """
        config = self.config
        encoder = self.network.autoencoder.encoder
        optimiser = sgd([*encoder.parameters(), self.network.centres], config.lr, config.momentum)
        total = torch.zeros((), device=self.device)
        for step, (rows, batch) in enumerate(zip(order, reader.batches([main[rows] for rows in order]), strict=True), start=1):
            log_q = log_assignment(squared_distances(self._encode(batch), self.network.centres), config.alpha)
            loss = clustering_loss(p[rows], log_q)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.detach()
            self.on_step(step, len(order), step * config.batch)
        return total / len(order)

    def _encode(self, batch: torch.Tensor) -> torch.Tensor:
        """Embeddings (N, embedding), float32, of vectors (N, D)."""
        return self.arithmetic(self.network.autoencoder.encode, batch)

    @torch.inference_mode()
    def _embed(self, reader: VectorReader, order: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return torch.cat([self._encode(batch) for batch in reader.batches(order)])

    @torch.inference_mode()
    def _distances(self, reader: VectorReader, indices: torch.Tensor) -> torch.Tensor:
        """Squared distances (n, K) of the embeddings of the images at `indices` to the centres."""
        order = indices.split(self.config.evaluation_batch)
        return torch.cat([squared_distances(self._encode(batch), self.network.centres) for batch in reader.batches(order)])

    def _begin(self, images: Images) -> None:
        main = images.role("main")
        if len(main) < self.n_clusters:
            raise MethodError(f"{self.name} needs at least as many images as clusters, got {len(main)} for {self.n_clusters}.")
        self.build(images.shape)
        self.vectors.fit(images, main)

    def build(self, shape: tuple[int, int, int]) -> None:
        """The network, untrained, for images of `shape` (C, H, W)."""
        config = self.config
        self.vectors = Vectors(config.vectors, shape, self.device)
        with seeded(self.seed, "weights"):
            sizes = (self.vectors.size, *config.hidden, config.embedding)
            self.network = DECNetwork(sizes, self.n_clusters, config.pretraining.initial_deviation).to(self.device)
        self.arithmetic = Arithmetic(self.device, config.precision)
        self.pretraining = Pretraining(self.network.autoencoder, config.pretraining, self.arithmetic)
        self.epochs_done = 0
        self.changed: list[float] = []
        self.judged: VectorReader | None = None

    @property
    def _updates(self) -> int:
        """Intervals of the clustering that are done."""
        return max(self.epochs_done - len(self.pretraining.plan) - 1, 0)

    @property
    def _unrest(self) -> float | None:
        """Share of images that changed cluster at an update, the mean over the last `patience`; None before there are so many."""
        return sum(self.changed) / len(self.changed) if len(self.changed) == self.config.patience else None

    @property
    def _is_over(self) -> bool:
        unrest = self._unrest
        return self._updates >= self.config.most_updates or (unrest is not None and unrest < self.config.tolerance)

    @property
    def planned_epochs(self) -> int:
        """The most that `train` may yield; as many as it did once it has stopped."""
        if hasattr(self, "network") and self._is_over:
            return self.epochs_done
        return len(parts(self.config.pretraining, len(self.config.hidden) + 1)) + 1 + self.config.most_updates

    @property
    def loss_floors(self) -> dict[str, float]:
        """0 of everything."""
        layers = (f"layer {number}" for number in range(1, len(self.config.hidden) + 2))
        return dict.fromkeys([*layers, "reconstruction", "kmeans", "clustering", "changed", "criterion"], 0.0)

    def predict_heads(self, images: Images) -> np.ndarray:
        """The nearest centre of each image, which is its most probable cluster: int64 (1, len(images))."""
        return self._test_distances(images).argmin(1)[None].cpu().numpy()

    def predict_proba(self, images: Any) -> np.ndarray:
        """Soft assignments q: float32 (len(images), n_clusters)."""
        distances = self._test_distances(Images.of(images).to(self.device))
        return log_assignment(distances, self.config.alpha).exp().cpu().numpy()

    def _test_distances(self, images: Images) -> torch.Tensor:
        """As `_distances`, of all images. The vectors of those that were asked about last are kept, where they cost much."""
        if self.judged is None or self.judged.images is not images:
            self.judged = VectorReader(images, self.vectors)
        return self._distances(self.judged, images.role("all"))

    def state_dict(self) -> State:
        """Network, statistics of the vectors, solver and position after the last yielded epoch."""
        return {
            "model": self.network.state_dict(),
            "vectors": self.vectors.state_dict(),
            "optimiser": self.pretraining.state_dict(self.epochs_done),
            "epochs_done": self.epochs_done,
            "changed": list(self.changed),
            "shape": list(self.vectors.shape),
        }

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned."""
        channels, height, width = state["shape"]
        self.build((channels, height, width))
        self.network.load_state_dict(state["model"])
        self.vectors.load_state_dict(state["vectors"])
        self.epochs_done, self.changed = state["epochs_done"], list(state["changed"])
        self.pretraining.load_state_dict(self.epochs_done, state["optimiser"])
