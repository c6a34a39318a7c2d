"""What a run's clusters look like, whether or not anything is labelled: from its record and, if they are at hand, its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..results.figures.jobs import Cannot, ImagesOf
from ..results.figures.probabilities import Probabilities
from ..results.groups import Group, Spread, group_records, split_counted
from ..results.record import Record, RecordError, Selection, find_records
from ..results.unlabelled import (
    SILHOUETTE_SAMPLE,
    chosen_clusters,
    cluster_sizes,
    confidence_summary,
    recurrence,
    silhouette,
    stability,
    told,
)
from .predict import class_names


@dataclass(frozen=True, eq=False)
class Interpretation:
    """What is known of one run's clusters.

    Attributes:
        record: of the run.
        selection: whose clusters these are: `own-loss`, or `last` where only the last epoch's probabilities were kept.
        clusters: int (N,), or per pixel (M, H', W') of the maps that were kept.
        sizes: int64 (K,), images or pixels in each cluster.
        rows: int64 (n,), images of the sample that has a confidence; empty where there is none.
        confidence: float (n,), the probability of its cluster for each of them.
        silhouette: its value, the features it is of, and the number of images; None where it is not known.
        stability: agreement of the seeds of this setting, and how many there are.
        recurrence: per cluster, see `results.unlabelled.recurrence`; None without another seed.
        class_names: the class that each cluster stands for; None without labels.
        notes: what a reader must know beside it.
    """

    record: Record
    selection: Selection
    clusters: np.ndarray
    sizes: np.ndarray
    rows: np.ndarray
    confidence: np.ndarray
    silhouette: tuple[float, str, int] | None
    stability: Spread | None
    seeds: int
    recurrence: list[float | None] | None
    class_names: tuple[str, ...] | None
    notes: list[str] = field(default_factory=list)

    @property
    def per_pixel(self) -> bool:
        return self.clusters.ndim == 3

    @property
    def confidence_by_cluster(self) -> list[float | None]:
        """Mean confidence of the sample's images in each cluster; None where there is none."""
        of = self.clusters[self.rows] if len(self.rows) else np.empty(0, np.int64)
        parts = (self.confidence[of == cluster] for cluster in range(len(self.sizes)))
        return [float(part.mean()) if len(part) else None for part in parts]

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """Pairs of a name and a value, for a terminal or a sheet."""
        total, unit = int(self.sizes.sum()), "pixels" if self.per_pixel else "images"
        used = int((self.sizes > 0).sum())
        largest, smallest = 100 * self.sizes.max() / max(total, 1), 100 * self.sizes.min() / max(total, 1)
        facts = [
            (
                "clusters",
                f"{used} of {len(self.sizes)} used; largest {largest:.1f} %, smallest {smallest:.1f} % of {total:,} {unit}",
            )
        ]
        if len(self.rows):
            about = confidence_summary(self.confidence)
            told_ = f"{about['mean']:.3f} on average; {100 * about['sure']:.0f} % of images at 0.9 or more"
            facts.append(("confidence", f"{told_} (sample of {about['n']:,})"))
        else:
            facts.append(("confidence", "none: the method gives no probabilities, or none were kept"))
        facts.append(("silhouette", _in_words(self.silhouette)))
        facts.append(("stability", self._stability))
        return tuple(facts)

    @property
    def _stability(self) -> str:
        if self.stability is None:
            return "unknown: it takes more seeds of this setting, with their labels.npz" if self.seeds > 1 else "unknown: 1 seed"
        pairs = "1 pair" if self.stability.n == 1 else f"{self.stability.n} pairs"
        spread = f"{self.stability.mean:.3f}" + ("" if self.stability.std is None else f" ± {self.stability.std:.3f}")
        return f"ARI {spread} between {self.seeds} seeds ({pairs}); 1 is the same clusters, 0 is chance"


