"""Labels for a folder of images by what a run has learned: a row of CSV for every file, in bounded memory."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from ..datasets.base import DataError, Images
from ..datasets.image_stream import Item, Seen, stream
from ..methods.base import Method, MethodError
from ..methods.registry import methods
from ..results.files import replace_file
from ..results.mapping import NO_CLASS, map_clusters
from ..results.metrics import count_pairs
from ..results.record import Record, RecordError, Selection
from .checks import checked_part
from .predictor import trained_method
from .sampling import Sampler

COLUMNS = ("path", "cluster", "confidence", "class", "problem")
PART_BYTES, LARGEST_PART = 32 << 20, 1_000
FROM_THE_BATCH = {"statistics": "batch", "batch_statistics": "batch", "statistics_from": "scored"}
Progress = Callable[[int, int], None]  # images labelled, bad files


@dataclass
class Labelling:
    """What became of a folder.

    Attributes:
        seen: counts of good and bad files, and what was done to them.
        sizes: int64 (K,), images in each cluster.
        confidence: float64 (K,), sum of the confidences of each cluster; None where the method has none.
        sampler: names of files to show of each cluster.
        problems: the first bad files with what is wrong.
    """

    seen: Seen
    sizes: np.ndarray
    sampler: Sampler[str]
    confidence: np.ndarray | None = None
    problems: list[tuple[str, str]] = field(default_factory=list)


class Labeller:
    """A trained run that labels images of its own shape.

    Args:
        record: of the run.
        device: `cpu` or `cuda:N`.

    Attributes:
        shape: (C, H, W) that images must have.
        class_names: name of the class that each cluster stands for, "" for a cluster that stands for none; None where the run's
            data has no labels.

    Raises what `predictor.trained_method` raises, and `MethodError` for a run that labels pixels.
    """

    def __init__(self, record: Record, device: str = "cpu") -> None:
        name = record.spec["method"]
        if methods.get(name).task == "segmentation":
            raise MethodError(f"{name} labels pixels, not images: see its maps with bench figures segmentation.")
        self.record = record
        self.method: Method = trained_method(record, device)
        self.shape = _shape(record)
        self.class_names = class_names(record)
        self.has_confidence = type(self.method).predict_proba is not Method.predict_proba

    def __call__(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Clusters, int64 (n,), and the probability of each in [0, 1], float (n,) or None, for uint8 (n, C, H, W)."""
        images = Images(torch.from_numpy(pixels)).to(self.method.device)
        if not self.has_confidence:
            clusters = np.asarray(self.method.predict(images))
            return checked_part(self.method, clusters[None], (len(pixels),), None)[0].astype(np.int64), None
        found = np.asarray(self.method.predict_proba(images))
        if found.shape != (len(pixels), self.method.n_clusters):
            raise MethodError(f"{self.method.name}: predict_proba gave {found.shape} for {len(pixels)} images.")
        return found.argmax(1), found.max(1)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know beside the labels."""
        record, spec = self.record, self.record.spec
        own, told = record.metrics.get("own-loss", {}).get("epoch"), []
        if own is not None and own != record.epochs_done:
            told.append(
                f"labels are those of the last epoch ({record.epochs_done}), whose weights are kept; "
                f"the run's own loss preferred epoch {own}"
            )
        if self.method.version != spec["method_version"]:
            told.append(f"the run used version {spec['method_version']} of {spec['method']}, this is {self.method.version}")
        if _needs_company(spec["config"]):
            told.append(
                f"this run takes batch norm's statistics from the images that it labels together ({LARGEST_PART:,} here), "
                "so a label depends on the images beside it"
            )
        return tuple(told)


def class_names(record: Record, selection: Selection = "last") -> tuple[str, ...] | None:
    """The class that each cluster of a selection's epoch and head stands for, as its accuracy is measured; None without labels.

    "" for a cluster that stands for none. Where many clusters may stand for one class, an empty one has the first class.
    """
    names = tuple((record.provenance.get("data") or {}).get("class_names") or ())
    clusters = record.spec["n_clusters"]
    kind = (record.mapping or {}).get("kind", "hungarian")
    if not names or record.score("acc", selection) is None:
        return None
    if kind == "identity":
        return names
    try:
        kept = record.labels()
    except RecordError:
        return None
    head = int(kept[f"{selection}/head"])
    found, truth = kept[selection][head], kept["truth"]
    if f"{selection}/mapping" in kept:
        found, truth = kept[f"{selection}/mapping"][head], kept["mapping/truth"]
    classes = map_clusters(count_pairs(found, truth, clusters, len(names))[:, :-1], kind)
    return tuple("" if label == NO_CLASS else names[label] for label in classes)


def label_folder(
    labeller: Labeller, folder: Path, output: Path, *, per_cluster: int = 0, progress: Progress = lambda done, bad: None
) -> Labelling:
    """Label every image of `folder` and write `output`, a CSV file with the columns `COLUMNS`, which appears when it is whole.

    Rows come in the order of the files' names; a bad file has a problem in place of a cluster.

    Args:
        labeller: see there.
        folder: of images, see `image_stream.stream`.
        output: replaced if it is there.
        per_cluster: names of files to keep of either end of each cluster.
        progress: told how many images are labelled and how many files were bad.

    Raises:
        DataError: the folder cannot be read, or holds no image file.
        MethodError: the method broke.
        RecordError: the disk refuses.
    """
    clusters = labeller.record.spec["n_clusters"]
    done = Labelling(Seen(), np.zeros(clusters, np.int64), Sampler(clusters, per_cluster))
    if labeller.has_confidence:
        done.confidence = np.zeros(clusters)
    replace_file(output, lambda file: _write(labeller, folder, file, done, progress))
    return done


def _write(labeller: Labeller, folder: Path, file: IO[bytes], done: Labelling, progress: Progress) -> None:
    # names that are no UTF-8 come out as the bytes that they are on the disk
    text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="", write_through=True)
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    size = max(2, min(LARGEST_PART, PART_BYTES // int(np.prod(labeller.shape))))
    for part in _parts(stream(folder, labeller.shape, done.seen), size):
        rows.writerows(_rows(labeller, part, done))
        progress(int(done.sizes.sum()), done.seen.bad)
    text.flush()
    text.detach()
    if not done.seen.images + done.seen.bad:
        others = f", but {done.seen.others.total():,} other files" if done.seen.others else ""
        raise DataError(f"{folder} holds no image files{others}. Put some there, or give another folder.")


def _parts(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The stream in parts of `size` good images; one that is left over joins those before it, as batch norm may need two."""
    waiting: list[Item] = []
    part: list[Item] = []
    good = 0
    for item in items:
        part.append(item)
        good += item.pixels is not None
        if good == size:
            if waiting:
                yield waiting
            waiting, part, good = part, [], 0
    if good > 1 and waiting:
        yield waiting
        waiting = []
    if waiting or part:
        yield waiting + part


