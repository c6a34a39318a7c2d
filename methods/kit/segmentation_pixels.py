"""A fair sample of the pixels of many images, for methods that cluster pixels one by one."""

from __future__ import annotations

import torch

from ...datasets.base import Images
from .segmentation_views import SegmentationView


def sampled_pixels(
    images: Images, views: SegmentationView, count: int, random: torch.Generator, *, masked: bool, batch: int
) -> torch.Tensor:
    """Up to `count` pixels of one random crop of each image, all sets of that many being equally likely.

    Every pixel draws a number, and those with the lowest are kept: one pass, without knowing how many pixels there will be.

    Args:
        images: what is sampled.
        views: how the images are cut and which channels are taken.
        count: pixels wanted; all of them are returned where there are fewer.
        random: generator on the images' device.
        masked: leave out the pixels that the images' masks say do not count.
        batch: images that are read at a time.

    Returns:
        Float32 (at most `count`, channels), in no order that means anything.
    """
    pixels, draws, limit = [], [], 1.0
    order = images.order("main", batch)
    for indices, raw in zip(order, images.batches(order), strict=True):
        crops, mask = views.crops(images, raw, indices, random, masked=masked)
        found = views.for_network(crops).movedim(1, -1)  # (n, h, w, channels)
        found = found.flatten(0, 2) if mask is None else found[mask]
        draw = torch.rand(len(found), generator=random, device=found.device, dtype=torch.float64)
        kept = draw < limit
        pixels.append(found[kept])
        draws.append(draw[kept])
        if sum(map(len, draws)) > 2 * count:
            pixels, draws = _lowest(pixels, draws, count)
            limit = float(draws[0].max())
    return _lowest(pixels, draws, count)[0][0]


def _lowest(pixels: list[torch.Tensor], draws: list[torch.Tensor], count: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The `count` pixels with the lowest draws, all in one tensor."""
    every = torch.cat(draws)
    lowest, where = every.topk(min(count, len(every)), largest=False, sorted=False)
    return [torch.cat(pixels)[where]], [lowest]
