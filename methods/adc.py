"""Associative Deep Clustering: centroids and images find each other by walks that must come home.

Haeusser, Plapp, Golkov, Aljalbout, Cremers: Associative Deep Clustering, Training a Classification Network with no Labels, GCPR
2018. Each cluster has trainable centroids among the embeddings. A walk from a centroid to an image and back must end at a
centroid of the same cluster, and all images must be visited (section 3.1); a walk from a transformed copy to an image and back
must end at a copy of the same image (3.2); a linear layer learns to tell the clusters of the centroids, and its answer for an
image is the prediction. Embeddings are kept short and about as long as `norm_target`.

The settings are those of the authors' code (`semisup/train_unsup2.py`). It counts steps; an epoch here is `epoch_steps` of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import nn
from torch.nn import functional

from ..datasets.base import Images
from .base import Epoch, Method, MethodConfig, MethodError, State, check_finite
from .kit.adc_network import ADCNetwork, ADCTrunk, ADCTrunkName, ConvEmbedding, ResNetEmbedding
from .kit.adc_views import ADCViews, ADCViewSettings
from .kit.arithmetic import Arithmetic, Precision
from .kit.association import association_losses, embedding_penalties, transformation_loss, visit_floor, walker_floor
from .kit.clusterers import KMeansHead, KMeansSettings
from .kit.randomness import generator, seeded
from .kit.reading_order import ReadingOrder
from .registry import register

LOSSES = ("walker", "visit", "copy_walker", "copy_visit", "logit", "transformation", "absolute", "norm")
KMEANS_SPREAD = 1e-4  # of the centroids of a cluster around the middle that k-means found
LEAST_LR = 1e-6  # what the warm-up of the learning rate starts from


class ADCConfig(MethodConfig):
    """Settings of ADC. The defaults are the authors' but for a narrower network and fewer steps at a higher learning rate."""

    epochs: PositiveInt = Field(default=20, description="epochs of `epoch_steps`")
    epoch_steps: PositiveInt = Field(default=200, description="steps of an epoch")
    batch: Annotated[int, Field(ge=2)] = Field(default=100, description="images in a batch")
    copies: PositiveInt = Field(default=3, description="transformed copies of each of them")
    centroids: PositiveInt = Field(default=4, description="of each cluster")
    embedding: PositiveInt = Field(default=128, description="numbers in an embedding")
    centroid_deviation: PositiveFloat = Field(default=0.3, description="of the clusters' first middles, normally distributed")
    walker_weight: NonNegativeFloat = Field(default=1.0, description="of walks from centroids to images and back")
    visit_weight: NonNegativeFloat = Field(default=0.5, description="of an even visit of the images by the centroids")
    cluster_warm_up: PositiveInt = Field(default=1, description="steps in which these two grow along a sigmoid")
    copy_walker_weight: NonNegativeFloat = Field(default=1.0, description="of walks from copies to images and back")
    copy_visit_weight: NonNegativeFloat = Field(default=1.0, description="of an even visit of the images by the copies")
    logit_weight: NonNegativeFloat = Field(default=0.5, description="of telling the clusters of the centroids")
    transformation_weight: NonNegativeFloat = Field(
        default=0.0, description="of the transformation loss of the paper, which the code's default leaves out"
    )
    absolute_weight: NonNegativeFloat = Field(default=2e-4, description="of the sum of |z| over embeddings, and over centroids")
    norm_weight: NonNegativeFloat = Field(default=2e-4, description="of the sum of their squared distances to `norm_target`")
    norm_target: PositiveFloat = Field(default=1.0, description="length that embeddings should have")
    weight_decay: NonNegativeFloat = Field(default=1e-3, description="of the trunk's weights, not its biases and norms")
    classifier_decay: NonNegativeFloat = Field(default=1e-4, description="of the linear layer's weights")
    kmeans_after: NonNegativeInt = Field(
        default=0, description="epochs without centroids, after which k-means places them and Adam starts anew; 0: none"
    )
    copy_decay: NonNegativeFloat = Field(default=0.2, description="factor of both weights of the copies after that")
    lr: PositiveFloat = Field(default=1e-3, description="learning rate of Adam")
    warm_up: PositiveInt = Field(default=200, description="steps in which it grows along a sigmoid")
    decay_steps: PositiveInt = Field(default=1500, description="steps between two drops of it")
    decay_factor: PositiveFloat = Field(default=0.33, le=1, description="what a drop multiplies it by")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        default=(0.8, 0.9), description="Adam's decay of first and second moment"
    )
    network: ADCTrunkName = Field(default="conv", description="conv, plain convolutions; or resnet, of pre-activation blocks")
    widths: tuple[PositiveInt, ...] = Field(default=(16, 32, 64), min_length=1, description="channels of its parts")
    depth: PositiveInt = Field(default=2, description="convolutions, or residual blocks, of each part")
    stem_pool: bool = Field(default=False, description="resnet: 2x2 pooling after the first convolution")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.2, description="share of activations that are left out")
    evaluation_batch: PositiveInt = Field(default=1000, description="images in a batch at test time")
    precision: Precision = "float32"
    views: ADCViewSettings = Field(default_factory=ADCViewSettings, description="the transformations")


