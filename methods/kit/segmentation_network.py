"""The network of IIC's segmentation (the authors' released code, `archs/segmentation/net10a.py`), in any widths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional

from ...datasets.base import Images
from ..base import MethodError
from .networks import BatchStatistics, initialise
from .randomness import seeded
from .segmentation_views import SegmentationView

Width = Annotated[int, Field(ge=1)]
Widths = tuple[Width, Width, Width, Width, Width, Width]
PUBLISHED_WIDTHS: Widths = (64, 128, 256, 256, 512, 512)


class SegmentationNetworkSettings(BaseModel):
    """Layers of the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    widths: Widths = Field(default=(16, 24, 32, 32, 48, 48), description="channels of the six layers")
    head_padding: Literal[0, 1] = Field(
        default=1, description="of the 1x1 head: 1 as published, which adds a ring of undecided pixels; 0 without it"
    )
    dilation_padding: Literal[1, 2] = Field(
        default=1, description="of the two dilated layers: 1 as published, which loses 2 pixels a layer; 2 keeps the size"
    )
    batch_statistics: BatchStatistics = Field(default="running", description="batch norm: running averages or each batch's own")


class SegmentationTrunk(nn.Sequential):
    """Six 3x3 convolutions, each with batch norm and ReLU, a 2x2 max-pooling after the second; the last two are dilated.

    With widths (64, 128, 256, 256, 512, 512) it is the authors' SegmentationNet10a: 4,503,744 parameters for five input
    channels, a receptive field of 30x30 pixels. Padding is 1 for the dilated layers too, so 128 pixels become 60.
    """

    POOL_AFTER: ClassVar[int] = 2
    DILATED_FROM: ClassVar[int] = 4

    def __init__(self, channels: int, settings: SegmentationNetworkSettings) -> None:
        layers: list[nn.Module] = []
        before = channels
        for number, width in enumerate(settings.widths):
            if number == self.POOL_AFTER:
                layers.append(nn.MaxPool2d(2))
            dilated = number >= self.DILATED_FROM
            padding, dilation = (settings.dilation_padding, 2) if dilated else (1, 1)
            layers += [
                nn.Conv2d(before, width, 3, padding=padding, dilation=dilation, bias=False),
                nn.BatchNorm2d(width, track_running_stats=settings.batch_statistics == "running"),
                nn.ReLU(inplace=True),
            ]
            before = width
        super().__init__(*layers)
        self.features = before


class SegmentationHeads(nn.Module):
    """H independent 1x1 convolutions as one: features (n, D, h, w) -> cluster probabilities (H, n, K, h', w')."""

    def __init__(self, features: int, n_clusters: int, heads: int, padding: int) -> None:
        super().__init__()
        self.n_clusters, self.heads = n_clusters, heads
        self.convolution = nn.Conv2d(features, heads * n_clusters, 1, padding=padding, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        logits = self.convolution(features).float()  # (n, H * K, h', w')
        return logits.unflatten(1, (self.heads, self.n_clusters)).transpose(0, 1).softmax(2)  # (H, n, K, h', w')


class SegmentationNetwork(nn.Module):
    """A trunk shared by groups of sub-heads (`main`, `auxiliary`), whose probabilities are enlarged to the input's size."""

    def __init__(self, channels: int, heads: Mapping[str, tuple[int, int]], settings: SegmentationNetworkSettings) -> None:
        super().__init__()
        self.trunk = SegmentationTrunk(channels, settings)
        self.heads = nn.ModuleDict(
            {
                name: SegmentationHeads(self.trunk.features, clusters, count, settings.head_padding)
                for name, (clusters, count) in heads.items()
            }
        )

    def forward(self, images: torch.Tensor, head: str) -> torch.Tensor:
        """Cluster probabilities (H, n, K, h, w), float32, of the pixels of `images` (n, C, h, w) by the sub-heads of `head`.

        Bilinear, as the authors: with their padding the map of 128 pixels has 62, its outermost ring undecided.
        """
        maps = self.heads[head](self.trunk(images))  # (H, n, K, h', w')
        enlarged = functional.interpolate(maps.flatten(0, 1), images.shape[-2:], mode="bilinear", align_corners=False)
        return enlarged.view(*maps.shape[:3], *images.shape[-2:])


def refuse_small(size: tuple[int, int], settings: SegmentationNetworkSettings) -> None:
    """Raise `MethodError` for images of `size` (h, w) of which nothing would be left."""
    smallest = 4 + 8 * (2 - settings.dilation_padding)  # of which 2x2 are left, enough for batch norm on a single image
    if min(size) < smallest:
        raise MethodError(f"Images of {size[0]}x{size[1]} pixels are too small: the network needs at least {smallest}.")


def build_trunk(channels: int, size: tuple[int, int], settings: SegmentationNetworkSettings) -> SegmentationTrunk:
    """The untrained trunk alone, for input of `channels` and `size` (h, w); weights from PyTorch's global generator.

    Raises `MethodError` for images of which nothing would be left.
    """
    refuse_small(size, settings)
    return SegmentationTrunk(channels, settings)


def build_network(
    channels: int,
    size: tuple[int, int],
    heads: Mapping[str, tuple[int, int]],
    settings: SegmentationNetworkSettings,
    seed: int,
) -> SegmentationNetwork:
    """The network with the initial weights of `seed`: Kaiming-normal convolutions, unit batch norms.

    Args:
        channels: of the input.
        size: (h, w) of the input in training.
        heads: clusters, and number of sub-heads, of each group of heads.
        settings: see `SegmentationNetworkSettings`.

    Raises:
        MethodError: images of which nothing would be left.
    """
    refuse_small(size, settings)
    with seeded(seed, "weights"):
        network = SegmentationNetwork(channels, heads, settings)
        initialise(network)
    return network


@torch.inference_mode()
def probability_maps(
    network: SegmentationNetwork, views: SegmentationView, images: Images, batch: int, head: str = "main"
) -> Iterator[torch.Tensor]:
    """Cluster probabilities (H, n, K, h, w) of all `images` in their order, `batch` at a time; the network at rest."""
    network.eval()
    for pixels in images.batches(images.order("all", batch)):
        yield network(views.test(pixels), head)
