"""What a clusterer that is no network sees of images: pixels, or the features of a network, random, trained or kept."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field

from ...datasets.base import Images
from ..base import Method
from .artefacts import Artefacts
from .features import NetworkFeatures, NetworkSettings, pixel_features
from .pretext_features import PretextFeatures, is_pretext
from .scaling import Scaling, ScalingSettings

Source = Literal["pixels", "network"]


class InputSettings(ScalingSettings):
    """What is clustered, and how it is scaled before."""

    features: Source = Field(default="pixels", description="what is clustered")
    network: NetworkSettings = Field(
        default_factory=NetworkSettings, description="the network of features=network; weights=pretext/KEY takes a kept one"
    )


def extractor_of(method: Method, settings: NetworkSettings, shape: tuple[int, int, int]) -> NetworkFeatures | PretextFeatures:
    """The network that a method's settings name, on its device; what it takes from the store is noted in the method.

    Args:
        method: whose seed and device count.
        settings: see `NetworkSettings`.
        shape: (C, H, W) of the images.

    Raises:
        MethodError: weights that are missing or of another network; images that it cannot take.
    """
    if is_pretext(settings.weights):
        return PretextFeatures(str(settings.weights), shape, method.device, settings.batch, Artefacts.of(method))
    return NetworkFeatures(settings, shape, method.seed, method.device)


class Inputs:
    """From images to the vectors that are clustered.

    Args:
        method: whose seed and device count.
        settings: see `InputSettings`.
        shape: (C, H, W) of the images.
    """

    def __init__(self, method: Method, settings: InputSettings, shape: tuple[int, int, int]) -> None:
        self.scaling = Scaling(settings, method.seed, "input")
        self.extractor = extractor_of(method, settings.network, shape) if settings.features == "network" else None

    def fit(self, images: Images, role: str) -> np.ndarray:
        """Vectors of the images of a role, by which the scaling is fitted: float32 (N, D)."""
        return self.scaling.fit(self._raw(images, role))

    def of(self, images: Images) -> np.ndarray:
        """Vectors of all `images`: float32 (N, D)."""
        return self.scaling(self._raw(images, "all"))

    def passed(self, count: int) -> int:
        """How many of `count` images went through a network."""
        return 0 if self.extractor is None else count

    def _raw(self, images: Images, role: str) -> np.ndarray:
        return pixel_features(images, role) if self.extractor is None else self.extractor.of(images, role).cpu().numpy()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """What was fitted; a network's weights follow from the seed, or are where they were."""
        return self.scaling.state_dict()

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.scaling.load_state_dict(state)
