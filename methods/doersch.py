"""Context prediction: features of pixels that tell in which direction of a patch another patch of the same image lies.

Doersch, Gupta, Efros: Unsupervised Visual Representation Learning by Context Prediction, ICCV 2015; here as the row
"Doersch 2015" of Ji, Henriques, Vedaldi (ICCV 2019), Table 4, whose authors put its question to the trunk of IIC's segmentation
network: two patches of its feature maps, 1.5 to 2 sides apart, eight directions, cross-entropy. Two of three colours are replaced
by noise around the mean of the third, lest the network read places off the colours' fringes. K-means on the trunk's features of
pixels gives the clusters.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch.nn import functional

from ..datasets.base import Images
from .kit import augment, stages
from .kit.patch_method import PatchMethod, PatchMethodConfig
from .kit.patch_pairs import PatchComparison, PatchPairs, directed_pairs
from .kit.randomness import generator
from .kit.segmentation_views import RGB, JitteredView
from .kit.views import Share
from .registry import register

NOISE = 1 / 100  # of the standard deviation of the colour that stays
COLOUR_BUFFERS = ("colour_mean", "colour_deviation")


class DoerschConfig(PatchMethodConfig):
    """Settings of context prediction."""

    directions: Literal[8, 9] = Field(
        default=8, description="directions that are told apart; the authors' nine have one twice, the last is the first again"
    )
    colour_drop: Share = Field(
        default=1.0, description="share of images of which one colour stays and noise replaces the other two, all by the authors"
    )


@stages.augmentation
def drop_colours(
    views: torch.Tensor, mean: torch.Tensor, deviation: torch.Tensor, share: float, random: torch.Generator
) -> torch.Tensor:
    """Replace two of three colours by Gaussian noise around the mean of the one that stays, with a hundredth of its deviation.

    Args:
        views: float (n, C, h, w), of which the first three channels are colours.
        mean, deviation: (3,), of the colours over all images.
        share: of images to which it happens; which colour stays is drawn for each.
        random: generator on the device.
    """
    count = len(views)
    stays = augment.integers(count, RGB, random)  # (n,)
    happens = augment.bernoulli(count, share, random)
    noise = torch.empty_like(views[:, :RGB]).normal_(generator=random)
    noise = noise * (deviation[stays] * NOISE).view(-1, 1, 1, 1) + mean[stays].view(-1, 1, 1, 1)
    goes = (torch.arange(RGB, device=views.device) != stays.unsqueeze(1)) & happens.unsqueeze(1)  # (n, 3)
    return torch.cat([noise.where(goes[:, :, None, None], views[:, :RGB]), views[:, RGB:]], dim=1)


def colour_statistics(
    images: Images, views: JitteredView, role: str, batch: int, random: torch.Generator, *, masked: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and population deviation, (3,) each, of the colours of the pixels that count of one jittered crop of each image."""
    count, total, squares = (torch.zeros(size, dtype=torch.float64, device=images.device) for size in ((), RGB, RGB))
    order = images.order(role, batch)
    for indices, raw in zip(order, images.batches(order), strict=True):
        crops, mask = views.jittered(images, raw, indices, random, masked=masked)
        colours = crops[:, :RGB].double()
        counts = torch.ones_like(colours[:, :1]) if mask is None else mask.double().unsqueeze(1)
        count += counts.sum()
        total += (colours * counts).sum((0, 2, 3))
        squares += (colours.square() * counts).sum((0, 2, 3))
    mean = total / count.clamp(min=1)
    deviation = (squares / count.clamp(min=1) - mean.square()).clamp(min=0).sqrt()
    return mean.float(), deviation.float()


@register("doersch")
class Doersch(PatchMethod):
    """Context prediction (Doersch, Gupta, Efros, ICCV 2015) on IIC's segmentation network, and k-means on features of pixels.

    >>> from sklearn.datasets import load_sample_images
    >>> import numpy as np
    >>> photographs = np.stack(load_sample_images().images)[:, ::8, ::8]  # uint8 (2, 54, 80, 3)
    >>> Doersch(n_clusters=3, epochs=1).fit(photographs).labels_.shape
    (2, 54, 80)
    """

    name: ClassVar[str] = "doersch"
    Config = DoerschConfig
    config: DoerschConfig

    @property
    def outputs(self) -> int:
        """One for each direction."""
        return self.config.directions

    def build_head(self, features: int) -> PatchComparison:
        """The network that tells the direction; it holds the colours' means and deviations too, zero until they are known."""
        head = super().build_head(features)
        for name in COLOUR_BUFFERS:
            head.register_buffer(name, torch.zeros(RGB))
        return head

    def before_epoch(self, images: Images, number: int) -> int:
        """Before the first epoch: the colours' means and deviations. The images do not go through the network for them."""
        if number == 1 and self.drops_colours:
            config, random = self.config, generator(self.device, self.seed, "colours")
            found = colour_statistics(images, self.views, config.images, config.batch, random, masked=config.use_masks)
            for buffer, value in zip(self.colours, found, strict=True):
                buffer.copy_(value)
        return 0

    @property
    def colours(self) -> list[torch.Tensor]:
        """Mean and deviation (3,) of the colours of the training images."""
        return [self.network.head.get_buffer(name) for name in COLOUR_BUFFERS]

    @property
    def drops_colours(self) -> bool:
        """Whether the network sees three colours of which two can be dropped."""
        return self.shape[0] >= RGB and "colours" in self.config.views.channels and self.config.colour_drop > 0

    def shown(self, crops: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """What the network sees of jittered crops: edges are those of the colours before two of them go, as the authors'."""
        seen = self.views.for_network(crops)
        if not self.drops_colours:
            return seen
        mean, deviation = self.colours
        return drop_colours(seen, mean, deviation, self.config.colour_drop, random)

    def draw_pairs(self, count: int, random: torch.Generator) -> PatchPairs:
        """Pairs of places and the direction from the first to the second."""
        return directed_pairs(count, self.size, self.config.patch, self.config.directions, random)

    def answer_losses(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of the directions (m, directions)."""
        return functional.cross_entropy(outputs, target, reduction="none")

    def answers(self, outputs: torch.Tensor) -> torch.Tensor:
        """The likeliest direction."""
        return outputs.argmax(1)
