"""The contract of a method: a generator of epochs that sees images and nothing else.

The harness around it logs, evaluates, checkpoints and stops; a method holds no logging, no scheduler, no tracker and
no label. The same classes follow scikit-learn's habits, for people who use them in a notebook::

    labels = IIC(n_clusters=10, epochs=20).fit(images).labels_
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from ..datasets.base import Images, Labelled

Task: TypeAlias = Literal["clustering", "segmentation", "semi-supervised"]
State: TypeAlias = dict[
    str, Any
]  # tensors, numbers, strings, and lists or dicts of them: what torch.load reads with weights_only


class MethodError(Exception):
    """A setting that cannot work, or a training that broke. One line: what is wrong and what to do."""


class Diverged(MethodError):
    """The loss became NaN or infinite."""


class MethodConfig(BaseModel):
    """Base of every method's `Config`: unknown keys are refused, values are checked, nothing changes afterwards.

    Class attributes:
        later: settings that came after trials had been recorded, by dotted name, one tuple for each addition, newest first.
            At its default such a setting does what the code did before, to the last bit; so records from before still count.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    later: ClassVar[tuple[tuple[str, ...], ...]] = ()


@dataclass(frozen=True)
class Epoch:
    """What a method says after one epoch.

    Attributes:
        number: 1 for the first epoch.
        losses: training losses of this epoch by name; a list has one value per sub-head.
        criterion: the method's own unsupervised judgement of its present state, lower is better; None if it has none.
        images: images that went through the network in this epoch, augmented copies counted.
    """

    number: int
    losses: Mapping[str, float | list[float]] = field(default_factory=dict)
    criterion: float | None = None
    images: int = 0


