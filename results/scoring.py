"""From stored predictions to the metrics of a record: what a trial does when it ends, and what can be done again at any time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .boundaries import scores_away
from .files import RecordError
from .mapping import Kind, intersection_over_union, label_fractions, map_clusters, mapped_accuracy
from .metrics import Scores, count_pairs, score_counts, summarise_heads
from .record import SELECTIONS, Record

OTHER = "other/"  # begins the names of what the method's other ways to predict give
Arrays = Mapping[str, np.ndarray]


class NothingToMapOn(ValueError):
    """No label is known among the images that the map from clusters to classes is to be found on."""


@dataclass(frozen=True, eq=False)
class Scoring:
    """How the clusters of one trial are scored.

    Attributes:
        n_clusters, n_classes: K and C.
        kind: of the map from clusters to classes.
        truth: integer (N,) classes of the scored images, -1 where not known; None per pixel, where counts were kept instead.
        mapping_truth: integer (N',) classes of the images that find the map, where these are others; None per pixel.
        maps_elsewhere: whether the map is found on other images than the scored ones.
        seed: of the draws of `label_fractions`; None where they are not wanted.
        chosen_with: what the record says of the labels that the oracle choice saw, if these found no map.
    """

    n_clusters: int
    n_classes: int
    kind: Kind
    truth: np.ndarray | None
    mapping_truth: np.ndarray | None = None
    maps_elsewhere: bool = False
    seed: int | None = None
    chosen_with: Mapping[str, Any] | None = None

    def heads(self, predictions: np.ndarray, beside: Arrays) -> list[Scores]:
        """The metrics of every sub-head.

        Args:
            predictions: integer (H, N) clusters by every sub-head; not looked at per pixel.
            beside: what is kept with them: `mapping` (H, N'), or per pixel `confusion` (H, K, C), `sizes` (H, K), `confusion` of
                what is away from boundaries (see `boundaries`) and where the map is found on other images `mapping-confusion`.

        Raises:
            NothingToMapOn: the images that find the map have no known label.
            ValueError: a cluster or class out of range, or shapes that differ.
        """
        return self.scores(self.evidence(predictions, beside))

    def scores(self, evidence: tuple[np.ndarray, ...]) -> list[Scores]:
        """The metrics of every sub-head, of what `evidence` gave; raises what `heads` raises."""
        return [self._scores(*each) for each in zip(*evidence, strict=True)]

    def evidence(self, predictions: np.ndarray, beside: Arrays) -> tuple[np.ndarray, ...]:
        """The matrices (H, K, C) of the scored images, the sizes (H, K) of their clusters, and the matrices that find the map."""
        if self.truth is None:
            confusion, sizes = beside["confusion"], beside["sizes"]
            return confusion, sizes, beside.get("mapping-confusion", confusion)
        counts = self.counts(predictions, self.truth)
        confusion, sizes = counts[..., :-1], counts.sum(axis=-1)
        if self.mapping_truth is None:
            return confusion, sizes, confusion
        return confusion, sizes, self.counts(beside["mapping"], self.mapping_truth)[..., :-1]

    def counts(self, predictions: np.ndarray, labels: Any) -> np.ndarray:
        """int64 (H, K, C + 1), the last column for what has no known class."""
        return np.stack([count_pairs(head, labels, self.n_clusters, self.n_classes) for head in predictions])

    def selection(self, name: str, *, epoch: int, head: int, predictions: np.ndarray, beside: Arrays) -> dict[str, Any]:
        """What record.json says of the selection `name`, which chose this epoch and sub-head. Raises what `heads` raises."""
        heads = self.heads(predictions, beside)
        about: dict[str, Any] = {"epoch": epoch, "head": head, "heads": summarise_heads(heads)}
        if name == "oracle" and self.chosen_with is not None:
            about["chosen_with"] = dict(self.chosen_with)
        if self.seed is not None and heads[head]["acc"] is not None:
            about["label_fractions"] = self._fractions(predictions[head], beside["mapping"][head], self.seed)
        if others := self._others(head, beside):
            about["other_predictions"] = others
        if (away := self._away(head, beside)) is not None:
            about["away_from_boundaries"] = away
        return {**heads[head], **about}

    def _scores(self, confusion: np.ndarray, sizes: np.ndarray, found_on: np.ndarray) -> Scores:
        scores = score_counts(confusion, sizes)
        per_pixel = self.truth is None
        if not confusion.any():
            return {**scores, "miou": None, "iou": None} if per_pixel else scores
        if not found_on.any():
            raise NothingToMapOn("No label is known to find the mapping on.")
        classes = map_clusters(found_on, self.kind)
        if self.maps_elsewhere or self.kind == "identity":
            scores["acc"] = mapped_accuracy(confusion, classes)
        if per_pixel:
            iou = intersection_over_union(confusion, classes)
            scores |= {"miou": float(np.mean([value for value in iou if value is not None])), "iou": iou}
        return scores

    def _away(self, head: int, beside: Arrays) -> dict[str, Any] | None:
        """The scores of pixels away from the boundaries of classes; None where nothing is labelled or they were not counted."""
        if self.truth is not None or not beside["confusion"][head].any():
            return None
        found_on = beside.get("mapping-confusion", beside["confusion"])[head]
        return scores_away(beside, head, map_clusters(found_on, self.kind))

    def _others(self, head: int, beside: Arrays) -> dict[str, Scores]:
        """The metrics of the method's other ways to predict in that epoch, by name, by the sub-head that was chosen."""
        found = {key.removeprefix(OTHER): array for key, array in beside.items() if key.startswith(OTHER)}
        names = [name for name in found if "/" not in name]
        around = {name: {key.removeprefix(f"{name}/"): each for key, each in found.items()} for name in names}
        return {name: self.heads(found[name], around[name])[head] for name in names}

    def _fractions(self, judged: np.ndarray, mapping: np.ndarray, seed: int) -> list[dict[str, Any]]:
        assert self.truth is not None and self.mapping_truth is not None  # label maps have no seed
        confusion = self.counts(judged[None], self.truth)[0, :, :-1]
        return label_fractions(mapping, self.mapping_truth, confusion, self.kind, seed)


def scoring_of(record: Record, labels: Arrays) -> Scoring:
    """How a record was scored, told from the record and its stored labels (`Record.labels`)."""
    per_pixel = "rows" in labels
    mapping_truth = labels.get("mapping/truth")
    elsewhere = mapping_truth is not None or any(name.endswith("/mapping-confusion") for name in labels)
    n_clusters, n_classes = int(record.spec["n_clusters"]), _classes_of(record, labels)
    usual = "many-to-one" if elsewhere and n_clusters > n_classes else "hungarian"
    with_fractions = record.spec.get("protocol") == "semi-supervised" and mapping_truth is not None
    return Scoring(
        n_clusters,
        n_classes,
        (record.mapping or {}).get("kind", usual),
        None if per_pixel else labels["truth"],
        mapping_truth,
        elsewhere,
        int(record.spec["seed"]) if with_fractions else None,
        record.metrics.get("oracle", {}).get("chosen_with"),
    )


def recompute(record: Record) -> dict[str, dict[str, Any]]:
    """The metrics of a record by selection, computed anew from its labels.npz: the `metrics` that a trial would write today.

    The epochs and sub-heads that the selections chose stay: of other epochs no labels are kept.

    Raises:
        RecordError: no labels.npz, or one that is damaged or does not fit the record.
    """
    labels = record.labels()
    try:
        scoring = scoring_of(record, labels)
        return {name: _selection(scoring, name, record, labels) for name in SELECTIONS if name in record.metrics}
    except (KeyError, ValueError, IndexError, TypeError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise RecordError(f"{record.folder / 'labels.npz'} does not fit its record: {what}") from None


def _selection(scoring: Scoring, name: str, record: Record, labels: Arrays) -> dict[str, Any]:
    beside = {key.removeprefix(f"{name}/"): array for key, array in labels.items() if key.startswith(f"{name}/")}
    head = int(beside.pop("head"))
    return scoring.selection(name, epoch=record.metrics[name]["epoch"], head=head, predictions=labels[name], beside=beside)


def _classes_of(record: Record, labels: Arrays) -> int:
    """C by the record, else as many as the counts have columns, else as the labels name."""
    known = (record.provenance.get("data") or {}).get("n_classes")
    counts = next((array for name, array in labels.items() if name.endswith("confusion")), None)
    if counts is not None:
        return int(counts.shape[-1])
    stored = [labels[name] for name in ("truth", "mapping/truth") if name in labels]
    return int(known) if known is not None else max(0, *(int(array.max(initial=-1)) + 1 for array in stored))
