"""Invariant Information Clustering: clusters that stay the same under transformation and tell the most about the image.

Ji, Henriques, Vedaldi: Invariant Information Clustering for Unsupervised Image Classification and Segmentation,
ICCV 2019. A network maps an image and a transformed copy of it to cluster probabilities; training maximises their mutual
information (equation 3) and nothing else. An auxiliary head with more clusters than classes may be trained in turn with
the main one (section 4.1), every head has several sub-heads that differ in their initialisation only, and every image
meets `repeats` transformed copies of itself in a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from ..datasets.base import Images
from .base import Epoch, Method, MethodError, State, check_finite
from .iic_config import Group, IICConfig
from .iic_stacked import StackedEpoch
from .kit.arithmetic import Arithmetic, cosine_decay, give_zero_gradients, without_lone_last
from .kit.information import information_loss, loss_floor
from .kit.networks import ClusterNetwork, build_trunk, initialise
from .kit.pairs import GivenViews, Pairs
from .kit.randomness import generator, seeded
from .kit.views import PairedViews
from .registry import register


@register("iic")
class IIC(Method):
    """Invariant Information Clustering (Ji, Henriques, Vedaldi, ICCV 2019).

    >>> from sklearn.datasets import load_digits
    >>> images = (load_digits().images * 255 / 16).round().astype("uint8")
    >>> IIC(n_clusters=10, epochs=1, views={"crop": 8, "crops_transformed": [7, 8], "size": 16}).fit(images).labels_.shape
    (1797,)

    Nothing in it needs images. Pairs of anything, made by the user, train it too; vectors take `network="mlp"`:

    >>> import torch
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.preprocessing import StandardScaler
    >>> samples = StandardScaler().fit_transform(load_wine().data)  # (178, 13)
    >>> def noisy(samples, random):
    ...     return samples + 0.5 * torch.randn(samples.shape, generator=random, device=samples.device)
    >>> method = IIC(n_clusters=3, network="mlp", widths=(64,), batch_pairs=320, epochs=2)
    >>> method.fit_pairs(samples, noisy).predict(samples[:5]).shape
    (5,)
    """

    name: ClassVar[str] = "iic"
    stacks: ClassVar[bool] = True
    Config = IICConfig
    config: IICConfig

    def train(self, images: Images | Pairs) -> Iterator[Epoch]:
        """Yield after every epoch: `losses` by trained head and sub-head; `criterion` is the lowest of the main head's, None
        while the auxiliary head trains alone.

        `images` may also be pairs that somebody made (`Pairs.of(samples, partners)`), on `self.device`.
        """
        if not hasattr(self, "network"):
            given = isinstance(images, Pairs)
            self._build(GivenViews(images.shape) if given else PairedViews(self.config.views, images.shape))
        if isinstance(images, Pairs):
            self.views = GivenViews(images.shape, images.partner)  # a saved state holds no function
        for number in range(self.epochs_done + 1, self.config.epochs + 1):
            random = generator(self.device, self.seed, "epoch", number)
            losses, seen = self._epoch(images, number, random)
            yield self.concluded(images, number, losses, seen, random)

    @classmethod
    def train_stacked(cls, methods: Sequence[IIC], images: Images) -> list[Epoch | MethodError]:
        """See `Method.train_stacked`."""
        for method in methods:
            if not hasattr(method, "network"):
                method.build(images.shape)
        return [*StackedEpoch(methods, images).run()]

    def concluded(
        self, images: Images | Pairs, number: int, losses: dict[str, torch.Tensor], seen: int, random: torch.Generator
    ) -> Epoch:
        """What follows the passes of epoch `number`, and what it comes to.

        Args:
            images: what was trained on.
            number: of the epoch.
            losses: the mean loss of each sub-head (h,) by head.
            seen: images that went through the network in the passes.
            random: the epoch's generator, where the passes left it.
        """
        self.epochs_done = number
        shown = {group: loss.tolist() for group, loss in losses.items()}
        if "main" not in losses:
            return Epoch(number, shown, None, seen)
        self.sub_head_losses = losses["main"]
        if self.config.refresh_statistics:
            self._refresh_statistics(images)
            seen += len(images.role("main"))
        if self.config.sub_head_loss == "pass":
            self.sub_head_losses = self._losses_in_test_mode(images, random)
            seen += len(images.role("main")) * (1 + self.config.repeats)
        return Epoch(number, shown, self.sub_head_losses[self.chosen_head].item(), seen)

    def fit_pairs(self, samples: Any, partners: Any) -> IIC:
        """Train from the start on pairs, and keep `labels_`, the cluster of each sample.

        Args:
            samples: numbers (N, D), or (N, C, S, S) for the networks with convolutions. They are taken as they are: scale
                them first where their units differ.
            partners: what belongs into the same cluster as each sample: an array of the same shape; (N, P, *shape), where
                every sample has P partners, at least as many as `repeats`; or a function that makes new ones all the time,
                from samples (n, *shape) on `device` and the generator that random numbers must come from.

        Raises:
            MethodError: arrays that do not fit each other, the network or `repeats`.
        """
        on_step = self.on_step
        self.set_params().on_step = on_step  # as in `fit`
        pairs = Pairs.of(samples, partners).to(self.device)
        for _ in self.train(pairs):
            pass
        self.labels_ = self.predict_heads(pairs)[self.chosen_head]
        return self

    def _epoch(self, images: Images | Pairs, number: int, random: torch.Generator) -> tuple[dict[str, torch.Tensor], int]:
        """All passes of one epoch: the mean loss of each sub-head by head, and the images that went through the network."""
        passes = self.config.passes_of(number)
        orders = [self._order(images, group, random) for group in passes]
        steps, done, seen = sum(len(order) for order in orders), 0, 0
        losses: dict[str, torch.Tensor] = {}
        for group, order in zip(passes, orders, strict=True):
            total = torch.zeros(self.config.sub_heads_of(group), device=self.device)
            for batch in images.batches(order):
                self._set_learning_rate(number - 1 + done / steps, group)
                total += self.train_step(batch, group, random)
                done, seen = done + 1, seen + len(batch) * (1 + self.config.repeats)
                self.on_step(done, steps, seen)
            losses[group] = total / len(order)
            check_finite(losses[group], number, self.name)
        return losses, seen

    def train_step(self, batch: torch.Tensor, group: Group, random: torch.Generator) -> torch.Tensor:
        """One optimiser step on a batch, uint8 (M, C, H, W) or of pairs: the loss of each sub-head (h,), detached."""
        self.network.train()
        loss = self.pair_losses(batch, group, random)
        self.optimiser.zero_grad(set_to_none=not self.config.idle_head_updates)
        loss.mean().backward()
        self.optimiser.step()
        return loss.detach()

    def pair_losses(self, batch: torch.Tensor, group: Group, random: torch.Generator) -> torch.Tensor:
        """Loss of each sub-head (h,) over the pairs of a batch: uint8 (M, C, H, W), or (M, 1 + P, *shape) of given pairs.

        The authors send the originals through the network `repeats` times over. Copies have the outputs and batch
        statistics of one, so one pass and repeated outputs give the same loss and gradient for 1 + r passes instead of 2r.
        """
        repeats = self.config.repeats
        originals = self.views.original(batch, random)  # (M, C', S, S)
        transformed = self.views.copies(batch, repeats, random)  # (r * M, C', S, S)
        return self.view_losses(originals, transformed, group)

    def view_losses(
        self, originals: torch.Tensor, transformed: torch.Tensor, group: Group, network: nn.Module | None = None
    ) -> torch.Tensor:
        """Loss of each sub-head (h,) over prepared views (M, C', S, S) and (r * M, C', S, S), first copies first.

        `network` stands in for the method's own.
        """
        repeats, network = len(transformed) // len(originals), network or self.network
        p = self.arithmetic(network, originals, group).repeat(1, repeats, 1)  # (h, r * M, K)
        q = self.arithmetic(network, transformed, group)  # (h, r * M, K)
        weight = self.config.entropy_weight if group == "main" else self.config.auxiliary_entropy_weight
        return information_loss(p, q, weight)

    def probabilities(self, views: torch.Tensor, group: Group) -> torch.Tensor:
        """Cluster probabilities (h, M, K), float32, of prepared views (M, C', S, S) or (M, D)."""
        return self.arithmetic(self.network, views, group)

    @torch.no_grad()
    def _losses_in_test_mode(self, images: Images | Pairs, random: torch.Generator) -> torch.Tensor:
        """Mean loss of each main sub-head over one more pass with the network at rest, as the authors choose theirs."""
        self.network.eval()
        order = self._order(images, "main", random)
        return torch.stack([self.pair_losses(batch, "main", random) for batch in images.batches(order)]).mean(0)

    @torch.no_grad()
    def _refresh_statistics(self, images: Images | Pairs) -> None:
        """The first of the authors' two evaluations on STL-10, in training mode: the distractors leave the averages."""
        self.network.train()
        for batch in images.batches(images.order("main", self.config.evaluation_batch)):
            self.probabilities(self.views.test(batch), "main")

    def _order(self, images: Images | Pairs, group: Group, random: torch.Generator) -> tuple[torch.Tensor, ...]:
        """Index tensors of one pass; the last one may be shorter."""
        size = self.config.batch_pairs // self.config.repeats
        role = self.config.auxiliary_images if group == "auxiliary" else group
        order = images.order(role, size, random if self.config.shuffle else None)
        return without_lone_last(order)

    def _set_learning_rate(self, epochs_passed: float, group: Group) -> None:
        lr = self.config.lr
        if self.config.lr_schedule == "cosine":
            alone = self.config.auxiliary_epochs
            lr *= cosine_decay(max(epochs_passed - alone, 0), self.config.epochs - alone)
        trunk, heads = self.optimiser.param_groups
        trunk["lr"], heads["lr"] = lr * (self.config.main_trunk_lr if group == "main" else 1.0), lr

    def build(self, shape: tuple[int, int, int]) -> None:
        """Networks and optimiser for images of `shape` (C, H, W)."""
        self._build(PairedViews(self.config.views, shape))

    def _build(self, views: PairedViews | GivenViews) -> None:
        config = self.config
        if isinstance(views, GivenViews) and len(views.shape) == 1 and config.network != "mlp":
            raise MethodError(f"{self.name}: samples of {views.channels} numbers need network='mlp', not {config.network!r}.")
        self.views, self.epochs_done = views, 0
        clusters = {"main": self.n_clusters, "auxiliary": config.auxiliary_clusters}
        with seeded(self.seed, "weights"):
            trunk = build_trunk(
                config.network, views.channels, views.size,
                statistics=config.batch_statistics, widths=config.widths, kernel=config.kernel,
            )  # fmt: skip
            network = ClusterNetwork(trunk, {group: (clusters[group], config.sub_heads_of(group)) for group in config.groups})
            initialise(network.heads)
        self.arithmetic = Arithmetic(self.device, config.precision)
        self.network = self.arithmetic.ready(network)
        parts = [{"params": part.parameters()} for part in (self.network.trunk, self.network.heads)]
        self.optimiser = torch.optim.Adam(parts, lr=config.lr)
        self.sub_head_losses = torch.zeros(config.sub_heads)

    @property
    def chosen_head(self) -> int:
        """The main sub-head with the lowest loss (section 4.1: no label is needed for this choice)."""
        return int(self.sub_head_losses.argmin())

    @property
    def loss_floors(self) -> dict[str, float]:
        """-ln K of each head that is trained, or what its entropy weight makes of it."""
        floors = {
            "main": loss_floor(self.n_clusters, self.config.entropy_weight),
            "auxiliary": loss_floor(self.config.auxiliary_clusters, self.config.auxiliary_entropy_weight),
        }
        return {**{group: floors[group] for group in self.config.groups}, "criterion": floors["main"]}

    def predict_heads(self, images: Images | Pairs) -> np.ndarray:
        """Cluster of each image by each main sub-head: int64 (sub_heads, len(images))."""
        return self._test_probabilities(images).argmax(-1).cpu().numpy()

    def predict(self, images: Any) -> np.ndarray:
        """Cluster of each image by the chosen head, or of each sample after `fit_pairs`: int64 (len(images),)."""
        return self.predict_heads(self._samples(images))[self.chosen_head]

    def predict_proba(self, images: Any) -> np.ndarray:
        """Cluster probabilities by the sub-head of lowest loss: float32 (len(images), n_clusters)."""
        return self._test_probabilities(self._samples(images))[self.chosen_head].cpu().numpy()

    def _samples(self, given: Any) -> Images | Pairs:
        """What `predict` is asked about, as the network was trained on it."""
        if isinstance(self.views, PairedViews):
            return Images.of(given).to(self.device)
        samples = Pairs.of(given)
        if samples.shape != self.views.shape:
            raise MethodError(f"Samples of shape {samples.shape}, where {self.views.shape} were trained on.")
        return samples.to(self.device)

    @torch.inference_mode()
    def _test_probabilities(self, images: Images | Pairs) -> torch.Tensor:
        self.network.eval()
        order = images.order("all", self.config.evaluation_batch)
        return torch.cat([self.probabilities(self.views.test(batch), "main") for batch in images.batches(order)], dim=1)

    def state_dict(self) -> State:
        """Network, optimiser and position after the last yielded epoch."""
        return {
            "model": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "sub_head_losses": self.sub_head_losses,
            "epochs_done": self.epochs_done,
            "shape": list(self.views.shape),
            "pairs": isinstance(self.views, GivenViews),
        }

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned."""
        shape = tuple(state["shape"])
        self._build(GivenViews(shape) if state.get("pairs") else PairedViews(self.config.views, shape))
        self.network.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.config.idle_head_updates:
            give_zero_gradients(self.optimiser)
        self.sub_head_losses, self.epochs_done = state["sub_head_losses"], state["epochs_done"]