def envelope(step: int, steps: int) -> float:
    """A sigmoid from 0 to 1 that is 0.5 after half of `steps` and 0.993 after all; 0 at step 0."""
    return 0.5 * (1 + math.tanh(5 * step / steps - 2.5)) if step > 0 else 0.0


@register("adc")
class ADC(Method):
    """Associative Deep Clustering (Haeusser, Plapp, Golkov, Aljalbout, Cremers, GCPR 2018).

    >>> from sklearn.datasets import load_digits
    >>> images = (load_digits().images * 255 / 16).round().astype("uint8")
    >>> ADC(n_clusters=10, epochs=1, epoch_steps=5, widths=(4, 8), views={"size": 8}).fit(images).labels_.shape
    (1797,)
    """

    name: ClassVar[str] = "adc"
    Config = ADCConfig
    config: ADCConfig

    def train(self, images: Images) -> Iterator[Epoch]:
        """Yield after every `epoch_steps` steps.

        `losses` are the mean of each of `LOSSES`, without its weight; `criterion` is their sum with the
        weights of the last step, so that all epochs can be compared.
        """
        if not hasattr(self, "network"):
            self.build(images.shape)
        order = self._order(images)
        for number in range(self.epochs_done + 1, self.config.epochs + 1):
            losses = self._epoch(images, order, number)
            seen = self.config.epoch_steps * self.config.batch * (1 + self.config.copies)
            self.epochs_done = number
            if number == self.config.kmeans_after:
                self._place_centroids(images)
                seen += len(images.role("main"))
            criterion = sum(self.last_weights[name] * value for name, value in losses.items())
            yield Epoch(number, {name: value for name, value in losses.items() if self._is_used(name)}, criterion, seen)

    def _epoch(self, images: Images, order: ReadingOrder, number: int) -> dict[str, float]:
        """The mean of each loss over the steps of epoch `number`."""
        steps, size = self.config.epoch_steps, self.config.batch
        first = (number - 1) * steps
        random = generator(self.device, self.seed, "epoch", number)
        total = torch.zeros(len(LOSSES), device=self.device)
        self.network.train()
        with seeded(self.seed, "dropout", number):
            for done, batch in enumerate(images.batches(order.batches(first, steps))):
                total += self.train_step(batch, first + done, random)
                self.on_step(done + 1, steps, (done + 1) * size * (1 + self.config.copies))
        check_finite(total, number, self.name)
        return dict(zip(LOSSES, (total / steps).tolist(), strict=True))

    def train_step(self, batch: torch.Tensor, step: int, random: torch.Generator) -> torch.Tensor:
        """Step number `step`, 0 for the very first, on a batch, uint8 (N, C, H, W): each of `LOSSES`, detached."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate(step)
        copies = self.config.copies
        plain = self.arithmetic(self.network.trunk, self.views.plain(batch, random))  # (N, D)
        copied = self.arithmetic(self.network.trunk, self.views.copies(batch, copies, random))  # (N * copies, D)
        losses = self.losses(plain, copied)
        weights = self.weights(step)
        self.optimiser.zero_grad(set_to_none=True)
        (losses * losses.new_tensor([weights[name] for name in LOSSES])).sum().backward()
        self.optimiser.step()
        return losses.detach()

    def losses(self, plain: torch.Tensor, copied: torch.Tensor) -> torch.Tensor:
        """Each of `LOSSES` for the embeddings of images (N, D) and of their copies (N * copies, D), without weights."""
        network, config = self.network, self.config
        centroids, images = network.centroids, torch.arange(len(plain), device=plain.device)
        walker, visit = association_losses(centroids, plain, network.labels)
        copy_walker, copy_visit = association_losses(copied, plain, images.repeat_interleave(config.copies))
        logit = functional.cross_entropy(network.classifier(centroids), network.labels)
        both = torch.cat([plain, copied[:: config.copies]])
        used = config.transformation_weight > 0
        transformation = transformation_loss(both, network.classifier(both)) if used else walker.new_zeros(())
        absolute, norm = embedding_penalties(torch.cat([plain, copied, centroids]), config.norm_target)
        return torch.stack([walker, visit, copy_walker, copy_visit, logit, transformation, absolute, norm])

    def weights(self, step: int) -> dict[str, float]:
        """The weight of each loss in step number `step`."""
        config = self.config
        before_kmeans = step < config.kmeans_after * config.epoch_steps
        placed = config.kmeans_after > 0 and not before_kmeans
        grown = 1.0 if config.kmeans_after else envelope(step, config.cluster_warm_up)
        clusters, copies = (0.0 if before_kmeans else 1.0), (config.copy_decay if placed else 1.0)
        values = (
            config.walker_weight * grown * clusters, config.visit_weight * grown * clusters,
            config.copy_walker_weight * copies, config.copy_visit_weight * copies,
            config.logit_weight * clusters, config.transformation_weight * clusters, config.absolute_weight, config.norm_weight,
        )  # fmt: skip
        return dict(zip(LOSSES, values, strict=True))

    @property
    def last_weights(self) -> dict[str, float]:
        """The weights of the losses in the last step of the training."""
        return self.weights(self.config.epochs * self.config.epoch_steps - 1)

    def learning_rate(self, step: int) -> float:
        """Of step number `step`: grows along a sigmoid and drops after every `decay_steps`."""
        config = self.config
        drops = max(step - 1, 0) // config.decay_steps
        return LEAST_LR + config.lr * config.decay_factor**drops * envelope(step, config.warm_up)

    def _order(self, images: Images) -> ReadingOrder:
        return ReadingOrder(images.role("main"), self.config.batch, "always", self.seed, "training")

    def _is_used(self, name: str) -> bool:
        return name != "transformation" or self.config.transformation_weight > 0

    def _place_centroids(self, images: Images) -> None:
        """k-means among the embeddings of all images; the optimiser forgets what it knows."""
        main = images.role("main")
        if len(main) < self.n_clusters:
            raise MethodError(f"{self.name} needs at least as many images as clusters, got {len(main)} for {self.n_clusters}.")
        order = main.split(self.config.evaluation_batch)
        embeddings = torch.cat([self._at_rest(self.network.trunk, batch) for batch in images.batches(order)])
        head = KMeansHead(self.n_clusters, KMeansSettings(), self.seed)
        head.fit(embeddings.cpu().numpy())
        random = generator(self.device, self.seed, "centroids")
        self.network.place_centroids(torch.from_numpy(head.centres).to(self.device), KMEANS_SPREAD, random)
        self.optimiser = self._new_optimiser()

    def build(self, shape: tuple[int, int, int]) -> None:
        """The network, untrained, for images of `shape` (C, H, W)."""
        config = self.config
        self.views, self.shape, self.epochs_done = ADCViews(config.views, shape), shape, 0
        with seeded(self.seed, "weights"):
            trunk = self._trunk(shape[0])
            network = ADCNetwork(trunk, config.embedding, self.n_clusters, config.centroids, config.centroid_deviation)
        self.arithmetic = Arithmetic(self.device, config.precision)
        self.network = self.arithmetic.ready(network)
        self.optimiser = self._new_optimiser()

    def _trunk(self, channels: int) -> ADCTrunk:
        config = self.config
        if config.network == "conv":
            return ConvEmbedding(channels, self.views.size, config.widths, config.depth, config.dropout, config.embedding)
        return ResNetEmbedding(channels, config.widths, config.depth, config.dropout, config.embedding, config.stem_pool)

    def _new_optimiser(self) -> torch.optim.Adam:
        """Adam; weights of layers have a decay, which is added to their gradient, and nothing else has."""
        trunk = [parameter for parameter in self.network.trunk.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in self.network.trunk.parameters() if parameter.ndim == 1]
        classifier: nn.Linear = self.network.classifier
        groups = [
            {"params": trunk, "weight_decay": self.config.weight_decay},
            {"params": [classifier.weight], "weight_decay": self.config.classifier_decay},
            {"params": [*others, classifier.bias, self.network.centroids]},
        ]
        return torch.optim.Adam(groups, lr=self.config.lr, betas=self.config.betas)

    @property
    def loss_floors(self) -> Mapping[str, float]:
        """The entropies of a right end and of an even visit; 0 of the rest; `criterion`'s from the weights of the last epoch."""
        config = self.config
        visit = visit_floor(config.batch)
        floors = dict.fromkeys(LOSSES, 0.0)
        floors |= {"walker": walker_floor(config.centroids), "visit": visit}
        floors |= {"copy_walker": walker_floor(config.copies), "copy_visit": visit}
        return {**floors, "criterion": sum(self.last_weights[name] * floor for name, floor in floors.items())}

    def predict_heads(self, images: Images) -> np.ndarray:
        """The cluster that the linear layer finds most probable for each image: int64 (1, len(images))."""
        return self._test_probabilities(images).argmax(1)[None].cpu().numpy()

    def predict_proba(self, images: Any) -> np.ndarray:
        """Cluster probabilities: float32 (len(images), n_clusters)."""
        return self._test_probabilities(Images.of(images).to(self.device)).cpu().numpy()

    def _test_probabilities(self, images: Images) -> torch.Tensor:
        order = images.order("all", self.config.evaluation_batch)
        return torch.cat([self._at_rest(self.network, batch).softmax(1) for batch in images.batches(order)])

    @torch.no_grad()
    def _at_rest(self, network: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        self.network.eval()
        return self.arithmetic(network, self.views.test(batch))

    def state_dict(self) -> State:
        """Network with centroids, optimiser and position after the last yielded epoch."""
        return {
            "model": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "epochs_done": self.epochs_done,
            "shape": list(self.shape),
        }

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned."""
        channels, height, width = state["shape"]
        self.build((channels, height, width))
        self.network.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.epochs_done = state["epochs_done"]
