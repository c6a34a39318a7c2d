"""Networks that map images to flat features, by name: the kit's small trunk, ResNets with small stems, any of torchvision's."""

from __future__ import annotations

import difflib
from typing import Literal, TypeAlias, get_args

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import nn

from ..base import MethodError
from .networks import Trunk, build_trunk
from .randomness import seeded
from .resnets import ResNet, ResNetName, Stem

CLASSES = 1000  # that torchvision's classifiers tell apart, which their last layer shows


class BackboneSettings(BaseModel):
    """Which network, and how it begins."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="resnet18", description="small, resnet18, resnet34, resnet50, or any classifier of torchvision")
    stem: Stem = Field(
        default="cifar",
        description="of the three ResNets: cifar (3x3 convolution, no pooling), stl (2x2 pooling after it, padding 1), "
        "stl-unpadded (padding 0) or imagenet (7x7 of stride 2, 3x3 pooling)",
    )
    widths: tuple[PositiveInt, ...] = Field(
        default=(16, 32, 64, 128), min_length=1, description="channels per layer of the small network"
    )
    kernel: Literal[1, 3, 5, 7] = Field(default=3, description="side of the small network's convolutions")


class TorchvisionBackbone(nn.Module):
    """A classifier of torchvision without its last linear layer. Grey images are given to it three times over.

    Attributes:
        model: the rest of it, with torchvision's names of weights.
        features: length of what the last layer took.

    Raises:
        MethodError: no such classifier, or one that does not end in a linear layer.
    """

    features: int

    def __init__(self, name: str) -> None:
        from torchvision import models  # here, because torchvision takes seconds to import

        super().__init__()
        known = models.list_models(module=models)
        if name not in known:
            raise MethodError(_unknown(name, known))
        options = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
        self.model = models.get_model(name, weights=None, **options)
        last = [path for path, layer in self.model.named_modules() if isinstance(layer, nn.Linear)][-1:]
        layer = self.model.get_submodule(last[0]) if last else None
        if not isinstance(layer, nn.Linear) or layer.out_features != CLASSES:
            raise MethodError(
                f"network.name: {name} does not end in a linear layer that could be left out. Take another network."
            )
        parent, _, child = last[0].rpartition(".")
        setattr(self.model.get_submodule(parent), child, nn.Identity())
        self.features = layer.in_features

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features (N, features) of images (N, 1 or 3, H, W), in a size that the network takes."""
        return self.model(images.expand(-1, 3, -1, -1))


Backbone: TypeAlias = Trunk | ResNet | TorchvisionBackbone


def build_backbone(settings: BackboneSettings, channels: int, size: int, seed: int) -> Backbone:
    """A network for images of `channels` x `size` x `size`, its random weights decided by `seed`.

    Raises:
        MethodError: a name that there is not, or images that the network cannot take.
    """
    with seeded(seed, "weights"):
        if settings.name == "small":
            return build_trunk("small", channels, size, widths=settings.widths, kernel=settings.kernel)
        for name in get_args(ResNetName):
            if settings.name == name:
                return ResNet(name, channels, settings.stem)
        return TorchvisionBackbone(settings.name)


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, ["small", *known], n=1)
    hint = f" Did you mean {near[0]!r}?" if near else " Take small or one that torchvision.models.list_models names."
    return f"network.name: there is no network {name!r}.{hint}"