def _rows(labeller: Labeller, part: list[Item], done: Labelling) -> Iterator[tuple[str, ...]]:
    good = [item.pixels for item in part if item.pixels is not None]
    clusters, confidence = labeller(np.stack(good)) if good else (np.empty(0, np.int64), None)
    place = 0
    for item in part:
        if item.pixels is None:
            if len(done.problems) < 5:
                done.problems.append((item.name, item.problem))
            yield item.name, "", "", "", item.problem
            continue
        cluster, sure = int(clusters[place]), None if confidence is None else float(confidence[place])
        place += 1
        done.sizes[cluster] += 1
        if done.confidence is not None and sure is not None:
            done.confidence[cluster] += sure
        if done.sampler.per_cluster:
            done.sampler.offer(cluster, item.name, sure)
        label = labeller.class_names[cluster] if labeller.class_names else ""
        yield item.name, str(cluster), "" if sure is None else f"{sure:.4f}", label, ""


def _needs_company(config: Mapping[str, Any]) -> bool:
    """Whether a setting makes batch norm look at the images that are predicted."""
    return any(
        _needs_company(value) if isinstance(value, Mapping) else FROM_THE_BATCH.get(name, ...) == value
        for name, value in config.items()
    )


def _shape(record: Record) -> tuple[int, int, int]:
    shape = (record.provenance.get("data") or {}).get("shape")
    if not shape:
        raise RecordError(f"{record.folder.name} does not tell the shape of its images. Run the trial again with --force.")
    channels, height, width = shape
    return channels, height, width
