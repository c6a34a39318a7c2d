"""Where pixels move: affine maps, crops, resizing and flips of whole batches, with one set of parameters per image.

Every function is pure: images and parameters in, images out. Images are float tensors (N, C, H, W); parameters are tensors
(N,) or (N, 2) on the same device. None of them reads a value back from the device.

To change only some images, give the others the parameters of the identity, as in `degrees.where(mask, 0.0)`. Picking half of
them out and putting them back saves at most a third of the time on a CPU (rotation), triples it for cheap operations
(brightness), and on a GPU waits for the device.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from .images import check_float, in_blocks, per_image

Interpolation: TypeAlias = Literal["bilinear", "nearest"]
Size: TypeAlias = int | tuple[int, int]


def affine(
    images: Tensor,
    angle_degrees: Tensor,
    translate: Tensor,
    scale: Tensor,
    shear: Tensor,
    *,
    interpolation: Interpolation = "bilinear",
    size: Size | None = None,
    fill: float = 0.0,
) -> Tensor:
    """Rotate, shear, scale and shift each image about its centre, as `torchvision.transforms.functional.affine` does.

    Args:
        images: float (N, C, H, W).
        angle_degrees: (N,), clockwise.
        translate: (N, 2), shift to the right and downwards in pixels; fractions allowed.
        scale: (N,), above 0; 2 doubles the size of what is seen.
        shear: (N, 2), degrees along x and y, within -90..90.
        interpolation: `bilinear` or `nearest`.
        size: height and width of the output, a window around the centre; the input's by default.
        fill: value of everything outside the image. Bilinear interpolation blends the image's rim with it once, where
            torchvision, given a fill, does so twice.

    Returns:
        (N, C, height, width).

    Raises:
        TypeError: images that are not float (N, C, H, W).
    """
    matrix = _inverse_affine(angle_degrees, translate, scale, shear)
    return resample(images, matrix, interpolation=interpolation, size=size, fill=fill)


def rotate(
    images: Tensor, degrees: Tensor, *, interpolation: Interpolation = "nearest", size: Size | None = None, fill: float = 0.0
) -> Tensor:
    """Rotate each image counter-clockwise by `degrees` (N,) about its centre, as `torchvision.transforms.functional.rotate`.

    The other arguments, the result (N, C, height, width) and the errors are those of `affine`.
    """
    turn = torch.deg2rad(degrees)
    cos, sin, zero = torch.cos(turn), torch.sin(turn), torch.zeros_like(turn)
    matrix = torch.stack([cos, -sin, zero, sin, cos, zero], dim=1).view(-1, 2, 3)
    return resample(images, matrix, interpolation=interpolation, size=size, fill=fill)


def resample(
    images: Tensor,
    matrix: Tensor,
    *,
    interpolation: Interpolation = "bilinear",
    size: Size | None = None,
    fill: float = 0.0,
) -> Tensor:
    """Read each output pixel from its image at `matrix` (N, 2, 3) times the pixel's coordinates (x, y, 1).

    Coordinates are in pixels from the centre, to the right and downwards, of the output and of the image. The other
    arguments, the result (N, C, height, width) and the errors are those of `affine`.
    """
    check_float(images)
    grid = _grid(matrix.to(images.dtype), _pair(size, images), images.shape[-2:])
    if fill:
        return _read(images - fill, grid, interpolation) + fill
    return _read(images, grid, interpolation)


def horizontal_flip(images: Tensor, mask: Tensor) -> Tensor:
    """Mirror the images (N, C, H, W) whose `mask` (bool, (N,)) is true, left to right.

    Raises:
        TypeError: images that are not float (N, C, H, W).
    """
    check_float(images)
    return torch.lerp(images, images.flip(-1), per_image(mask.to(images.dtype)))  # exact at 0 and 1, and faster than torch.where


def centre_crop(images: Tensor, size: Size) -> Tensor:
    """The central window of `size` (height and width) of images (N, C, H, W) of any type, placed as torchvision's; a view.

    Raises:
        ValueError: the window is larger than the images.
    """
    (height, width), (rows, columns) = _window(size, images), images.shape[-2:]
    top, left = round((rows - height) / 2), round((columns - width) / 2)
    return images[..., top : top + height, left : left + width]


def crop(images: Tensor, top: Tensor, left: Tensor, size: Size) -> Tensor:
    """A window of the common `size` (height and width) out of each image, with its upper left corner at `top`, `left` (N,).

    Images of any type (N, C, H, W) to (N, C, height, width). Corners are whole numbers and windows lie inside the images:
    pad the images first if they would not.

    Raises:
        ValueError: the window is larger than the images.
    """
    height, width = _window(size, images)
    windows = images.unfold(2, height, 1).unfold(3, width, 1)  # (N, C, rows, columns, height, width), a view
    each = torch.arange(images.shape[0], device=images.device)
    return windows[each, :, top.long(), left.long()]


def crop_and_resize(
    images: Tensor,
    top: Tensor,
    left: Tensor,
    height: Tensor,
    width: Tensor,
    size: Size,
    *,
    antialias: bool = True,
    flip: Tensor | None = None,
) -> Tensor:
    """Cut one box out of each image and resize it, as `torchvision.transforms.functional.resized_crop` (bilinear) does.

    Crop, resizing and flip together are one pair of matrix products per image, `Wy @ image @ Wx^T`, whose weights depend
    on its box. Where all boxes have the output's size already, `crop` does the same several times faster.

    Args:
        images: float (N, C, H, W).
        top, left, height, width: (N,), the boxes in whole pixels; they lie inside the images.
        size: height and width of the output.
        antialias: widen the triangle filter where a box shrinks, as PIL always and torchvision by default does.
        flip: bool (N,), the images to be mirrored left to right; none by default.

    Returns:
        (N, C, *size).

    Raises:
        TypeError: images that are not float (N, C, H, W).
    """
    check_float(images)
    flip = torch.zeros_like(top, dtype=torch.bool) if flip is None else flip
    resize = partial(_cropped_and_resized, size=_pair(size, images), antialias=antialias)
    return in_blocks(resize, images, top, left, height, width, flip)


def _cropped_and_resized(
    images: Tensor,
    top: Tensor,
    left: Tensor,
    height: Tensor,
    width: Tensor,
    flip: Tensor,
    *,
    size: tuple[int, int],
    antialias: bool,
) -> Tensor:
    n, channels, rows, columns = images.shape
    down = _resize_weights(images, top, height, rows, size[0], antialias, None)  # (N, size[0], rows)
    across = _resize_weights(images, left, width, columns, size[1], antialias, flip)  # (N, size[1], columns)
    with torch.autocast(images.device.type, enabled=False):  # half precision would cost the images three digits
        narrowed = torch.bmm(images.reshape(n, channels * rows, columns), across.transpose(1, 2))
        return down.unsqueeze(1) @ narrowed.view(n, channels, rows, size[1])  # (N, C, *size)


def _resize_weights(
    images: Tensor, start: Tensor, length: Tensor, pixels: int, out: int, antialias: bool, mirror: Tensor | None
) -> Tensor:
    """Interpolation weights (N, out, pixels) along one axis for boxes of `length` from `start`; each row adds up to 1.

    The triangle filter of PIL and of torch's `upsample_bilinear2d_aa`: its half width is one source pixel, or one target
    pixel where that is larger. Cutting it at the box and normalising is also what plain bilinear interpolation does at borders.
    """
    start, length = (value.to(images.dtype).view(-1, 1, 1) for value in (start, length))
    target = torch.arange(out, device=images.device, dtype=images.dtype).view(1, -1, 1)
    if mirror is not None:
        target = torch.where(mirror.view(-1, 1, 1), out - 1 - target, target)
    source = torch.arange(pixels, device=images.device, dtype=images.dtype).view(1, 1, -1)
    stride = length / out
    reach = stride.clamp(min=1.0) if antialias else torch.ones_like(stride)
    centre = stride * (target + 0.5)  # (N, out, 1), of each target pixel, from the box's edge
    inside = ((source >= start) & (source < start + length)).to(images.dtype)  # (N, 1, pixels)
    weights = (source + 0.5 - start - centre).abs_().div_(-reach).add_(1).clamp_(min=0).mul_(inside)
    return weights.div_(weights.sum(dim=2, keepdim=True))


def _inverse_affine(angle_degrees: Tensor, translate: Tensor, scale: Tensor, shear: Tensor) -> Tensor:
    """(N, 2, 3), output to input coordinates in pixels from the centre: torchvision's R(angle) S(scale) SHy SHx, inverted."""
    turn, (lean_x, lean_y) = torch.deg2rad(angle_degrees), torch.deg2rad(shear).unbind(dim=1)
    a = torch.cos(turn - lean_y) / torch.cos(lean_y)
    b = -a * torch.tan(lean_x) - torch.sin(turn)
    c = torch.sin(turn - lean_y) / torch.cos(lean_y)
    d = -c * torch.tan(lean_x) + torch.cos(turn)
    linear = torch.stack([d, -b, -c, a], dim=1).view(-1, 2, 2) / scale.view(-1, 1, 1)
    shift = -(linear * translate.unsqueeze(1)).sum(dim=2, keepdim=True)
    return torch.cat([linear, shift], dim=2)


