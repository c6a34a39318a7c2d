"""The views of IMC-SwAV: large and small crops to learn from, whole images to be judged by."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from . import augment, stages
from .contrastive_views import MultiCropSettings, MultiCropViews


class IMCViewSettings(MultiCropSettings):
    """How many crops of which kind, and the size of whole images. The defaults are those for CIFAR-10."""

    large_crops: PositiveInt = Field(default=2, description="large crops of each image, whose codes the other views predict")
    small_crops: NonNegativeInt = Field(default=4, description="small crops of each image, which predict only")
    rotation: NonNegativeFloat = Field(
        default=0.0, description="largest rotation of an image before it is cropped, degrees either way; the authors have none"
    )
    shear: Annotated[float, Field(ge=0, lt=90)] = Field(
        default=0.0, description="largest slant along x before it is cropped, degrees either way; the authors have none"
    )
    test_size: PositiveInt | None = Field(
        default=None, description="side that whole images are resized to at test time; as they are by default"
    )

    @model_validator(mode="after")
    def _views_can_be_paired(self) -> IMCViewSettings:
        if self.crops < 2:
            raise ValueError("large_crops and small_crops must come to at least 2: a view predicts the code of another")
        return self

    @property
    def crops(self) -> int:
        """Views of each image in training."""
        return self.large_crops + self.small_crops


class IMCViews(MultiCropViews):
    """Makes them of uint8 batches (N, C, H, W) of one image shape, in the memory format that convolutions want.

    Attributes:
        smallest: side of the smallest view.
    """

    settings: IMCViewSettings

    def __init__(self, settings: IMCViewSettings, shape: tuple[int, int, int]) -> None:
        super().__init__(settings, shape)
        crops = (settings.large_size, settings.small_size) if settings.small_crops else (settings.large_size,)
        self.smallest = min(*crops, settings.test_size or min(shape[1:]))

    @stages.augmentation
    def crops(self, batch: torch.Tensor, random: torch.Generator) -> list[torch.Tensor]:
        """The large crops, then the small ones: float32 (N, C, S, S) each."""
        makers = [self.large] * self.settings.large_crops + [self.small] * self.settings.small_crops
        crops = [make(self._turned(batch, random), random) for make in makers]
        return [crop.contiguous(memory_format=torch.channels_last) for crop in crops]

    def _turned(self, batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """The images, each turned and slanted about its centre in one bilinear step, zeros around it; float32 if they are."""
        settings, count = self.settings, len(batch)
        if not (settings.rotation or settings.shear):
            return batch
        degrees = augment.uniform(count, -settings.rotation, settings.rotation, random)
        lean = augment.uniform(count, -settings.shear, settings.shear, random)
        still = torch.zeros_like(lean)
        shift, shear = torch.stack([still, still], dim=1), torch.stack([lean, still], dim=1)
        return augment.affine(augment.to_float(batch), degrees, shift, torch.ones_like(lean), shear)

    @stages.augmentation
    def test(self, batch: torch.Tensor) -> torch.Tensor:
        """Whole images: float32 (N, C, H, W), or (N, C, test_size, test_size)."""
        return self._whole(batch).contiguous(memory_format=torch.channels_last)

    def _whole(self, batch: torch.Tensor) -> torch.Tensor:
        if self.settings.test_size is None:
            return self.whole(batch)
        rows, columns = (torch.full((len(batch),), side, device=batch.device) for side in batch.shape[2:])
        start = torch.zeros_like(rows)
        images = augment.to_float(batch)
        return self.normalised(augment.crop_and_resize(images, start, start, rows, columns, self.settings.test_size))
