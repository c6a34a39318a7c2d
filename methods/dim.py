"""Deep InfoMax: a code of an image should tell much about its places, or about the whole of it; k-means clusters the codes.

Hjelm, Fedorov, Lavoie-Marchildon, Grewal, Bachman, Trischler, Bengio: Learning Deep Representations by Mutual Information
Estimation and Maximization, ICLR 2019, with its local and global objectives, its three estimators and its prior. It is a row of
Table 3 of the IIC paper; nobody published clusters of it. The defaults are a small network for CPUs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator
from torch import nn

from ..datasets.base import Images
from .kit import augment, stages
from .kit.arithmetic import whole_batches
from .kit.dcgan import discriminator_loss, generator_loss
from .kit.feature_method import FeatureMethod, FeatureMethodConfig
from .kit.infomax import ESTIMATORS, FLOORS, Estimator, gradient_penalty
from .kit.infomax_network import ALEXNET, InfoMaxEncoder, PriorDiscriminator, Scored, halving
from .kit.views import CentralView, TestViewSettings
from .registry import register


class CroppedViewSettings(TestViewSettings):
    """The view at test time, and how a view in training differs from it."""

    random_crop: bool = Field(default=False, description="in training a crop anywhere, instead of the central one")
    flip_probability: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0, description="share of the views in training that are mirrored left to right"
    )


class DIMConfig(FeatureMethodConfig):
    """Settings of Deep InfoMax."""

    network: Literal["halving", "alexnet"] = Field(
        default="halving", description="convolutions of stride 2 (widths, kernel, dense), or the authors' alexnet for 64 pixels"
    )
    widths: tuple[PositiveInt, ...] = Field(default=(32, 64), min_length=1, description="channels of each halving convolution")
    kernel: Literal[3, 4, 5] = Field(default=4, description="side of the halving convolutions")
    dense: tuple[PositiveInt, ...] = Field(default=(256,), description="units of the linear layers above the convolutions")
    code: PositiveInt = Field(default=64, description="numbers in a code")
    local_map: PositiveInt = Field(default=2, description="convolution whose map is scored with the codes, 1 for the first")
    units: PositiveInt = Field(default=256, description="numbers that the critics map codes and places to")
    estimator: Estimator = Field(
        default="jsd", description="of the mutual information: jsd (Jensen-Shannon), infonce, or dv (Donsker-Varadhan)"
    )
    local_weight: NonNegativeFloat = Field(default=1.0, description="weight of the objective over places (beta); 0: none")
    global_weight: NonNegativeFloat = Field(default=0.0, description="weight of the objective over whole images (alpha); 0: none")
    prior_weight: NonNegativeFloat = Field(
        default=0.1, description="weight of the adversarial match of the codes' sigmoids with the uniform prior (gamma); 0: none"
    )
    prior_penalty: NonNegativeFloat = Field(default=1.0, description="weight of the prior's gradient penalty")
    clustered: Literal["code", "dense", "conv"] = Field(
        default="code", description="what k-means sees: the code, the layer below it, or the last convolution's map"
    )
    views: CroppedViewSettings = Field(
        default_factory=lambda: CroppedViewSettings(size=32, crop=100, crop_unit="percent"), description="what the network sees"
    )

    @model_validator(mode="after")
    def _has_an_objective(self) -> DIMConfig:
        if not self.local_weight and not self.global_weight:
            raise ValueError("local_weight and global_weight are both 0, so there is nothing to learn; give one of them a weight")
        return self


class InfoMaxNetwork(nn.Module):
    """The encoder with its critics, and the prior's discriminator if there is a prior."""

    def __init__(self, encoder: InfoMaxEncoder, discriminator: PriorDiscriminator | None) -> None:
        super().__init__()
        self.encoder, self.discriminator = encoder, discriminator


