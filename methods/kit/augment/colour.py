"""What pixels look like: brightness, contrast, saturation, hue and grey of whole batches, with one factor per image.

Images are float (N, C, H, W) in [0, 1], C = 1 or 3; factors are (N,) on the same device. The values are those of
`torchvision.transforms.functional.adjust_*` on float tensors, image by image. Nothing is read back from the device.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor

from .images import check_float, in_blocks, per_image

LUMA = (0.2989, 0.587, 0.114)  # of red, green and blue, as torchvision rounds ITU-R BT.601
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)  # how an order of `color_jitter` numbers the operations, as torchvision does


def to_grey(images: Tensor) -> Tensor:
    """Luma of the images: (N, 3, H, W) to (N, 1, H, W); grey images are returned as they are.

    Raises:
        TypeError: images that are not float (N, C, H, W).
        ValueError: neither 1 nor 3 channels. So do all operations of this module.
    """
    if not _is_colour(images):
        return images
    red, green, blue = images.split(1, dim=1)
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def greyscale(images: Tensor, mask: Tensor) -> Tensor:
    """Take the colour out of the images whose `mask` (bool, (N,)) is true; the number of channels stays."""
    if not _is_colour(images):
        return images
    return torch.lerp(images, to_grey(images), per_image(mask.to(images.dtype)))  # exact at 0 and 1, and faster than torch.where


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply by `factor` (N,), at least 0: 0 is black, 1 changes nothing."""
    _is_colour(images)
    return (images * per_image(factor)).clamp_(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Scale the distance from the image's mean luma by `factor` (N,), at least 0: 0 is flat, 1 changes nothing."""
    return (images * per_image(factor)).add_(per_image((1 - factor) * _mean_luma(images))).clamp_(0, 1)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Scale the distance from each pixel's luma by `factor` (N,), at least 0: 0 is grey, 1 changes nothing. Grey images stay."""
    if not _is_colour(images):
        return images
    return (images * per_image(factor)).addcmul_(to_grey(images), per_image(1 - factor)).clamp_(0, 1)


def hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the colour circle by `shift` (N,) turns, -0.5 to 0.5: 0 changes nothing. Grey images stay."""
    return in_blocks(_turned, images, shift) if _is_colour(images) else images


def color_jitter(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor, order: Tensor) -> Tensor:
    """All four operations, in an order of each image's own, as torchvision's `ColorJitter` draws one for each image.

    Args:
        images: float (N, C, H, W).
        brightness, contrast, saturation: (N,), factors, at least 0.
        hue: (N,), turns, -0.5 to 0.5.
        order: int64 (N, 4), a permutation of 0 (brightness), 1 (contrast), 2 (saturation), 3 (hue) per image.

    Returns:
        (N, C, H, W). Saturation and hue do nothing to grey images.
    """
    factors = torch.stack([brightness, contrast, saturation], dim=1).to(images.dtype)
    return in_blocks(_jittered, images, factors, hue, order)


def _jittered(images: Tensor, factors: Tensor, shift: Tensor, order: Tensor) -> Tensor:
    if not _is_colour(images):
        return _blended(images.clone(), _plan_grey(factors, order))
    before, after = _plan_colour(factors, order)
    return _blended(_turned(_blended(images.clone(), before), shift), after)


def _turned(images: Tensor, shift: Tensor) -> Tensor:
    """RGB images with their colour circle turned.

    With (r, g, b) stretched so that the least is 0 and the largest 1, the hue in sixths of a turn is
    sign(g - b) (1 + g + b - r), and each primary is clamp(2 - sixths from its own hue, 0, 1): the six cases of the
    hexagon in one formula. With masks for the cases it takes four times as long.
    """
    red, green, blue = images.unbind(dim=1)  # (N, H, W) each
    least = torch.minimum(torch.minimum(red, green), blue)
    chroma = torch.maximum(torch.maximum(red, green), blue).sub_(least)
    sixths = (green + blue).sub_(red).sub_(least).div_(chroma.clamp(min=1e-20)).add_(1).copysign_(green - blue)
    shifts = torch.stack([shift, shift - 1 / 3, shift + 1 / 3], dim=1)  # counted from each primary's own hue
    turns = torch.add(shifts.view(-1, 3, 1, 1).to(images.dtype), sixths.unsqueeze(1), alpha=1 / 6)  # (N, 3, H, W)
    share = turns.sub_(turns.round()).abs_().mul_(-6).add_(2).clamp_(0, 1)
    return share.mul_(chroma.unsqueeze(1)).add_(least.unsqueeze(1))


# The three operations beside hue are blends of an image with its luma, with its mean luma or with black, so that one step can do
# a different one of them to each image. A plan is a list of such steps: (operation (N,), factor (N,)), where factor 1 is rest.
Plan: TypeAlias = list[tuple[Tensor, Tensor]]


def _plan_colour(factors: Tensor, order: Tensor) -> tuple[Plan, Plan]:
    """Three steps before the hue of all images is turned and three after; each image rests in three of the six.

    Hue is turned once for the whole batch because it costs as much as three steps.
    """
    place = (order == HUE).to(torch.int8).argmax(dim=1, keepdim=True)  # (N, 1)
    steps = torch.arange(3, device=order.device).view(1, 3)
    operations = order.gather(1, steps + (steps >= place))  # (N, 3), the order without hue
    strengths = factors.gather(1, operations)
    early = steps < place
    before, after = strengths.where(early, 1.0), strengths.where(~early, 1.0)
    return _steps(operations, before), _steps(operations, after)


def _steps(operations: Tensor, strengths: Tensor) -> Plan:
    return list(zip(operations.unbind(dim=1), strengths.unbind(dim=1), strict=True))


def _plan_grey(factors: Tensor, order: Tensor) -> Plan:
    """Brightness and contrast, each image in its order."""
    places = order.argsort(dim=1)  # (N, 4), where each operation stands
    first = (places[:, CONTRAST] < places[:, BRIGHTNESS]).long()  # the operation itself: BRIGHTNESS is 0 and CONTRAST 1
    operations = torch.stack([first, 1 - first], dim=1)
    return _steps(operations, factors.gather(1, operations))


def _blended(images: Tensor, plan: Plan) -> Tensor:
    """The steps of `plan`, done to `images` in place: fresh memory for each costs more than the arithmetic."""
    for operation, factor in plan:
        rest = 1 - factor
        mean = rest * (operation == CONTRAST) * _mean_luma(images)
        luma = to_grey(images) if images.shape[1] == 3 else None
        images.mul_(per_image(factor))
        if luma is not None:
            images.addcmul_(luma, per_image(rest * (operation == SATURATION)))
        images.add_(per_image(mean)).clamp_(0, 1)
    return images


def _mean_luma(images: Tensor) -> Tensor:
    """(N,), the mean over each image's pixels."""
    if not _is_colour(images):
        return images.mean(dim=(1, 2, 3))
    red, green, blue = images.mean(dim=(2, 3)).unbind(dim=1)  # (N,) each
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def _is_colour(images: Tensor) -> bool:
    check_float(images)
    if images.shape[1] not in (1, 3):
        raise ValueError(f"Images must have 1 (grey) or 3 (RGB) channels, got {images.shape[1]}.")
    return images.shape[1] == 3