def _read(images: Tensor, grid: Tensor, interpolation: Interpolation) -> Tensor:
    return functional.grid_sample(images, grid, mode=interpolation, padding_mode="zeros", align_corners=False)


def _grid(matrix: Tensor, size: tuple[int, int], source: tuple[int, ...]) -> Tensor:
    """Where each output pixel reads: (N, height, width, 2) in grid_sample's units, -1 to 1 from edge to edge of the source.

    Rows of interleaved x and y are one fused multiply-add; stacking the two coordinates takes six times as long.
    """
    (n, height, width), kind = (matrix.shape[0], *size), {"device": matrix.device, "dtype": matrix.dtype}
    y = torch.arange(height, **kind).sub_((height - 1) / 2).view(1, height, 1)
    x = torch.arange(width, **kind).sub_((width - 1) / 2).view(1, width, 1)
    to_x, to_y = matrix.unbind(dim=1)
    units = torch.stack([to_x * (2 / source[1]), to_y * (2 / source[0])], dim=1).unsqueeze(1)  # (N, 1, 2, 3)
    along_x, along_y, shift = units.unbind(dim=3)  # (N, 1, 2) each
    first_row = (x * along_x + shift).view(n, 1, 2 * width)
    step_down = along_y.expand(n, width, 2).reshape(n, 1, 2 * width)
    return torch.addcmul(first_row, y, step_down).view(n, height, width, 2)


def _pair(size: Size | None, images: Tensor) -> tuple[int, int]:
    if size is None:
        return images.shape[-2], images.shape[-1]
    return (size, size) if isinstance(size, int) else size


def _window(size: Size, images: Tensor) -> tuple[int, int]:
    """`size` as (height, width); `ValueError` if it does not fit into the images."""
    (height, width), (rows, columns) = _pair(size, images), images.shape[-2:]
    if height > rows or width > columns:
        raise ValueError(f"A window of {height}x{width} does not fit into images of {rows}x{columns}. Take a smaller one or pad.")
    return height, width
