"""Contact sheets: what lies in each cluster of a run, or of a folder that a run has labelled, to be looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..datasets.errors import DataError
from ..datasets.files.decoding import Decoder, probe
from ..results.figures.jobs import ImagesOf
from ..results.record import Record
from ..results.sheet import LARGEST_SIDE, MOST_PICTURES, MOST_SECTIONS, Cluster, Picture, Sheet, picture, strips
from .interpretation import Interpretation, largest_first
from .predict import Labeller, Labelling
from .sampling import Sampler, samples_of_each

PER_CLUSTER = 12


def per_cluster(n_clusters: int) -> int:
    """Pictures for either end of a cluster on a sheet of `n_clusters`."""
    return samples_of_each(min(n_clusters, MOST_SECTIONS), MOST_PICTURES, PER_CLUSTER)


def sheet_of_run(found: Interpretation, images: ImagesOf) -> Sheet:
    """The scored images of a run by cluster.

    Args:
        found: what is known of its clusters, of whole images.
        images: gives them. Raises `Cannot` where they are not here.
    """
    record, clusters = found.record, found.clusters
    sampler: Sampler[int] = Sampler(len(found.sizes), per_cluster(len(found.sizes)))
    if len(found.rows):
        for row, sure in zip(found.rows.tolist(), found.confidence.tolist(), strict=True):
            sampler.offer(int(clusters[row]), row, sure)
    else:
        for row, cluster in enumerate(clusters.tolist()):
            sampler.offer(cluster, row, None)
    shown = _pictures_of_rows(record, sampler, _shown(found.sizes), images)
    confidence = found.confidence_by_cluster
    parts = [
        Cluster(
            number=cluster,
            size=int(found.sizes[cluster]),
            share=float(found.sizes[cluster] / max(1, found.sizes.sum())),
            label=_label(found.class_names, cluster, found.sizes),
            confidence=confidence[cluster],
            facts=_facts(found, cluster),
            strips=strips(*shown[cluster]) if cluster in shown else (),
        )
        for cluster in largest_first(found.sizes.tolist())
    ]
    spec = record.spec
    title = f"{spec['method']} on {spec['dataset']}, seed {spec['seed']}"
    summary = f"Clusters of {record.folder.name}, {_chooser(found)}."
    notes = [*found.notes, *_how_drawn(bool(len(found.rows)), len(found.rows) < len(clusters)), *_left_out(found.sizes)]
    if found.class_names:
        notes.append("Class: what the cluster stands for when its clusters are matched with the labels of the data.")
    return Sheet(title, summary, found.facts, tuple(notes), tuple(parts))


def sheet_of_folder(labeller: Labeller, done: Labelling, folder: Path) -> Sheet:
    """The images of a folder by the clusters that a run gave them; the pictures are read again from their files."""
    record, sizes = labeller.record, done.sizes
    total = int(sizes.sum())
    mean = None if done.confidence is None else [
        float(sure / size) if size else None for sure, size in zip(done.confidence, sizes, strict=True)
    ]  # fmt: skip
    shown = {cluster: _pictures_of_files(done.sampler, cluster, folder) for cluster in _shown(sizes)}
    parts = [
        Cluster(
            number=cluster,
            size=int(sizes[cluster]),
            share=float(sizes[cluster] / max(1, total)),
            label=_label(labeller.class_names, cluster, sizes),
            confidence=None if mean is None else mean[cluster],
            strips=strips(*shown[cluster]) if cluster in shown else (),
        )
        for cluster in largest_first(sizes.tolist())
    ]
    spec = record.spec
    facts = [
        ("images", f"{total:,} labelled, {done.seen.bad:,} files were bad"),
        ("clusters", f"{int((sizes > 0).sum())} of {len(sizes)} used"),
    ]
    if done.confidence is not None:
        facts.append(("confidence", f"{done.confidence.sum() / max(1, total):.3f} on average"))
    notes = [*labeller.notes, *done.seen.notes(labeller.shape), *_how_drawn(mean is not None, False), *_left_out(sizes)]
    if labeller.class_names:
        notes.append(f"Class: what the cluster stood for on the labelled images of {spec['dataset']}, where the run was scored.")
    summary = f"Labelled by {record.folder.name}: {spec['method']} on {spec['dataset']}, seed {spec['seed']}."
    return Sheet(f"Images of {folder.resolve().name} by cluster", summary, tuple(facts), tuple(notes), tuple(parts))


def _shown(sizes: np.ndarray) -> list[int]:
    """The clusters that get a section: the largest that are not empty."""
    return [cluster for cluster in largest_first(sizes.tolist())[:MOST_SECTIONS] if sizes[cluster]]


Shown = tuple[list[Picture], list[Picture], list[Picture]]  # the surest, the least sure, any


def _pictures_of_rows(record: Record, sampler: Sampler[int], clusters: list[int], images: ImagesOf) -> dict[int, Shown]:
    """All rows are read in one go: a memory map is read from its beginning to its end."""
    wanted = {cluster: (sampler.most(cluster), sampler.least(cluster), sampler.some(cluster)) for cluster in clusters}
    rows = sorted({row for most, least, some in wanted.values() for row in [*(r for r, _ in [*most, *least]), *some]})
    pixels = dict(zip(rows, images(record, np.array(rows, np.int64)), strict=True))
    return {
        cluster: (
            [picture(pixels[row], f"image {row}", sure) for row, sure in most],
            [picture(pixels[row], f"image {row}", sure) for row, sure in least],
            [picture(pixels[row], f"image {row}") for row in some],
        )
        for cluster, (most, least, some) in wanted.items()
    }


def _pictures_of_files(sampler: Sampler[str], cluster: int, folder: Path) -> Shown:
    def of(names: list[tuple[str, float | None]]) -> list[Picture]:
        return [found for name, sure in names if (found := _picture_of_file(folder / name, name, sure)) is not None]

    return (
        of([*sampler.most(cluster)]),
        of([*sampler.least(cluster)]),
        of([(name, None) for name in sampler.some(cluster)]),
    )


def _picture_of_file(path: Path, name: str, sure: float | None) -> Picture | None:
    """None for a file that has gone since it was labelled."""
    try:
        header = probe(path)
        side = max(1, min(LARGEST_SIDE, header.height, header.width))
        return picture(Decoder((3, side, side), fit="crop").decode(path), name, sure)
    except DataError:
        return None


def _chooser(found: Interpretation) -> str:
    return "as the method's own loss chose them" if found.selection == "own-loss" else "of its last epoch"


def _label(names: tuple[str, ...] | None, cluster: int, sizes: np.ndarray) -> str:
    return names[cluster] if names and sizes[cluster] else ""


def _facts(found: Interpretation, cluster: int) -> tuple[str, ...]:
    again = found.recurrence[cluster] if found.recurrence else None
    return () if again is None else (f"overlap with its like in other seeds {100 * again:.0f} %",)


def _how_drawn(by_confidence: bool, of_a_sample: bool) -> list[str]:
    if not by_confidence:
        return ["The pictures are drawn at random: the method gives no confidence, or none was kept."]
    return ["The pictures are the surest and least sure of the sample that has a confidence."] if of_a_sample else []


def _left_out(sizes: np.ndarray) -> list[str]:
    more = int((sizes > 0).sum()) - MOST_SECTIONS
    return [f"{more:,} smaller clusters stand in the table without pictures."] if more > 0 else []