def interpret(record: Record, images: ImagesOf) -> Interpretation:
    """Everything that is known of a run's clusters.

    Args:
        record: of a finished run.
        images: gives its images; raises `Cannot` where they are not here, which costs the silhouette, unless the record has it.

    Raises `RecordError` if the record has no labels.npz or it is damaged.
    """
    labels = record.labels()
    kept, notes = _probabilities(record, labels)
    selection, why = _selection(record, kept)
    clusters = chosen_clusters(labels, selection)
    if clusters is None:
        raise RecordError(
            f"{record.folder.name} holds no clusters of the selection {selection}. Run the trial again with --force."
        )
    n_clusters = record.spec["n_clusters"]
    head = int(labels.get(f"{selection}/head", 0))
    per_pixel = clusters.ndim == 3
    sizes = labels[f"{selection}/sizes"][head] if per_pixel else cluster_sizes(clusters, n_clusters)
    rows = np.empty(0, np.int64) if kept is None or per_pixel else kept.rows
    sure = np.empty(0) if kept is None or per_pixel else kept.values[-1].astype(np.float64)[np.arange(len(rows)), clusters[rows]]
    group = _group(record)
    others = _others(group, record, selection, clusters.shape)
    found, problem = (None, "") if per_pixel else _silhouette(record, clusters, selection, images)
    return Interpretation(
        record=record,
        selection=selection,
        clusters=clusters,
        sizes=np.asarray(sizes),
        rows=rows,
        confidence=sure,
        silhouette=found,
        stability=stability(group, selection),
        seeds=group.n,
        recurrence=recurrence(clusters.ravel(), [other.ravel() for other in others], n_clusters) if others else None,
        class_names=class_names(record, selection) if not per_pixel else None,
        notes=[*notes, *why, *([problem] if problem else [])],
    )


def _probabilities(record: Record, labels: dict[str, np.ndarray]) -> tuple[Probabilities | None, list[str]]:
    """Those of the last epoch, if they are kept and of its clusters."""
    try:
        kept = Probabilities.read(record.folder)
    except RecordError as error:
        return None, [str(error)]
    if kept is None or not len(kept.epochs) or kept.epochs[-1] != record.epochs_done or "last" not in labels:
        return None, []
    return kept, []


def _selection(record: Record, kept: Probabilities | None) -> tuple[Selection, list[str]]:
    """The method's own choice, unless the only confidence that was kept is that of another epoch."""
    own = record.metrics.get("own-loss", {}).get("epoch")
    if kept is None or own == record.epochs_done:
        return "own-loss", []
    return "last", [
        f"clusters of the last epoch ({record.epochs_done}), whose probabilities are kept; own loss preferred epoch {own}"
    ]


def _group(record: Record) -> Group:
    """The finished seeds of the same setting that lie beside the record."""
    counted, _ = split_counted(find_records(record.folder.parent))
    for group in group_records(counted):
        if any(each.id == record.id and each.folder.name == record.folder.name for each in group.records):
            return group
    return Group((record,))


def _others(group: Group, record: Record, selection: Selection, shape: tuple[int, ...]) -> list[np.ndarray]:
    """The clusters of the other seeds, those that kept them."""
    found = []
    for other in group.records:
        if other.id == record.id:
            continue
        try:
            clusters = chosen_clusters(other.labels(), selection)
        except RecordError:
            continue
        if clusters is not None and clusters.shape == shape:
            found.append(clusters)
    return found


def _silhouette(
    record: Record, clusters: np.ndarray, selection: Selection, images: ImagesOf
) -> tuple[tuple[float, str, int] | None, str]:
    """The one that the trial measured on the same clusters, else on the pixels of a sample; and why there is none."""
    from .without_labels import pixel_vectors

    known = told(record).get("silhouette")
    if known and selection == "own-loss":
        return (known["value"], known["features"], known["n"]), ""
    import torch

    rows = np.linspace(0, len(clusters) - 1, min(len(clusters), SILHOUETTE_SAMPLE)).round().astype(np.int64)
    try:
        pixels = pixel_vectors(torch.from_numpy(images(record, rows)))
    except Cannot as reason:
        return None, f"no silhouette: {reason}"
    value = silhouette(pixels, clusters[rows])
    return None if value is None else (value, "pixels", len(rows)), ""


def _in_words(found: tuple[float, str, int] | None) -> str:
    if found is None:
        return "unknown"
    value, features, n = found
    return f"{value:.3f} on {features} (sample of {n:,}); 1 is far apart, 0 is overlapping"


def largest_first(sizes: Sequence[int]) -> list[int]:
    """The clusters in the order of their sizes."""
    return sorted(range(len(sizes)), key=lambda cluster: (-sizes[cluster], cluster))
