"""Fine-tuning with labels: a classifier on a network that was trained without them.

Ji, Henriques, Vedaldi: Invariant Information Clustering (ICCV 2019), section 4.1 and Table 3. A *base* method is trained on
images alone; then a classifier on its trunk is trained on labelled images by cross-entropy, with a smaller learning rate for
the trunk than for its own layers, and judged by the averaged logits of several crops of each test image. Both are phases of
one trial: the base's epochs come first, and are those of the base method run by itself with the same settings and seed.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from torch.nn import functional

from ..datasets.base import Images, Labelled
from .base import Epoch, LabelledMethod, Method, MethodConfig, State, check_finite
from .iic import IIC, IICConfig
from .kit.features import load_trunk
from .kit.finetune_labels import FOLDS, labelled_batches, labelled_subset
from .kit.finetune_network import Classifier, FeatureLayer, feature_count, feature_layer
from .kit.finetune_start import TrainedWeights, read_start
from .kit.finetune_views import AugmentationSettings, LabelledViews, TestCrops
from .kit.networks import Trunk
from .kit.randomness import generator, seeded
from .kit.views import TestViewSettings
from .registry import register


class FinetuneConfig(MethodConfig):
    """Settings of the classifier, whatever the base. The defaults are the authors' for STL-10, but for the epochs."""

    BASE: ClassVar[str]  # name of the base method, whose records `start` takes

    epochs: PositiveInt = Field(default=50, description="epochs of the classifier, after those of the base")
    batch: Annotated[int, Field(ge=2)] = Field(default=700, description="labelled images in a batch")
    steps_per_epoch: PositiveInt | None = Field(
        default=None, description="batches in an epoch, after which the test follows; one pass over the labelled images if null"
    )
    features: FeatureLayer = Field(
        default="trunk", description="trunk (all of it), or third-stage (resnet without its last stage, as the authors')"
    )
    hidden: NonNegativeInt = Field(
        default=2048, description="units of the hidden layer, with batch norm and ReLU; 0 for a single linear layer (the text's)"
    )
    frozen_trunk: bool = Field(default=False, description="train the classifier's own layers only, the trunk stays as it is")
    trunk_lr: PositiveFloat = Field(default=1e-4, description="Adam's learning rate of the trunk")
    head_lr: PositiveFloat = Field(default=1e-3, description="Adam's learning rate of the classifier's own layers")
    label_fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="share of the labelled images that is used, drawn by the seed"
    )
    balanced_labels: bool = Field(default=False, description="draw that share from each class")
    fold: Annotated[int, Field(ge=0, lt=FOLDS)] | None = Field(
        default=None, description="STL-10's fold of 1,000 labelled images to use, 0 to 9, instead of all"
    )
    augmentation: AugmentationSettings = Field(
        default_factory=AugmentationSettings, description="how labelled images are varied after a random crop"
    )
    test_crops: TestCrops = Field(
        default=10, description="views of a test image: 1 (centre), 5 (and corners) or 10 (and their mirror images)"
    )
    evaluation_batch: PositiveInt = Field(default=200, description="images in a batch at test time, crops not counted")
    base_training: bool = Field(
        default=True, description="false: no base is trained and the classifier starts on random weights, as a control"
    )
    start: TrainedWeights | None = Field(
        default=None,
        description="folder of a finished record of the base, in place of its training; the base's settings are that record's",
    )

    @model_validator(mode="before")
    @classmethod
    def _take_over_the_start(cls, settings: Any) -> Any:
        """A folder becomes weights with their checksum, and the base's settings are those that they were trained with."""
        if not isinstance(settings, dict) or not isinstance(settings.get("start"), (str, Path)):
            return settings
        weights, config, n_clusters = read_start(settings["start"], cls.BASE)
        return {**settings, "start": weights, "base": config, "base_clusters": n_clusters}

    @model_validator(mode="after")
    def _has_one_beginning(self) -> FinetuneConfig:
        if self.start is not None and not self.base_training:
            raise ValueError("start gives trained weights and base_training=false asks for random ones; leave one out")
        return self


