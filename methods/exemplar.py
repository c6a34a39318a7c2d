"""Exemplar-CNN: each of some patches is a class of its own, whose members are its transformed copies; k-means follows.

Dosovitskiy, Fischer, Springenberg, Riedmiller, Brox: Discriminative Unsupervised Feature Learning with Exemplar Convolutional
Neural Networks, IEEE TPAMI 2016 (NIPS 2014). It is a row of Table 3 of the IIC paper; nobody published clusters of it. The
features are the authors': the network is run over whole images and the maps of all its layers are pooled by quadrants. The
defaults are a small network for CPUs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt, model_validator
from torch.nn import functional

from ..datasets.base import Images
from .kit.arithmetic import without_lone_last
from .kit.exemplar_network import ExemplarNetwork, ExemplarTrunk, quadrant_maxima
from .kit.exemplar_seeds import SeedSampling, cut_contexts, draw_seeds
from .kit.exemplar_views import DRAWS, ColourComponents, TransformationSettings, colour_components, transform
from .kit.feature_method import FeatureMethod, FeatureMethodConfig
from .kit.randomness import generator
from .kit.views import CentralView, TestViewSettings, check_crop, side_in_pixels
from .registry import register


class ExemplarConfig(FeatureMethodConfig):
    """Settings of Exemplar-CNN."""

    seeds: Annotated[int, Field(ge=2)] = Field(default=2000, description="seed patches, each a class")
    passes: PositiveInt = Field(default=4, description="how often an epoch sees each of them, transformed in another way")
    transformations: PositiveInt | None = Field(
        default=None, description="transformations that are drawn for each seed once and for all (150); none: always new ones"
    )
    size: PositiveInt = Field(default=24, description="side that patches are resized to, the network's input in training")
    sides: tuple[PositiveInt, ...] = Field(
        default=(75, 90, 100), min_length=1, description="sides of the seed patches in the images, each as likely"
    )
    sides_unit: Literal["pixels", "percent"] = Field(default="percent", description="of the sides; percent of the shorter side")
    seed_sampling: SeedSampling = Field(
        default="proportional",
        description="where patches are taken: in proportion to their gradient energy, where it is above the mean, or anywhere",
    )
    transformation: TransformationSettings = Field(default_factory=TransformationSettings, description="of the patches")
    widths: tuple[PositiveInt, ...] = Field(default=(32, 64), min_length=1, description="channels of the convolutions")
    kernel: Literal[3, 5, 7] = Field(default=5, description="side of the convolutions")
    dense: PositiveInt = Field(default=128, description="units of the dense layer")
    batch_norm: bool = Field(default=True, description="batch norm before each ReLU; the authors had none")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.5, description="share of the dense layer's outputs")
    optimiser: Literal["adam", "sgd"] = Field(default="adam", description="adam, or sgd with momentum as the authors")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.9, description="of sgd")
    lr_drops: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        default=(), description="shares of the training after each of which the learning rate falls to a tenth"
    )
    clustered: Literal["all", "dense"] = Field(default="all", description="what k-means sees: all layers, or the dense one")
    views: TestViewSettings = Field(
        default_factory=lambda: TestViewSettings(size=24, crop=100, crop_unit="percent"), description="the images at test time"
    )

    @model_validator(mode="after")
    def _has_one_schedule(self) -> ExemplarConfig:
        if self.lr_drops and self.lr_decay != "none":
            raise ValueError("lr_drops and lr_decay both change the learning rate; leave one of them out")
        if self.views.sobel:
            raise ValueError("views.sobel: patches are recoloured, so the network has to see colours; leave it out")
        return self


@register("exemplar")
class Exemplar(FeatureMethod):
    """K-means on the features of Exemplar-CNN (Dosovitskiy et al., IEEE TPAMI 2016).

    >>> from sklearn.datasets import load_digits
    >>> images = (load_digits().images * 255 / 16).round().astype("uint8")
    >>> Exemplar(n_clusters=10, epochs=1, seeds=100, size=16, views={"size": 16, "crop": 8}).fit(images).labels_.shape
    (1797,)
    """

    name: ClassVar[str] = "exemplar"
    Config = ExemplarConfig
    config: ExemplarConfig
    network: ExemplarNetwork

    def build(self, shape: tuple[int, int, int]) -> ExemplarNetwork:
        """The network for images of `shape` (C, H, W)."""
        config = self.config
        self.views = CentralView(config.views, shape)
        self.sides = [side_in_pixels(side, config.sides_unit, shape) for side in config.sides]
        for side in self.sides:
            check_crop("sides", side, shape)
        self.seeds: tuple[Images, Images] | None = None
        trunk = ExemplarTrunk(
            shape[0], config.size, self.views.size, config.widths, config.kernel, config.dense, norm=config.batch_norm,
            dropout=config.dropout,
        )  # fmt: skip
        return ExemplarNetwork(trunk, config.dense, config.seeds)

    def build_optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam, or gradient descent with momentum."""
        config = self.config
        if config.optimiser == "adam":
            return {"network": self.adam(self.network)}
        sgd = torch.optim.SGD(self.network.parameters(), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
        return {"network": sgd}

    def learned(self, images: Images) -> Images:
        """The seed patches with what is around them, drawn from `images` once: `Images` of the setting `seeds` in number."""
        if self.seeds is None or self.seeds[0] is not images:
            config, random = self.config, generator(images.device, self.seed, "seeds")
            found = draw_seeds(images, config.images, config.seeds, self.sides, config.seed_sampling, random)
            margin = config.transformation.margin(config.size)
            self.seeds = images, Images(cut_contexts(images, found, config.size, margin))
            self._prepare(self.seeds[1])
        return self.seeds[1]

    def _prepare(self, seeds: Images) -> None:
        """What the steps need to know of all seeds: their colours, and their transformations if these stay the same."""
        self.components: ColourComponents = colour_components(seeds.pixels)
        mean = torch.cat([self.components.mean, self.components.mean.new_full((seeds.shape[0],), 0.5)])[: seeds.shape[0]]
        self.network.trunk.mean.copy_(mean.view(-1, 1, 1))
        self.draws: torch.Tensor | None = None
        if self.config.transformations is not None:
            random = generator(seeds.device, self.seed, "transformations")
            kept = (len(seeds), self.config.transformations, DRAWS)
            self.draws = torch.rand(kept, generator=random, device=seeds.device)

    def order(self, images: Images, random: torch.Generator) -> tuple[torch.Tensor, ...]:
        """All seeds in a random order, as often as `passes` says, in batches."""
        rounds = [torch.randperm(len(images), generator=random, device=images.device) for _ in range(self.config.passes)]
        return without_lone_last(torch.cat(rounds).split(self.config.batch))

    def train_step(self, batch: torch.Tensor, random: torch.Generator) -> Mapping[str, torch.Tensor]:
        """One step on the seeds' surroundings, uint8 (M, C, S, S), whose classes are `places`.

        Returns:
            `loss`: the cross-entropy in nats; `told apart`: the share of the patches that are given to their own seed.
        """
        patches = self.transformed(batch, self.places, random)
        logits = self.arithmetic(self.network, patches)
        loss = self.descend(functional.cross_entropy(logits, self.places))
        return {"loss": loss, "told apart": (logits.argmax(1) == self.places).float().mean()}

    def transformed(self, batch: torch.Tensor, places: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """Patches of the seeds' surroundings, uint8 (M, C, S, S), by new or by kept draws: float32 (M, C, size, size)."""
        if self.draws is None:
            draws = torch.rand(len(batch), DRAWS, generator=random, device=batch.device)
        else:
            chosen = torch.randint(self.draws.shape[1], places.shape, generator=random, device=batch.device)
            draws = self.draws[places, chosen]
        return transform(batch, draws, self.config.size, self.config.transformation, self.components)

    def set_rates(self, share: float) -> None:
        """Learning rates when `share` (0 to 1) of the whole training is done: a tenth after each of `lr_drops`."""
        super().set_rates(share)
        if self.config.lr_drops:
            for group in self.optimisers["network"].param_groups:
                group["lr"] = group["first_lr"] * 0.1 ** sum(share >= drop for drop in self.config.lr_drops)

    def features(self, batch: torch.Tensor) -> torch.Tensor:
        """Quadrant maxima of uint8 images (M, C, H, W), see the setting `clustered`: float32 (M, D)."""
        views = self.views.test(batch)
        return self.arithmetic(self.network.trunk if self.config.clustered == "all" else self._dense, views)

    def _dense(self, views: torch.Tensor) -> torch.Tensor:
        return quadrant_maxima(self.network.trunk.maps(views)[-1])

    @property
    def loss_floors(self) -> dict[str, float]:
        """A cross-entropy is at least 0, and so is a share."""
        return {"loss": 0.0, "criterion": 0.0, "told apart": 0.0}
