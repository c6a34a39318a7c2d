"""Features of images for methods that cluster them: pixels, or what one of the kit's networks makes of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import nn

from ...datasets.base import Images
from ..base import MethodError
from .networks import BatchStatistics, TrunkName, build_trunk
from .randomness import seeded
from .views import CentralView, TestViewSettings

PIXELS_BATCH = 4096  # images that are copied at a time


class NetworkSettings(BaseModel):
    """A trunk of the kit and the test view that it looks at."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trunk: TrunkName = Field(default="small", description="small, vgg (ClusterNet6c), resnet (ClusterNet5g) or mlp")
    widths: tuple[PositiveInt, ...] = Field(
        default=(16, 32, 64, 128), min_length=1, description="channels per layer of the small network, units per layer of the mlp"
    )
    kernel: Literal[1, 3, 5, 7] = Field(default=3, description="side of the small network's convolutions")
    batch_statistics: BatchStatistics = Field(default="running", description="batch norm: running averages or each batch's own")
    batch: PositiveInt = Field(default=1000, description="images in a batch")
    weights: str | None = Field(
        default=None,
        description="model.safetensors of a run on the same trunk; for kmeans also pretext/KEY (bench cache list), a kept "
        "network that brings its own trunk and view, and pretext/KEY/projection; random weights without",
    )
    views: TestViewSettings = Field(default_factory=TestViewSettings, description="the view that it looks at")


def pixel_features(images: Images, role: str = "all") -> np.ndarray:
    """Pixels in [0, 1] of the images of a role, flattened: float32 (N, C * H * W)."""
    features = np.empty((len(images.role(role)), math.prod(images.shape)), np.float32)
    filled = 0
    for batch in images.batches(images.order(role, PIXELS_BATCH)):
        features[filled : filled + len(batch)] = batch.flatten(1).cpu().numpy()
        filled += len(batch)
    return np.divide(features, 255, out=features)


class NetworkFeatures:
    """A trunk at rest, random or trained, applied to the test view.

    Args:
        settings: see `NetworkSettings`.
        shape: (C, H, W) of the images.
        seed: decides the random weights.
        device: where the network runs.

    Raises:
        MethodError: an image size that the trunk cannot take; weights that are missing or of another network.
    """

    def __init__(self, settings: NetworkSettings, shape: tuple[int, int, int], seed: int, device: str) -> None:
        self.settings, self.views = settings, CentralView(settings.views, shape)
        with seeded(seed, "weights"):
            trunk = build_trunk(
                settings.trunk, self.views.channels, settings.views.size,
                statistics=settings.batch_statistics, widths=settings.widths, kernel=settings.kernel,
            )  # fmt: skip
        if settings.weights is not None:
            load_trunk(trunk, Path(settings.weights))
        self.trunk = trunk.to(device).eval()

    @torch.inference_mode()
    def of(self, images: Images, role: str = "all") -> torch.Tensor:
        """Features of the images of a role: float32 (N, D), on the device."""
        order = images.order(role, self.settings.batch)
        return torch.cat([self.trunk(self.views.test(batch)) for batch in images.batches(order)])


def load_trunk(trunk: nn.Module, path: Path, prefix: str = "trunk.") -> None:
    """Fill `trunk` from the tensors of a run's model.safetensors whose names go on after `prefix`."""
    from safetensors.torch import load_file

    if not path.is_file():
        raise MethodError(f"No weights at {path}. Give the model.safetensors of a run's folder.")
    try:
        tensors = load_file(path)
    except Exception as error:
        raise MethodError(f"{path} is not a readable safetensors file ({error}).") from None
    weights = {name.partition(prefix)[2]: tensor for name, tensor in tensors.items() if prefix in name}
    try:
        trunk.load_state_dict(weights)
    except RuntimeError as error:
        raise MethodError(f"{path} holds weights of another network: {str(error).splitlines()[1].strip()}") from None
