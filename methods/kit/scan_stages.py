"""The second and third stage of SCAN (Van Gansbeke et al., ECCV 2020): semantic clustering and self-labelling.

Both train a `ScanNetwork` for an epoch at a time, and know nothing of who calls them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt
from torch import nn

from ...datasets.base import Images
from .arithmetic import Arithmetic, OptimiserSettings, build_optimiser, whole_batches
from .backbones import Backbone
from .networks import SubHeads
from .scan_losses import SemanticLoss, self_label_loss, semantic_loss
from .simclr import Progress

Strength = Literal["strong", "simclr"]
View = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


class SemanticSettings(BaseModel):
    """The clustering stage. The defaults are the authors' for STL-10, and for the two small sets in the paper's text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: Annotated[int, Field(ge=2)] = Field(
        default=128, description="pairs in a batch, the last short one is left out; it should hold images of all clusters"
    )
    entropy_weight: NonNegativeFloat = Field(default=5.0, description="lambda; lower it for clusters of unequal size")
    optimiser: OptimiserSettings = Field(
        default_factory=OptimiserSettings, description="adam or sgd, its learning rate and decay"
    )
    frozen: bool = Field(
        default=False, description="train the heads only, the network stays at rest (the authors' ImageNet form)"
    )
    augmentation: Strength = Field(default="strong", description="of images and neighbours: strong, or that of the pretext")


class SelfLabelSettings(BaseModel):
    """The self-labelling stage. The defaults are the authors' for CIFAR."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: NonNegativeInt = Field(default=200, description="epochs; 0 leaves the stage out")
    batch: Annotated[int, Field(ge=2)] = Field(default=1000, description="images in a batch, the last short one is left out")
    threshold: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.99, description="probability above which an image counts")
    balanced: bool = Field(default=True, description="weigh rare clusters up in the loss")
    optimiser: OptimiserSettings = Field(
        default_factory=OptimiserSettings, description="adam or sgd, its learning rate and decay"
    )
    augmentation: Strength = Field(default="strong", description="of the view that is trained: strong, or that of the pretext")
    averaging: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        default=None,
        description="after every step take only 1 - this of it, and put batch norm's averages back to where the stage began "
        "(what the authors' moving average of 0.999 does on ImageNet); null for none",
    )


class ScanNetwork(nn.Module):
    """A backbone and `heads` linear heads on it: logits (heads, N, K)."""

    def __init__(self, trunk: Backbone, n_clusters: int, heads: int) -> None:
        super().__init__()
        self.trunk, self.heads = trunk, SubHeads(trunk.features, n_clusters, heads)

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        return self.heads(self.trunk(views))

    def with_head(self, chosen: int) -> ScanNetwork:
        """A network of one head, a copy of the `chosen` one; the backbone is shared."""
        clusters = self.heads.n_clusters
        single = ScanNetwork(self.trunk, clusters, 1)
        rows = slice(chosen * clusters, (chosen + 1) * clusters)
        with torch.no_grad():
            single.heads.linear.weight.copy_(self.heads.linear.weight[rows])
            single.heads.linear.bias.copy_(self.heads.linear.bias[rows])
        return single


class SemanticStage:
    """Clusters images so that each is with its neighbours (equation 2).

    Args:
        settings: of the stage.
        network: what is trained.
        view: makes the view of images and neighbours.
        arithmetic: where and how precisely it computes.
    """

    def __init__(self, settings: SemanticSettings, network: ScanNetwork, view: View, arithmetic: Arithmetic) -> None:
        self.settings, self.network, self.view, self.arithmetic = settings, network, view, arithmetic
        trained = network.heads if settings.frozen else network
        self.optimiser = build_optimiser(settings.optimiser, trained.parameters())

    def train_epoch(
        self, images: Images, indices: torch.Tensor, neighbours: torch.Tensor, random: torch.Generator, progress: Progress
    ) -> tuple[SemanticLoss, int]:
        """One pass over the images at `indices` (n,), each with one of its `neighbours` (n, K + 1), drawn evenly.

        The neighbours are positions in `indices`; the first is the image itself and is drawn too, in another view.
        Returns the mean losses of every head, and how many views went through the network.
        """
        self.network.train(not self.settings.frozen)
        count, columns = neighbours.shape
        anchor = torch.randperm(count, generator=random, device=indices.device)
        column = torch.randint(columns, (count,), generator=random, device=indices.device)
        pairs = indices[torch.stack([anchor, neighbours[anchor, column]], dim=1)]  # (n, 2)
        order, seen = [each.T.reshape(-1) for each in whole_batches(pairs, self.settings.batch)], 0  # (2B,) each, anchors first
        total = torch.zeros(3, self.network.heads.heads, device=self.arithmetic.device)
        for done, batch in enumerate(images.batches(order), 1):
            total += torch.stack(self._step(batch, random))
            seen += len(batch)
            progress(done, len(order), seen)
        return SemanticLoss(*(total / len(order))), seen

    def _step(self, batch: torch.Tensor, random: torch.Generator) -> tuple[torch.Tensor, ...]:
        """One optimiser step; heads are independent, so their gradients are those of the sum."""
        views = self.view(batch, random).chunk(2)
        # One pass for anchors and one for neighbours: each has batch statistics of its own, as the authors' has.
        loss = semantic_loss(self._logits(views[0]), self._logits(views[1]), self.settings.entropy_weight)
        self.optimiser.zero_grad()
        loss.total.sum().backward()
        self.optimiser.step()
        return tuple(part.detach() for part in loss)

    def _logits(self, views: torch.Tensor) -> torch.Tensor:
        if not self.settings.frozen:
            return self.arithmetic(self.network, views)
        with torch.no_grad():
            features = self.arithmetic(self.network.trunk, views)
        return self.network.heads(features)


class WrittenBackAverage:
    """A moving average of a network's weights that is written back into the network after every step.

    That is what the authors' code does with it, and it makes the step 1 - `decay` of the optimiser's. Buffers, the running
    averages of batch norm among them, go back to what they were at first.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.parameters, self.decay = list(network.parameters()), decay
        self.shadow = [parameter.detach().clone() for parameter in self.parameters]
        self.buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]

    @torch.no_grad()
    def write_back(self) -> None:
        """After a step of the optimiser."""
        for shadow, parameter in zip(self.shadow, self.parameters, strict=True):
            parameter.copy_(shadow.lerp_(parameter, 1 - self.decay))
        for buffer, at_first in self.buffers:
            buffer.copy_(at_first)


