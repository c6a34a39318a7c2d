"""How a trial judges: a method's clusters against the labels, a few images at a time, and what the record keeps of it.

The only place where a trial looks at labels. Everything is counted into one matrix of clusters against classes per sub-head, so
that label maps of any number of pixels are scored exactly in a fixed amount of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..datasets.base import DataError, Images, LabelMaps, TrialData
from ..methods.base import Method, MethodError
from ..methods.registry import methods
from ..results.boundaries import AWAY, count_pixels
from ..results.mapping import Kind
from ..results.metrics import Scores
from ..results.scoring import OTHER, NothingToMapOn, Scoring
from .checks import check_chosen_head, checked_part, wrong_predictions
from .selection import Choice
from .spec import WITH_LABELS, TrialSpec

MAPS_SHOWN = 16
UNSAID = -1  # of pixels that another way to predict says nothing of; they are not counted
PER_HEAD = ("acc", "nmi", "ari", "clusters_used")
Labels = np.ndarray | LabelMaps
Predict = Callable[[Images], Iterator[np.ndarray]]


@dataclass(frozen=True, eq=False)
class Judgement:
    """What a method's predictions at the end of an epoch come to.

    Attributes:
        predictions: (H, N) the clusters of the scored images by every sub-head, or per pixel those of the first few images.
        beside: what must be kept with them to score them again: see `Judge.arrays`.
        heads: the metrics of every sub-head.
        sizes: int64 (H, K), how many scored images or pixels are in each cluster.
    """

    predictions: np.ndarray
    beside: Mapping[str, np.ndarray]
    heads: list[Scores]
    sizes: np.ndarray

    @property
    def by_metric(self) -> dict[str, list[Any]]:
        """For the row of an epoch: the metrics that it has, each as a list over the sub-heads."""
        names = (*PER_HEAD, "miou") if "miou" in self.heads[0] else PER_HEAD
        return {name: [head[name] for head in self.heads] for name in names}


class Judge:
    """Judges one trial's method by the labels of its data.

    Where the data names images of its own for it (`TrialData.mapping`), the map from clusters to classes is found on their
    labels: one to one for as many clusters as classes, many to one for more. `acc` is then the accuracy of the scored images
    under that map; the metrics that need no map are of the scored images alone. A method that predicts classes needs no map.

    Args:
        spec: the trial.
        data: its data, with the images where the method wants them.

    Raises:
        DataError: nothing is labelled that the map could be found on.
    """

    def __init__(self, spec: TrialSpec, data: TrialData) -> None:
        self.spec, self.data = spec, data
        self.n_clusters, self.n_classes = spec.n_clusters, data.n_classes
        self.per_pixel = data.labels.ndim == 3
        self.learns = methods.get(spec.method).predicts_classes
        self.labels: Labels = data.labels if self.per_pixel else np.asarray(data.labels)
        self.mapping_labels: Labels | None = None
        if data.mapping_labels is not None and not self.learns:
            self.mapping_labels = data.mapping_labels if self.per_pixel else np.asarray(data.mapping_labels)
        self.shown = np.arange(min(MAPS_SHOWN, len(self.labels)))
        self.scoring = Scoring(
            self.n_clusters,
            self.n_classes,
            self.kind,
            truth=None if self.per_pixel else np.asarray(self.labels),
            mapping_truth=None if self.per_pixel or self.mapping_labels is None else np.asarray(self.mapping_labels),
            maps_elsewhere=self.mapping_labels is not None,
            seed=spec.seed if self._has_fractions else None,
            chosen_with=None if data.mapping_labels is None else {"metric": "acc", "labels_of": self._splits("scored")},
        )

    @property
    def kind(self) -> Kind:
        """How clusters become classes."""
        if self.learns:
            return "identity"
        return "many-to-one" if self.mapping_labels is not None and self.n_clusters > self.n_classes else "hungarian"

    @property
    def mapping(self) -> dict[str, Any]:
        """What the record says of the map: its kind, and the splits whose labels it was found on."""
        return {"on": self._splits("mapping"), "kind": self.kind}

    def _splits(self, role: str) -> list[str]:
        return list(self.data.about.get("roles", {}).get(role, ()))

    def judge(self, method: Method) -> Judgement:
        """Predict, and score every sub-head. Raises `MethodError` if the predictions are not what they must be."""
        predictions, beside = self._found(method, method.predict_batches)
        evidence = self.scoring.evidence(predictions, beside)
        with self._told():
            heads = self.scoring.scores(evidence)
        others = self._others(method, len(predictions))
        return Judgement(predictions, beside | others, heads, evidence[1])

    def _others(self, method: Method, heads: int) -> dict[str, np.ndarray]:
        """What the method's other ways to predict give, as `beside` has it: `other/NAME` and all beside it."""
        found: dict[str, np.ndarray] = {}
        for name, predict in method.other_predictions.items():
            in_parts = predict if self.per_pixel else lambda images, predict=predict: iter((predict(images),))
            predictions, beside = self._found(method, in_parts, lowest=UNSAID if self.per_pixel else 0)
            if len(predictions) != heads:
                raise MethodError(f"{method.name}: {name} gave {len(predictions)} sub-heads, predict_heads {heads}.")
            found |= {OTHER + name: predictions} | {f"{OTHER}{name}/{key}": array for key, array in beside.items()}
        return found

    def _found(self, method: Method, predict: Any, lowest: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The clusters of the scored images, and beside them what the images that find the map have."""
        predictions, beside = self._predicted(method, predict, self.data.score, self.labels, "", lowest)
        if self.data.mapping is not None and self.mapping_labels is not None:
            mapped, counts = self._predicted(method, predict, self.data.mapping, self.mapping_labels, "mapping-", lowest)
            beside |= counts if self.per_pixel else {"mapping": mapped}
        return predictions, beside

    def _predicted(
        self, method: Method, predict: Predict, images: Images, labels: Labels, prefix: str, lowest: int
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The clusters of `images` that are kept, and for label maps their counts, as `beside` has them."""
        kept: list[np.ndarray] = []
        counts: tuple[Any, Any] = (0, 0)  # of all pixels, and of those away from boundaries
        done, heads, to_keep = 0, None, len(self.shown) if self.per_pixel else len(labels)
        for found in predict(images):
            part = checked_part(method, found, (len(labels) - done, *labels.shape[1:]), heads, lowest)
            if self.per_pixel:
                found_here = count_pixels(part, labels[done : done + part.shape[1]], self.n_clusters, self.n_classes)
                counts = (counts[0] + found_here[0], counts[1] + found_here[1])
            if done < to_keep:
                kept.append(part[:, : to_keep - done].copy() if part.shape[1] > to_keep - done else part)
            done, heads = done + part.shape[1], len(part)
        if heads is None or done < len(labels):
            raise wrong_predictions(method, np.dtype(np.int64), (heads or 0, done, *labels.shape[1:]), labels.shape)
        check_chosen_head(method, heads)
        return np.concatenate(kept, axis=1), _counted(prefix, *counts) if self.per_pixel else {}

    def metrics(self, choices: Mapping[Any, Choice]) -> dict[str, dict[str, Any]]:
        """What record.json says of each selection."""
        with self._told():
            return {
                name: self.scoring.selection(
                    name, epoch=choice.epoch, head=choice.head, predictions=choice.predictions, beside=choice.beside
                )
                for name, choice in choices.items()
            }

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except NothingToMapOn:
            splits = " and ".join(self.mapping["on"])
            raise DataError(f"{self.data.name}: no label of {splits} is known to find the mapping on.") from None

    @property
    def _has_fractions(self) -> bool:
        return self.spec.protocol == WITH_LABELS and self.mapping_labels is not None and not self.per_pixel

    def arrays(self, choices: Mapping[Any, Choice]) -> dict[str, Any]:
        """What labels.npz holds.

        For whole images `truth` (N,), and per selection S the clusters `S` (H, N) and `S/head`; where the map is found on other
        images also `mapping/truth` (N',) and `S/mapping` (H, N'). A method's other ways to predict are `S/other/NAME` (H, N) and
        `S/other/NAME/mapping` (H, N').

        Per pixel all of it would be too much: `truth` (M, H', W') and `S` (H, M, H', W') are the maps of the images `rows` (M,),
        and of all images there are `S/confusion` (H, K, C) and `S/sizes` (H, K), the pixels of each cluster with those
        that have no label, and `S/away-3-confusion` (H, K, C), the pixels more than 3 away from another label; where the map is
        found on other images also `S/mapping-confusion` and `S/mapping-sizes`. Another way to predict has the same as
        `S/other/NAME` (-1: it says nothing of the pixel), `S/other/NAME/confusion` and so on.
        """
        found: dict[str, Any] = {"truth": self.labels[self.shown] if self.per_pixel else self.labels}
        if self.per_pixel:
            found["rows"] = self.shown
        elif self.mapping_labels is not None:
            found["mapping/truth"] = self.mapping_labels
        for name, choice in choices.items():
            found |= {name: choice.predictions, f"{name}/head": choice.head}
            found |= {f"{name}/{key}": array for key, array in choice.beside.items()}
        return found


def _counted(prefix: str, counts: np.ndarray, away: np.ndarray) -> dict[str, np.ndarray]:
    """The counts (H, K, C + 1) of pixels as `beside` has them; those away from boundaries (H, K, C) of scored images only."""
    scored = {} if prefix else {AWAY: away}
    return {f"{prefix}confusion": counts[..., :-1], f"{prefix}sizes": counts.sum(axis=-1), **scored}
