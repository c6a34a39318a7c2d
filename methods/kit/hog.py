"""Histograms of oriented gradients and a small colour map: what DEC sees of STL-10 in place of pixels.

The histograms follow Felzenszwalb, Girshick, McAllester, Ramanan (Object detection with discriminatively trained part
based models, PAMI 2010, section 6) and their code: cells of 8x8 pixels, 9 orientations without sign, four normalisations by the
2x2 cells around, truncated at 0.2, and 13 numbers a cell: the sums over the normalisations and over the orientations.
With them a 96x96 image gives 10 * 10 * 13 + 8 * 8 * 2 = 1428 numbers, the size of STL-HOG in Table 1 of the DEC paper, whose
own extension for it was never released.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from ..base import MethodError

CELL, ORIENTATIONS, CODES = 8, 9, 13
TRUNCATION, EPSILON = 0.2, 1e-4
TEXTURE = 0.2357  # 1 / sqrt(18), as in the authors' code of the detector
COLOUR_SIDE = 8
PIECE = 32  # images at a time, so that the steps between stay in the processor's cache
# Four decimals as in the authors' code: a vertical gradient lies exactly between two of them, and goes to the first.
DIRECTIONS = [
    (round(math.cos(math.pi * o / ORIENTATIONS), 4), round(math.sin(math.pi * o / ORIENTATIONS), 4)) for o in range(ORIENTATIONS)
]
RGB = 3


def hog_colour_size(shape: tuple[int, int, int]) -> int:
    """Numbers that `hog_colour` gives for images of `shape` (C, H, W). Raises `MethodError` for images under 20 pixels."""
    channels, height, width = shape
    rows, columns = _cells(height) - 2, _cells(width) - 2
    if min(rows, columns) < 1:
        raise MethodError(f"HOG needs images of 20x20 pixels or more, got {height}x{width}. Use --set vectors.kind=mean-square.")
    return rows * columns * CODES + (2 * COLOUR_SIDE**2 if channels >= RGB else 0)


def hog_colour(images: torch.Tensor) -> torch.Tensor:
    """uint8 (N, C, H, W) to (N, D) as the DEC code scales them: (HOG - 0.2) * 10, then (CrCb - 128) / 10 of RGB."""
    colours = images.shape[1] >= RGB
    images = images[:, :RGB] if colours else images
    gradients = torch.cat([hog(piece).flatten(1) for piece in images.split(PIECE)])
    scaled = (gradients - 0.2) * 10
    return torch.cat([scaled, (colour_map(images) - 128) / 10], dim=1) if colours else scaled


def hog(images: torch.Tensor) -> torch.Tensor:
    """Features of each inner cell: uint8 (N, C, H, W) to float32 (N, cells high - 2, cells wide - 2, 13)."""
    cells = _histograms(images)  # (N, 9, Y, X)
    energy = F.avg_pool2d(cells.square().sum(1, keepdim=True), 2, 1) * 4  # (N, 1, Y - 1, X - 1): of 2x2 cells
    scale = (energy + EPSILON).rsqrt()
    inner = cells[:, :, 1:-1, 1:-1].unsqueeze(1)  # (N, 1, 9, Y - 2, X - 2)
    around = torch.stack([scale[:, :, 1:, 1:], scale[:, :, 1:, :-1], scale[:, :, :-1, 1:], scale[:, :, :-1, :-1]], dim=1)
    normalised = (inner * around).clamp_max(TRUNCATION)  # (N, 4, 9, Y - 2, X - 2)
    codes = torch.cat([0.5 * normalised.sum(1), TEXTURE * normalised.sum(2)], dim=1)  # (N, 13, Y - 2, X - 2)
    return codes.permute(0, 2, 3, 1).contiguous()


def colour_map(images: torch.Tensor) -> torch.Tensor:
    """Cr and Cb of an 8x8 version of each image, as OpenCV makes it: uint8 (N, 3, H, W) to float32 (N, 8 * 8 * 2), 0..255."""
    small = F.interpolate(images.float(), (COLOUR_SIDE, COLOUR_SIDE), mode="bilinear", align_corners=False)
    red, green, blue = small.round().unbind(1)  # (N, 8, 8) each
    luma = (0.299 * red + 0.587 * green + 0.114 * blue).round()
    chroma = torch.stack([(red - luma) * 0.713 + 128, (blue - luma) * 0.564 + 128], dim=-1)  # (N, 8, 8, 2)
    return chroma.round().clamp(0, 255).flatten(1)


def _histograms(images: torch.Tensor) -> torch.Tensor:
    """Gradient magnitude by cell and orientation, each pixel shared between the four nearest cells: (N, 9, Y, X)."""
    down, right = _gradients(images)
    nearest, largest = torch.zeros_like(down, dtype=torch.uint8), torch.zeros_like(down)
    for number, (across, along) in enumerate(DIRECTIONS):  # an argmax over all nine at once takes several times as long
        projection = (across * right).add_(down, alpha=along).abs_()
        nearest.masked_fill_(projection > largest, number)
        torch.maximum(largest, projection, out=largest)
    magnitude = _squared(down, right).sqrt_()  # (N, h, w)
    rows, columns = (_shares(side, images.device) for side in images.shape[2:])
    return torch.stack([rows @ (magnitude * (nearest == number)) @ columns.T for number in range(ORIENTATIONS)], dim=1)


def _gradients(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Central differences of the channel in which they are largest, downwards and to the right: (N, h, w) each.

    The outermost pixels of the cells have none; cells that reach beyond the image repeat its last ones.
    """
    rows, columns = (
        torch.arange(1, _cells(side) * CELL - 1, device=images.device).clamp_max(side - 2) for side in images.shape[2:]
    )
    pixels = images.float()
    across, along = pixels[..., columns], pixels[:, :, rows]
    down = across[:, :, rows + 1] - across[:, :, rows - 1]
    right = along[..., columns + 1] - along[..., columns - 1]
    strongest_down, strongest_right = down[:, 0], right[:, 0]
    for channel in range(1, images.shape[1]):
        more = _squared(down[:, channel], right[:, channel]) > _squared(strongest_down, strongest_right)
        strongest_down = torch.where(more, down[:, channel], strongest_down)
        strongest_right = torch.where(more, right[:, channel], strongest_right)
    return strongest_down, strongest_right


def _squared(down: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return down.square() + right.square()


def _shares(side: int, device: torch.device) -> torch.Tensor:
    """Share of each cell in each inner pixel along one axis, by linear interpolation: (cells, pixels)."""
    cells = _cells(side)
    position = (torch.arange(1, cells * CELL - 1, device=device) + 0.5) / CELL - 0.5  # in cells
    away = (torch.arange(cells, device=device)[:, None] - position).abs()
    return (1 - away).clamp_min(0)


def _cells(side: int) -> int:
    """Cells along a side of so many pixels, a half rounded up."""
    return (2 * side + CELL) // (2 * CELL)
