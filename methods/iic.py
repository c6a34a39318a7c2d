"""Invariant Information Clustering: clusters that stay the same under transformation and tell the most about the image.

Ji, Henriques, Vedaldi: Invariant Information Clustering for Unsupervised Image Classification and Segmentation,
ICCV 2019. A network maps an image and a transformed copy of it to cluster probabilities; training maximises their mutual
information (equation 3) and nothing else. An auxiliary head with more clusters than classes may be trained in turn with
the main one (section 4.1), every head has several sub-heads that differ in their initialisation only, and every image
meets `repeats` transformed copies of itself in a batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from ..datasets.base import Images
from .base import Epoch, Method, MethodConfig, State, check_finite
from .kit.information import information_loss
from .kit.networks import BatchStatistics, ClusterNetwork, TrunkName, build_trunk, initialise
from .kit.randomness import generator, seeded
from .kit.views import PairedViews, ViewSettings
from .registry import register

Group = Literal["main", "auxiliary"]


class IICConfig(MethodConfig):
    """Settings of IIC. The defaults are the small network of the `short` presets."""

    epochs: PositiveInt = Field(default=100, description="epochs; each makes all the passes")
    passes: tuple[Group, ...] = Field(
        default=("main",), min_length=1, description="heads trained in one epoch, one pass over their images each"
    )
    auxiliary_clusters: Annotated[int, Field(ge=2)] = Field(
        default=50, description="clusters of the auxiliary head, used if a pass names it"
    )
    sub_heads: PositiveInt = Field(default=5, description="sub-heads h of each head")
    batch_pairs: PositiveInt = Field(default=350, description="pairs in a batch, repeats counted")
    repeats: PositiveInt = Field(default=5, description="transformed copies r of each image in a batch")
    shuffle: bool = Field(default=True, description="new random batches in every epoch; the authors kept the stored order")
    entropy_weight: PositiveFloat = Field(
        default=1.0, description="lambda of the main head; above 1 presses towards balanced clusters"
    )
    auxiliary_entropy_weight: PositiveFloat = Field(default=1.0, description="lambda of the auxiliary head")
    lr: PositiveFloat = Field(default=5e-4, description="learning rate of Adam")
    lr_schedule: Literal["constant", "cosine"] = Field(default="constant", description="cosine falls to zero over all epochs")
    idle_head_updates: bool = Field(
        default=False, description="let Adam's momentum move the head that is not being trained, as torch 0.4 did"
    )
    sub_head_loss: Literal["training", "pass"] = Field(
        default="training",
        description="loss that chooses the sub-head: mean over its last training pass, or an extra pass in test mode",
    )
    network: TrunkName = Field(default="small", description="small, vgg (ClusterNet6c) or resnet (ClusterNet5g)")
    widths: tuple[PositiveInt, ...] = Field(
        default=(16, 32, 64, 128), min_length=1, description="channels per layer of the small network"
    )
    kernel: Literal[1, 3, 5, 7] = Field(default=3, description="side of the small network's convolutions")
    batch_statistics: BatchStatistics = Field(
        default="running", description="batch norm at test time: running averages or the test batch's own"
    )
    evaluation_batch: PositiveInt = Field(default=2000, description="images in a batch at test time")
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="of the network's arithmetic; the loss is always float32"
    )
    views: ViewSettings = Field(default_factory=ViewSettings, description="the transformations")

    @model_validator(mode="after")
    def _batch_holds_whole_images(self) -> IICConfig:
        if self.batch_pairs % self.repeats:
            raise ValueError(f"batch_pairs must be a multiple of repeats, got {self.batch_pairs} and {self.repeats}")
        if "main" not in self.passes:
            raise ValueError("passes must name 'main', the head that predicts")
        return self


@register("iic")
class IIC(Method):
    """Invariant Information Clustering (Ji, Henriques, Vedaldi, ICCV 2019).

    >>> from sklearn.datasets import load_digits
    >>> images = (load_digits().images * 255 / 16).round().astype("uint8")
    >>> IIC(n_clusters=10, epochs=1, views={"crop": 8, "crops_transformed": [7, 8], "size": 16}).fit(images).labels_.shape
    (1797,)
    """

    name: ClassVar[str] = "iic"
    Config = IICConfig
    config: IICConfig

    def train(self, images: Images) -> Iterator[Epoch]:
        """Yield after every epoch: `losses` by trained head and sub-head; `criterion` is the lowest of the main head's."""
        if not hasattr(self, "network"):
            self.build(images.shape)
        for number in range(self.epochs_done + 1, self.config.epochs + 1):
            random = generator(self.device, self.seed, "epoch", number)
            losses, seen = self._epoch(images, number, random)
            self.sub_head_losses = losses["main"]
            if self.config.sub_head_loss == "pass":
                self.sub_head_losses = self._losses_in_test_mode(images, random)
                seen += len(images.role("main")) * (1 + self.config.repeats)
            self.epochs_done = number
            criterion = self.sub_head_losses[self.chosen_head].item()
            yield Epoch(number, {group: loss.tolist() for group, loss in losses.items()}, criterion, seen)

    def _epoch(self, images: Images, number: int, random: torch.Generator) -> tuple[dict[str, torch.Tensor], int]:
        """All passes of one epoch: the mean loss of each sub-head by head, and the images that went through the network."""
        orders = [self._order(images, group, random) for group in self.config.passes]
        steps, done, seen = sum(len(order) for order in orders), 0, 0
        losses: dict[str, torch.Tensor] = {}
        for group, order in zip(self.config.passes, orders, strict=True):
            total = torch.zeros(self.config.sub_heads, device=self.device)
            for batch in images.batches(order):
                self._set_learning_rate(number - 1 + done / steps)
                total += self.train_step(batch, group, random)
                done, seen = done + 1, seen + len(batch) * (1 + self.config.repeats)
                self.on_step(done, steps, seen)
            losses[group] = total / len(order)
            check_finite(losses[group], number, self.name)
        return losses, seen

    def train_step(self, batch: torch.Tensor, group: Group, random: torch.Generator) -> torch.Tensor:
        """One optimiser step on a uint8 batch (M, C, H, W): the loss of each sub-head (h,), detached."""
        self.network.train()
        loss = self.pair_losses(batch, group, random)
        self.optimiser.zero_grad(set_to_none=not self.config.idle_head_updates)
        loss.mean().backward()
        self.optimiser.step()
        return loss.detach()

    def pair_losses(self, batch: torch.Tensor, group: Group, random: torch.Generator) -> torch.Tensor:
        """Loss of each sub-head (h,) over the pairs of a uint8 batch (M, C, H, W).

        The authors send the originals through the network `repeats` times over. Copies have the outputs and batch
        statistics of one, so one pass and repeated outputs give the same loss and gradient for 1 + r passes instead of 2r.
        """
        repeats = self.config.repeats
        originals = self.views.original(batch, random)  # (M, C', S, S)
        transformed = self.views.transformed(batch.repeat(repeats, 1, 1, 1), random)  # (r * M, C', S, S)
        p = self.probabilities(originals, group).repeat(1, repeats, 1)  # (h, r * M, K)
        q = self.probabilities(transformed, group)  # (h, r * M, K)
        weight = self.config.entropy_weight if group == "main" else self.config.auxiliary_entropy_weight
        return information_loss(p, q, weight)

    def probabilities(self, views: torch.Tensor, group: Group) -> torch.Tensor:
        """Cluster probabilities (h, M, K), float32, of prepared views (M, C', S, S)."""
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            return self.network(views.contiguous(memory_format=torch.channels_last), group)

    @torch.no_grad()
    def _losses_in_test_mode(self, images: Images, random: torch.Generator) -> torch.Tensor:
        """Mean loss of each main sub-head over one more pass with the network at rest, as the authors choose theirs."""
        self.network.eval()
        order = self._order(images, "main", random)
        return torch.stack([self.pair_losses(batch, "main", random) for batch in images.batches(order)]).mean(0)

    def _order(self, images: Images, group: Group, random: torch.Generator) -> tuple[torch.Tensor, ...]:
        """Index tensors of one pass; the last one may be shorter."""
        size = self.config.batch_pairs // self.config.repeats
        return images.order(group, size, random if self.config.shuffle else None)

    def _set_learning_rate(self, epochs_passed: float) -> None:
        if self.config.lr_schedule == "cosine":
            for parameters in self.optimiser.param_groups:
                parameters["lr"] = self.config.lr * 0.5 * (1 + math.cos(math.pi * epochs_passed / self.config.epochs))

    def build(self, shape: tuple[int, int, int]) -> None:
        """Networks and optimiser for images of `shape` (C, H, W)."""
        config = self.config
        self.shape, self.epochs_done = shape, 0
        self.views = PairedViews(config.views, shape)
        clusters = {"main": self.n_clusters, "auxiliary": config.auxiliary_clusters}
        with seeded(self.seed, "weights"):
            trunk = build_trunk(
                config.network, self.views.channels, config.views.size,
                statistics=config.batch_statistics, widths=config.widths, kernel=config.kernel,
            )  # fmt: skip
            network = ClusterNetwork(trunk, {group: clusters[group] for group in dict.fromkeys(config.passes)}, config.sub_heads)
            initialise(network.heads)
        # Channels-last convolutions are about twice as fast on CPUs and what tensor cores want on GPUs.
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=config.lr)
        self.sub_head_losses = torch.zeros(config.sub_heads)

    @property
    def chosen_head(self) -> int:
        """The main sub-head with the lowest loss (section 4.1: no label is needed for this choice)."""
        return int(self.sub_head_losses.argmin())

    def predict_heads(self, images: Images) -> np.ndarray:
        """Cluster of each image by each main sub-head: int64 (sub_heads, len(images))."""
        return self._test_probabilities(images).argmax(-1).cpu().numpy()

    def predict_proba(self, images: Images) -> np.ndarray:
        """Cluster probabilities by the sub-head of lowest loss: float32 (len(images), n_clusters)."""
        return self._test_probabilities(Images.of(images).to(self.device))[self.chosen_head].cpu().numpy()

    @torch.inference_mode()
    def _test_probabilities(self, images: Images) -> torch.Tensor:
        self.network.eval()
        order = images.order("all", self.config.evaluation_batch)
        return torch.cat([self.probabilities(self.views.test(batch), "main") for batch in images.batches(order)], dim=1)

    def state_dict(self) -> State:
        """Network, optimiser and position after the last yielded epoch."""
        return {
            "model": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "sub_head_losses": self.sub_head_losses,
            "epochs_done": self.epochs_done,
            "shape": list(self.shape),
        }

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned."""
        channels, height, width = state["shape"]
        self.build((channels, height, width))
        self.network.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.sub_head_losses, self.epochs_done = state["sub_head_losses"], state["epochs_done"]