@register("dim")
class DIM(FeatureMethod):
    """K-means on the codes of Deep InfoMax (Hjelm et al., ICLR 2019).

    >>> from sklearn.datasets import load_digits
    >>> images = (load_digits().images * 255 / 16).round().astype("uint8")
    >>> DIM(n_clusters=10, epochs=1, widths=(8, 16), units=32).fit(images).labels_.shape
    (1797,)
    """

    name: ClassVar[str] = "dim"
    Config = DIMConfig
    config: DIMConfig
    network: InfoMaxNetwork

    def build(self, shape: tuple[int, int, int]) -> InfoMaxNetwork:
        """The networks for images of `shape` (C, H, W)."""
        config = self.config
        self.views = CentralView(config.views, shape)
        is_alexnet = config.network == "alexnet"
        encoder = InfoMaxEncoder(
            self.views.channels, self.views.size, ALEXNET if is_alexnet else halving(config.widths, config.kernel), config.dense,
            code=config.code, place=config.local_map, units=config.units,
            critics=["local"] * bool(config.local_weight) + ["global"] * bool(config.global_weight),
        )  # fmt: skip
        return InfoMaxNetwork(encoder, PriorDiscriminator(config.code) if config.prior_weight else None)

    def build_optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """One Adam for encoder and critics, and one for the discriminator."""
        found: dict[str, torch.optim.Optimizer] = {"network": self.adam(self.network.encoder)}
        if self.network.discriminator is not None:
            found["discriminator"] = self.adam(self.network.discriminator)
        return found

    def order(self, images: Images, random: torch.Generator) -> tuple[torch.Tensor, ...]:
        """Whole batches, as in the authors' code: a shorter one would have fewer negatives."""
        (shuffled,) = images.order(self.config.images, len(images), random)
        return whole_batches(shuffled, self.config.batch)

    def train_step(self, batch: torch.Tensor, random: torch.Generator) -> Mapping[str, torch.Tensor]:
        """One step of encoder and critics, and one of the prior's discriminator, from the same weights.

        Returns:
            `loss`: minus the information that is estimated, with its weights; its parts `local` and `global`; `prior`: the
            encoder's loss against the discriminator, and `discriminator`: that one's, where there is a prior.
        """
        views = self.varied(batch, random).contiguous(memory_format=torch.channels_last)
        with self.arithmetic.autocast():
            scored: Scored = self.network.encoder(views)
        told = self._information(scored)
        if self.network.discriminator is None:
            return {**_detached(told), "loss": self.descend(told["loss"])}
        codes = scored.codes.sigmoid()
        against = self._discriminator_loss(self.network.discriminator, codes.detach(), random)
        told["prior"] = self._prior_loss(self.network.discriminator, codes)
        self.descend(told["loss"] + self.config.prior_weight * told["prior"])
        return {**_detached(told), "discriminator": self.descend(against, "discriminator")}

    @stages.augmentation
    def varied(self, batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """Views in training of uint8 images (M, C, H, W), see `CroppedViewSettings`: float32 (M, channels, size, size)."""
        settings, images = self.config.views, augment.to_float(batch)
        side = torch.full((len(batch),), self.views.crop, device=batch.device)
        central = torch.full((len(batch),), not settings.random_crop, device=batch.device)
        rows, columns = images.shape[-2:]
        top, left = augment.crop_positions(rows, columns, side, side, random, centred=central)
        flip = augment.bernoulli(len(batch), settings.flip_probability, random)
        return self.views.for_network(augment.crop_and_resize(images, top, left, side, side, settings.size, flip=flip))

    def _information(self, scored: Scored) -> dict[str, torch.Tensor]:
        """The estimates by name, and `loss`, their weighted sum."""
        config, estimate = self.config, ESTIMATORS[self.config.estimator]
        parts = {"local": (config.local_weight, scored.local), "global": (config.global_weight, scored.whole)}
        told = {name: estimate(scores) for name, (_, scores) in parts.items() if scores is not None}
        return {"loss": sum((parts[name][0] * value for name, value in told.items()), torch.zeros(())), **told}

    def _discriminator_loss(self, discriminator: nn.Module, codes: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """How badly codes (M, code) in [0, 1] are told from draws of the prior, with the gradient penalty at both."""
        prior = torch.rand(codes.shape, generator=random, device=codes.device)
        points = torch.cat([prior, codes]).requires_grad_(self.config.prior_penalty > 0)
        logits = discriminator(points)
        loss = discriminator_loss(*logits.chunk(2))
        return loss + self.config.prior_penalty * gradient_penalty(logits, points) if self.config.prior_penalty else loss

    def _prior_loss(self, discriminator: nn.Module, codes: torch.Tensor) -> torch.Tensor:
        """How badly the codes pass for draws of the prior; its gradient reaches the encoder alone."""
        discriminator.requires_grad_(False)
        loss = generator_loss(discriminator(codes))
        discriminator.requires_grad_(True)
        return loss

    def features(self, batch: torch.Tensor) -> torch.Tensor:
        """What k-means sees of uint8 images (M, C, H, W), see the setting `clustered`: float32 (M, D)."""
        return self.arithmetic(self._clustered, self.views.test(batch))

    def _clustered(self, views: torch.Tensor) -> torch.Tensor:
        encoder = self.network.encoder
        if self.config.clustered == "conv":
            return encoder.trunk.maps(views)[-1].flatten(1)
        features = encoder.trunk(views)
        return encoder.code(features) if self.config.clustered == "code" else features

    @property
    def loss_floors(self) -> dict[str, float]:
        """-2 ln 2 for each Jensen-Shannon estimate, 0 for infoNCE, nothing for Donsker-Varadhan; 0 for the prior's losses."""
        config, floors = self.config, {"prior": 0.0, "discriminator": 0.0} if self.config.prior_weight else {}
        if config.estimator not in FLOORS:
            return floors
        lowest = FLOORS[config.estimator]
        weights = {"local": config.local_weight, "global": config.global_weight}
        parts = {name: lowest for name, weight in weights.items() if weight}
        whole = lowest * sum(weights.values())
        return {**floors, **parts, "loss": whole, "criterion": whole}


def _detached(told: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach() for name, value in told.items()}
