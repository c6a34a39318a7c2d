"""The data types that cross the rooms: images without labels for the methods, labels for the evaluation only.

The label firewall lives in these types: `Images` has no field a label could travel in, and `TrialData` keeps the
labels apart from the two `Images` that a method may see.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch

from .errors import DataError as DataError  # here too, because the methods import this module only

Protocol = Literal["full", "split"]
UNKNOWN_LABEL = -1


@dataclass(frozen=True, eq=False)
class Images:
    """A set of images that a method may see, resident on one device.

    Attributes:
        pixels: uint8 tensor of shape (N, C, H, W), C = 1 (grey) or 3 (RGB), values 0..255.
        roles: which images serve which part of a method, as int64 index tensors into `pixels`, for the data sets
            whose protocol distinguishes them (STL-10 trains the auxiliary head on its unlabelled part too).
            A role that is not named means all images.
    """

    pixels: torch.Tensor
    roles: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.pixels.dtype != torch.uint8 or self.pixels.ndim != 4 or self.pixels.shape[1] not in (1, 3):
            raise DataError(
                f"Images must be a uint8 tensor of shape (N, 1 or 3, H, W), got {self.pixels.dtype} {tuple(self.pixels.shape)}."
            )

    def __len__(self) -> int:
        return self.pixels.shape[0]

    def __repr__(self) -> str:
        return f"Images({len(self)} of shape {self.shape} on {self.pixels.device})"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    def batch(self, indices: torch.Tensor) -> torch.Tensor:
        """The images at `indices` (int64, any order, repeats allowed) as uint8 (len(indices), C, H, W) on the device."""
        return self.pixels.index_select(0, indices)

    def role(self, name: str) -> torch.Tensor:
        """Indices (int64) of the images that serve the role `name`; all of them if the protocol does not say."""
        if name in self.roles:
            return self.roles[name]
        return torch.arange(len(self), device=self.pixels.device)

    def to(self, device: str | torch.device) -> Images:
        """The same images on `device`."""
        return replace(self, pixels=self.pixels.to(device), roles={name: index.to(device) for name, index in self.roles.items()})

    @classmethod
    def of(cls, images: Any) -> Images:
        """Images from what people have in a notebook.

        Takes `Images`; a uint8 torch tensor (N, C, H, W); or a uint8 numpy array (N, H, W) or (N, H, W, C).
        Raises `DataError` for any other type or shape.
        """
        if isinstance(images, Images):
            return images
        if isinstance(images, torch.Tensor):
            return cls(images)
        array = np.asarray(images)
        if array.dtype != np.uint8 or array.ndim not in (3, 4):
            raise DataError(f"Images must be uint8 of shape (N, H, W) or (N, H, W, C), got {array.dtype} {array.shape}.")
        array = array[..., None] if array.ndim == 3 else array
        return cls(torch.from_numpy(np.require(array.transpose(0, 3, 1, 2), requirements=["C", "W"])))


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set: `images` uint8 (N, C, H, W), C = 1 or 3, and `labels` int64 (N,), -1 where not known.

    Raises `DataError` for any other type or shape, and for no images at all.
    """

    images: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
            raise DataError(f"A split needs uint8 images of shape (N, 1 or 3, H, W), got {images.dtype} {images.shape}.")
        if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
            raise DataError(f"A split of {len(images)} images needs as many int64 labels, got {labels.dtype} {labels.shape}.")


@dataclass(frozen=True, eq=False)
class TrialData:
    """What one trial works on.

    Attributes:
        name: public name of the data set.
        protocol: `full` (train and score on all images) or `split` (train on train, score on test).
        train: the images a method trains on.
        score: the images whose predictions are judged; the same object as `train` under `full`.
        labels: int64 (len(score),), -1 where not known. Never handed to a method.
        class_names: names of the classes 0..C-1.
        fingerprint: checksum of every image and label that decides the result.
        notes: what a reader must know beside a result on this copy of the data (re-encoded, partial, ...).
    """

    name: str
    protocol: Protocol
    train: Images
    score: Images
    labels: np.ndarray = field(repr=False)
    class_names: tuple[str, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()

    @property
    def n_classes(self) -> int:
        return len(self.class_names)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A loaded data set: its splits by name (`train` and `test`, or `all` where the source has no split).

    Raises `DataError` if the splits differ in image shape or hold a label outside -1..C-1 for C class names.
    """

    name: str
    splits: Mapping[str, Split]
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shapes = {split.images.shape[1:] for split in self.splits.values()}
        if len(shapes) != 1:
            raise DataError(f"The splits of {self.name} must have images of one shape, got {sorted(shapes)}.")
        for name, split in self.splits.items():
            lowest, highest = int(split.labels.min()), int(split.labels.max())
            if lowest < UNKNOWN_LABEL or highest >= len(self.class_names):
                wrong = lowest if lowest < UNKNOWN_LABEL else highest
                raise DataError(f"{self.name}, split {name}: label {wrong} is outside -1..{len(self.class_names) - 1}.")

    def under(self, protocol: Protocol) -> TrialData:
        """The images and labels that `protocol` trains on and scores.

        `full` joins the splits in their order and scores the images it trains on; `split` trains on `train` and scores
        `test`. Raises `DataError` if that needs a split which is not there.
        """
        if protocol == "split":
            if not {"train", "test"} <= self.splits.keys():
                raise DataError(f"{self.name} has no official train/test split. Use --protocol full.")
            train, score = self.splits["train"], self.splits["test"]
        else:
            train = score = _joined(list(self.splits.values()))
        train_images = _images(train)
        score_images = train_images if score is train else _images(score)
        fingerprint = _fingerprint(train, score)
        return TrialData(self.name, protocol, train_images, score_images, score.labels, self.class_names, fingerprint, self.notes)


def _joined(splits: list[Split]) -> Split:
    if len(splits) == 1:
        return splits[0]
    return Split(np.concatenate([split.images for split in splits]), np.concatenate([split.labels for split in splits]))


def _images(split: Split) -> Images:
    """The images alone; copied only if they are read-only or not contiguous, which torch does not take."""
    return Images(torch.from_numpy(np.require(split.images, requirements=["C", "W"])))


def _fingerprint(train: Split, score: Split) -> str:
    digest = hashlib.sha256()
    for split in (train,) if train is score else (train, score):
        for array in (split.images, split.labels):
            digest.update(repr((array.shape, array.dtype.str)).encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
