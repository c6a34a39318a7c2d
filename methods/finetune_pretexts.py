"""Fine-tuning on networks that were made to be fine-tuned: SCAN's contrastive pretext, Deep InfoMax, Exemplar-CNN.

As `finetune_rivals`; the two kinds differ in nothing but what their bases were made for.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field
from torch import nn

from .base import Method
from .dim import DIM, DIMConfig
from .exemplar import Exemplar, ExemplarConfig
from .finetune import Finetune, FinetuneConfig
from .finetune_rivals import WHOLE
from .kit.artefacts import Artefacts
from .kit.kept_pretext import KeptPretext
from .kit.pretext_base import ROLE, Contrastive, ContrastiveConfig, Normalise
from .kit.views import TestViewSettings
from .registry import register


class SCANFinetuneConfig(FinetuneConfig):
    """Settings of the classifier on SCAN's pretext."""

    BASE: ClassVar[str] = "scan"
    view: TestViewSettings = Field(default=WHOLE, description="crop and size that the classifier sees, sobel=false")
    base: ContrastiveConfig = Field(
        default_factory=ContrastiveConfig, description="settings of the contrastive network, those of SCAN's first stage"
    )

    @classmethod
    def base_settings(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Those of SCAN's first stage."""
        return {name: value for name, value in config.items() if name in ContrastiveConfig.model_fields}


@register("scan-finetune")
class SCANFinetune(Finetune):
    """A classifier on the contrastive network that SCAN starts from; trials of SCAN and of this share it in the store."""

    name: ClassVar[str] = "scan-finetune"
    Config = SCANFinetuneConfig
    config: SCANFinetuneConfig

    def build_base(self, shape: tuple[int, int, int]) -> Contrastive:
        """The contrastive network."""
        base = self.new_base(Contrastive, self.n_clusters)
        base.build(shape)
        return base

    def kept(self, base: Method) -> KeptPretext:
        """Under the key that SCAN gives it."""
        assert isinstance(base, Contrastive)
        return KeptPretext(base.pretext, Artefacts.of(self) if self.config.reuse else None, role=ROLE)

    def entry_of(self, base: Method) -> nn.Module:
        """Subtraction of the mean and division by the standard deviation."""
        assert isinstance(base, Contrastive)
        return Normalise(base.pretext.views)

    def trunk_of(self, base: Method) -> nn.Module:
        """The backbone below the projection."""
        assert isinstance(base, Contrastive)
        return base.pretext.network.trunk

    @property
    def view(self) -> TestViewSettings:
        """The classifier's own: the backbone's convolutions take images of any size."""
        return self.config.view

    @property
    def base_epochs(self) -> int:
        """Those of the pretext."""
        return self.config.base.pretext.epochs


class DIMFinetuneConfig(FinetuneConfig):
    """Settings of the classifier on Deep InfoMax."""

    BASE: ClassVar[str] = "dim"
    base: DIMConfig = Field(default_factory=DIMConfig, description="settings of Deep InfoMax")


@register("dim-finetune")
class DIMFinetune(Finetune):
    """A classifier on the encoder of Deep InfoMax, below its code."""

    name: ClassVar[str] = "dim-finetune"
    Config = DIMFinetuneConfig
    config: DIMFinetuneConfig

    def build_base(self, shape: tuple[int, int, int]) -> DIM:
        """Deep InfoMax."""
        base = self.new_base(DIM, self.n_clusters)
        base.build_for(shape)
        return base

    def trunk_of(self, base: Method) -> nn.Module:
        """Convolutions and linear layers up to what the code is made of."""
        assert isinstance(base, DIM)
        return base.network.encoder.trunk

    @property
    def view(self) -> TestViewSettings:
        """That of Deep InfoMax."""
        return self.config.base.views

    @property
    def base_epochs(self) -> int:
        """Those of Deep InfoMax."""
        return self.config.base.epochs


class ExemplarFinetuneConfig(FinetuneConfig):
    """Settings of the classifier on Exemplar-CNN."""

    BASE: ClassVar[str] = "exemplar"
    base: ExemplarConfig = Field(default_factory=ExemplarConfig, description="settings of Exemplar-CNN")


@register("exemplar-finetune")
class ExemplarFinetune(Finetune):
    """A classifier on the maps of all layers of Exemplar-CNN, pooled by quadrants."""

    name: ClassVar[str] = "exemplar-finetune"
    Config = ExemplarFinetuneConfig
    config: ExemplarFinetuneConfig

    def build_base(self, shape: tuple[int, int, int]) -> Exemplar:
        """Exemplar-CNN."""
        base = self.new_base(Exemplar, self.n_clusters)
        base.build_for(shape)
        return base

    def trunk_of(self, base: Method) -> nn.Module:
        """All layers but the one that tells the seeds apart, and the pooling."""
        assert isinstance(base, Exemplar)
        return base.network.trunk

    @property
    def view(self) -> TestViewSettings:
        """That of whole images."""
        return self.config.base.views

    @property
    def base_epochs(self) -> int:
        """Those of Exemplar-CNN."""
        return self.config.base.epochs