class Method(ABC):
    """Base class of all methods.

    Args:
        n_clusters: number of clusters to find, at least 2.
        seed: decides every random choice of the method.
        device: torch device that training and prediction run on.
        **settings: fields of the method's `Config`.

    Raises:
        MethodError: unknown setting, wrong type or range.

    Class attributes:
        name: public name, the one it is registered under.
        task: `clustering`, `segmentation` or `semi-supervised`.
        version: raised by one with every change of the code that changes results; part of a trial's identity.
        Config: pydantic model of the settings.
        predicts_classes: the predictions are classes already, learned from labels: they are scored as they are, without a
            mapping from clusters to classes.
        stacks: whether several seeds can be trained at once by `train_stacked`.

    Attributes:
        on_step: called during an epoch as `on_step(done, total, images)` with the share of the epoch that is done
            (`done` of `total` steps) and the images seen in it so far; the harness sets it to show progress.
        artefacts_used, artefacts_made: names (`pretext/4f2a...`) of what was taken from the store of `kit.artefacts`, and of
            what was kept there; the record lists both. What `made` names was made by the same trial.
        scored: the images that will be judged, without labels, if `wants_scored`; None otherwise. Set by the harness.
        labels_: after `fit`, int64 array (N,), the cluster of each image.
    """

    name: ClassVar[str]
    task: ClassVar[Task] = "clustering"
    version: ClassVar[int] = 1
    Config: ClassVar[type[MethodConfig]] = MethodConfig
    predicts_classes: ClassVar[bool] = False
    stacks: ClassVar[bool] = False

    def __init__(self, n_clusters: int = 10, *, seed: int = 0, device: str = "cpu", **settings: Any) -> None:
        if isinstance(n_clusters, bool) or not isinstance(n_clusters, (int, np.integer)) or n_clusters < 2:
            raise MethodError(f"n_clusters must be a whole number of at least 2, got {n_clusters!r}.")
        self.n_clusters, self.seed, self.device = int(n_clusters), seed, device
        self.settings = settings
        self.config = self._validated(settings)
        self.on_step: Callable[[int, int, int], None] = lambda done, total, images: None
        self.artefacts_used: list[str] = []
        self.artefacts_made: list[str] = []
        self.scored: Images | None = None

    @classmethod
    def _validated(cls, settings: Mapping[str, Any]) -> MethodConfig:
        try:
            return cls.Config(**settings)
        except ValidationError as error:
            raise MethodError(explain(cls.name, cls.Config, error)) from None

    @abstractmethod
    def train(self, images: Images) -> Iterator[Epoch]:
        """Train on `images` (on `self.device`), yielding after every epoch; a classical method yields once.

        After `load_state_dict` it goes on with the epoch after the saved one and ends with the same result as an
        undisturbed run.
        """

    @classmethod
    def train_stacked(cls, methods: Sequence[Any], images: Images) -> list[Epoch | MethodError]:
        """The next epoch of several seeds at once: what each would have yielded, equal but for rounding, or what broke it.

        Args:
            methods: of this class, equal but for their seeds, all after the same epoch and before their last.
            images: what all of them train on, on their device.

        Raises:
            MethodError: not this method, or not with these settings (see `kit.stacking`); then no method was changed.
        """
        raise MethodError(f"{cls.name} trains one seed at a time: leave out --stacked-seeds.")

    @abstractmethod
    def predict_heads(self, images: Images) -> np.ndarray:
        """Cluster of each image by each sub-head: int64 (H, len(images)), values 0..n_clusters-1; H = 1 without sub-heads."""

    def predict_batches(self, images: Images) -> Iterator[np.ndarray]:
        """What `predict_heads` gives, in consecutive parts (H, n, ...) of the images in their stored order.

        A method for segmentation overrides it, so that the label maps of a whole data set are never in memory at once.
        """
        yield self.predict_heads(images)

    @abstractmethod
    def state_dict(self) -> State:
        """All that is needed to go on after the last yielded epoch, and to predict."""

    @abstractmethod
    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned, before `train` or `predict`."""

    @property
    def other_predictions(self) -> Mapping[str, Callable[[Images], np.ndarray | Iterator[np.ndarray]]]:
        """Other ways to predict, by name in small letters and hyphens, each from images to what `predict_heads` gives.

        Of a method for segmentation to what `predict_batches` gives, where -1 marks pixels that this way says nothing of.
        For a method whose published evaluation is not the one that it predicts by: the record holds the scores of all.
        """
        return {}

    @property
    def chosen_head(self) -> int:
        """Sub-head that the method's own unsupervised criterion prefers at present."""
        return 0

    @property
    def wants_scored(self) -> bool:
        """Whether `train` looks at the images that will be judged too, without their labels, as some published protocols do."""
        return False

    @property
    def loss_floors(self) -> Mapping[str, float]:
        """The lowest values that the losses of an epoch can take, by name, and `criterion`'s; only those that are known."""
        return {}

    @property
    def planned_epochs(self) -> int:
        """Epochs that `train` will yield in all."""
        return int(getattr(self.config, "epochs", 1))

    def predict(self, images: Any) -> np.ndarray:
        """Cluster of each image by the chosen head: int64 (len(images),)."""
        return self.predict_heads(Images.of(images).to(self.device))[self.chosen_head]

    def predict_proba(self, images: Any) -> np.ndarray:
        """Cluster probabilities by the chosen head, float32 (len(images), n_clusters), where a method has them."""
        raise MethodError(f"{self.name} gives no cluster probabilities, only clusters: use predict.")

    def fit(self, images: Any, y: None = None) -> Method:
        """Train from the start on `images` (all `Images.of` takes) and keep `labels_`; `y` is there for scikit-learn's sake."""
        on_step = self.on_step
        self.set_params().on_step = on_step  # a second fit owes nothing to the first
        images = Images.of(images).to(self.device)
        for _ in self.train(images):
            pass
        self.labels_ = self.predict(images)
        return self

    def fit_predict(self, images: Any, y: None = None) -> np.ndarray:
        """`fit(images).labels_`."""
        return self.fit(images).labels_

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All settings by name, as given or by default."""
        defaults = {name: getattr(self.config, name) for name in type(self.config).model_fields}
        return {"n_clusters": self.n_clusters, "seed": self.seed, "device": self.device, **defaults, **self.settings}

    def set_params(self, **params: Any) -> Method:
        """Change settings; what was learned is forgotten. A refused setting changes nothing."""
        given = {"n_clusters": self.n_clusters, "seed": self.seed, "device": self.device, **self.settings}
        fresh = type(self)(**{**given, **params})
        vars(self).clear()
        vars(self).update(vars(fresh))
        return self

    def __repr__(self) -> str:
        given = {"n_clusters": self.n_clusters, "seed": self.seed, **self.settings}
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in given.items())})"


class LabelledMethod(Method):
    """A method that learns from the labels of some images too: the trial calls `train_labelled` in place of `train`.

    It needs a protocol whose labels may be used (`semi-supervised`). What it predicts are classes if `predicts_classes`.
    """

    task: ClassVar[Task] = "semi-supervised"

    @abstractmethod
    def train_labelled(self, images: Images, labelled: Labelled) -> Iterator[Epoch]:
        """As `train`, with labels for some images.

        Args:
            images: the images that the protocol trains on without labels.
            labelled: those that it may learn from with their labels; they may be among `images`.
        """

    def train(self, images: Images) -> Iterator[Epoch]:
        """Raises `MethodError`: without labels there is nothing to learn from."""
        raise MethodError(f"{self.name} learns from labels: use train_labelled, or bench run with --protocol semi-supervised.")


def explain(name: str, config: type[BaseModel], error: ValidationError) -> str:
    """One line for what pydantic found wrong in the settings of the method `name`."""
    import difflib

    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(key, list(_setting_names(config)), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" See 'bench show {name}'."
            lines.append(f"unknown setting {key!r}.{hint}")
        else:
            where = f"setting {key!r}" if key else "settings"
            lines.append(f"{where}: {problem['msg'].removeprefix('Value error, ')} (got {problem['input']!r}).")
    return f"{name}: {' '.join(lines)}"


def _setting_names(config: type[BaseModel]) -> Iterator[str]:
    """The settings of `config`, those of its nested models by dotted name."""
    for name, field_info in config.model_fields.items():
        yield name
        if isinstance(field_info.annotation, type) and issubclass(field_info.annotation, BaseModel):
            yield from (f"{name}.{inner}" for inner in _setting_names(field_info.annotation))


def check_finite(loss: torch.Tensor, epoch: int, name: str) -> None:
    """Raise `Diverged` if any value of `loss` is NaN or infinite. Reads the device, so call it once an epoch."""
    if not bool(torch.isfinite(loss).all()):
        raise Diverged(
            f"{name}: the loss is not finite in epoch {epoch}. Lower the learning rate (--set lr=...) or check the images."
        )
