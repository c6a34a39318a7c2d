"""How tones are spread: Pillow's autocontrast, equalize, invert, posterize, solarize and sharpness, for whole batches.

Images are float (N, C, H, W) in [0, 1], C = 1 or 3; parameters are (N,) on the same device. The values are those of the
functions of `torchvision.transforms.functional` on float tensors, image by image, and where those take bytes only
(`equalize`, `posterize`) those of the nearest bytes. Nothing is read back from the device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .images import check_float, per_image

LEVELS = 256  # of a byte
SMOOTH_CENTRE, SMOOTH_SUM = 5, 13  # of Pillow's SMOOTH filter, whose other eight weights are 1


def invert(images: Tensor) -> Tensor:
    """The negative.

    Raises:
        TypeError: images that are not float (N, C, H, W). So do all operations of this module.
    """
    check_float(images)
    return 1 - images


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each channel of each image so that its darkest pixel is 0 and its brightest 1; flat channels stay."""
    check_float(images)
    if not images.numel():
        return images
    least, most = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    flat = most <= least
    stretch = torch.where(flat, 1.0, 1 / (most - least))
    return (images - least.masked_fill(flat, 0.0)).mul_(stretch).clamp_(0, 1)


def equalize(images: Tensor) -> Tensor:
    """Spread the tones of each channel of each image evenly over 256 levels, by its histogram.

    As Pillow does: channels whose pixels, less those of the brightest tone, are fewer than 255 stay as they are.
    """
    check_float(images)
    if not images.numel():
        return images
    levels = _levels(images).flatten(2)  # (N, C, pixels)
    histogram = torch.zeros((*levels.shape[:2], LEVELS), dtype=torch.int32, device=images.device)
    one = torch.ones((), dtype=torch.int32, device=images.device)
    histogram.scatter_add_(2, levels, one.expand_as(levels))
    brightest = histogram.gather(2, levels.amax(dim=2, keepdim=True))  # (N, C, 1), how many pixels have that tone
    step = torch.div(levels.shape[2] - brightest, LEVELS - 1, rounding_mode="floor")
    below = histogram.cumsum(2, dtype=torch.int32) - histogram  # (N, C, 256)
    table = torch.div(below + step // 2, step.clamp(min=1), rounding_mode="floor").clamp_(max=LEVELS - 1)
    spread = table.gather(2, levels).to(images.dtype).div_(LEVELS - 1).view_as(images)
    return torch.where(step.unsqueeze(3) > 0, spread, images)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the `bits` (N,), 0 to 8, highest bits of each byte; 8 rounds to bytes, 0 is black. Fractions of a bit are dropped."""
    check_float(images)
    step = per_image(torch.exp2(8 - bits.to(images.dtype).floor()))
    return images.mul(LEVELS - 1).round_().div_(step).floor_().mul_(step).div_(LEVELS - 1)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """The negative of all values at or above `threshold` (N,): 0 inverts the image, anything above 1 changes nothing."""
    check_float(images)
    return torch.where(images >= per_image(threshold), 1 - images, images)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Scale the distance from the smoothed image by `factor` (N,), at least 0: 0 is smooth, 1 changes nothing, 2 is sharp.

    Pixels along the border stay, as in Pillow; so do images less than three pixels high or wide.
    """
    check_float(images)
    down = (images[..., :-2, :] + images[..., 2:, :]).add_(images[..., 1:-1, :])
    around = (down[..., :-2] + down[..., 2:]).add_(down[..., 1:-1])  # (N, C, H - 2, W - 2), sums of 3x3 pixels
    inner = images[..., 1:-1, 1:-1]
    smooth = around.add_(inner, alpha=SMOOTH_CENTRE - 1).div_(SMOOTH_SUM)
    result = images.clone()
    result[..., 1:-1, 1:-1] = smooth.lerp_(inner, per_image(factor.to(images.dtype))).clamp_(0, 1)
    return result


def _levels(images: Tensor) -> Tensor:
    """The bytes nearest to the values, int64."""
    return images.mul(LEVELS - 1).round_().long().clamp_(0, LEVELS - 1)
