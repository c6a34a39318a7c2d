"""Fine-tuning on the rows that Table 3 of the IIC paper compares with: the same classifier on the trunks of other methods.

Each class says where the trunk of its base is and which view it was trained for; all else is `finetune.Finetune`. A linear probe
is the same with `frozen_trunk=true hidden=0`. The classifier on an untrained network is the floor under all of them.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from .adc import ADC, ADCConfig
from .base import Method
from .deepcluster import DeepCluster, DeepClusterConfig
from .finetune import Finetune, FinetuneConfig
from .kit.views import TestViewSettings
from .kit.what_where import WhatWhereTrunk
from .random_network import RandomConfig, RandomNetwork
from .registry import register
from .swwae import SWWAE, SWWAEConfig
from .triplets import Triplets, TripletsConfig

WHOLE = TestViewSettings(size=32, crop=100, crop_unit="percent")


class TripletsFinetuneConfig(FinetuneConfig):
    """Settings of the classifier on triplets."""

    BASE: ClassVar[str] = "triplets"
    base: TripletsConfig = Field(default_factory=TripletsConfig, description="settings of the triplets")


@register("triplets-finetune")
class TripletsFinetune(Finetune):
    """A classifier on the trunk of the triplet baseline, which is that of IIC."""

    name: ClassVar[str] = "triplets-finetune"
    Config = TripletsFinetuneConfig
    config: TripletsFinetuneConfig

    def build_base(self, shape: tuple[int, int, int]) -> Triplets:
        """Triplets."""
        base = self.new_base(Triplets, self.n_clusters)
        base.build_for(shape)
        return base

    def trunk_of(self, base: Method) -> nn.Module:
        """What is under the linear head."""
        assert isinstance(base, Triplets)
        return base.network.trunk

    @property
    def view(self) -> TestViewSettings:
        """That of triplets."""
        return self.config.base.views

    @property
    def base_epochs(self) -> int:
        """Those of triplets."""
        return self.config.base.epochs


class DeepClusterFinetuneConfig(FinetuneConfig):
    """Settings of the classifier on DeepCluster."""

    BASE: ClassVar[str] = "deepcluster"
    base: DeepClusterConfig = Field(default_factory=DeepClusterConfig, description="settings of DeepCluster")


@register("deepcluster-finetune")
class DeepClusterFinetune(Finetune):
    """A classifier on the trunk of DeepCluster, below the linear layer whose output was clustered."""

    name: ClassVar[str] = "deepcluster-finetune"
    Config = DeepClusterFinetuneConfig
    config: DeepClusterFinetuneConfig

    def build_base(self, shape: tuple[int, int, int]) -> DeepCluster:
        """DeepCluster."""
        base = self.new_base(DeepCluster, self.n_clusters)
        base.build(shape)
        return base

    def entry_of(self, base: Method) -> nn.Module:
        """The network's own normalisation and Sobel filter."""
        assert isinstance(base, DeepCluster)
        return base.network.entry

    def trunk_of(self, base: Method) -> nn.Module:
        """The convolutions."""
        assert isinstance(base, DeepCluster)
        return base.network.trunk

    @property
    def view(self) -> TestViewSettings:
        """DeepCluster's crop and size; the Sobel filter is the network's."""
        views = self.config.base.views
        return TestViewSettings(size=views.size, crop=views.crop, crop_unit=views.crop_unit)

    @property
    def base_epochs(self) -> int:
        """Those of DeepCluster."""
        return self.config.base.epochs


class ADCFinetuneConfig(FinetuneConfig):
    """Settings of the classifier on ADC."""

    BASE: ClassVar[str] = "adc"
    base: ADCConfig = Field(default_factory=ADCConfig, description="settings of ADC")


class Signed(nn.Module):
    """Pixels from [0, 1] to [-1, 1], which is what ADC's networks take."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images * 2 - 1


@register("adc-finetune")
class ADCFinetune(Finetune):
    """A classifier on the embeddings of Associative Deep Clustering."""

    name: ClassVar[str] = "adc-finetune"
    Config = ADCFinetuneConfig
    config: ADCFinetuneConfig

    def build_base(self, shape: tuple[int, int, int]) -> ADC:
        """ADC."""
        base = self.new_base(ADC, self.n_clusters)
        base.build(shape)
        return base

    def entry_of(self, base: Method) -> nn.Module:
        """From [0, 1] to [-1, 1]."""
        return Signed()

    def trunk_of(self, base: Method) -> nn.Module:
        """All that makes an embedding of an image."""
        assert isinstance(base, ADC)
        return base.network.trunk

    @property
    def view(self) -> TestViewSettings:
        """ADC's square and size."""
        views = self.config.base.views
        return TestViewSettings(size=views.size, crop=max(1, round(100 * views.crop)), crop_unit="percent")

    @property
    def base_epochs(self) -> int:
        """Those of ADC."""
        return self.config.base.epochs


class SWWAEFinetuneConfig(FinetuneConfig):
    """Settings of the classifier on the stacked what-where autoencoder."""

    BASE: ClassVar[str] = "swwae"
    view: TestViewSettings = Field(
        default=WHOLE, description="crop and size that the classifier sees; the base sees whole images at their own size"
    )
    base: SWWAEConfig = Field(default_factory=SWWAEConfig, description="settings of the autoencoder")


@register("swwae-finetune")
class SWWAEFinetune(Finetune):
    """A classifier on the topmost pooled maps of a stacked what-where autoencoder."""

    name: ClassVar[str] = "swwae-finetune"
    Config = SWWAEFinetuneConfig
    config: SWWAEFinetuneConfig
    WEIGHTS: ClassVar[str] = "encoders."

    def build_base(self, shape: tuple[int, int, int]) -> SWWAE:
        """The autoencoder."""
        base = self.new_base(SWWAE, self.n_clusters)
        base.build_for(shape)
        return base

    def trunk_of(self, base: Method) -> nn.Module:
        """Convolutions and poolings of the way up, without a code."""
        assert isinstance(base, SWWAE)
        return WhatWhereTrunk(base.network)

    @property
    def view(self) -> TestViewSettings:
        """The classifier's own: convolutions take images of any size."""
        return self.config.view

    @property
    def base_epochs(self) -> int:
        """Those of the autoencoder."""
        return self.config.base.epochs


class RandomFinetuneConfig(FinetuneConfig):
    """Settings of the classifier on an untrained network."""

    BASE: ClassVar[str] = "random"
    base: RandomConfig = Field(default_factory=RandomConfig, description="the network, and the view that it looks at")


@register("random-finetune")
class RandomFinetune(Finetune):
    """A classifier on an untrained network: what labels alone can do with it."""

    name: ClassVar[str] = "random-finetune"
    Config = RandomFinetuneConfig
    config: RandomFinetuneConfig

    def build_base(self, shape: tuple[int, int, int]) -> RandomNetwork:
        """The untrained network."""
        base = self.new_base(RandomNetwork, self.n_clusters)
        base.build(shape)
        return base

    def trunk_of(self, base: Method) -> nn.Module:
        """What is under its heads."""
        assert isinstance(base, RandomNetwork)
        return base.extractor.trunk

    @property
    def view(self) -> TestViewSettings:
        """That of the network."""
        return self.config.base.network.views

    @property
    def base_epochs(self) -> int:
        """None: there is nothing to train."""
        return 0
