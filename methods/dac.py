"""Deep Adaptive Clustering: is this pair of images alike? The network's own surest answers are what it learns from.

Chang, Wang, Meng, Xiang, Pan: Deep Adaptive Image Clustering, ICCV 2017. The images come in blocks. The network judges the pairs
of a block once: similar label features make a pair alike, dissimilar ones make it different, and what is in between does not
count (section 3.2). Then it learns these answers for some passes on transformed views, before the next block is judged. The
thresholds approach each other from epoch to epoch, so that ever more pairs count (section 3.3); DAC* has one threshold and counts
all pairs. The released code has a third part, not in the paper: what the network says of an image is held to what it said when
the block was judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from ..datasets.base import Images
from .base import Epoch, Method, MethodConfig, MethodError, State, check_finite
from .kit.arithmetic import Arithmetic, Precision, whole_batches, without_lone_last
from .kit.batch_statistics import other_statistics
from .kit.dac_network import DACNetwork
from .kit.dac_views import DACViews, DACViewSettings
from .kit.label_features import Anchor, PairLoss, anchor_loss, pair_loss, pair_targets, similarities
from .kit.networks import BatchStatistics
from .kit.randomness import generator, seeded
from .registry import register

Share = Annotated[float, Field(ge=0, le=1)]
PAIRS, ANCHOR, ALIKE, USED = "pairs", "anchor", "alike", "used"


class DACConfig(MethodConfig):
    """Settings of DAC. The defaults are the authors' for MNIST, but for a narrower network."""

    epochs: PositiveInt = Field(default=20, description="epochs, each of all blocks")
    block: Annotated[int, Field(ge=2)] = Field(default=1000, description="images whose pairs are judged at a time")
    shuffle: bool = Field(default=True, description="new blocks in every epoch; else always the same, in the stored order")
    passes: PositiveInt = Field(default=5, description="passes over a block before the next one is judged")
    batch: Annotated[int, Field(ge=2)] = Field(default=128, description="images in a batch, all pairs of which are learned")
    repeats: PositiveInt = Field(default=1, description="steps in a row on each batch, with new views of its images")
    keep_last: bool = Field(default=True, description="learn from a last batch of a pass that is not full, too")
    judging_batch: PositiveInt = Field(
        default=1000, description="images of a block that are judged together, where batch norm takes each batch's statistics"
    )
    threshold: tuple[Share, Share] = Field(
        default=(0.9, 0.5), description="similarity above which a pair is alike: in the first epoch, and one epoch after the last"
    )
    lower: tuple[Share, Share] | None = Field(
        default=None, description="similarity below which a pair is different, likewise; none (DAC*): all that are not alike are"
    )
    loss: PairLoss = Field(default="squared", description="of similarity and answer: cross-entropy, or squared difference")
    pair_weight: PositiveFloat = Field(default=1.0, description="of the pairs' loss")
    anchor: Anchor = Field(
        default="features",
        description="what is held to its state when the block was judged: label features; probabilities; or, sharpened, "
        "probabilities to the label features then, which are larger",
    )
    anchor_weight: NonNegativeFloat = Field(default=0.0, description="of the loss that holds them; 0: none")
    lr: PositiveFloat = Field(default=1e-3, description="learning rate of RMSprop, constant")
    widths: tuple[Annotated[tuple[PositiveInt, ...], Field(min_length=1)], ...] = Field(
        default=((32, 32), (64, 64)),
        min_length=1,
        description="channels of 3x3 convolutions, in groups with pooling after each",
    )
    padded: bool = Field(default=False, description="convolutions keep the size of the maps, for small images")
    pool_norm: bool = Field(default=False, description="batch norm after every pooling too")
    last_relu: bool = Field(default=True, description="ReLU before the softmax")
    average_side: PositiveInt | None = Field(
        default=None, description="side of the upper left window of the last maps that is averaged; none: all of them"
    )
    statistics: BatchStatistics = Field(
        default="batch",
        description="of batch norm when images are judged and predicted: each batch's own, or the running averages of training",
    )
    evaluation_batch: PositiveInt = Field(default=1000, description="images in a batch at test time")
    precision: Precision = "float32"
    views: DACViewSettings = Field(default_factory=DACViewSettings, description="the transformations")

    @model_validator(mode="after")
    def _thresholds_fit(self) -> DACConfig:
        lower = self.lower or (0.0, 0.0)
        if any(low > high for low, high in zip(lower, self.threshold, strict=True)):
            raise ValueError(f"lower must not be above threshold, got {lower} and {self.threshold}")
        return self

    def thresholds(self, number: int) -> tuple[float, float | None]:
        """The thresholds of epoch `number`, 1 for the first: above which pairs are alike, below which different."""
        passed = (number - 1) / self.epochs
        upper = _between(self.threshold, passed)
        return upper, None if self.lower is None else _between(self.lower, passed)


