"""The information between the clusters of a pixel and of its neighbours: the objective of IIC's segmentation.

Ji, Henriques, Vedaldi: Invariant Information Clustering (ICCV 2019), section 3.3. A pixel of one image is paired with all
pixels of the other that lie up to `reach` rows and columns from it, so there are T^2 joint distributions, T = 2 * reach + 1,
one for each displacement (equation 5). All of them together are a cross-correlation of the two probability maps.

That correlation is computed in blocks by the fast Fourier transform. The authors' form, a convolution whose kernel is a
whole image, and its equals in matrix products take K^2 * T^2 operations for every pixel, this one about 3 * K^2 and the
transforms. `displaced_information_benchmark` measures them side by side. Only the two maps are kept for the backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from .displaced_information_blocks import Blocks
from .information import EPS

ROUNDING = 1e-5  # a displacement with a smaller share of the pairs of the best one holds hardly more than rounding errors


def displaced_information_loss(
    p: torch.Tensor,
    q: torch.Tensor,
    reach: int,
    *,
    mask: torch.Tensor | None = None,
    entropy_weight: float = 1.0,
    collapsed: bool = False,
) -> torch.Tensor:
    """Negative mutual information between pixels and displaced pixels, one value per leading index (sub-head).

    For each displacement the joint distribution is normalised, made symmetric and judged as in `information_loss`; the value
    is the mean over all T^2 of them (equation 5, what every published run used), or with `collapsed` that of the sum of all
    joints. The lowest possible value is (1 - 2 * entropy_weight) * ln K. A displacement without pairs counts as 0.

    Half-precision inputs are raised to float32 first, also under autocast. Nothing is read back from the device.

    Args:
        p: cluster probabilities of the first image's pixels, (H, n, K, h, w) for H sub-heads or (n, K, h, w).
        q: those of the second image in the first one's geometry (`undone`), same shape.
        reach: largest displacement d in rows and in columns, at least 0.
        mask: bool or float (n, h, w), the pixels that count; a pair counts if both of its pixels do.
        entropy_weight: the paper's lambda; above 1 it presses towards balanced clusters.
        collapsed: add up the joint distributions of all displacements before their information is taken.

    Returns:
        (H,) or a scalar, float32 or the inputs' float64; natural logarithm.
    """
    if p.shape != q.shape or p.ndim not in (4, 5):
        raise ValueError(f"Both maps need one shape (n, K, h, w) or (H, n, K, h, w), got {tuple(p.shape)}, {tuple(q.shape)}.")
    with torch.autocast(p.device.type, enabled=False):
        if p.dtype in (torch.float16, torch.bfloat16):
            p, q = p.float(), q.float()
        if mask is not None:
            counted = mask.to(p.dtype).unsqueeze(1)  # (n, 1, h, w)
            p, q = p * counted, q * counted
        if p.ndim == 4:
            return loss_of_joint(displaced_joint(p, q, reach), entropy_weight, collapsed)
        joints = [displaced_joint(a, b, reach) for a, b in zip(p, q, strict=True)]
        return torch.stack([loss_of_joint(joint, entropy_weight, collapsed) for joint in joints])


def displaced_joint(p: torch.Tensor, q: torch.Tensor, reach: int) -> torch.Tensor:
    """The sums over all pixels of the products of their probabilities, for every displacement.

    Args:
        p, q: float32 or float64 (n, K, h, w), zero outside.
        reach: largest displacement d.

    Returns:
        (K, K, T, T) with T = 2d + 1, where [a, b, i, j] is the sum of p[:, a, y + i - d, x + j - d] * q[:, b, y, x].
        Entries are exact to about 1e-7 of the largest; where nothing is, they may be that far below zero.
    """
    if reach < 0:
        raise ValueError(f"reach must be at least 0, got {reach}.")
    return _Correlation.apply(p, q, reach)


def undone(maps: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
    """Maps of a transformed image back in the geometry of the image itself: bilinear, zero where nothing was seen.

    Args:
        maps: (H, n, K, h, w) or (n, K, h, w).
        inverse: (n, 2, 3), from a place in the image to one in the transformed image, both from -1 to 1 between the centres of
            the outermost pixels (`align_corners`, as the authors' version of torch had it).
    """
    flat = maps.flatten(0, 1) if maps.ndim == 5 else maps  # (H * n, K, h, w)
    every = inverse.repeat(len(flat) // len(inverse), 1, 1).to(maps.dtype)
    grid = functional.affine_grid(every, list(flat.shape), align_corners=True)
    return functional.grid_sample(flat, grid, mode="bilinear", padding_mode="zeros", align_corners=True).view_as(maps)


def moved_at_random(maps: torch.Tensor, least: int, most: int, random: torch.Generator) -> torch.Tensor:
    """All maps moved by one random displacement of `least` to `most` pixels in either direction on each axis.

    The authors' "sparse" displacement, which no published run uses. What comes in from outside is zero.

    Args:
        maps: (..., h, w).
        least, most: 0 <= least <= most.
        random: generator on the maps' device.
    """
    height, width = maps.shape[-2:]
    draws = torch.rand((2, 2), generator=random, device=maps.device)
    distance = (draws[0] * (most - least + 1)).long() + least
    start = most + torch.where(draws[1] < 0.5, distance, -distance)  # (2,), of the window in the padded maps
    rows, columns = (torch.arange(side, device=maps.device) + start[axis] for axis, side in enumerate((height, width)))
    padded = functional.pad(maps, (most,) * 4)
    return padded.index_select(-2, rows).index_select(-1, columns)


def loss_of_joint(joint: torch.Tensor, entropy_weight: float = 1.0, collapsed: bool = False) -> torch.Tensor:
    """The loss of (K, K, T, T) as `displaced_joint` gives it, a scalar; see `displaced_information_loss`.

    The authors take the marginals before they clamp, and clamp all three; so does this.
    """
    if collapsed:
        joint = joint.sum((-2, -1), keepdim=True)
    total = joint.sum((0, 1))  # (T, T)
    is_empty = total <= ROUNDING * total.detach().amax()  # false for NaN, which must not be taken for 0
    joint = joint / total.masked_fill(is_empty, 1.0)
    joint = (joint + joint.transpose(0, 1)) / 2
    row, column = joint.sum(1, keepdim=True).clamp(min=EPS), joint.sum(0, keepdim=True).clamp(min=EPS)
    joint = joint.clamp(min=EPS)
    loss = -(joint * (joint.log() - entropy_weight * (row.log() + column.log()))).sum((0, 1))  # (T, T)
    return loss.masked_fill(is_empty, 0.0).mean()


class _Correlation(torch.autograd.Function):
    """`displaced_joint`, a few images at a time; the spectra are computed again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, p: torch.Tensor, q: torch.Tensor, reach: int) -> torch.Tensor:
        ctx.save_for_backward(p, q)
        ctx.blocks = blocks = Blocks.of(p, reach)
        clusters, places = p.shape[1], 2 * reach + 1
        with _full_precision():
            spectrum = torch.zeros((blocks.frequencies, clusters, clusters), dtype=p.dtype.to_complex(), device=p.device)
            for part in blocks.parts(p):
                windows, cores = blocks.window_spectra(p[part]), blocks.core_spectra(q[part])  # (F, K, M) each
                spectrum.baddbmm_(windows, cores.conj().transpose(1, 2))
        joint = blocks.inverse(spectrum.transpose(1, 2), (1, 1))[:, :, 0, 0]  # (K, K, *sides), first the clusters of p
        return joint[..., :places, :places].contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        p, q = ctx.saved_tensors
        blocks: Blocks = ctx.blocks
        (height, width), (rows, columns), reach = p.shape[-2:], blocks.covered, blocks.reach
        of_p = p.new_zeros((*p.shape[:2], rows + 2 * reach, columns + 2 * reach))
        of_q = q.new_empty((*q.shape[:2], rows, columns))
        with _full_precision():
            weights = blocks.spectra(gradient[:, :, None, None]).transpose(1, 2)  # (F, K, K), first the clusters of p
            for part in blocks.parts(p):
                blocks.add_windows(of_p[part], weights @ blocks.core_spectra(q[part]))
                blocks.put_cores(of_q[part], weights.conj().transpose(1, 2) @ blocks.window_spectra(p[part]))
        return of_p[..., reach : reach + height, reach : reach + width], of_q[..., :height, :width], None


@contextmanager
def _full_precision() -> Iterator[None]:
    """No TF32 in matrix products, whatever the process has allowed: it would cost the joint half of its digits."""
    allowed = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(allowed)
