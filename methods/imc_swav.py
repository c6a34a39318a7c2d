"""IMC-SwAV: prototypes learn from swapped predictions, and a classifier from what its clusters tell about the prototypes.

Ntelemis, Jin, Thomas: Information Maximization Clustering via Multi-View Self-Labelling, Knowledge-Based Systems 2022
(arXiv 2103.07368). One phase with two losses that never meet in a weight: SwAV's (equation 1, with the codes of equations
3 and 4) trains trunk, projection and prototypes; the mutual information between clusters and prototypes, over all pairs of
views (equation 6), trains a classifier on detached features. Where code and paper differ, this follows the authors' code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from ..datasets.base import Images
from .base import Epoch, Method, MethodConfig, MethodError, State, check_finite
from .kit.arithmetic import Arithmetic, Precision, cosine_decay, give_zero_gradients, whole_batches
from .kit.batch_statistics import Statistics, other_statistics, running_statistics, warm_up
from .kit.imc_bank import FeatureBank, positions_in_batches
from .kit.imc_losses import logit_guard, multi_view_information_loss, swapped_prediction_loss
from .kit.imc_network import IMCNetwork, IMCTrunkName, build_imc_trunk
from .kit.imc_views import IMCViews, IMCViewSettings
from .kit.randomness import generator, seeded
from .kit.resnets import Stem
from .kit.sinkhorn import sinkhorn_codes
from .registry import register

StatisticsFrom = Literal["training", "scored"]
Share = Annotated[float, Field(ge=0, lt=1)]
SWAPPED, INFORMATION, GUARD = "swapped", "information", "guard"


class IMCSwAVConfig(MethodConfig):
    """Settings of IMC-SwAV. The defaults are the authors' for CIFAR-10, but for the batch-norm averages of the predictions."""

    epochs: PositiveInt = Field(default=500, description="epochs of one pass each; what does not fill a batch is left out")
    batch: Annotated[int, Field(ge=2)] = Field(
        default=256, description="images in a batch, and at least so many in a step of the classifier"
    )
    classifier_images: Literal["main", "all"] = Field(
        default="main", description="images of the classifier: the main head's (STL-10: without the unlabelled ones) or all"
    )
    prototypes: Annotated[int, Field(ge=2)] = Field(default=1000, description="prototypes")
    projection: PositiveInt = Field(default=128, description="length of the projected features")
    hidden: PositiveInt = Field(default=1024, description="units in each of the classifier's two hidden layers")
    temperature: PositiveFloat = Field(default=0.1, description="tau of the softmax over prototypes")
    code_temperature: PositiveFloat = Field(default=0.05, description="epsilon of the Sinkhorn codes")
    sinkhorn_iterations: PositiveInt = Field(default=3, description="Sinkhorn iterations, on the present batch only")
    entropy_weight: PositiveFloat = Field(default=4.0, description="b of the clusters' entropy; above 1 it balances them")
    lr: PositiveFloat = Field(default=5e-4, description="learning rate of Adam")
    lr_schedule: Literal["drops", "cosine"] = Field(
        default="drops", description="drops after given epochs, or falls to zero over all as a cosine"
    )
    lr_drops: tuple[PositiveInt, ...] = Field(default=(150, 300, 400), description="epochs after which the learning rate drops")
    lr_drop_factor: PositiveFloat = Field(default=0.4, description="what each drop multiplies the learning rate by")
    warm_up: NonNegativeInt = Field(default=500, description="iterations, not epochs, in which the learning rate grows linearly")
    prototype_freeze: NonNegativeInt = Field(default=500, description="iterations in which the prototypes get no gradient")
    betas: tuple[Share, Share] = Field(default=(0.8, 0.999), description="Adam's decay of first and second moment")
    weight_decay: NonNegativeFloat = Field(default=1e-5, description="L2 penalty in Adam's gradients, on everything")
    idle_head_updates: bool = Field(
        default=True, description="let Adam move the classifier, and forget, in steps that do not train it, as torch 1.6 did"
    )
    network: IMCTrunkName = Field(default="resnet18", description="small, resnet18, resnet34 or resnet50")
    stem: Stem = Field(
        default="cifar", description="of the residual networks: cifar for 32 pixels, stl-unpadded for 64 and 96, or others"
    )
    widths: tuple[PositiveInt, ...] = Field(
        default=(32, 64, 128, 256), min_length=1, description="channels per layer of the small network; its last map is averaged"
    )
    crops_together: bool = Field(
        default=False, description="crops of one size share a forward pass: faster, but batch norm sees them together"
    )
    statistics_from: StatisticsFrom = Field(
        default="training",
        description="images that set batch norm's averages for the predictions: training images, or the scored ones as the "
        "authors did; the record has both",
    )
    statistics_batches: PositiveInt = Field(default=50, description="batches that move these averages, at most")
    evaluation_batch: PositiveInt = Field(default=1000, description="images in a batch at test time")
    precision: Precision = "float32"
    views: IMCViewSettings = Field(default_factory=IMCViewSettings, description="the crops, and whole images at test time")


