"""The base of methods that learn features of pixels from pairs of patches: what is asked about them is the method's own.

"Doersch 2015" and "Isola 2016" of Ji, Henriques, Vedaldi (ICCV 2019), Table 4: the trunk's maps of a jittered image, enlarged to
its size; two patches of them; a small network that answers a question about their places. Only the trunk is used afterwards.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field, PositiveInt, field_validator

from ...datasets.base import Images
from ..base import MethodError
from . import augment
from .patch_pairs import EnlargedPatches, PatchComparison, PatchPairs, Size, check_room, mean_where
from .pixel_method import PixelMethod, PixelMethodConfig


class PatchMethodConfig(PixelMethodConfig):
    """Settings that the methods with pairs of patches share. The defaults are those of the small network for CPUs."""

    patch: Annotated[int, Field(ge=3)] = Field(default=11, description="side of a patch, an odd number of pixels of the input")
    pairs: PositiveInt = Field(default=1, description="pairs of patches in an image of a batch; the authors took one")
    part: PositiveInt | None = Field(
        default=None,
        description="side of a random part of each crop that is learned from, to save time; none: all. K-means sees the crop",
    )
    shared_places: bool = Field(
        default=False, description="the same places in all images of a batch, as the authors; else each image has its own"
    )
    branch: PositiveInt = Field(default=32, description="channels of the convolution that both patches go through")
    hidden: PositiveInt = Field(default=128, description="units of the layer that sees both patches")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.5, description="share of these units left out in training")

    @field_validator("patch")
    @classmethod
    def _patch_has_a_centre(cls, side: int) -> int:
        if side % 2 == 0:
            raise ValueError("patch must be odd, for a patch to have a pixel at its centre")
        return side


class PatchMethod(PixelMethod):
    """A method that answers a question about the places of two patches.

    Attributes, from the beginning of `build_for` on:
        patches: the layer that cuts patches out of the trunk's maps; it has no weights.
    """

    Config = PatchMethodConfig
    config: PatchMethodConfig

    @property
    def outputs(self) -> int:
        """Outputs of the network that answers."""
        return 1

    @abstractmethod
    def draw_pairs(self, count: int, random: torch.Generator) -> PatchPairs:
        """`count` pairs of places in an image of `self.size`, and the answers that are right: all of it (count, ...)."""

    @abstractmethod
    def answer_losses(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss of each pair (m,) with `outputs` (m, outputs), float32, and `target` (m,), the right answers."""

    @abstractmethod
    def answers(self, outputs: torch.Tensor) -> torch.Tensor:
        """What the network answers: int64 (m,) of its `outputs` (m, outputs)."""

    def shown(self, crops: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """What the network sees (n, channels, h, w) of jittered crops (n, C, h, w)."""
        return self.views.for_network(crops)

    @property
    def size(self) -> Size:
        """Height and width of what is learned from: of the crops, or of the part of them that is set.

        Raises:
            MethodError: a part that is larger than the crops.
        """
        part, size = self.config.part, self.views.size
        if part is None:
            return size
        if part > min(size):
            raise MethodError(f"part: {part} pixels do not fit into crops of {size[0]}x{size[1]}; choose at most {min(size)}.")
        return part, part

    def build_head(self, features: int) -> PatchComparison:
        """The network that answers, for maps with `features` channels."""
        config = self.config
        check_room(self.size, config.patch)
        self.patches = EnlargedPatches(config.patch, self.size)
        return PatchComparison(
            features, config.patch, branch=config.branch, hidden=config.hidden, dropout=config.dropout, outputs=self.outputs
        )

    def train_step(
        self, images: Images, batch: torch.Tensor, indices: torch.Tensor, random: torch.Generator
    ) -> Mapping[str, torch.Tensor]:
        """One step on a uint8 batch (n, C, H, W): `loss`, and `errors`, the share of pairs that were answered wrongly."""
        config = self.config
        crops, mask = self.parts_of(*self.views.jittered(images, batch, indices, random, masked=config.use_masks), random)
        shown = self.shown(crops, random)
        drawn = self.draw_pairs(config.pairs * (1 if config.shared_places else len(batch)), random)
        pairs = drawn.for_images(len(batch), config.pairs)
        counting, target = pairs.counting(mask).flatten(), pairs.target.flatten()
        outputs = self.outputs_of(shown, pairs)
        loss = self.descend(mean_where(self.answer_losses(outputs, target), counting))
        wrong = (self.answers(outputs.detach()) != target).float()
        return {"loss": loss, "errors": mean_where(wrong, counting)}

    def parts_of(
        self, crops: torch.Tensor, mask: torch.Tensor | None, random: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """A random part, of `size`, of each crop (n, C, H, W) and of its mask (n, H, W); of all of it nothing is drawn."""
        if self.config.part is None:
            return crops, mask
        top, left = (
            augment.integers(len(crops), full - wanted + 1, random)
            for full, wanted in zip(crops.shape[-2:], self.size, strict=True)
        )
        cut = augment.crop(crops, top, left, self.size)
        return cut, None if mask is None else augment.crop(mask.unsqueeze(1), top, left, self.size).squeeze(1)

    def outputs_of(self, shown: torch.Tensor, pairs: PatchPairs) -> torch.Tensor:
        """Outputs (n * p, outputs), float32, for the pairs (n, p, ...) of what the network sees (n, channels, h, w)."""
        maps = self.arithmetic(self.network.trunk, shown)
        first, second = (self.patches(maps, centres) for centres in (pairs.first, pairs.second))
        return self.arithmetic(self.network.head, first, second)

    @property
    def loss_floors(self) -> dict[str, float]:
        """No loss and no error is below 0."""
        return dict.fromkeys(("loss", "errors", "criterion"), 0.0)
