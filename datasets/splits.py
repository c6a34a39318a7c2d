"""A loaded data set: its splits, and what each of its protocols makes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from .base import CHANNELS, Images, LabelMaps, Protocol, TrialData
from .errors import DataError
from .masks import UnreadMasks
from .protocols import Scheme, interleaved, schemes

UNKNOWN_LABEL = -1
MASKS_NOTE = (
    "the training images come with masks made of the labels, as the authors': pixels of no judged class do not count in "
    "training, unless a method is told use_masks=false"
)
HASHED_AT_A_TIME = 64 * 2**20  # bytes; a memory map need not be in memory as a whole


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set.

    Attributes:
        images: uint8 (N, C, H, W), C = 1, 3 or 4; may be a memory map.
        labels: int64 (N,), or per pixel any signed integer (N, H, W); -1 where not known or not to be judged.
        extents: int (N, 2), height and width that hold pixels, where images of several sizes share one frame.
        subsets: int64 rows of its named parts (`fold 0`, ...), which are roles of the images that find the mapping.

    Raises `DataError` for any other type or shape, and for no images at all.
    """

    images: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    extents: np.ndarray | None = field(default=None, repr=False)
    subsets: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in CHANNELS or 0 in images.shape:
            raise DataError(f"A split needs uint8 images of shape (N, 1, 3 or 4, H, W), got {images.dtype} {images.shape}.")
        per_image = labels.dtype == np.int64 and labels.shape == images.shape[:1]
        per_pixel = labels.dtype.kind == "i" and labels.shape == (len(images), *images.shape[2:])
        if not (per_image or per_pixel):
            raise DataError(
                f"A split of {len(images)} images needs as many int64 labels, or a signed label for every pixel, "
                f"got {labels.dtype} {labels.shape}."
            )

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, start: int, stop: int) -> Split:
        """The images `start`..`stop`-1, sharing the memory."""
        extents = None if self.extents is None else self.extents[start:stop]
        return Split(self.images[start:stop], self.labels[start:stop], extents)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A loaded data set.

    Attributes:
        name: its public name.
        splits: by name (`train` and `test`, or `all` where the source has no split), in the order they are stored in.
        class_names: names of the labels 0..C-1.
        notes: what a reader must know beside every result on this copy.
        card: the data set's card, of which `protocols` and `window` are used.
        whole: all splits one after the other in one array; put together from `splits` if it is not given.
        renamed: int16 (C' + 1,) for a data set that is a view of another's arrays: the label that each stored one stands
            for here, and last -1.
        fingerprints: by protocol, where they are known from the preparation; computed otherwise.
        about: what a record says of the data besides, as JSON values.

    Raises `DataError` if the splits differ in image shape or hold a label outside -1..C-1 for C class names.
    """

    name: str
    splits: Mapping[str, Split]
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    card: Mapping[str, Any] = field(default_factory=dict, repr=False)
    whole: Split | None = field(default=None, repr=False)
    renamed: np.ndarray | None = field(default=None, repr=False)
    fingerprints: Mapping[str, str] = field(default_factory=dict, repr=False)
    about: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        shapes = {split.images.shape[1:] for split in self.splits.values()}
        if len(shapes) != 1:
            raise DataError(f"The splits of {self.name} must have images of one shape, got {sorted(shapes)}.")
        if self.whole is None:  # a store was checked when it was prepared
            for name, split in self.splits.items():
                check_labels(split.labels, len(self.class_names), f"{self.name}, split {name}")

    @cached_property
    def protocols(self) -> dict[str, Scheme]:
        """The protocols of this copy by name: those of the card, with the splits that are here."""
        known = tuple(self.card.get("splits") or self.splits)
        return {name: scheme.among(self.splits) for name, scheme in schemes(self.card, known).items()}

    @cached_property
    def starts(self) -> dict[str, int]:
        """The first row of each split in `joined`."""
        ends = np.cumsum([len(split) for split in self.splits.values()])
        return {name: int(end) - len(split) for (name, split), end in zip(self.splits.items(), ends, strict=True)}

    @cached_property
    def joined(self) -> Split:
        """All splits, one after the other."""
        return self.whole or _concatenated(list(self.splits.values()))

    def under(self, protocol: Protocol) -> TrialData:
        """The images and labels that `protocol` trains on and scores.

        Raises `DataError` if the data set has no such protocol, or this copy lacks all the splits of one of its roles.
        """
        scheme = self._scheme(protocol)
        trained, scored = self._together(scheme.trunk), self._together(scheme.scored)
        roles = self._roles(scheme)
        window = tuple(self.card["window"]) if "window" in self.card else None
        masks = UnreadMasks(trained.labels, self.renamed) if self.card.get("training_masks") else None
        train = _images(trained, roles, window=None, masks=masks)

        def judged(names: tuple[str, ...], part: Split) -> Images:
            return train if names == scheme.trunk and not roles and window is None else _images(part, {}, window)

        mapping, mapping_labels = None, None
        if scheme.mapping != scheme.scored:
            mapped = self._together(scheme.mapping)
            mapping, mapping_labels = judged(scheme.mapping, mapped), self._labels(mapped, window)
            if subsets := self._subsets(scheme):
                named = {name: torch.from_numpy(rows) for name, rows in subsets.items()}
                mapping = replace(mapping, roles={**mapping.roles, **named})
        return TrialData(
            name=self.name,
            protocol=protocol,
            train=train,
            score=judged(scheme.scored, scored),
            labels=self._labels(scored, window),
            class_names=self.class_names,
            fingerprint=self._known_fingerprint(protocol) or self.fingerprint(protocol),
            notes=self.notes if masks is None else (*self.notes, MASKS_NOTE),
            about={**self.about, "roles": scheme.as_json()},
            mapping=mapping,
            mapping_labels=mapping_labels,
        )

    def fingerprint(self, protocol: Protocol) -> str:
        """SHA-256 over every image and label that decides a result under `protocol`, and the roles where there are any."""
        scheme = self._scheme(protocol)
        digest = hashlib.sha256()
        for split in map(self._together, _deciding(scheme)):
            hash_array(digest, split.images)
            hash_array(digest, self._renamed(split.labels))
            if split.extents is not None:
                hash_array(digest, np.asarray(split.extents))
        for name, rows in sorted({**self._roles(scheme), **self._subsets(scheme)}.items()):
            digest.update(name.encode())
            hash_array(digest, rows)
        return digest.hexdigest()

    def _known_fingerprint(self, protocol: Protocol) -> str | None:
        """Of the preparation, also under another protocol that has the same images, labels and roles decide."""
        for name, known in self.fingerprints.items():
            if name == protocol or (name in self.protocols and self._decides(name) == self._decides(protocol)):
                return known
        return None

    def _decides(self, protocol: str) -> tuple[Any, ...]:
        scheme = self.protocols[protocol]
        return _deciding(scheme), scheme.main, scheme.auxiliary, scheme.interleave, tuple(self._subsets(scheme))

    def _scheme(self, protocol: str) -> Scheme:
        if protocol not in self.protocols:
            other = " or ".join(f"--protocol {name}" for name in self.protocols)
            lacking = "no official train/test split" if protocol == "split" else f"no protocol {protocol!r}"
            raise DataError(f"{self.name} has {lacking}. Use {other}.")
        scheme = self.protocols[protocol]
        for role in ("main", "mapping", "scored"):
            if not getattr(scheme, role):
                wanted = " or ".join(getattr(schemes(self.card, tuple(self.card["splits"]))[protocol], role))
                raise DataError(f"This copy of {self.name} lacks the split {wanted}, which --protocol {protocol} needs.")
        return scheme

    def _roles(self, scheme: Scheme) -> dict[str, np.ndarray]:
        """Rows of each head's images among those of the trunk; nothing where all heads train on all of them in their order."""
        rows, end = {}, 0
        for name in self._stored_order(scheme.trunk):
            rows[name] = np.arange(end, end + len(self.splits[name]))
            end += len(self.splits[name])
        main, auxiliary = (np.concatenate(_mixed(rows, names, scheme.interleave)) for names in (scheme.main, scheme.auxiliary))
        if all(np.array_equal(role, np.arange(end)) for role in (main, auxiliary)):
            return {}
        return {"main": main, "auxiliary": auxiliary}

    def _subsets(self, scheme: Scheme) -> dict[str, np.ndarray]:
        """Rows of the named parts among the images that find the mapping; none where that is what is scored."""
        found, end = {}, 0
        for name in self._stored_order(scheme.mapping if scheme.mapping != scheme.scored else ()):
            found |= {part: end + rows for part, rows in self.splits[name].subsets.items()}
            end += len(self.splits[name])
        return found

    def _together(self, names: Sequence[str]) -> Split:
        """The splits `names` in their stored order; without a copy where they stand one after the other."""
        ordered = self._stored_order(names)
        start, stop = self.starts[ordered[0]], self.starts[ordered[-1]] + len(self.splits[ordered[-1]])
        if stop - start == sum(len(self.splits[name]) for name in ordered):
            return self.joined.rows(start, stop)
        return _concatenated([self.splits[name] for name in ordered])

    def _stored_order(self, names: Sequence[str]) -> list[str]:
        return sorted(names, key=self.starts.__getitem__)

    def _labels(self, scored: Split, window: tuple[int, int] | None) -> np.ndarray | LabelMaps:
        if scored.labels.ndim == 3:
            return LabelMaps(scored.labels, scored.extents, window, self.renamed)
        return self._renamed(scored.labels)

    def _renamed(self, labels: np.ndarray) -> np.ndarray:
        return labels if self.renamed is None else self.renamed[labels].astype(labels.dtype)


def check_labels(labels: np.ndarray, n_classes: int, where: str) -> None:
    """Raise `DataError` for a label outside -1..n_classes-1."""
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < UNKNOWN_LABEL or highest >= n_classes:
        wrong = lowest if lowest < UNKNOWN_LABEL else highest
        raise DataError(f"{where}: label {wrong} is outside -1..{n_classes - 1}.")


def hash_array(digest: Any, array: np.ndarray) -> None:
    """Feed shape, type and values of `array` to `digest`, a part at a time."""
    digest.update(repr((array.shape, array.dtype.str)).encode())
    step = max(1, HASHED_AT_A_TIME // max(1, array[:1].nbytes))
    for start in range(0, len(array), step):
        digest.update(np.ascontiguousarray(array[start : start + step]).data)


def _deciding(scheme: Scheme) -> list[tuple[str, ...]]:
    """The splits whose images and labels decide a result, in the parts that a fingerprint takes them in."""
    used = {*scheme.trunk, *scheme.scored}
    parts = [scheme.trunk, scheme.scored, tuple(name for name in scheme.mapping if name not in used)]
    return [part for part in dict.fromkeys(parts) if part]


def _mixed(rows: Mapping[str, np.ndarray], names: Sequence[str], interleave: Sequence[str]) -> list[np.ndarray]:
    """Rows of the splits `names`; two of them that are interleaved stand together where the first of them does."""
    if not interleave or not set(interleave) <= set(names):
        return [rows[name] for name in names]
    first, second = interleave
    pair = {first: interleaved(rows[first], rows[second])}
    return [pair.get(name, rows[name]) for name in names if name != second]


def _concatenated(splits: list[Split]) -> Split:
    if len(splits) == 1:
        return splits[0]
    extents = [split.extents for split in splits if split.extents is not None]
    return Split(
        np.concatenate([split.images for split in splits]),
        np.concatenate([split.labels for split in splits]),
        np.concatenate(extents) if extents else None,
    )


def _images(
    split: Split, roles: Mapping[str, np.ndarray], window: tuple[int, int] | None, masks: UnreadMasks | None = None
) -> Images:
    """The images alone; copied only if they are read-only or not contiguous, which torch does not take."""
    pixels = torch.from_numpy(np.require(split.images, requirements=["C", "W"]))
    extents = None if split.extents is None else torch.from_numpy(split.extents.astype(np.int64))
    return Images(pixels, {name: torch.from_numpy(rows) for name, rows in roles.items()}, extents, window, masks=masks)