@register("imc-swav")
class IMCSwAV(Method):
    """Information Maximization Clustering via Multi-View Self-Labelling (Ntelemis, Jin, Thomas, 2022).

    >>> from sklearn.datasets import load_digits
    >>> images = (load_digits().images[:64] * 255 / 16).round().astype("uint8")
    >>> small = {"network": "small", "widths": (8, 16), "prototypes": 20, "hidden": 16, "batch": 32}
    >>> views = {"large_size": 12, "small_size": 8, "test_size": 12}
    >>> IMCSwAV(n_clusters=10, epochs=1, **small, views=views).fit(images).labels_.shape
    (64,)
    """

    name: ClassVar[str] = "imc-swav"
    Config = IMCSwAVConfig
    config: IMCSwAVConfig

    def train(self, images: Images) -> Iterator[Epoch]:
        """Yield after every epoch: the three losses; `criterion` is that of information, which judges the clusters."""
        if not hasattr(self, "network"):
            self.build(images.shape)
        self._check_bank(images)
        for number in range(self.epochs_done + 1, self.config.epochs + 1):
            random = generator(self.device, self.seed, "epoch", number)
            losses, seen = self._epoch(images, number, random)
            self.epochs_done = number
            seen += self._estimate_statistics(images)
            yield Epoch(number, losses, losses[INFORMATION], seen)

    def _epoch(self, images: Images, number: int, random: torch.Generator) -> tuple[dict[str, float], int]:
        """One pass: the mean of each loss over the steps that had it, and the images that went through the network."""
        order = self._order(images, random)
        members = self._members(images, order)
        bank, crops = FeatureBank(), self.config.views.crops
        total, classifier_steps, seen = torch.zeros(3, device=self.device), 0, 0
        for done, batch in enumerate(images.batches(order)):
            self._set_learning_rate(number - 1 + done / len(order))
            losses, has_stepped = self.train_step(batch, members[done], bank, random)
            total += losses
            classifier_steps += has_stepped
            seen += len(batch) * crops
            self.on_step(done + 1, len(order), seen)
        check_finite(total, number, self.name)
        steps = (len(order), classifier_steps, classifier_steps)
        means = [value / count for value, count in zip(total.tolist(), steps, strict=True)]
        return dict(zip((SWAPPED, INFORMATION, GUARD), means, strict=True)), seen

    def train_step(
        self, batch: torch.Tensor, members: torch.Tensor | None, bank: FeatureBank, random: torch.Generator
    ) -> tuple[torch.Tensor, bool]:
        """One optimiser step on a batch, uint8 (N, C, H, W).

        Args:
            members: positions in the batch of the classifier's images; None for all.
            bank: what the classifier has not learned from yet; emptied when it does.

        Returns:
            The losses (3,), detached: swapped prediction, information, guard; and whether the last two were there, else 0.
        """
        config = self.config
        self.network.train()
        self.network.normalise_prototypes()
        features, similarities = self._embedded(batch, random)
        bank.add(features, similarities, members)
        large = similarities[: config.views.large_crops]
        codes = sinkhorn_codes(large, config.code_temperature, config.sinkhorn_iterations)
        swapped = swapped_prediction_loss(similarities, codes, config.temperature)
        is_full = len(bank) >= len(batch)
        information, guard = self._classifier_losses(*bank.take()) if is_full else torch.zeros(2, device=self.device)
        self._step(swapped + information + guard)
        return torch.stack([swapped, information, guard]).detach(), is_full

    def _embedded(self, batch: torch.Tensor, random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (V, N, D) and similarities (V, N, P) of new crops of a batch, the large ones first."""
        crops = self.views.crops(batch, random)
        with self.arithmetic.autocast():
            return self.network.views(crops, self.config.crops_together)

    def _classifier_losses(self, features: torch.Tensor, similarities: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Information loss and logit guard of (V, M, D) and (V, M, P); batch norm sees each view alone."""
        with self.arithmetic.autocast():
            logits = torch.stack([self.network.logits(view) for view in features])  # (V, M, K)
        config = self.config
        return multi_view_information_loss(logits, similarities, config.temperature, config.entropy_weight), logit_guard(logits)

    def _step(self, loss: torch.Tensor) -> None:
        self.optimiser.zero_grad(set_to_none=not self.config.idle_head_updates)
        loss.backward()
        if self.iterations < self.config.prototype_freeze:
            self.network.prototypes.weight.grad = None  # not even the weight decay moves them
        self.optimiser.step()
        self.iterations += 1

    def _order(self, images: Images, random: torch.Generator) -> list[torch.Tensor]:
        """Shuffled batches of all images; a last one that is not full is left out, unless it is the only one."""
        return list(whole_batches(torch.cat(images.order("all", self.config.batch, random)), self.config.batch))

    def _members(self, images: Images, order: list[torch.Tensor]) -> Sequence[torch.Tensor | None]:
        """Where the classifier's images stand in each batch; None for all of a batch."""
        if not self._is_apart(images):
            return [None] * len(order)
        return positions_in_batches(order, images.role("main"), len(images))

    def _is_apart(self, images: Images) -> bool:
        """Whether only some of the images train the classifier."""
        return self.config.classifier_images == "main" and "main" in images.roles

    def _check_bank(self, images: Images) -> None:
        """Raise `MethodError` if an epoch could pass without a step of the classifier."""
        if len(images) < 2:
            raise MethodError(f"{self.name}: one image makes no batch; give at least 2.")
        count, batch = len(images.role("main")), min(self.config.batch, len(images))
        if self._is_apart(images) and count - len(images) % batch < batch:
            raise MethodError(
                f"{self.name}: the {count} images that train the classifier do not fill a batch of {batch} in every epoch; "
                "use smaller batches (--set batch=...)."
            )

    def _set_learning_rate(self, epochs_passed: float) -> None:
        config, rate = self.config, self.config.lr
        if config.lr_schedule == "cosine":
            rate *= cosine_decay(epochs_passed, config.epochs)
        else:
            rate *= config.lr_drop_factor ** sum(epochs_passed >= epoch for epoch in config.lr_drops)
        if self.iterations < config.warm_up:
            rate *= (self.iterations + 1) / config.warm_up
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = rate

    def build(self, shape: tuple[int, int, int]) -> None:
        """Network and optimiser for images of `shape` (C, H, W)."""
        config = self.config
        self.views = IMCViews(config.views, shape)
        with seeded(self.seed, "weights"):
            trunk = build_imc_trunk(
                config.network, self.views.channels, self.views.smallest, stem=config.stem, widths=config.widths
            )
            network = IMCNetwork(
                trunk, self.n_clusters, prototypes=config.prototypes, projection=config.projection, hidden=config.hidden
            )
        self.arithmetic = Arithmetic(self.device, config.precision)
        self.network = self.arithmetic.ready(network)
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), lr=config.lr, betas=config.betas, weight_decay=config.weight_decay
        )
        self.epochs_done = self.iterations = 0
        self.crop_statistics: Statistics = running_statistics(self.network)

    @property
    def loss_floors(self) -> dict[str, float]:
        """-b ln K of the information; the other two are not negative."""
        lowest = -self.config.entropy_weight * math.log(self.n_clusters)
        return {SWAPPED: 0.0, INFORMATION: lowest, GUARD: 0.0, "criterion": lowest}

    @property
    def other_predictions(self) -> Mapping[str, Callable[[Images], np.ndarray]]:
        """The evaluation that `statistics_from` did not choose."""
        other: StatisticsFrom = "scored" if self.config.statistics_from == "training" else "training"
        return {f"batch-norm-from-{other}": partial(self._clusters, statistics_from=other)}

    def predict_heads(self, images: Images) -> np.ndarray:
        """Cluster of each image: int64 (1, len(images))."""
        return self._clusters(images, self.config.statistics_from)

    def predict_proba(self, images: Any) -> np.ndarray:
        """Cluster probabilities: float32 (len(images), n_clusters)."""
        return self._probabilities(Images.of(images).to(self.device), self.config.statistics_from).cpu().numpy()

    def _clusters(self, images: Images, statistics_from: StatisticsFrom) -> np.ndarray:
        return self._probabilities(images, statistics_from).argmax(-1)[None].cpu().numpy()

    def _probabilities(self, images: Images, statistics_from: StatisticsFrom) -> torch.Tensor:
        """Float32 (len(images), K), with batch norm's averages from the training images, or from `images` themselves.

        Their own averages begin at those of the training crops, as in the authors' evaluation, and are forgotten afterwards.
        """
        if statistics_from == "training":
            return self._probabilities_at_rest(images)
        with other_statistics(self.network, self.crop_statistics):
            self._move_statistics(images, images.role("all"))
            return self._probabilities_at_rest(images)

    @torch.inference_mode()
    def _probabilities_at_rest(self, images: Images) -> torch.Tensor:
        self.network.eval()
        order = images.order("all", self.config.evaluation_batch)
        with self.arithmetic.autocast():
            return torch.cat([self.network(self.views.test(batch)).softmax(-1) for batch in images.batches(order)])

    def _estimate_statistics(self, images: Images) -> int:
        """Set batch norm's averages by the classifier's training images as they are tested; how many images that took.

        The crops' own averages do not fit whole images. They are kept aside for the authors' evaluation.
        """
        self.crop_statistics = running_statistics(self.network)
        return self._move_statistics(images, images.role("main" if self.config.classifier_images == "main" else "all"))

    def _move_statistics(self, images: Images, indices: torch.Tensor) -> int:
        """Let some of the images at `indices`, drawn anew after every epoch, move the averages; how many images that took."""
        if len(indices) < 2:
            raise MethodError(f"{self.name}: batch-norm averages need at least 2 images; predict more at once.")
        random = generator(self.device, self.seed, "statistics", self.epochs_done)
        shuffled = indices[torch.randperm(len(indices), generator=random, device=indices.device)]
        order = [part for part in shuffled.split(self.config.batch) if len(part) > 1][: self.config.statistics_batches]
        with self.arithmetic.autocast():
            return warm_up(self.network, (self.views.test(batch) for batch in images.batches(order)))

    def state_dict(self) -> State:
        """Network, optimiser and position after the last yielded epoch."""
        return {
            "model": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "crop_statistics": self.crop_statistics,
            "iterations": self.iterations,
            "epochs_done": self.epochs_done,
            "shape": list(self.views.shape),
        }

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned."""
        channels, height, width = state["shape"]
        self.build((channels, height, width))
        self.network.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.config.idle_head_updates:
            give_zero_gradients(self.optimiser)
        self.crop_statistics = {name: tensor.to(self.device) for name, tensor in state["crop_statistics"].items()}
        self.iterations, self.epochs_done = state["iterations"], state["epochs_done"]
