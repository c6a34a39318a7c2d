"""The base of classifiers that learn from labelled images: which of them, the epochs, and predictions by averaged logits."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import BeforeValidator, Field, PositiveInt
from torch import nn
from torch.nn import functional

from ...datasets.base import Images, Labelled
from ..base import LabelledMethod, MethodConfig, check_finite
from .finetune_labels import FOLDS, labelled_batches, labelled_subset
from .randomness import generator, seeded

BY_SEED = "by-seed"


def _check_fold(fold: Any) -> Any:
    if fold is None or fold == BY_SEED or (isinstance(fold, int) and not isinstance(fold, bool) and 0 <= fold < FOLDS):
        return fold
    raise ValueError(f"write 0 to {FOLDS - 1}, or {BY_SEED}")


class LabelledClassifierConfig(MethodConfig):
    """Settings that all classifiers share; a method's own config adds its own."""

    epochs: PositiveInt = Field(default=50, description="epochs of the classifier, after those of a base if there is one")
    batch: Annotated[int, Field(ge=2)] = Field(default=700, description="labelled images in a batch")
    steps_per_epoch: PositiveInt | None = Field(
        default=None, description="batches in an epoch, after which the test follows; one pass over the labelled images if null"
    )
    label_fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="share of the labelled images that is used, drawn by the seed"
    )
    balanced_labels: bool = Field(default=False, description="draw that share from each class")
    fold: Annotated[int | Literal["by-seed"] | None, BeforeValidator(_check_fold)] = Field(
        default=None,
        description="STL-10's fold of 1,000 labelled images to use, 0 to 9, instead of all; by-seed: the seed's last digit, so "
        "that ten seeds go through all of them",
    )
    evaluation_batch: PositiveInt = Field(default=200, description="images in a batch at test time, crops not counted")


class LabelledClassifier(LabelledMethod):
    """A network that maps prepared views to class logits, trained by cross-entropy.

    A subclass builds `network` and `optimiser`, and says which views they see. Its `train_labelled` calls `classifier_epoch`.
    """

    predicts_classes: ClassVar[bool] = True
    Config = LabelledClassifierConfig
    config: LabelledClassifierConfig
    network: nn.Module
    optimiser: torch.optim.Optimizer

    @abstractmethod
    def varied(self, batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """What the network learns from of a uint8 batch (M, C, H, W): float32 (M, C', S, S)."""

    @abstractmethod
    def test_logits(self, batch: torch.Tensor) -> torch.Tensor:
        """Logits (M, n_clusters) of a uint8 batch (M, C, H, W), the network at rest."""

    def set_rates(self, passed: float) -> None:
        """Learning rates when `passed` epochs of the classifier are over; by default they never change."""

    def chosen_labels(self, labelled: Labelled) -> torch.Tensor:
        """Rows of `labelled` that are learned from (see `labelled_subset`, also for what it raises)."""
        config = self.config
        fold = self.seed % FOLDS if config.fold == BY_SEED else config.fold
        return labelled_subset(
            labelled, self.n_clusters, fraction=config.label_fraction, balanced=config.balanced_labels, fold=fold, seed=self.seed
        )

    def classifier_epoch(self, labelled: Labelled, chosen: torch.Tensor, done: int, number: int) -> tuple[float, int]:
        """One epoch: the mean loss of its batches, and the images that went through the network.

        Args:
            labelled: images with labels.
            chosen: rows of them to learn from.
            done: epochs of the classifier before this one.
            number: of this epoch in the whole training, for messages.
        """
        random = generator(self.device, self.seed, "classifier", done + 1)
        batches = labelled_batches(len(chosen), self.config.batch, self.config.steps_per_epoch, random)
        order = [chosen[batch] for batch in batches]
        total, seen = torch.zeros((), device=self.device), 0
        with seeded(self.seed, "dropout", done + 1):
            for step, (rows, batch) in enumerate(zip(order, labelled.images.batches(order), strict=True), start=1):
                self.set_rates(done + (step - 1) / len(order))
                total += self.train_step(batch, labelled.labels[rows], random)
                seen += len(batch)
                self.on_step(step, len(order), seen)
        loss = total / len(order)
        check_finite(loss, number, self.name)
        return loss.item(), seen

    def train_step(self, batch: torch.Tensor, labels: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """One optimiser step on a uint8 batch (M, C, H, W) with classes (M,): its cross-entropy, detached."""
        self.network.train()
        loss = functional.cross_entropy(self.logits(self.varied(batch, random)), labels)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def logits(self, views: torch.Tensor) -> torch.Tensor:
        """The network's logits (M, n_clusters) of prepared views (M, C', S, S)."""
        return self.network(views.contiguous(memory_format=torch.channels_last))

    def predict_heads(self, images: Images) -> np.ndarray:
        """Class of each image: int64 (1, len(images)), by the averaged logits of its crops."""
        return self.all_logits(images).argmax(-1).cpu().numpy()[None]

    def predict_proba(self, images: Images) -> np.ndarray:
        """Class probabilities, the softmax of the averaged logits: float32 (len(images), n_clusters)."""
        return self.all_logits(Images.of(images).to(self.device)).softmax(-1).cpu().numpy()

    @torch.inference_mode()
    def all_logits(self, images: Images) -> torch.Tensor:
        """Logits (N, n_clusters) of all images, averaged over the crops of each where there are several."""
        self.network.eval()
        order = images.order("all", self.config.evaluation_batch)
        return torch.cat([self.test_logits(batch) for batch in images.batches(order)])
