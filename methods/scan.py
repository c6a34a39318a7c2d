"""SCAN, Semantic Clustering by Adopting Nearest neighbours: features first, clusters of neighbours second, own labels third.

Van Gansbeke, Vandenhende, Georgoulis, Proesmans, Van Gool: SCAN: Learning to Classify Images without Labels, ECCV 2020.
Three stages in one training: a contrastive network (SimCLR, `kit/simclr.py`), whose nearest neighbours are mostly of one class
(`kit/neighbours.py`); clusters that an image shares with its neighbours (equation 2); and cross-entropy with its own surest
clusters in strongly changed views. What deviates from the authors' code, and why, stands in the card (scan.yaml).

The first stage knows nothing of clusters. Its network, features and neighbours are kept for other trials (`kit/artefacts.py`),
and a trial that finds them begins with the second stage.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt, model_validator

from ..datasets.base import Images
from .base import Epoch, Method, MethodConfig, MethodError, State, check_finite
from .kit.arithmetic import Arithmetic, Precision
from .kit.artefacts import Artefacts
from .kit.backbone_weights import GivenWeights, load_backbone
from .kit.backbones import BackboneSettings
from .kit.contrastive_views import SimCLRViewSettings, StrongViews, StrongViewSettings
from .kit.kept_pretext import KeptPretext
from .kit.neighbours import nearest_neighbours
from .kit.randomness import generator, seeded
from .kit.scan_losses import semantic_floor
from .kit.scan_selection import Rest, Selection, drawn
from .kit.scan_stages import ScanNetwork, SelfLabelSettings, SelfLabelStage, SemanticSettings, SemanticStage, Strength, View
from .kit.simclr import Layer, Pretext, PretextSettings
from .registry import register

NOTHING_YET = {"loss": math.inf, "head": 0, "model": {}}
PRETEXT_ROLE, CLUSTERED_ROLE = "auxiliary", "main"  # STL-10's features also come from its unlabelled images


class SCANConfig(MethodConfig):
    """Settings of SCAN. The defaults are the paper's text, with the authors' code for what it leaves open."""

    network: BackboneSettings = Field(default_factory=BackboneSettings, description="the network that gives features")
    start: Literal["simclr", "weights"] = Field(
        default="simclr", description="train the first stage, or take the network from the file that `weights` names"
    )
    weights: GivenWeights | None = Field(
        default=None,
        description="file of the network's weights (torch or safetensors), trained without labels; for start=weights",
    )
    pretext: PretextSettings = Field(default_factory=PretextSettings, description="the first stage")
    views: SimCLRViewSettings = Field(default_factory=SimCLRViewSettings, description="views of the pretext, and the test view")
    strong: StrongViewSettings = Field(default_factory=StrongViewSettings, description="the strong view of the later stages")
    neighbours: PositiveInt = Field(
        default=20, description="neighbours K of an image; it is itself drawn as often as each of them"
    )
    mining_layer: Layer = Field(default="projection", description="features that neighbours are found by: projection or backbone")
    epochs: PositiveInt = Field(default=100, description="epochs of the second stage")
    sub_heads: PositiveInt = Field(default=1, description="heads of the second stage; the best one goes on into the third")
    semantic: SemanticSettings = Field(default_factory=SemanticSettings, description="the second stage")
    self_label: SelfLabelSettings = Field(default_factory=SelfLabelSettings, description="the third stage")
    selection_images: Literal["train", "scored"] = Field(
        default="train",
        description="images whose loss, without labels, chooses epoch and head: train, or scored (the authors: test)",
    )
    selection_neighbours: PositiveInt = Field(default=5, description="neighbours of each of them that the loss looks at")
    selection_sample: PositiveInt | None = Field(
        default=10_000, description="how many of them at most, drawn by the seed; null for all"
    )
    reuse: bool = Field(
        default=True,
        description="take network, features and neighbours of the first stage from the store if they are there, and keep them",
    )
    evaluation_batch: PositiveInt = Field(default=1000, description="images in a batch at test time")
    precision: Precision = "float32"

    @model_validator(mode="after")
    def _stages_fit(self) -> SCANConfig:
        if self.start == "weights" and self.mining_layer == "projection":
            raise ValueError("start=weights brings no projection; set mining_layer=backbone")
        if self.start == "simclr" and self.weights is not None:
            raise ValueError("weights are given but start=simclr would not use them; set start=weights")
        return self


@register("scan")
class SCAN(Method):
    """Semantic Clustering by Adopting Nearest neighbours (Van Gansbeke et al., ECCV 2020).

    While the first stage trains, the predictions are those of untrained heads.

    >>> from sklearn.datasets import load_digits
    >>> images = (load_digits().images * 255 / 16).round().astype("uint8")
    >>> quick = {"epochs": 1, "pretext": {"epochs": 1}, "self_label": {"epochs": 1}}
    >>> SCAN(n_clusters=10, network={"name": "small", "widths": [8, 16]}, reuse=False, **quick).fit(images).labels_.shape
    (1797,)
    """

    name: ClassVar[str] = "scan"
    Config = SCANConfig
    config: SCANConfig

    @property
    def wants_scored(self) -> bool:
        """Whether the images that will be judged, without their labels, choose the epoch, as in the authors' protocol."""
        return self.config.selection_images == "scored"

    @property
    def planned_epochs(self) -> int:
        """The epochs of all stages; those of the first only as far as they are trained here."""
        first = self.config.pretext.epochs if self.config.start == "simclr" else 0
        if getattr(self, "pretext_is_done", False):
            first = self.done["pretext"]
        return first + self.config.epochs + self.config.self_label.epochs

    @property
    def chosen_head(self) -> int:
        """The head with the lowest selection loss; the only one from the third stage on."""
        return int(self.head_losses.argmin())

    @property
    def loss_floors(self) -> dict[str, float]:
        """Of the semantic loss, and of the selection loss, which is the criterion."""
        main = semantic_floor(self.n_clusters, self.config.semantic.entropy_weight)
        return {"main": main, "criterion": semantic_floor(self.n_clusters, 1.0)}

    def train(self, images: Images) -> Iterator[Epoch]:
        """Yield after every epoch of every stage; `criterion` is the selection loss, from the second stage on.

        Losses: `contrastive`; then `main`, its parts `consistency` and `entropy`, by head; then `self-label` and `confident`,
        the share of images that were sure enough to count.

        Raises:
            MethodError: no weights where they are asked for, or images that a setting does not fit.
        """
        if not hasattr(self, "network"):
            self._build(images.shape)
        if not self.pretext_is_done:
            yield from self._pretext_epochs(images)
        if self.done["self_label"] == 0:
            yield from self._semantic_epochs(images)
        else:
            self._mine(images)
        yield from self._self_label_epochs(images)

    def _pretext_epochs(self, images: Images) -> Iterator[Epoch]:
        """The first stage, unless its network is in the store or in a file."""
        if self.config.start == "weights":
            self._take_weights()
        else:
            with self.kept.claimed(images) as found:
                if not found:
                    yield from self._trained_pretext(images)
                    self.kept.keep(images)
        self.pretext_is_done = True

    def _trained_pretext(self, images: Images) -> Iterator[Epoch]:
        indices = images.role(PRETEXT_ROLE)
        while self.pretext.epochs_done < self.config.pretext.epochs:
            loss, seen = self.pretext.train_epoch(images, indices, self.on_step)
            self.done["pretext"] += 1
            check_finite(loss, self._number, self.name)
            yield Epoch(self._number, {"contrastive": loss.item()}, images=seen)

    def _take_weights(self) -> None:
        if self.config.weights is None:
            raise MethodError("scan: start=weights needs a file of weights that were trained without labels: --set weights=FILE.")
        load_backbone(self.pretext.network.trunk, self.config.weights)

    def _semantic_epochs(self, images: Images) -> Iterator[Epoch]:
        """The second stage, which keeps the state with the lowest selection loss."""
        mined = self._mine(images)
        stage = self._semantic_stage()
        for done in range(self.done["semantic"] + 1, self.config.epochs + 1):
            random = generator(self.device, self.seed, "semantic", done)
            loss, seen = stage.train_epoch(images, images.role(CLUSTERED_ROLE), self.neighbours, random, self.on_step)
            self.done["semantic"] = done
            check_finite(loss.total, self._number, self.name)
            criterion = self._choose()
            if criterion < self.best["loss"]:
                weights = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
                self.best = {"loss": criterion, "head": self.chosen_head, "model": weights}
            parts = {"main": loss.total, "consistency": loss.consistency, "entropy": loss.entropy}
            losses = {name: part.tolist() for name, part in parts.items()}
            yield Epoch(self._number, losses, criterion, seen + mined + len(self.selection))
            mined = 0

    def _self_label_epochs(self, images: Images) -> Iterator[Epoch]:
        """The third stage, of the best network and head of the second."""
        if not self.config.self_label.epochs:
            return
        if self.done["self_label"] == 0:
            self._go_on_with_the_best()
        stage = self._self_label_stage()
        for done in range(self.done["self_label"] + 1, self.config.self_label.epochs + 1):
            random = generator(self.device, self.seed, "self-label", done)
            loss, confident, seen = stage.train_epoch(images, images.role(CLUSTERED_ROLE), random, self.on_step)
            self.done["self_label"] = done
            check_finite(torch.tensor(loss), self._number, self.name)
            criterion = self._choose()
            yield Epoch(self._number, {"self-label": loss, "confident": confident}, criterion, seen + len(self.selection))

    def build(self, shape: tuple[int, int, int]) -> None:
        """The untrained networks for images of `shape` (C, H, W)."""
        self._build(shape)

    def _build(self, shape: tuple[int, int, int]) -> None:
        config = self.config
        self.shape = shape
        self.arithmetic = Arithmetic(self.device, config.precision)
        self.pretext = Pretext(config.pretext, config.network, config.views, shape, self.seed, self.arithmetic)
        self.views = self.pretext.views
        store = Artefacts.of(self) if config.reuse else None
        self.kept = KeptPretext(self.pretext, store, role=PRETEXT_ROLE, weights=config.weights, batch=config.evaluation_batch)
        self.rest = Rest(self.views.test, self.arithmetic, config.evaluation_batch)
        with seeded(self.seed, "heads"):
            network = ScanNetwork(self.pretext.network.trunk, self.n_clusters, config.sub_heads)
        self.network: ScanNetwork = self.arithmetic.ready(network)
        self.pretext_is_done = False
        self.done = {"pretext": 0, "semantic": 0, "self_label": 0}
        self.neighbours = self.selection_neighbours = torch.empty(0, 0, dtype=torch.int64)
        self.head_losses = torch.zeros(config.sub_heads)
        self.best: dict[str, Any] = {**NOTHING_YET}
        self.stage: SemanticStage | SelfLabelStage | None = None

    @property
    def _number(self) -> int:
        """Epochs trained here, in all stages."""
        return sum(self.done.values())

    def _mine(self, images: Images) -> int:
        """Neighbours of the images that are clustered, and of those that choose: how many went through the network for it."""
        config, passed = self.config, 0
        source = self.scored if self.wants_scored and self.scored is not None else images
        among = source.role(CLUSTERED_ROLE) if source is images else source.role("all")
        chosen = drawn(among, config.selection_sample, self.seed)
        if not self.neighbours.numel():
            self.neighbours, passed = self.kept.neighbours(images, CLUSTERED_ROLE, config.neighbours, config.mining_layer)
            features = self.pretext.features(source, chosen, config.mining_layer, config.evaluation_batch)
            self.selection_neighbours = nearest_neighbours(features, config.selection_neighbours)
            passed += len(chosen)
        self.selection = Selection(source, chosen, self.selection_neighbours, self.rest)
        return passed

    def _choose(self) -> float:
        """Judge the heads without labels; the loss of the best one."""
        self.head_losses = self.selection.losses(self.network).cpu()
        check_finite(self.head_losses, self._number, self.name)
        return self.head_losses.min().item()

    def _view(self, strength: Strength) -> View:
        if strength == "simclr":
            return self.views.view
        strong = StrongViews(self.config.strong, self.shape)
        if strong.size != self.views.size:
            raise MethodError(f"strong.size and views.size must be equal, got {strong.size} and {self.views.size} pixels.")
        return strong.view

    def _semantic_stage(self) -> SemanticStage:
        if not isinstance(self.stage, SemanticStage):
            settings = self.config.semantic
            self.stage = SemanticStage(settings, self.network, self._view(settings.augmentation), self.arithmetic)
        return self.stage

    def _self_label_stage(self) -> SelfLabelStage:
        if not isinstance(self.stage, SelfLabelStage):
            settings = self.config.self_label
            view = self._view(settings.augmentation)
            self.stage = SelfLabelStage(settings, self.network, self.views.test, view, self.arithmetic)
        return self.stage

    def _go_on_with_the_best(self) -> None:
        """The network of the second stage's best epoch, with its best head alone."""
        self.network.load_state_dict(self.best["model"])
        self._keep_head(self.best["head"])
        self.best = {**NOTHING_YET}

    def _keep_head(self, head: int) -> None:
        self.network = self.arithmetic.ready(self.network.with_head(head))

    def predict_heads(self, images: Images) -> np.ndarray:
        """Cluster of each image by each head: int64 (sub_heads, len(images)); one head in the third stage."""
        return self._probabilities(images).argmax(-1).cpu().numpy()

    def predict_proba(self, images: Any) -> np.ndarray:
        """Cluster probabilities by the chosen head: float32 (len(images), n_clusters)."""
        return self._probabilities(Images.of(images).to(self.device))[self.chosen_head].cpu().numpy()

    def _probabilities(self, images: Images) -> torch.Tensor:
        return self.rest.probabilities(self.network, images, images.role("all"))

    def state_dict(self) -> State:
        """Networks, optimiser, neighbours, the best state so far, and position after the last yielded epoch."""
        return {
            "model": self.network.state_dict(),
            "pretext": {} if self.pretext_is_done else self.pretext.state_dict(),
            "optimiser": {} if self.stage is None else self.stage.optimiser.state_dict(),
            "neighbours": self.neighbours.to(torch.int32),
            "selection_neighbours": self.selection_neighbours.to(torch.int32),
            "head_losses": self.head_losses,
            "best": self.best,
            "pretext_is_done": self.pretext_is_done,
            "done": dict(self.done),
            "shape": list(self.shape),
        }

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned."""
        channels, height, width = state["shape"]
        self._build((channels, height, width))
        self.done, self.pretext_is_done = dict(state["done"]), state["pretext_is_done"]
        self.best, self.head_losses = state["best"], state["head_losses"]
        self.neighbours = state["neighbours"].to(self.device, torch.int64)
        self.selection_neighbours = state["selection_neighbours"].to(self.device, torch.int64)
        if state["pretext"]:
            self.pretext.load_state_dict(state["pretext"])
        if self.done["self_label"]:
            self._keep_head(0)
        self.network.load_state_dict(state["model"])
        if state["optimiser"]:
            stage = self._self_label_stage() if self.done["self_label"] else self._semantic_stage()
            stage.optimiser.load_state_dict(state["optimiser"])
