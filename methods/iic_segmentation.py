"""IIC for segmentation: a cluster for every pixel, by the information that pixels and their neighbours have in common.

Ji, Henriques, Vedaldi: Invariant Information Clustering for Unsupervised Image Classification and Segmentation,
ICCV 2019, section 3.3. A fully convolutional network gives every pixel cluster probabilities. Those of an image are compared
with those of a jittered and mirrored copy, brought back to the image's geometry, at all displacements of up to `reach` pixels
(equation 5). As in clustering, an auxiliary head with more clusters may be trained in turn with the main one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from ..datasets.base import Images
from .base import Epoch, Method, MethodConfig, State, Task, check_finite
from .kit.arithmetic import Arithmetic, Precision, cosine_decay, give_zero_gradients
from .kit.displaced_information import displaced_information_loss, moved_at_random
from .kit.randomness import generator
from .kit.segmentation_network import SegmentationNetworkSettings, build_network, probability_maps
from .kit.segmentation_views import PairSettings, SegmentationPairs, largest_crop
from .registry import register

Group = Literal["main", "auxiliary"]


class IICSegmentationConfig(MethodConfig):
    """Settings of IIC for segmentation. The defaults are the small network of the `short` presets."""

    epochs: PositiveInt = Field(default=20, description="epochs; each makes all the passes")
    passes: tuple[Group, ...] = Field(
        default=("auxiliary", "main"), min_length=1, description="heads trained in one epoch, one pass over their images each"
    )
    steps: PositiveInt | None = Field(
        default=None,
        description="optimiser steps of one pass, again and again through its images; none: once through them",
    )
    auxiliary_clusters: Annotated[int, Field(ge=2)] = Field(
        default=15, description="clusters of the auxiliary head, used if a pass names it"
    )
    sub_heads: PositiveInt = Field(default=1, description="sub-heads h of the main head")
    auxiliary_sub_heads: PositiveInt = Field(default=1, description="sub-heads of the auxiliary head")
    batch_pairs: PositiveInt = Field(default=8, description="pairs of images in a batch")
    reach: NonNegativeInt = Field(default=10, description="largest displacement d in rows and columns, in pixels of the input")
    sparse_reach: tuple[NonNegativeInt, NonNegativeInt] = Field(
        default=(0, 0),
        description="one more random displacement of the whole batch, from least to most pixels; the authors' was 0",
    )
    collapsed: bool = Field(
        default=False, description="one joint distribution of all displacements instead of one each; never used in published runs"
    )
    use_masks: bool = Field(
        default=True, description="let only the pixels count that the data set's masks name (COCO-Stuff), as the authors"
    )
    entropy_weight: PositiveFloat = Field(
        default=1.0, description="lambda of the main head; above 1 it presses towards balanced clusters (1.5 for three labels)"
    )
    auxiliary_entropy_weight: PositiveFloat = Field(default=1.0, description="lambda of the auxiliary head")
    lr: PositiveFloat = Field(default=1e-3, description="learning rate of Adam")
    lr_schedule: Literal["constant", "cosine"] = Field(default="constant", description="cosine falls to zero over all epochs")
    idle_head_updates: bool = Field(
        default=False, description="let Adam's momentum move the head that is not being trained, as torch 0.4 did"
    )
    evaluation_batch: PositiveInt = Field(default=16, description="images in a batch at test time")
    precision: Precision = "float32"
    network: SegmentationNetworkSettings = Field(default_factory=SegmentationNetworkSettings, description="its layers")
    views: PairSettings = Field(default_factory=PairSettings, description="the transformations")

    @model_validator(mode="after")
    def _can_be_trained(self) -> IICSegmentationConfig:
        if "main" not in self.passes:
            raise ValueError("passes must name 'main', the head that predicts")
        if self.sparse_reach[0] > self.sparse_reach[1]:
            raise ValueError(f"sparse_reach must be two numbers in ascending order, got {list(self.sparse_reach)}")
        return self


@register("iic-segmentation")
class IICSegmentation(Method):
    """Invariant Information Clustering of pixels (Ji, Henriques, Vedaldi, ICCV 2019, section 3.3).

    >>> from sklearn.datasets import load_sample_images
    >>> import numpy as np
    >>> photographs = np.stack(load_sample_images().images)[:, ::8, ::8]  # uint8 (2, 54, 80, 3)
    >>> IICSegmentation(n_clusters=3, epochs=1, reach=3).fit(photographs).labels_.shape
    (2, 54, 80)
    """

    name: ClassVar[str] = "iic-segmentation"
    task: ClassVar[Task] = "segmentation"
    Config = IICSegmentationConfig
    config: IICSegmentationConfig

    def train(self, images: Images) -> Iterator[Epoch]:
        """Yield after every epoch: `losses` by trained head and sub-head; `criterion` is the lowest of the main head's."""
        if not hasattr(self, "network"):
            self.build(images.shape, largest_crop(images))
        for number in range(self.epochs_done + 1, self.config.epochs + 1):
            losses, seen = self._epoch(images, number)
            self.sub_head_losses = losses["main"]
            self.epochs_done = number
            criterion = self.sub_head_losses[self.chosen_head].item()
            yield Epoch(number, {group: loss.tolist() for group, loss in losses.items()}, criterion, seen)

    def _epoch(self, images: Images, number: int) -> tuple[dict[str, torch.Tensor], int]:
        """All passes of one epoch: the mean loss of each sub-head by head, and the images that went through the network."""
        random = generator(self.device, self.seed, "epoch", number)
        orders = [self._order(images, group, random) for group in self.config.passes]
        steps, done, seen = sum(map(len, orders)), 0, 0
        losses: dict[str, torch.Tensor] = {}
        for group, order in zip(self.config.passes, orders, strict=True):
            each = []
            for indices, batch in zip(order, images.batches(order), strict=True):
                self._set_learning_rate(number - 1 + done / steps)
                each.append(self.train_step(images, batch, indices, group, random))
                done, seen = done + 1, seen + 2 * len(batch)
                self.on_step(done, steps, seen)
            losses[group] = torch.stack(each).mean(0)
            check_finite(losses[group], number, self.name)
        return losses, seen

    def _order(self, images: Images, group: Group, random: torch.Generator) -> tuple[torch.Tensor, ...]:
        """Index tensors of one pass, shuffled; without `steps` the last one may be shorter."""
        size, steps = self.config.batch_pairs, self.config.steps
        if steps is None:
            return images.order(group, size, random)
        rounds = -(-steps * size // len(images.role(group)))
        indices = torch.cat([every for _ in range(rounds) for every in images.order(group, size, random)])
        return indices[: steps * size].split(size)

    def train_step(
        self, images: Images, batch: torch.Tensor, indices: torch.Tensor, group: Group, random: torch.Generator
    ) -> torch.Tensor:
        """One optimiser step on a uint8 batch (n, C, H, W) of `images`: the loss of each sub-head (h,), detached."""
        self.network.train()
        loss = self.pair_losses(images, batch, indices, group, random)
        self.optimiser.zero_grad(set_to_none=not self.config.idle_head_updates)
        loss.mean().backward()
        self.optimiser.step()
        return loss.detach()

    def pair_losses(
        self, images: Images, batch: torch.Tensor, indices: torch.Tensor, group: Group, random: torch.Generator
    ) -> torch.Tensor:
        """Loss of each sub-head (h,) over the pairs of a uint8 batch (n, C, H, W), the images at `indices` (n,)."""
        config = self.config
        pair = self.views.pair(images, batch, indices, random, masked=config.use_masks)
        p = self.probabilities(pair.first, group)  # (h, n, K, H', W')
        q = pair.undone(self.probabilities(pair.second, group))
        if config.sparse_reach[1]:
            q = moved_at_random(q, *config.sparse_reach, random)
        weight = config.entropy_weight if group == "main" else config.auxiliary_entropy_weight
        return displaced_information_loss(p, q, config.reach, mask=pair.mask, entropy_weight=weight, collapsed=config.collapsed)

    def probabilities(self, views: torch.Tensor, group: Group) -> torch.Tensor:
        """Cluster probabilities (h, n, K, H', W'), float32, of prepared views (n, C', H', W')."""
        return self.arithmetic(self.network, views, group)

    def _set_learning_rate(self, epochs_passed: float) -> None:
        if self.config.lr_schedule == "cosine":
            for parameters in self.optimiser.param_groups:
                parameters["lr"] = self.config.lr * cosine_decay(epochs_passed, self.config.epochs)

    def build(self, shape: tuple[int, int, int], extent: tuple[int, int]) -> None:
        """Network and optimiser for images of `shape` (C, H, W) that all hold pixels in (height, width) `extent` at least."""
        config = self.config
        self.shape, self.extent, self.epochs_done = shape, extent, 0
        self.views = SegmentationPairs(config.views, shape, extent)
        shapes = {
            "main": (self.n_clusters, config.sub_heads),
            "auxiliary": (config.auxiliary_clusters, config.auxiliary_sub_heads),
        }
        heads = {group: shapes[group] for group in dict.fromkeys(config.passes)}
        network = build_network(self.views.channels, self.views.size, heads, config.network, self.seed)
        self.arithmetic = Arithmetic(self.device, config.precision)
        self.network = self.arithmetic.ready(network)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=config.lr)
        self.sub_head_losses = torch.zeros(config.sub_heads)

    @property
    def chosen_head(self) -> int:
        """The main sub-head with the lowest loss."""
        return int(self.sub_head_losses.argmin())

    def predict_batches(self, images: Images) -> Iterator[np.ndarray]:
        """Cluster of each pixel by each main sub-head: int64 (sub_heads, n, H, W), a batch of images at a time."""
        for maps in self._test_maps(images):
            yield maps.argmax(2).cpu().numpy()

    def predict_heads(self, images: Images) -> np.ndarray:
        """All of `predict_batches`: int64 (sub_heads, len(images), H, W)."""
        return np.concatenate(list(self.predict_batches(images)), axis=1)

    def predict_proba(self, images: Images) -> np.ndarray:
        """Cluster probabilities of each pixel by the sub-head of lowest loss: float32 (len(images), n_clusters, H, W)."""
        maps = self._test_maps(Images.of(images).to(self.device))
        return np.concatenate([every[self.chosen_head].cpu().numpy() for every in maps])

    def _test_maps(self, images: Images) -> Iterator[torch.Tensor]:
        return probability_maps(self.network, self.views, images, self.config.evaluation_batch)

    def state_dict(self) -> State:
        """Network, optimiser and position after the last yielded epoch."""
        return {
            "model": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "sub_head_losses": self.sub_head_losses,
            "epochs_done": self.epochs_done,
            "shape": list(self.shape),
            "extent": list(self.extent),
        }

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned."""
        (channels, height, width), (rows, columns) = state["shape"], state["extent"]
        self.build((channels, height, width), (rows, columns))
        self.network.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.config.idle_head_updates:
            give_zero_gradients(self.optimiser)
        self.sub_head_losses, self.epochs_done = state["sub_head_losses"], state["epochs_done"]
