"""Cutout: a network trained on labelled images alone, each with a square left out, the upper reference of Table 3.

DeVries, Taylor: Improved Regularization of Convolutional Neural Networks with Cutout, arXiv:1708.04552 (2017). A wide residual
network learns by gradient descent with Nesterov's momentum and a learning rate that falls in steps; it never sees an image
without a label. What is known of the published setting stands in the card (cutout.yaml).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import nn

from ..datasets.base import Images, Labelled
from .base import Epoch, State
from .kit.arithmetic import Arithmetic, Precision, cosine_decay
from .kit.cutout_views import CutoutViews, CutoutViewSettings
from .kit.labelled_classifier import LabelledClassifier, LabelledClassifierConfig
from .kit.networks import Trunk, build_trunk
from .kit.randomness import seeded
from .kit.wide_resnet import WideResNet
from .registry import register


class CutoutConfig(LabelledClassifierConfig):
    """Settings of Cutout. The defaults are a small network for CPUs."""

    epochs: PositiveInt = Field(default=20, description="epochs")
    batch: Annotated[int, Field(ge=2)] = Field(default=128, description="labelled images in a batch")
    network: Literal["small", "wide-resnet"] = Field(
        default="small", description="small, convolutions with pooling; or wide-resnet, of `blocks` and `widening`"
    )
    widths: tuple[PositiveInt, ...] = Field(
        default=(32, 64, 128, 256), min_length=1, description="channels per layer of the small network"
    )
    blocks: PositiveInt = Field(default=2, description="wide-resnet: blocks in each stage; 2 makes 16 layers, 4 make 28")
    widening: PositiveInt = Field(default=8, description="wide-resnet: factor of the channels")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="wide-resnet: share of activations that a block drops"
    )
    lr: PositiveFloat = Field(default=0.1, description="learning rate of the first epoch")
    lr_decay: Literal["steps", "cosine"] = Field(
        default="cosine", description="of the learning rate: a fifth after each of `milestones`, or half a cosine that ends at 0"
    )
    milestones: tuple[PositiveInt, ...] = Field(default=(), description="epochs after which lr_decay=steps takes a fifth of it")
    momentum: Annotated[float, Field(gt=0, lt=1)] = Field(default=0.9, description="Nesterov's")
    weight_decay: NonNegativeFloat = Field(default=5e-4, description="times all parameters, added to their gradient")
    precision: Precision = "float32"
    views: CutoutViewSettings = Field(default_factory=CutoutViewSettings, description="the transformations")


DROP = 0.2  # what a milestone multiplies the learning rate by


@register("cutout")
class Cutout(LabelledClassifier):
    """A fully supervised network with Cutout (DeVries, Taylor, 2017).

    >>> from sklearn.datasets import load_digits
    >>> images = Images.of((load_digits().images * 255 / 16).round().astype("uint8"))
    >>> method = Cutout(10, epochs=1, widths=(8, 16), views={"padding": 1, "cutout": 2, "flip_probability": 0})
    >>> epochs = list(method.train_labelled(images, Labelled(images, torch.from_numpy(load_digits().target))))
    >>> method.predict(images).shape
    (1797,)
    """

    name: ClassVar[str] = "cutout"
    Config = CutoutConfig
    config: CutoutConfig

    def train_labelled(self, images: Images, labelled: Labelled) -> Iterator[Epoch]:
        """Yield after every epoch on some of `labelled`; `images` without labels are left alone.

        The criterion is the mean cross-entropy over the epoch. Raises `MethodError` at once for labels that cannot be learned
        from (`labelled_subset`).
        """
        chosen = self.chosen_labels(labelled)
        if not hasattr(self, "network"):
            self.build(labelled.images.shape)
        for number in range(self.epochs_done + 1, self.config.epochs + 1):
            loss, seen = self.classifier_epoch(labelled, chosen, number - 1, number)
            self.epochs_done = number
            yield Epoch(number, {"classifier": loss}, loss, seen)

    def build(self, shape: tuple[int, int, int]) -> None:
        """Network and optimiser for images of `shape` (C, H, W)."""
        config = self.config
        self.shape, self.epochs_done, self.views = shape, 0, CutoutViews(config.views, shape)
        self.arithmetic = Arithmetic(self.device, config.precision)
        with seeded(self.seed, "weights"):
            trunk = self._trunk()
            head = nn.Linear(trunk.features, self.n_clusters)
            nn.init.zeros_(head.bias)
        self.network = self.arithmetic.ready(nn.Sequential(trunk, head))
        self.optimiser = torch.optim.SGD(
            self.network.parameters(), config.lr, momentum=config.momentum, weight_decay=config.weight_decay, nesterov=True
        )

    def _trunk(self) -> WideResNet | Trunk:
        config, views = self.config, self.views
        if config.network == "wide-resnet":
            return WideResNet(views.channels, 6 * config.blocks + 4, config.widening, config.dropout)
        return build_trunk("small", views.channels, views.size, widths=config.widths, kernel=3)

    def learning_rate(self, passed: float) -> float:
        """When `passed` epochs are over."""
        config = self.config
        if config.lr_decay == "cosine":
            return config.lr * cosine_decay(passed, config.epochs)
        return config.lr * DROP ** sum(milestone <= passed for milestone in config.milestones)

    def set_rates(self, passed: float) -> None:
        """See `learning_rate`."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate(passed)

    def varied(self, batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """Crops of padded images, mirrored, each with a square left out: float32 (M, C, size, size)."""
        return self.views.varied(batch, random)

    def logits(self, views: torch.Tensor) -> torch.Tensor:
        """In the precision that is set: float32 (M, n_clusters)."""
        return self.arithmetic(self.network, views)

    def test_logits(self, batch: torch.Tensor) -> torch.Tensor:
        """Of whole images, one view each: float32 (M, n_clusters)."""
        return self.logits(self.views.test(batch))

    def state_dict(self) -> State:
        """Network, optimiser and position after the last yielded epoch."""
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
