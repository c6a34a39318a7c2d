"""The settings of IIC for whole images."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from .base import MethodConfig
from .kit.arithmetic import Precision
from .kit.networks import BatchStatistics, TrunkName
from .kit.views import ViewSettings

Group = Literal["main", "auxiliary"]


class IICConfig(MethodConfig):
    """Settings of IIC. The defaults are the small network of the `short` presets."""

    later: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("auxiliary_epochs", "auxiliary_sub_heads", "main_trunk_lr"),
        ("auxiliary_images", "refresh_statistics", "views.crop_unit"),
    )

    epochs: PositiveInt = Field(default=100, description="epochs; each makes all the passes")
    passes: tuple[Group, ...] = Field(
        default=("main",), min_length=1, description="heads trained in one epoch, one pass over their images each"
    )
    auxiliary_clusters: Annotated[int, Field(ge=2)] = Field(
        default=50, description="clusters of the auxiliary head, used if a pass names it"
    )
    auxiliary_images: Group = Field(
        default="auxiliary",
        description="images of the auxiliary head: its own (STL-10: with the unlabelled ones) or the main head's",
    )
    auxiliary_epochs: NonNegativeInt = Field(
        default=0, description="first epochs, in which the auxiliary head trains alone, one pass each; then come the passes above"
    )
    sub_heads: PositiveInt = Field(default=5, description="sub-heads h of the main head")
    auxiliary_sub_heads: PositiveInt | None = Field(
        default=None, description="sub-heads of the auxiliary head; as many as the main one has if not given"
    )
    batch_pairs: PositiveInt = Field(default=350, description="pairs in a batch, repeats counted")
    repeats: PositiveInt = Field(default=5, description="transformed copies r of each image in a batch")
    shuffle: bool = Field(default=True, description="new random batches in every epoch; the authors kept the stored order")
    entropy_weight: PositiveFloat = Field(
        default=1.0, description="lambda of the main head; above 1 presses towards balanced clusters"
    )
    auxiliary_entropy_weight: PositiveFloat = Field(default=1.0, description="lambda of the auxiliary head")
    lr: PositiveFloat = Field(default=5e-4, description="learning rate of Adam")
    main_trunk_lr: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0, description="share of the learning rate that the trunk has in passes of the main head"
    )
    lr_schedule: Literal["constant", "cosine"] = Field(
        default="constant", description="cosine falls to zero over the epochs after auxiliary_epochs"
    )
    idle_head_updates: bool = Field(
        default=False, description="let Adam's momentum move the head that is not being trained, as torch 0.4 did"
    )
    sub_head_loss: Literal["training", "pass"] = Field(
        default="training",
        description="loss that chooses the sub-head: mean over its last training pass, or an extra pass in test mode",
    )
    network: TrunkName = Field(default="small", description="small, vgg (ClusterNet6c), resnet (ClusterNet5g) or mlp")
    widths: tuple[PositiveInt, ...] = Field(
        default=(16, 32, 64, 128), min_length=1, description="channels per layer of the small network, units per layer of the mlp"
    )
    kernel: Literal[1, 3, 5, 7] = Field(default=3, description="side of the small network's convolutions")
    batch_statistics: BatchStatistics = Field(
        default="running", description="batch norm at test time: running averages or the test batch's own"
    )
    refresh_statistics: bool = Field(
        default=False,
        description="after every epoch, let the main head's images in their test view set the running batch-norm averages",
    )
    evaluation_batch: PositiveInt = Field(default=2000, description="images in a batch at test time")
    precision: Precision = "float32"
    views: ViewSettings = Field(default_factory=ViewSettings, description="the transformations")

    @model_validator(mode="after")
    def _batch_holds_whole_images(self) -> IICConfig:
        if self.batch_pairs % self.repeats:
            raise ValueError(f"batch_pairs must be a multiple of repeats, got {self.batch_pairs} and {self.repeats}")
        if "main" not in self.passes:
            raise ValueError("passes must name 'main', the head that predicts")
        if self.auxiliary_epochs >= self.epochs:
            raise ValueError(f"auxiliary_epochs leave the main head no epoch: {self.auxiliary_epochs} of {self.epochs}")
        return self

    def passes_of(self, epoch: int) -> tuple[Group, ...]:
        """The passes of epoch 1, 2, ..."""
        return ("auxiliary",) if epoch <= self.auxiliary_epochs else self.passes

    def sub_heads_of(self, group: Group) -> int:
        """The number of sub-heads h of a head."""
        return (group == "auxiliary" and self.auxiliary_sub_heads) or self.sub_heads

    @property
    def groups(self) -> tuple[Group, ...]:
        """The heads that are trained at all, in the order of their first pass."""
        return tuple(dict.fromkeys(self.passes_of(1) + self.passes))