class Finetune(LabelledMethod):
    """A classifier on the trunk of a base method. A subclass says which base, and where its trunk and its view are.

    Until the classifier's first epoch the predictions are the classes in turn, 0, 1, 2, ...: nothing has seen a label yet.
    """

    predicts_classes: ClassVar[bool] = True
    Config = FinetuneConfig
    config: FinetuneConfig

    @abstractmethod
    def build_base(self, shape: tuple[int, int, int]) -> Method:
        """The untrained base for images of `shape` (C, H, W), with its network."""

    @abstractmethod
    def trunk_of(self, base: Method) -> Trunk:
        """The network of `base` that gives features (N, D)."""

    @property
    @abstractmethod
    def view(self) -> TestViewSettings:
        """The view of an image that the trunk was trained for."""

    @property
    @abstractmethod
    def base_epochs(self) -> int:
        """Epochs of the base when it is trained here."""

    @property
    def planned_epochs(self) -> int:
        """The base's epochs, if it is trained here, and the classifier's."""
        return self._epochs_before + self.config.epochs

    @property
    def _epochs_before(self) -> int:
        trained_here = self.config.base_training and self.config.start is None
        return self.base_epochs if trained_here else 0

    @property
    def loss_floors(self) -> Mapping[str, float]:
        """In the base's phase those of its losses."""
        base: Method | None = getattr(self, "base", None)
        floors = {} if base is None else base.loss_floors
        return {f"base {name}": floor for name, floor in floors.items() if name != "criterion"}

    def train_labelled(self, images: Images, labelled: Labelled) -> Iterator[Epoch]:
        """The base's epochs on `images` alone (losses `base ...`), then the classifier's on some of `labelled`.

        The classifier's criterion is its mean loss over the epoch. Raises `MethodError` at once for labels that cannot be
        learned from (`labelled_subset`).
        """
        config = self.config
        chosen = labelled_subset(
            labelled, self.n_clusters, fraction=config.label_fraction, balanced=config.balanced_labels, fold=config.fold,
            seed=self.seed,
        )  # fmt: skip
        if not hasattr(self, "views"):
            self._build(images.shape, self.config.start)
        if self.base is not None:
            yield from self._train_base(self.base, images)
            self._build_classifier(self.base)
        for number in range(self.epochs_done + 1, self.planned_epochs + 1):
            loss, seen = self._epoch(labelled, chosen, number)
            self.epochs_done = number
            yield Epoch(number, {"classifier": loss}, loss, seen)

    def _train_base(self, base: Method, images: Images) -> Iterator[Epoch]:
        """What is left of the base's epochs, without a criterion: it says nothing of how well classes are predicted."""
        if not self._epochs_before:
            return
        base.on_step = self.on_step
        for epoch in base.train(images):
            self.epochs_done = epoch.number
            losses = {f"base {name}": loss for name, loss in epoch.losses.items()}
            yield Epoch(epoch.number, losses, None, epoch.images)

    def _epoch(self, labelled: Labelled, chosen: torch.Tensor, number: int) -> tuple[float, int]:
        """One epoch of the classifier: the mean loss of its batches, and the images that went through it."""
        random = generator(self.device, self.seed, "classifier", number - self._epochs_before)
        batches = labelled_batches(len(chosen), self.config.batch, self.config.steps_per_epoch, random)
        order = [chosen[batch] for batch in batches]
        total, seen = torch.zeros((), device=self.device), 0
        for done, (rows, batch) in enumerate(zip(order, labelled.images.batches(order), strict=True), start=1):
            total += self.train_step(batch, labelled.labels[rows], random)
            seen += len(batch)
            self.on_step(done, len(order), seen)
        loss = total / len(order)
        check_finite(loss, number, self.name)
        return loss.item(), seen

    def train_step(self, batch: torch.Tensor, labels: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """One optimiser step on a uint8 batch (M, C, H, W) with classes (M,): its cross-entropy, detached."""
        self.network.train()
        loss = functional.cross_entropy(self._logits(self.views.varied(batch, random)), labels)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def _logits(self, views: torch.Tensor) -> torch.Tensor:
        return self.network(views.contiguous(memory_format=torch.channels_last))

    def _build(self, shape: tuple[int, int, int], start: TrainedWeights | None = None) -> None:
        """Views and base for images of `shape` (C, H, W), untrained but for a trunk from `start`."""
        base = self.build_base(shape)
        if start is not None:
            load_trunk(self.trunk_of(base), start.check())
        self.shape, self.epochs_done = shape, 0
        self.base: Method | None = base
        self.views = LabelledViews(self.view, self.config.augmentation, shape)

    def _build_classifier(self, base: Method) -> None:
        """Network and optimiser on the trunk of `base`, which is not kept."""
        config = self.config
        trunk = feature_layer(self.trunk_of(base), config.features)
        features = feature_count(trunk, self.views.channels, self.view.size)
        with seeded(self.seed, "classifier"):
            network = Classifier(trunk, features, self.n_clusters, config.hidden, frozen=config.frozen_trunk)
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        groups = [{"params": list(network.head.parameters()), "lr": config.head_lr}]
        if not config.frozen_trunk:
            groups.append({"params": list(network.trunk.parameters()), "lr": config.trunk_lr})
        self.optimiser = torch.optim.Adam(groups)  # one with two rates steps as the authors' two
        self.base = None

    def predict_heads(self, images: Images) -> np.ndarray:
        """Class of each image: int64 (1, len(images)), by the averaged logits of its crops."""
        return self._test_logits(images).argmax(-1).cpu().numpy()[None]

    def predict_proba(self, images: Images) -> np.ndarray:
        """Class probabilities, the softmax of the averaged logits: float32 (len(images), n_clusters)."""
        return self._test_logits(Images.of(images).to(self.device)).softmax(-1).cpu().numpy()

    @torch.inference_mode()
    def _test_logits(self, images: Images) -> torch.Tensor:
        """Mean logits (N, n_clusters) over the crops of each image; before the classifier's first epoch the classes in turn."""
        if self.base is not None:
            turn = torch.arange(len(images)) % self.n_clusters
            return functional.one_hot(turn, self.n_clusters) * 1e-3  # nearly equal chances
        self.network.eval()
        order = images.order("all", self.config.evaluation_batch)
        return torch.cat([self._mean_logits(batch) for batch in images.batches(order)])

    def _mean_logits(self, batch: torch.Tensor) -> torch.Tensor:
        crops = self.views.crops(batch, self.config.test_crops)  # (N, crops, channels, size, size)
        return self._logits(crops.flatten(0, 1)).unflatten(0, crops.shape[:2]).mean(1)

    def state_dict(self) -> State:
        """The base in its phase, then the classifier with its optimiser; and the position after the last yielded epoch."""
        state: State = {"shape": list(self.shape), "epochs_done": self.epochs_done}
        if self.base is not None:
            return {**state, "base": self.base.state_dict()}
        return {**state, "model": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned."""
        channels, height, width = state["shape"]
        self._build((channels, height, width))
        if self.base is not None and "base" in state:
            self.base.load_state_dict(state["base"])
        elif self.base is not None:
            self._build_classifier(self.base)
            self.network.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
        self.epochs_done = state["epochs_done"]


class IICFinetuneConfig(FinetuneConfig):
    """Settings of IIC's fine-tuning: those of the classifier and those of the clustering below it."""

    BASE: ClassVar[str] = "iic"

    base_clusters: Annotated[int, Field(ge=2)] = Field(default=70, description="clusters of the base, more than classes")
    base: IICConfig = Field(default_factory=IICConfig, description="settings of the clustering without labels")


@register("iic-finetune")
class IICFinetune(Finetune):
    """IIC, over-clustered without labels, then fine-tuned with them (Table 3 of Ji, Henriques, Vedaldi, ICCV 2019).

    >>> import torch
    >>> from sklearn.datasets import load_digits
    >>> images = Images.of((load_digits().images * 255 / 16).round().astype("uint8"))
    >>> views = {"crop": 8, "crops_transformed": [7, 8], "size": 16}
    >>> method = IICFinetune(10, epochs=1, hidden=32, base_clusters=20, base={"epochs": 1, "views": views})
    >>> epochs = list(method.train_labelled(images, Labelled(images, torch.from_numpy(load_digits().target))))
    >>> method.predict(images).shape
    (1797,)
    """

    name: ClassVar[str] = "iic-finetune"
    Config = IICFinetuneConfig
    config: IICFinetuneConfig

    def build_base(self, shape: tuple[int, int, int]) -> Method:
        """IIC with `base_clusters` clusters and this trial's seed."""
        base = IIC(self.config.base_clusters, seed=self.seed, device=self.device, **self.config.base.model_dump())
        base.build(shape)
        return base

    def trunk_of(self, base: Method) -> Trunk:
        """The trunk under IIC's heads."""
        assert isinstance(base, IIC)
        return base.network.trunk

    @property
    def view(self) -> TestViewSettings:
        """IIC's crop, size and Sobel gradients."""
        return self.config.base.views

    @property
    def base_epochs(self) -> int:
        """IIC's epochs."""
        return self.config.base.epochs