def _between(ends: tuple[float, float], share: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * share


@register("dac")
class DAC(Method):
    """Deep Adaptive Image Clustering (Chang, Wang, Meng, Xiang, Pan, ICCV 2017).

    >>> from sklearn.datasets import load_digits
    >>> images = (load_digits().images * 255 / 16).round().astype("uint8")
    >>> DAC(n_clusters=10, epochs=1, widths=((8,), (16,)), padded=True).fit(images).labels_.shape
    (1797,)
    """

    name: ClassVar[str] = "dac"
    Config = DACConfig
    config: DACConfig

    def train(self, images: Images) -> Iterator[Epoch]:
        """Yield after every epoch.

        `losses`: `pairs` and, if it is used, `anchor`; `alike` and `used`, the shares of pairs that were taken for alike and that
        counted. `criterion` is the weighted sum of the losses. It falls as the network agrees with itself, whether the clusters
        are good or not, and each epoch's is about other thresholds.
        """
        if not hasattr(self, "network"):
            self._begin(images)
        for number in range(self.epochs_done + 1, self.config.epochs + 1):
            told, seen = self._epoch(images, number)
            self.epochs_done = number
            yield Epoch(number, told, self._weighted(told), seen)

    def _epoch(self, images: Images, number: int) -> tuple[dict[str, float], int]:
        """All blocks once: the mean of everything that is told, and the images that went through the network."""
        random = generator(self.device, self.seed, "epoch", number)
        thresholds = self.config.thresholds(number)
        plan = [(block, self._batches(len(block), random)) for block in self._blocks(images, random)]
        steps, done, seen = sum(len(batches) for _, batches in plan) * self.config.repeats, 0, 0
        total = torch.zeros(4, device=self.device)
        for (_, batches), pixels in zip(plan, images.batches([block for block, _ in plan]), strict=True):
            judged = self._probabilities(pixels, self.config.judging_batch)
            seen += len(pixels)
            for rows in batches:
                for _ in range(self.config.repeats):
                    total += self.train_step(pixels[rows], judged[rows], thresholds, random)
                    done, seen = done + 1, seen + len(rows)
                    self.on_step(done, steps, seen)
        check_finite(total, number, self.name)
        told = dict(zip((PAIRS, ANCHOR, ALIKE, USED), (total / done).tolist(), strict=True))
        return {name: value for name, value in told.items() if name != ANCHOR or self.config.anchor_weight}, seen

    def _weighted(self, told: Mapping[str, float]) -> float:
        return self.config.pair_weight * told[PAIRS] + self.config.anchor_weight * told.get(ANCHOR, 0.0)

    def train_step(
        self, pixels: torch.Tensor, judged: torch.Tensor, thresholds: tuple[float, float | None], random: torch.Generator
    ) -> torch.Tensor:
        """One optimiser step on a batch.

        Args:
            pixels: uint8 (M, C, H, W).
            judged: float (M, K), their cluster probabilities when the block was judged.
            thresholds: as `DACConfig.thresholds` gives them.

        Returns:
            (4,), detached: loss of the pairs, of the anchor, shares of alike and of used pairs.
        """
        config = self.config
        self.network.train()
        targets, weights = pair_targets(similarities(judged), *thresholds)
        now = self.arithmetic(self.network, self.views.training(pixels, random)).softmax(1)  # (M, K)
        pairs = pair_loss(now, targets, weights, config.loss)
        anchor = anchor_loss(now, judged, config.anchor) if config.anchor_weight else pairs.new_zeros(())
        self.optimiser.zero_grad(set_to_none=True)
        (config.pair_weight * pairs + config.anchor_weight * anchor).backward()
        self.optimiser.step()
        return torch.stack([pairs.detach(), anchor.detach(), targets.mean(), weights.mean()])

    def _blocks(self, images: Images, random: torch.Generator) -> tuple[torch.Tensor, ...]:
        """Indices of the images in blocks; what does not fill a block is left out, unless it is the only one."""
        order = images.order("main", self.config.block, random if self.config.shuffle else None)
        return whole_batches(torch.cat(order), self.config.block)

    def _batches(self, n: int, random: torch.Generator) -> list[torch.Tensor]:
        """Places in a block of `n` images, in batches of all passes, each pass in a new order."""
        found: list[torch.Tensor] = []
        for _ in range(self.config.passes):
            order = torch.randperm(n, generator=random, device=self.device)
            kept = self.config.keep_last
            found += without_lone_last(order.split(self.config.batch)) if kept else whole_batches(order, self.config.batch)
        return found

    def _begin(self, images: Images) -> None:
        main = images.role("main")
        if len(main) < 2:
            raise MethodError(f"{self.name} learns from pairs of images: give at least 2, got {len(main)}.")
        self.build(images.shape)
        self.views.fit(images, main)

    def build(self, shape: tuple[int, int, int]) -> None:
        """The network, untrained, for images of `shape` (C, H, W)."""
        config = self.config
        self.views, self.epochs_done = DACViews(config.views, shape, self.device), 0
        with seeded(self.seed, "weights"):
            network = DACNetwork(
                shape[0], self.views.size, self.n_clusters, config.widths,
                padded=config.padded, pool_norm=config.pool_norm, last_relu=config.last_relu, average_side=config.average_side,
            )  # fmt: skip
        self.arithmetic = Arithmetic(self.device, config.precision)
        self.network = self.arithmetic.ready(network)
        self.optimiser = torch.optim.RMSprop(self.network.parameters(), lr=config.lr, alpha=0.9)  # Keras' rho

    def _probabilities(self, pixels: torch.Tensor, size: int) -> torch.Tensor:
        """Cluster probabilities (N, K) of untransformed images, uint8 (N, C, H, W), in batches of `size`."""
        return torch.cat([self._judged(part) for part in without_lone_last(pixels.split(size))])

    @torch.no_grad()
    def _judged(self, pixels: torch.Tensor) -> torch.Tensor:
        """Of one batch. A lone image has no statistics of its own, so it takes the running ones."""
        if self.config.statistics == "running" or len(pixels) == 1:
            self.network.eval()
            return self.arithmetic(self.network, self.views.test(pixels)).softmax(1)
        with other_statistics(self.network, {}):  # the running ones as they were, although training mode moves them
            self.network.train()
            return self.arithmetic(self.network, self.views.test(pixels)).softmax(1)

    @property
    def loss_floors(self) -> dict[str, float]:
        """0 of everything."""
        return dict.fromkeys([PAIRS, ANCHOR, ALIKE, USED, "criterion"], 0.0)

    def predict_heads(self, images: Images) -> np.ndarray:
        """Most probable cluster of each image: int64 (1, len(images)).

        With `statistics="batch"` it depends on the other images, which are mixed first: sorted by class they would mislead
        batch norm.
        """
        return self._test_probabilities(images).argmax(1)[None].cpu().numpy()

    def predict_proba(self, images: Any) -> np.ndarray:
        """Cluster probabilities: float32 (len(images), n_clusters)."""
        return self._test_probabilities(Images.of(images).to(self.device)).cpu().numpy()

    def _test_probabilities(self, images: Images) -> torch.Tensor:
        mixed = torch.randperm(len(images), generator=generator(self.device, self.seed, "company"), device=self.device)
        order = without_lone_last(mixed.split(self.config.evaluation_batch))
        found = torch.empty(len(images), self.n_clusters, device=self.device)
        for places, pixels in zip(order, images.batches(order), strict=True):
            found[places] = self._judged(pixels)
        return found

    def state_dict(self) -> State:
        """Network, optimiser, mean of the pixels and position after the last yielded epoch."""
        return {
            "model": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "mean": self.views.mean,
            "epochs_done": self.epochs_done,
            "shape": list(self.views.shape),
        }

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned."""
        channels, height, width = state["shape"]
        self.build((channels, height, width))
        self.network.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.views.mean = state["mean"].to(self.device)
        self.epochs_done = state["epochs_done"]
