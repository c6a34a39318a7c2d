"""Fine-tuning with labels: a classifier on a network that was trained without them.

Ji, Henriques, Vedaldi: Invariant Information Clustering (ICCV 2019), section 4.1 and Table 3. A *base* method is trained on
images alone; then a classifier on its trunk is trained on labelled images by cross-entropy, with a smaller learning rate for
the trunk than for its own layers, and judged by the averaged logits of several crops of each test image. Both are phases of
one trial: the base's epochs come first, and are those of the base method run by itself with the same settings and seed. A base
that another trial has trained is taken from the store of artefacts; the trial then begins with the classifier.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, model_validator
from torch import nn
from torch.nn import functional

from ..datasets.base import Images, Labelled
from .base import Epoch, Method, MethodConfig, State
from .iic import IIC, IICConfig
from .kit.artefacts import Artefacts
from .kit.features import load_trunk
from .kit.finetune_network import Classifier, FeatureLayer, feature_count, feature_layer
from .kit.finetune_start import TrainedWeights, read_start
from .kit.finetune_views import AugmentationSettings, LabelledViews, TestCrops
from .kit.kept_base import Kept, KeptBase
from .kit.labelled_classifier import LabelledClassifier, LabelledClassifierConfig
from .kit.randomness import seeded
from .kit.views import TestViewSettings
from .registry import register

Base = TypeVar("Base", bound=Method)


class FinetuneConfig(LabelledClassifierConfig):
    """Settings of the classifier, whatever the base. The defaults are the authors' for STL-10, but for the epochs."""

    BASE: ClassVar[str]  # name of the base method, whose records `start` takes

    features: FeatureLayer = Field(
        default="trunk", description="trunk (all of it), or third-stage (resnet without its last stage, as the authors')"
    )
    hidden: NonNegativeInt = Field(
        default=2048, description="units of the hidden layer, with batch norm and ReLU; 0 for a single linear layer (the text's)"
    )
    frozen_trunk: bool = Field(default=False, description="train the classifier's own layers only, the trunk stays as it is")
    trunk_lr: PositiveFloat = Field(default=1e-4, description="Adam's learning rate of the trunk")
    head_lr: PositiveFloat = Field(default=1e-3, description="Adam's learning rate of the classifier's own layers")
    augmentation: AugmentationSettings = Field(
        default_factory=AugmentationSettings, description="how labelled images are varied after a random crop"
    )
    test_crops: TestCrops = Field(
        default=10, description="views of a test image: 1 (centre), 5 (and corners) or 10 (and their mirror images)"
    )
    base: MethodConfig
    base_training: bool = Field(
        default=True, description="false: no base is trained and the classifier starts on random weights, as a control"
    )
    base_seed: NonNegativeInt | None = Field(
        default=None, description="seed of the base: one base then serves all seeds of the classifier; null: the trial's seed"
    )
    reuse: bool = Field(default=True, description="take the trained base from the store if it is there, and keep it there")
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
        clusters = {"base_clusters": n_clusters} if "base_clusters" in cls.model_fields else {}
        return {**settings, "start": weights, "base": cls.base_settings(config), **clusters}

    @classmethod
    def base_settings(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Of the settings in a record of the base, those that `base` has: by default all."""
        return config

    @model_validator(mode="after")
    def _has_one_beginning(self) -> FinetuneConfig:
        if self.start is not None and not self.base_training:
            raise ValueError("start gives trained weights and base_training=false asks for random ones; leave one out")
        return self


class Finetune(LabelledClassifier):
    """A classifier on the trunk of a base method. A subclass says which base, and where its trunk and its view are.

    Until the classifier's first epoch the predictions are the classes in turn, 0, 1, 2, ...: nothing has seen a label yet.

    Class attributes:
        WEIGHTS: what the names of the trunk's weights begin with, or have in their middle, in a record of the base.
    """

    Config = FinetuneConfig
    config: FinetuneConfig
    network: Classifier
    WEIGHTS: ClassVar[str] = "trunk."

    @abstractmethod
    def build_base(self, shape: tuple[int, int, int]) -> Method:
        """The untrained base for images of `shape` (C, H, W), with its network; see `new_base`."""

    @abstractmethod
    def trunk_of(self, base: Method) -> nn.Module:
        """The part of the network of `base` that gives features (N, D): what is trained, kept and fine-tuned."""

    def entry_of(self, base: Method) -> nn.Module | None:
        """What the base does to a view of pixels in [0, 1] before its trunk; None for nothing."""
        return None

    @property
    @abstractmethod
    def view(self) -> TestViewSettings:
        """The view of an image that the trunk was trained for."""

    @property
    @abstractmethod
    def base_epochs(self) -> int:
        """Epochs of the base when it is trained here."""

    def kept(self, base: Method) -> Kept:
        """Where the trained base is looked for, and kept."""
        return KeptBase(base, self.trunk_of(base), Artefacts.of(self) if self.config.reuse else None)

    def new_base(self, kind: type[Base], n_clusters: int) -> Base:
        """A base of this kind with its settings and seed, without its network."""
        config = self.config
        seed = self.seed if config.base_seed is None else config.base_seed
        return kind(n_clusters, seed=seed, device=self.device, **config.base.model_dump())

    @property
    def planned_epochs(self) -> int:
        """The base's epochs, as far as they are trained here, and the classifier's."""
        return self._epochs_before + self.config.epochs

    @property
    def _epochs_before(self) -> int:
        if getattr(self, "base_is_done", False):
            return self.base_done
        return self.base_epochs if self._trains_base else 0

    @property
    def _trains_base(self) -> bool:
        return self.config.base_training and self.config.start is None and self.base_epochs > 0

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
        chosen = self.chosen_labels(labelled)
        if not hasattr(self, "views"):
            self._build(images.shape, self.config.start)
        if self.base is not None:
            yield from self._base_phase(self.base, images)
            self._build_classifier(self.base)
        for number in range(self.epochs_done + 1, self.planned_epochs + 1):
            loss, seen = self.classifier_epoch(labelled, chosen, number - 1 - self.base_done, number)
            self.epochs_done = number
            yield Epoch(number, {"classifier": loss}, loss, seen)

    def _base_phase(self, base: Method, images: Images) -> Iterator[Epoch]:
        """The base's training, unless there is none or the store has what comes of it."""
        if self._trains_base:
            kept = self.kept(base)
            with kept.claimed(images) as found:
                if not found:
                    yield from self._train_base(base, images)
                    kept.keep(images)
        self.base_is_done = True

    def _train_base(self, base: Method, images: Images) -> Iterator[Epoch]:
        """What is left of the base's epochs, without a criterion: it says nothing of how well classes are predicted."""
        base.on_step = self.on_step
        for epoch in base.train(images):
            self.epochs_done = self.base_done = epoch.number
            losses = {f"base {name}": loss for name, loss in epoch.losses.items()}
            yield Epoch(epoch.number, losses, None, epoch.images)

    def varied(self, batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """A random crop of each image, moved, partly erased, mirrored and jittered: float32 (M, channels, size, size)."""
        return self.views.varied(batch, random)

    def _build(self, shape: tuple[int, int, int], start: TrainedWeights | None = None) -> None:
        """Views and base for images of `shape` (C, H, W), untrained but for a trunk from `start`."""
        base = self.build_base(shape)
        if start is not None:
            load_trunk(self.trunk_of(base), start.check(), self.WEIGHTS)
        self.shape, self.epochs_done, self.base_done, self.base_is_done = shape, 0, 0, False
        self.base: Method | None = base
        self.views = LabelledViews(self.view, self.config.augmentation, shape)

    def _build_classifier(self, base: Method) -> None:
        """Network and optimiser on the trunk of `base`, which is not kept."""
        config = self.config
        entry, trunk = self.entry_of(base), feature_layer(self.trunk_of(base), config.features)
        trunk = trunk if entry is None else nn.Sequential(entry, trunk)
        features = feature_count(trunk, self.views.channels, self.view.size)
        with seeded(self.seed, "classifier"):
            network = Classifier(trunk, features, self.n_clusters, config.hidden, frozen=config.frozen_trunk)
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        groups = [{"params": list(network.head.parameters()), "lr": config.head_lr}]
        if not config.frozen_trunk:
            groups.append({"params": list(network.trunk.parameters()), "lr": config.trunk_lr})
        self.optimiser = torch.optim.Adam(groups)  # one with two rates steps as the authors' two
        self.base, self.base_is_done = None, True

    def all_logits(self, images: Images) -> torch.Tensor:
        """Mean logits (N, n_clusters) over the crops of each image; before the classifier's first epoch the classes in turn."""
        if self.base is not None:
            turn = torch.arange(len(images)) % self.n_clusters
            return functional.one_hot(turn, self.n_clusters) * 1e-3  # nearly equal chances
        return super().all_logits(images)

    def test_logits(self, batch: torch.Tensor) -> torch.Tensor:
        """Mean logits (M, n_clusters) over the crops of uint8 images (M, C, H, W)."""
        crops = self.views.crops(batch, self.config.test_crops)  # (M, crops, channels, size, size)
        return self.logits(crops.flatten(0, 1)).unflatten(0, crops.shape[:2]).mean(1)

    def state_dict(self) -> State:
        """The base in its phase, then the classifier with its optimiser; and the position after the last yielded epoch."""
        state: State = {"shape": list(self.shape), "epochs_done": self.epochs_done, "base_done": self.base_done}
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
        self.epochs_done, self.base_done = state["epochs_done"], state["base_done"]


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
    >>> settings = {"base_clusters": 20, "base": {"epochs": 1, "views": views}, "reuse": False}
    >>> method = IICFinetune(10, epochs=1, hidden=32, **settings)
    >>> epochs = list(method.train_labelled(images, Labelled(images, torch.from_numpy(load_digits().target))))
    >>> method.predict(images).shape
    (1797,)
    """

    name: ClassVar[str] = "iic-finetune"
    Config = IICFinetuneConfig
    config: IICFinetuneConfig

    def build_base(self, shape: tuple[int, int, int]) -> Method:
        """IIC with `base_clusters` clusters."""
        base = self.new_base(IIC, self.config.base_clusters)
        base.build(shape)
        return base

    def trunk_of(self, base: Method) -> nn.Module:
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
