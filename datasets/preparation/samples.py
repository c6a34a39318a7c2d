"""Small stand-ins of the data sets, `NAME@sample`: the first real images where they are at hand, else generated ones.

They let every pipeline be tried on a laptop, in about 20 MB. Their results say nothing of the data set they stand in for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..source import Chunk, Part, Progress, Source
from .pictures import object_picture, random_of, regions_picture

BUDGET = 20 << 20
"""Bytes of the pixels and labels of one sample."""
MOST_GENERATED = 2000
FEWEST_PER_CLASS = 6
FEW_CLASSES = 10
CHUNK_BYTES = 4 << 20


def sample_of(name: str, card: Mapping[str, Any], places: Iterable[Path], progress: Progress) -> Source:
    """The sample of the data set `name`: of the real images that one of `places` holds, else a generated one.

    Args:
        name: of the whole data set. One that is a view of another's images gets a sample of its own, in its own labels.
        card: of its sample; the same as that of the data set in what is used here.
        places: data roots, or a folder or archive as `bench data prepare --from` takes it.
        progress: told how far it has come.

    Raises:
        DataError: the images in one of them are damaged.
    """
    from ..catalogue import datasets
    from .finding import read_source
    from .segmentation_samples import read_segmentation_sample

    whole = datasets.card(name)
    store = whole.get("store", name)
    view = {"label_map": whole["label_map"], "class_names": whole.get("class_names")} if "label_map" in whole else {}
    for place in places:
        if not place.exists():
            continue
        small = read_segmentation_sample(name, place, progress)
        if small is not None:  # a sample as it is; it only takes the labels of the view
            return take_sample(small, progress=progress, **view)
        found = read_source(store, datasets.card(store), place, progress)
        if found is not None:
            return take_sample(found, progress=progress, **view)
    return generate_sample(name, card, progress)


def generate_sample(name: str, card: Mapping[str, Any], progress: Progress) -> Source:
    """Generated images in the shape and with the splits of a data set, the same ones whenever it is called.

    Every class has its own combination of outline, texture and colour; places, sizes, light and noise are random. Images for
    segmentation show textured regions instead. All classes are kept where each gets six images within the budget, else ten.
    Labelled splits hold all classes equally often; the shares of the splits follow the square roots of their real sizes, so
    that small ones stay useful. Splits whose name begins with `unlabel` have the label -1.

    Args:
        name: decides the random numbers.
        card: `shape`, `splits`, `classes`, `task`, and `window` (then images have extents between that and the shape).
        progress: told how many images of a split have been drawn.
    """
    channels, height, width = card["shape"]
    segmented = card["task"] == "segmentation"
    each = channels * height * width + (2 * height * width if segmented else 8)
    affordable = max(1, min(MOST_GENERATED, BUDGET // each))
    enough = segmented or affordable >= FEWEST_PER_CLASS * card["classes"]
    plan = _Plan(
        name=name,
        shape=(channels, height, width),
        classes=card["classes"] if enough else min(FEW_CLASSES, card["classes"]),
        segmented=segmented,
        window=tuple(card["window"]) if "window" in card else None,
    )
    parts = []
    for split, share in _shares(card["splits"], affordable).items():
        whole_rounds = share if segmented or _is_unlabelled(split) else max(share // plan.classes, 1) * plan.classes
        parts.append(Part(split, whole_rounds, lambda split=split, n=whole_rounds: _generated(plan, split, n, progress)))
    names = tuple(f"class {label}" for label in range(plan.classes))
    return Source("generated", Path(f"{name}@sample"), tuple(parts), names, notes=("generated images, not real data",))


@dataclass(frozen=True)
class _Plan:
    """What the generated images of one data set have in common."""

    name: str
    shape: tuple[int, int, int]
    classes: int
    segmented: bool
    window: tuple[int, ...] | None


def _shares(splits: Mapping[str, int], total: int) -> dict[str, int]:
    """How many of `total` images each split gets, by the square root of its size; never none, nor more than it has."""
    roots = {split: math.sqrt(count) for split, count in splits.items()}
    return {split: max(1, min(splits[split], int(total * root / sum(roots.values())))) for split, root in roots.items()}


def _is_unlabelled(split: str) -> bool:
    return split.lower().startswith("unlabel")


def _generated(plan: _Plan, split: str, count: int, progress: Progress) -> Iterator[Chunk]:
    per_chunk = max(1, CHUNK_BYTES // math.prod(plan.shape))
    for start in range(0, count, per_chunk):
        numbers = range(start, min(start + per_chunk, count))
        yield _regions(plan, split, numbers) if plan.segmented else _objects(plan, split, numbers)
        progress(f"drawing {split}", numbers[-1] + 1, count)


def _objects(plan: _Plan, split: str, numbers: range) -> Chunk:
    labels = np.array([number % plan.classes for number in numbers], np.int64)
    pictures = [
        object_picture(random_of(plan.name, split, number), int(label), plan.classes, plan.shape)
        for number, label in zip(numbers, labels, strict=True)
    ]
    return Chunk(np.stack(pictures), np.full_like(labels, -1) if _is_unlabelled(split) else labels)


def _regions(plan: _Plan, split: str, numbers: range) -> Chunk:
    images = np.zeros((len(numbers), *plan.shape), np.uint8)
    labels = np.full((len(numbers), *plan.shape[1:]), -1, np.int16)
    extents = np.tile(np.array(plan.shape[1:], np.int32), (len(numbers), 1))
    for row, number in enumerate(numbers):
        random = random_of(plan.name, split, number)
        if plan.window is not None:
            extents[row] = random.integers(np.minimum(plan.window, plan.shape[1:]), plan.shape[1:], endpoint=True)
        height, width = extents[row]
        picture, classes = regions_picture(random, plan.classes, (plan.shape[0], int(height), int(width)))
        images[row, :, :height, :width] = picture
        if not _is_unlabelled(split):
            labels[row, :height, :width] = classes
    return Chunk(images, labels, None if plan.window is None else extents)


def take_sample(
    source: Source,
    *,
    per_class: int = 50,
    unlabelled: int = 500,
    label_map: Sequence[int] | None = None,
    class_names: Sequence[str] | None = None,
    progress: Progress,
) -> Source:
    """The first images of a real data set: in each split up to `per_class` of each class and `unlabelled` without a label.

    All splits and classes get fewer where that would be more than 20 MB, as in `generate_sample`; where not even six images a
    class fit, only the labels 0..9 are kept. Images with a label for every pixel are taken as they come. The splits are read
    now, once, until they have given enough; the sample is held in memory.

    Args:
        source: the whole data set.
        per_class: at most so many images of a class and split.
        unlabelled: at most so many images of unknown label of a split, and of a split with a label for every pixel.
        label_map: of a data set that is a view of another's images: what each label of `source` stands for, -1 for none.
            Images that lose their label so are passed over.
        class_names: of the labels of that view.
        progress: told how many images have been looked at.

    Raises:
        DataError: `source` is damaged.
    """
    renamed = None if label_map is None else np.array([*label_map, -1], np.int64)  # the label -1 takes the last place
    names = source.class_names if renamed is None else tuple(class_names or map(str, range(int(renamed.max()) + 1)))
    first = next(iter(source.parts[0].chunks()))
    affordable = max(1, BUDGET // (first.images[:1].nbytes + first.labels[:1].nbytes))
    enough = first.labels.ndim > 1 or affordable >= FEWEST_PER_CLASS * len(names)
    classes = len(names) if enough else min(FEW_CLASSES, len(names))
    shares = _shares({part.split: part.count for part in source.parts}, affordable)
    parts = []
    for part in source.parts:
        share = shares[part.split]
        of_class = max(1, min(per_class, share // max(classes, 1)))
        chunks = _taken(part, _Quota(classes, of_class, min(unlabelled, share)), renamed, progress)
        if chunks:
            count = sum(len(chunk.images) for chunk in chunks)
            parts.append(Part(part.split, count, lambda chunks=chunks: iter(chunks)))
    notes = (*source.notes, f"a sample of {sum(part.count for part in parts):,} real images")
    return replace(source, parts=tuple(parts), class_names=names[:classes], notes=notes)


class _Quota:
    """What may still be taken from a split: `of_class` images of each of the labels 0..classes-1, and `unknown` of -1."""

    def __init__(self, classes: int, of_class: int, unknown: int) -> None:
        self.left = np.array([*[of_class] * classes, unknown])  # the label -1 takes the last place

    @property
    def is_used_up(self) -> bool:
        return self.left[-1] == 0 or (len(self.left) > 1 and not self.left[:-1].any())

    def take(self, label: int) -> bool:
        """Whether an image of `label` is taken, which then counts."""
        wanted = label < len(self.left) - 1 and self.left[label] > 0
        if wanted:
            self.left[label] -= 1
        return wanted


def _taken(part: Part, quota: _Quota, renamed: np.ndarray | None, progress: Progress) -> list[Chunk]:
    """The first images of `part` that fit the quota, chunk by chunk."""
    chunks, seen = [], 0
    for chunk in part.chunks():
        labels = chunk.labels if renamed is None else renamed[chunk.labels].astype(chunk.labels.dtype)
        lost = np.zeros(len(labels), bool) if labels.ndim > 1 else (labels < 0) & (chunk.labels >= 0)
        keys = np.full(len(labels), -1) if labels.ndim > 1 else labels
        rows = [row for row in np.flatnonzero(~lost) if quota.take(int(keys[row]))]
        if rows:
            chunks.append(Chunk(chunk.images[rows], labels[rows], None if chunk.extents is None else chunk.extents[rows]))
        seen += len(labels)
        progress(f"taking a sample of {part.split}", seen, part.count)
        if quota.is_used_up:
            break
    return chunks
