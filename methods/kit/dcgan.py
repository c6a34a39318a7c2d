"""DCGAN's two networks, their losses, and the discriminator's activations as features.

Radford, Metz, Chintala: Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks,
ICLR 2016, in the layout of PyTorch's example `dcgan`: 4x4 convolutions of stride 2 without biases, from or to a map of
4x4 pixels, for images of 4 * 2^s pixels a side; s is 4 for the 64 pixels of the paper. Neither has a hidden dense layer.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

SMALLEST_MAP = 4  # side of the generator's first map and of the discriminator's last one
LEAK = 0.2  # slope of the discriminator's rectifiers below 0


def stages_of(side: int) -> int:
    """Halvings from images of `side` pixels to the smallest map; 64 has 4.

    Raises:
        ValueError: no side of these networks: 8, 16, 32, 64 and so on are.
    """
    stages = (side // SMALLEST_MAP).bit_length() - 1
    if stages < 1 or side != SMALLEST_MAP << stages:
        raise ValueError(f"side must be 8, 16, 32, 64 or a higher power of two, got {side}")
    return stages


class ImageGenerator(nn.Sequential):
    """Noise (N, noise) to images (N, channels, side, side) in [-1, 1].

    Args:
        noise: numbers that an image is made of.
        channels: of the images.
        side: of the images in pixels, a power of two from 8.
        width: channels of the last map before the image; twice as many in each map before it.
    """

    def __init__(self, noise: int, channels: int, side: int, width: int) -> None:
        before = width << (stages_of(side) - 1)
        layers: list[nn.Module] = [nn.Unflatten(1, (noise, 1, 1)), *_grown(noise, before, stride=1, padding=0)]
        while before > width:
            layers += _grown(before, before // 2, stride=2, padding=1)
            before //= 2
        super().__init__(*layers, nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Tanh())
        initialise(self)


def _grown(before: int, after: int, stride: int, padding: int) -> list[nn.Module]:
    grow = nn.ConvTranspose2d(before, after, 4, stride, padding, bias=False)
    return [grow, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]


class Discriminator(nn.Module):
    """Images (N, channels, side, side) to one logit each, (N,): above 0 for images that look real.

    Args:
        channels: of the images.
        side: of the images in pixels, a power of two from 8.
        width: channels of the first map, half as wide as the images; twice as many in each map after it.
    """

    def __init__(self, channels: int, side: int, width: int) -> None:
        super().__init__()
        widths = [width << stage for stage in range(stages_of(side))]
        self.stages = nn.ModuleList(
            [_shrunk(channels, width, norm=False), *(_shrunk(*pair, norm=True) for pair in pairwise(widths))]
        )
        self.score = nn.Conv2d(widths[-1], 1, SMALLEST_MAP, bias=False)
        self.channels = sum(widths)
        initialise(self)

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The activations of every stage: (N, width, side / 2, side / 2), ..., (N, 2^(s-1) * width, 4, 4)."""
        found = [images]
        for stage in self.stages:
            found.append(stage(found[-1]))
        return found[1:]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.score(self.maps(images)[-1]).flatten()  # (N,)

    def features(self, images: torch.Tensor, grid: int) -> torch.Tensor:
        """The activations of all stages, each max-pooled to `grid` x `grid`, side by side (DCGAN, section 5.1).

        Returns:
            (N, channels * grid * grid): 28,672 features in the paper, 15,360 at 64 pixels and width 64.
        """
        return torch.cat([functional.adaptive_max_pool2d(one, grid).flatten(1) for one in self.maps(images)], dim=1)


def _shrunk(before: int, after: int, *, norm: bool) -> nn.Sequential:
    norms = [nn.BatchNorm2d(after)] if norm else []
    return nn.Sequential(nn.Conv2d(before, after, 4, 2, 1, bias=False), *norms, nn.LeakyReLU(LEAK, inplace=True))


def initialise(network: nn.Module) -> None:
    """Convolutions N(0, 0.02); batch norms N(1, 0.02) with zero bias."""
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)


def discriminator_loss(real: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    """-log D(x) - log(1 - D(G(z))), means over the logits `real` (N,) and `made` (M,); at least 0, and 2 ln 2 for a guess."""
    return functional.softplus(-real).mean() + functional.softplus(made).mean()


def generator_loss(made: torch.Tensor) -> torch.Tensor:
    """-log D(G(z)), the mean over the logits (N,) of what was made: the loss that does not saturate; at least 0."""
    return functional.softplus(-made).mean()


def variety(made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """How much the images of a batch differ, as a share of how much real ones do: about 1 for a good generator, 0 if collapsed.

    The root of the mean variance of a pixel over the batch, `made` (N, C, S, S) by `real` (M, C, S, S).
    """
    spread, wanted = (batch.float().var(0, unbiased=False).mean() for batch in (made, real))
    return (spread / wanted.clamp_min(torch.finfo(torch.float32).tiny)).sqrt()
