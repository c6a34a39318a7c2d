"""Exemplar-CNN's transformations: a patch moved, scaled, turned and recoloured, by parameters that can be kept.

Dosovitskiy et al., IEEE TPAMI 2016, section 3.1, all of their list. Where they give a range from a factor to its inverse (scale,
contrasts) the factor is drawn evenly in its logarithm, which they do not say.
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat

from . import augment, stages
from .augment.images import per_image

RGB = 3
DRAWS = 14  # numbers that decide a transformation


def _ordered(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError("the first number must not be above the second")
    return pair


Factors = Annotated[tuple[PositiveFloat, PositiveFloat], AfterValidator(_ordered)]


class TransformationSettings(BaseModel):
    """How far patches are transformed. The defaults are the authors'."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    translation: Annotated[float, Field(ge=0, le=0.5)] = Field(default=0.2, description="largest shift, of the patch's side")
    scale: Factors = Field(default=(0.7, 1.4), description="least and largest factor of the patch's scale")
    rotation: NonNegativeFloat = Field(default=20.0, description="largest rotation either way, degrees")
    component_factors: Factors = Field(
        default=(0.5, 2.0), description="of each principal component of the colours, one for the whole patch (contrast 1)"
    )
    powers: Factors = Field(default=(0.25, 4.0), description="that saturation and value are raised to (contrast 2)")
    factors: Factors = Field(default=(0.7, 1.4), description="that they are multiplied by after that")
    offset: NonNegativeFloat = Field(default=0.1, description="largest number either way that is added to them after that")
    hue: Annotated[float, Field(ge=0, le=0.5)] = Field(default=0.1, description="largest shift of the hue either way, turns")

    def margin(self, size: int) -> int:
        """Pixels around a patch of `size` that its transformations may read."""
        turn = math.radians(min(self.rotation, 45.0))
        half = (0.5 + self.translation) * (math.cos(turn) + math.sin(turn)) / self.scale[0]
        return math.ceil(size * max(0.0, half - 0.5))


class ColourComponents(NamedTuple):
    """Mean (C,) and principal axes, columns of (C, C), of the colours of a set of pixels."""

    mean: torch.Tensor
    axes: torch.Tensor


def colour_components(images: torch.Tensor) -> ColourComponents:
    """Of all pixels of uint8 images (N, C, H, W), values taken in [0, 1]; float32, the first three channels at most."""
    channels = min(images.shape[1], RGB)
    total, products = torch.zeros(channels, dtype=torch.float64), torch.zeros(channels, channels, dtype=torch.float64)
    for part in images.split(1000):
        pixels = part[:, :RGB].transpose(0, 1).flatten(1).double() / 255  # (C, n)
        total, products = total + pixels.sum(1).cpu(), products + (pixels @ pixels.T).cpu()
    count = images[:, 0].numel()
    mean = total / count
    axes = torch.linalg.eigh(products / count - mean[:, None] * mean).eigenvectors
    return ColourComponents(mean.float().to(images.device), axes.float().to(images.device))


@stages.augmentation
def transform(
    contexts: torch.Tensor, draws: torch.Tensor, size: int, settings: TransformationSettings, components: ColourComponents
) -> torch.Tensor:
    """Each patch transformed by its own parameters.

    Args:
        contexts: uint8 (N, C, S, S), patches of `size` pixels in the middle of what is around them.
        draws: (N, 14), evenly from 0 to 1.
        size: side of the patches.
        settings: the ranges.
        components: of the colours of all patches.

    Returns:
        Float32 (N, C, size, size) in [0, 1].
    """
    shift_x, shift_y, scale, angle, *colours = draws.unbind(1)
    translate = _even(torch.stack([shift_x, shift_y], 1), settings.translation * size)
    degrees, zoom = _even(angle, settings.rotation), _between(scale, settings.scale)
    patches = augment.affine(augment.to_float(contexts), degrees, translate, zoom, torch.zeros_like(translate), size=size)
    seen = _recoloured(patches[:, :RGB], torch.stack(colours, 1), settings, components)
    return torch.cat([seen, patches[:, RGB:]], 1) if patches.shape[1] > RGB else seen


def _recoloured(
    images: torch.Tensor, draws: torch.Tensor, settings: TransformationSettings, components: ColourComponents
) -> torch.Tensor:
    """Contrast 1, contrast 2 and hue of images (N, 1 or 3, H, W), by draws (N, 10)."""
    images = scale_components(images, _between(draws[:, : images.shape[1]], settings.component_factors), components)
    power, factor = _between(draws[:, 3:5], settings.powers), _between(draws[:, 5:7], settings.factors)
    images = stretch_saturation_and_value(images, power, factor, _even(draws[:, 7:9], settings.offset))
    return augment.hue(images, _even(draws[:, 9], settings.hue))


def scale_components(images: torch.Tensor, factors: torch.Tensor, components: ColourComponents) -> torch.Tensor:
    """Multiply each pixel's share of each principal component by the image's factor for it.

    Float images (N, C, H, W) and factors (N, C) to (N, C, H, W), cut to [0, 1].
    """
    mean, axes = components
    matrix = torch.einsum("ck,nk,dk->ncd", axes, factors, axes)  # (N, C, C)
    shifted = mean - matrix @ mean  # (N, C)
    scaled = torch.baddbmm(shifted[:, :, None], matrix, images.flatten(2))
    return scaled.view_as(images).clamp_(0, 1)


def stretch_saturation_and_value(
    images: torch.Tensor, power: torch.Tensor, factor: torch.Tensor, offset: torch.Tensor
) -> torch.Tensor:
    """x -> factor * x^power + offset, cut to [0, 1], for the saturation and the value of each pixel (HSV); the hue stays.

    Args:
        images: float (N, 1 or 3, H, W) in [0, 1]. A grey image has a value only.
        power, factor, offset: (N, 2), for the saturation and for the value.

    Returns:
        (N, C, H, W). A pixel without colour counts as red, so that an offset may redden it, as in other programs' HSV.
    """
    value = images.amax(1, keepdim=True)
    stretched = _stretched(value, power[:, 1], factor[:, 1], offset[:, 1])
    if images.shape[1] == 1:
        return stretched
    chroma = value - images.amin(1, keepdim=True)
    saturation = _stretched(chroma / value.clamp_min(1e-20), power[:, 0], factor[:, 0], offset[:, 0])
    red = images.new_tensor([0.0, 1.0, 1.0]).view(1, RGB, 1, 1)
    lack = torch.where(chroma > 0, (value - images) / chroma.clamp_min(1e-20), red)  # strongest primary 0, weakest 1
    return stretched * (1 - saturation * lack)


def _stretched(values: torch.Tensor, power: torch.Tensor, factor: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    return (values.pow(per_image(power)) * per_image(factor) + per_image(offset)).clamp_(0, 1)


def _even(draws: torch.Tensor, reach: float) -> torch.Tensor:
    """Draws from 0 to 1 as numbers from -reach to reach."""
    return (2 * draws - 1) * reach


def _between(draws: torch.Tensor, factors: tuple[float, float]) -> torch.Tensor:
    """Draws from 0 to 1 as factors, even in their logarithm."""
    low, high = math.log(factors[0]), math.log(factors[1])
    return (low + draws * (high - low)).exp()
