"""Fair samples of the features of the pixels of many images, in bounded memory.

The places are drawn first and only their features are worked out: those of 10 million pixels with 512 values each are 20 GB,
those of all pixels of a data set hundreds. A large sample is kept in a temporary file.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator

import numpy as np
import torch

from ...datasets.base import Images
from ..base import MethodError
from .segmentation_views import SegmentationView

MapsOf = Callable[[torch.Tensor], torch.Tensor]
"""From what a view gives, float (n, channels, H, W), to feature maps float (n, D, h, w) of any height and width."""

CHUNK = 2**16  # pixels whose features are read at a time
IN_MEMORY = 2**30  # bytes of a sample; a larger one lies in a file


@torch.inference_mode()
def sampled_pixels(
    maps_of: MapsOf,
    views: SegmentationView,
    images: Images,
    count: int,
    random: torch.Generator,
    *,
    masked: bool,
    batch: int,
    role: str = "main",
) -> np.ndarray:
    """Features of up to `count` pixels of one random crop of each image, all sets of that many pixels being equally likely.

    Every pixel draws a number, and those with the lowest are kept: one pass, without knowing how many pixels there will be.

    Args:
        maps_of: see `MapsOf`; maps are enlarged to the size of the crop (bilinear, as `features_at`).
        views: how the images are cut and what is seen of them.
        images: what is sampled.
        count: pixels wanted; all of them are returned where there are fewer.
        random: generator on the images' device.
        masked: leave out the pixels that the images' masks say do not count.
        batch: images that are read at a time.
        role: of the images that are sampled.

    Returns:
        Float32 (at most `count`, D), in no order that means anything.

    Raises:
        MethodError: the disk cannot hold a sample of that size.
    """
    pixels = batch * views.size[0] * views.size[1]
    every = len(images.role(role)) * views.size[0] * views.size[1]
    lowest = LowestDraws(count, min(every, count + min(count, pixels)))
    for seen, places in _crops(views, images, random, masked, batch, role):
        maps = maps_of(seen)
        draws = torch.rand(len(places), generator=random, device=places.device, dtype=torch.float64)
        lowest.offer(draws, lambda chosen: features_at(maps, places[chosen], views.size))  # noqa: B023 - called at once
    return lowest.kept()


@torch.inference_mode()
def one_pixel_per_batch(
    maps_of: MapsOf,
    views: SegmentationView,
    images: Images,
    random: torch.Generator,
    *,
    masked: bool,
    batch: int,
    role: str = "main",
) -> tuple[np.ndarray, np.ndarray]:
    """What the released evaluators of IIC's baselines drew: one random pixel of each batch, standing for all its pixels.

    Their call asks for one whole number where a set of places was meant, so that a single feature fills the batch's part of the
    sample. The arguments are those of `sampled_pixels`.

    Returns:
        Float32 (batches, D), and float64 (batches,), how many pixels each of them stands for.
    """
    features, counts = [], []
    for seen, places in _crops(views, images, random, masked, batch, role):
        if len(places):
            drawn = torch.randint(len(places), (1,), generator=random, device=places.device)
            features.append(features_at(maps_of(seen), places[drawn], views.size))
            counts.append(len(places))
    found = torch.cat(features) if features else torch.empty(0, 1)
    return found.cpu().numpy(), np.array(counts, dtype=np.float64)


def features_at(maps: torch.Tensor, places: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Features of single pixels: what enlarging the maps to `size` (bilinear, corners not aligned) would give there.

    Args:
        maps: float (n, D, h, w).
        places: int64 (m,), indices into the flattened (n, *size).
        size: (H, W) of the images.

    Returns:
        Float (m, D).
    """
    height, width = maps.shape[-2:]
    image, inside = places // (size[0] * size[1]), places % (size[0] * size[1])
    top, bottom, down = _neighbours(inside // size[1], height, size[0])
    left, right, across = _neighbours(inside % size[1], width, size[1])
    rows = maps.movedim(1, -1).reshape(-1, maps.shape[1])  # (n * h * w, D)
    first = image * height * width
    upper = torch.lerp(rows[first + top * width + left], rows[first + top * width + right], across)
    lower = torch.lerp(rows[first + bottom * width + left], rows[first + bottom * width + right], across)
    return torch.lerp(upper, lower, down)  # (m, D)


def _neighbours(places: torch.Tensor, have: int, wanted: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of `places` (m,) on an axis of `wanted`: the two places among `have` between which they lie, and how far from the first."""
    source = ((places + 0.5) * (have / wanted) - 0.5).clamp(min=0)
    before = source.floor().long()
    return before, (before + 1).clamp(max=have - 1), (source - before).unsqueeze(1)


def _crops(
    views: SegmentationView, images: Images, random: torch.Generator, masked: bool, batch: int, role: str
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """What the network sees (n, channels, h, w) of one crop of each image, and the places in it that count (m,), flattened."""
    order = images.order(role, batch)
    for indices, raw in zip(order, images.batches(order), strict=True):
        crops, mask = views.crops(images, raw, indices, random, masked=masked)
        seen = views.for_network(crops)
        if mask is None:
            yield seen, torch.arange(len(crops) * crops.shape[-2] * crops.shape[-1], device=crops.device)
        else:
            yield seen, mask.flatten().nonzero().squeeze(1)


class LowestDraws:
    """A fair sample of rows that come in parts: the `count` rows with the lowest of the numbers that all of them draw.

    Args:
        count: rows wanted.
        capacity: rows that there is room for: `count` and those of one part, or all that will come.

    Raises:
        MethodError: the disk cannot hold a sample of that size.
    """

    def __init__(self, count: int, capacity: int) -> None:
        self.count, self.capacity, self.filled, self.limit = count, capacity, 0, 1.0
        self.draws = torch.empty(capacity, dtype=torch.float64)
        self.rows = torch.empty(0, 1)

    def offer(self, draws: torch.Tensor, read: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Take what may belong to the lowest of `draws` (m,) in [0, 1); `read` gives the rows of some of the m."""
        chosen = (draws < self.limit).nonzero().squeeze(1)
        if len(chosen) > self.count:
            chosen = chosen[draws[chosen].topk(self.count, largest=False, sorted=False).indices]
        if self.filled + len(chosen) > self.capacity:
            self._drop_the_highest()
        for part in chosen.split(CHUNK):
            found = read(part).cpu()
            if not self.filled and not len(self.rows):
                self.rows = _block(self.capacity, found.shape[1])
            self.rows[self.filled : self.filled + len(part)] = found
            self.draws[self.filled : self.filled + len(part)] = draws[part].cpu()
            self.filled += len(part)

    def kept(self) -> np.ndarray:
        """The sample: float32 (at most `count`, D), in no order that means anything."""
        self._drop_the_highest()
        return self.rows[: self.filled].numpy()

    def _drop_the_highest(self) -> None:
        """All rows but the `count` lowest go; later ones move into the places that become free."""
        if self.filled <= self.count:
            return
        stays = torch.zeros(self.filled, dtype=torch.bool)
        stays[self.draws[: self.filled].topk(self.count, largest=False, sorted=False).indices] = True
        free = (~stays[: self.count]).nonzero().squeeze(1)
        late = stays[self.count :].nonzero().squeeze(1) + self.count
        for to, come in zip(free.split(CHUNK), late.split(CHUNK), strict=True):
            self.rows[to], self.draws[to] = self.rows[come], self.draws[come]
        self.filled = self.count
        self.limit = float(self.draws[: self.count].max())


def _block(rows: int, columns: int) -> torch.Tensor:
    """Uninitialised float32 (rows, columns): in memory, or in a temporary file that goes with it."""
    size = rows * columns * 4
    if size <= IN_MEMORY:
        return torch.empty(rows, columns)
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < size:
        raise MethodError(
            f"A sample of {rows:,} pixels with {columns} features takes {size / 1e9:.0f} GB, and {tempfile.gettempdir()} has "
            f"{free / 1e9:.0f} GB left. Lower kmeans.pixels, or set TMPDIR to a larger disk."
        )
    with tempfile.TemporaryFile() as file:
        file.truncate(size)
        return torch.from_numpy(np.memmap(file, np.float32, "r+", shape=(rows, columns)))
