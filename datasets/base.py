"""The data types that cross the rooms: images without labels for the methods, labels for the evaluation only.

The label firewall lives in these types: `Images` has no field a label could travel in, and `TrialData` keeps the
labels apart from the two `Images` that a method may see.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch

from . import streaming
from .errors import DataError as DataError  # here too, because the methods import this module only
from .label_maps import LabelMaps as LabelMaps
from .masks import PixelMasks, UnreadMasks

Protocol = Literal["full", "split", "semi-supervised"]
CHANNELS = (1, 3, 4)  # grey, RGB, RGB and infrared
DEFAULT_MEMORY_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class Images:
    """A set of images that a method may see: resident on one device, or streamed to it from a memory map.

    Attributes:
        pixels: uint8 tensor of shape (N, C, H, W), C = 1 (grey), 3 (RGB) or 4 (RGB and infrared), values 0..255. On the
            device where they are resident; a memory map of the file otherwise. Methods ask for `batch` and `batches`.
        roles: which images serve which part of a method, as int64 index tensors into `pixels`, for the data sets
            whose protocol distinguishes them (STL-10 trains the auxiliary head on its unlabelled part too).
            A role that is not named means all images.
        extents: int64 (N, 2), height and width of the part of each image, from its upper left corner, that holds
            pixels, where images of several sizes share one frame; None if all of every image does.
        window: (height, width) of the central part of each extent that batches are cut to; None for whole images.
        streams_to: the device that batches are sent to if the pixels are not resident on it.
        masks: which pixels count in training, for the data sets whose protocol says so (COCO-Stuff); None for all.
    """

    pixels: torch.Tensor
    roles: Mapping[str, torch.Tensor] = field(default_factory=dict)
    extents: torch.Tensor | None = None
    window: tuple[int, int] | None = None
    streams_to: torch.device | None = None
    masks: PixelMasks | UnreadMasks | None = None

    def __post_init__(self) -> None:
        if self.pixels.dtype != torch.uint8 or self.pixels.ndim != 4 or self.pixels.shape[1] not in CHANNELS:
            found = f"{self.pixels.dtype} {tuple(self.pixels.shape)}"
            raise DataError(f"Images must be a uint8 tensor of shape (N, 1, 3 or 4, H, W), got {found}.")

    def __len__(self) -> int:
        return self.pixels.shape[0]

    def __repr__(self) -> str:
        how = "streamed to" if self.is_streamed else "on"
        return f"Images({len(self)} of shape {self.shape} {how} {self.device})"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image of a batch."""
        channels, height, width = self.pixels.shape[1:]
        return (channels, *self.window) if self.window else (channels, height, width)

    @property
    def device(self) -> torch.device:
        """Where batches are, and where the indices of `role` and `order` are."""
        return self.streams_to or self.pixels.device

    @property
    def is_streamed(self) -> bool:
        return self.streams_to is not None

    def batch(self, indices: torch.Tensor) -> torch.Tensor:
        """The images at `indices` (int64, any order, repeats allowed) as uint8 (len(indices), C, H, W) on the device."""
        if self.streams_to is None:
            return self._cut(self.pixels.index_select(0, indices), indices)
        found = self.pixels.index_select(0, indices.to("cpu", copy=False))
        return self._cut(found.to(self.streams_to), indices)

    def batches(self, order: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """`batch(indices)` for each of `order`; where images are streamed, the next ones are read while one is in use.

        An epoch that was left after k batches goes on with `batches(order[k:])`: nothing before is read again.
        """
        if self.streams_to is None:
            yield from (self.batch(indices) for indices in order)
            return
        read = streaming.prefetched(self.pixels, [indices.to("cpu") for indices in order], self.streams_to)
        for indices, found in zip(order, read, strict=True):
            yield self._cut(found, indices)

    def batch_masks(self, indices: torch.Tensor) -> torch.Tensor | None:
        """The pixels that count of the images at `indices`, bool (len(indices), H, W) on the device; None for all."""
        if self.masks is None:
            return None
        return self._cut(self.masks.batch(indices).unsqueeze(1), indices).squeeze(1)

    def order(self, role: str, size: int, random: torch.Generator | None = None) -> tuple[torch.Tensor, ...]:
        """Indices of one pass over the images that serve `role`, in batches of `size`; the last one may be shorter.

        Args:
            role: see `role`.
            size: images in a batch.
            random: generator on `device` that shuffles them; the stored order without one. The same state of the
                generator gives the same order, so that an epoch can be taken up again in its middle.
        """
        indices = self.role(role)
        if random is not None:
            indices = indices[torch.randperm(len(indices), generator=random, device=indices.device)]
        return indices.split(size)

    def role(self, name: str) -> torch.Tensor:
        """Indices (int64) of the images that serve the role `name`; all of them if the protocol does not say."""
        if name in self.roles:
            return self.roles[name]
        return torch.arange(len(self), device=self.device)

    def to(self, device: str | torch.device, memory_share: float = DEFAULT_MEMORY_SHARE) -> Images:
        """The same images for use on `device`: resident there if they take at most `memory_share` of its free memory.

        Where they do not fit they stay in the memory map and are streamed. On a CPU nothing is copied either way, so that
        all processes of a machine share one memory map.

        Args:
            device: `cpu`, `cuda` or `cuda:N`.
            memory_share: 0 (always stream) to 1.
        """
        target = torch.device(device)
        if self.streams_to == target:
            return self
        fits = self.pixels.device == target != torch.device("cpu") or streaming.fits(self.pixels, target, memory_share)
        about = {name: index.to(target) for name, index in self.roles.items()}
        extents = None if self.extents is None else self.extents.to(target)
        masks = None if self.masks is None else self.masks.to(target)
        moved = replace(self, roles=about, extents=extents, masks=masks)
        return replace(moved, pixels=self.pixels.to(target), streams_to=None) if fits else replace(moved, streams_to=target)

    def _cut(self, batch: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """The central `window` of each image's extent: (n, C, h, w)."""
        if self.window is None:
            return batch
        extents = None if self.extents is None else self.extents.index_select(0, indices.to(self.extents.device))
        return streaming.central_windows(batch, extents, self.window)

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
class Labelled:
    """Images with their classes, for the methods that learn from labels and for nothing else.

    Attributes:
        images: the images.
        labels: int64 (len(images),) on the same device, classes 0..C-1.

    Raises `DataError` unless there is one label for each image.
    """

    images: Images
    labels: torch.Tensor = field(repr=False)

    def __post_init__(self) -> None:
        if self.labels.dtype != torch.int64 or self.labels.shape != (len(self.images),):
            found = f"{self.labels.dtype} {tuple(self.labels.shape)}"
            raise DataError(f"{len(self.images)} labelled images need as many int64 labels, got {found}.")


@dataclass(frozen=True, eq=False)
class TrialData:
    """What one trial works on.

    Attributes:
        name: public name of the data set.
        protocol: `full` (train and score on all images), `split` (train on train, score on test) or `semi-supervised`
            (train on train, find the mapping by its labels, score on test).
        train: the images a method trains on.
        score: the images whose predictions are judged; the same object as `train` under `full`, but where the protocol
            trains on images that are not scored (STL-10's unlabelled ones) or scores a window of each.
        labels: int64 (len(score),), or per pixel (len(score), H, W); -1 where not known. Never handed to a method.
        class_names: names of the classes 0..C-1.
        fingerprint: checksum of every image and label that decides the result.
        notes: what a reader must know beside a result on this copy of the data (re-encoded, partial, ...).
        about: what a record says of it besides, as JSON values: the splits with their sizes and checksums, and which of
            them train the main head and the auxiliary head, find the mapping, and are scored.
    """

    name: str
    protocol: Protocol
    train: Images
    score: Images
    labels: np.ndarray | LabelMaps = field(repr=False)
    class_names: tuple[str, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict, repr=False)
    mapping: Images | None = None
    mapping_labels: np.ndarray | LabelMaps | None = field(default=None, repr=False)

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    def to(self, device: str | torch.device, memory_share: float = DEFAULT_MEMORY_SHARE) -> TrialData:
        """The same data with its images for use on `device`, as `Images.to` brings them; the same ones only once."""
        moved: dict[int, Images] = {}
        for images in (self.train, self.score, self.mapping):
            if images is not None and id(images) not in moved:
                moved[id(images)] = images.to(device, memory_share)
        mapping = None if self.mapping is None else moved[id(self.mapping)]
        return replace(self, train=moved[id(self.train)], score=moved[id(self.score)], mapping=mapping)
