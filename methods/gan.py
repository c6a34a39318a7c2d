"""GAN: a discriminator learns to tell images from a generator's, and its activations are clustered by k-means.

Radford, Metz, Chintala: Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks
(DCGAN), ICLR 2016. The features are those of its section 5.1: the discriminator's activations of all layers, each max-pooled
to 4x4 and put side by side. The row of the IIC paper's Table 1 goes back to the DAC paper, which says no more than that
features were clustered by k-means; the defaults here are a small network for CPUs.

Neither loss tells how good the features are, since each network is judged by the other, so the method has no criterion.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import AfterValidator, Field, PositiveInt
from torch import nn

from .kit import augment, stages
from .kit.dcgan import Discriminator, ImageGenerator, discriminator_loss, generator_loss, stages_of, variety
from .kit.feature_method import FeatureMethod, FeatureMethodConfig
from .registry import register


def _possible(side: int) -> int:
    stages_of(side)
    return side


class GANConfig(FeatureMethodConfig):
    """Settings of the GAN. The defaults are the small networks of the `short` presets."""

    side: Annotated[int, AfterValidator(_possible)] = Field(
        default=32, description="side that the images' central squares are resized to: 8, 16, 32, 64 or so on"
    )
    width: PositiveInt = Field(default=16, description="channels of the widest maps, doubled with every halving of their side")
    noise: PositiveInt = Field(default=100, description="random numbers that an image is made of")
    beta1: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.5, description="of Adam; 0.9 is said to be unstable")
    grid: PositiveInt = Field(default=4, description="side that the activations of each layer are max-pooled to")


class Adversaries(nn.Module):
    """The two networks, as one to be stored."""

    def __init__(self, generator: ImageGenerator, discriminator: Discriminator) -> None:
        super().__init__()
        self.generator, self.discriminator = generator, discriminator


@register("gan")
class GAN(FeatureMethod):
    """K-means on the features of a DCGAN's discriminator (Radford, Metz, Chintala, ICLR 2016).

    >>> from sklearn.datasets import load_digits
    >>> images = (load_digits().images * 255 / 16).round().astype("uint8")
    >>> GAN(n_clusters=10, epochs=1, side=8).fit(images).labels_.shape
    (1797,)
    """

    name: ClassVar[str] = "gan"
    Config = GANConfig
    config: GANConfig
    judged_by: ClassVar[str | None] = None
    network: Adversaries

    def build(self, shape: tuple[int, int, int]) -> Adversaries:
        """Both networks for images of `shape` (C, H, W)."""
        channels, config = shape[0], self.config
        generator = ImageGenerator(config.noise, channels, config.side, config.width)
        return Adversaries(generator, Discriminator(channels, config.side, config.width))

    def build_optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """One Adam for each network."""
        betas = (self.config.beta1, 0.999)
        return {
            "generator": self.adam(self.network.generator, betas),
            "discriminator": self.adam(self.network.discriminator, betas),
        }

    def train_step(self, batch: torch.Tensor, random: torch.Generator) -> Mapping[str, torch.Tensor]:
        """A step of the discriminator, then one of the generator against it, on the same made images.

        Returns:
            `discriminator` and `generator`: their losses; `real_score` and `made_score`: the chance that the discriminator
            gives real and made images of being real, before its step; `variety`: see `kit.dcgan.variety`.
        """
        real = self.prepared(batch)
        noise = torch.randn(len(real), self.config.noise, generator=random, device=real.device)
        made = self.arithmetic(self.network.generator, noise)
        real_logits, made_logits = self._logits(real), self._logits(made.detach())
        told = self.descend(discriminator_loss(real_logits, made_logits), "discriminator")
        return {
            "discriminator": told,
            "generator": self._generator_step(made),
            "real_score": real_logits.detach().sigmoid().mean(),
            "made_score": made_logits.detach().sigmoid().mean(),
            "variety": variety(made.detach(), real),
        }

    def _generator_step(self, made: torch.Tensor) -> torch.Tensor:
        self.network.discriminator.requires_grad_(False)  # a third of the work of the step
        loss = generator_loss(self._logits(made))
        self.network.discriminator.requires_grad_(True)
        return self.descend(loss, "generator")

    def _logits(self, images: torch.Tensor) -> torch.Tensor:
        """Of images (M, C, S, S) in [-1, 1]: float32 (M,)."""
        return self.arithmetic(self.network.discriminator, images)

    @stages.augmentation
    def prepared(self, batch: torch.Tensor) -> torch.Tensor:
        """uint8 (M, C, H, W) as the networks know images: float32 (M, C, S, S) in [-1, 1], the central square resized."""
        square = augment.centre_crop(augment.to_float(batch), min(batch.shape[-2:]))
        if square.shape[-1] != self.config.side:
            size = (self.config.side, self.config.side)
            square = nn.functional.interpolate(square, size, mode="bilinear", antialias=True)
        return square * 2 - 1

    def features(self, batch: torch.Tensor) -> torch.Tensor:
        """The discriminator's activations of uint8 images (M, C, H, W), pooled: float32 (M, channels * grid * grid)."""
        return self.arithmetic(self.network.discriminator.features, self.prepared(batch), self.config.grid)

    @property
    def loss_floors(self) -> dict[str, float]:
        """Both losses are at least 0."""
        return {"discriminator": 0.0, "generator": 0.0}