class SelfLabelStage:
    """Trains a network of one head on its own sure clusters, in strongly changed views.

    Args:
        settings: of the stage.
        network: what is trained.
        test: the view that labels are taken from.
        view: makes the view that is trained.
        arithmetic: where and how precisely it computes.
    """

    def __init__(
        self, settings: SelfLabelSettings, network: ScanNetwork, test: Callable[[torch.Tensor], torch.Tensor], view: View,
        arithmetic: Arithmetic,
    ) -> None:  # fmt: skip
        self.settings, self.network, self.arithmetic = settings, network, arithmetic
        self.test, self.view = test, view
        self.optimiser = build_optimiser(settings.optimiser, network.parameters())
        self.average = None if settings.averaging is None else WrittenBackAverage(network, settings.averaging)

    def train_epoch(
        self, images: Images, indices: torch.Tensor, random: torch.Generator, progress: Progress
    ) -> tuple[float, float, int]:
        """One pass over the images at `indices`: the mean loss of the batches with a sure image (0 if there is none), the share
        of images that were sure, and how many views went through the network."""
        self.network.train()
        shuffled = indices[torch.randperm(len(indices), generator=random, device=indices.device)]
        order, seen, steps, confident = whole_batches(shuffled, self.settings.batch), 0, 0, 0
        total = torch.zeros((), device=self.arithmetic.device)
        for done, batch in enumerate(images.batches(order), 1):
            loss, sure = self._step(batch, random)
            total, confident, steps, seen = total + loss, confident + sure, steps + (sure > 0), seen + 2 * len(batch)
            progress(done, len(order), seen)
        return total.item() / max(steps, 1), confident / (seen // 2), seen

    def _step(self, batch: torch.Tensor, random: torch.Generator) -> tuple[torch.Tensor, int]:
        """One optimiser step: the loss, and how many images were sure. Without any there is no step: weight decay alone would
        move the network by a whole learning rate of Adam."""
        with torch.no_grad():  # still in training mode: the labels come from batch statistics, and move the running ones
            weak = self.arithmetic(self.network, self.test(batch))[0]
        strong = self.arithmetic(self.network, self.view(batch, random))[0]
        loss = self_label_loss(weak, strong, self.settings.threshold, balanced=self.settings.balanced)
        sure = int(loss.confident)
        if sure:
            self.optimiser.zero_grad()
            loss.loss.backward()
            self.optimiser.step()
        if self.average is not None:
            self.average.write_back()
        return loss.loss.detach(), sure
