"""Snapshots: what a method thinks of a fixed sample of the scored images, kept by epoch for pictures of its progress."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..datasets.base import Images
from ..methods.base import Method
from ..results.figures.probabilities import FILE, Probabilities
from ..results.files import RecordError
from .randomness import random_state, restore_random_state

SAMPLE = 2_000  # images: 40 kB an epoch with ten clusters
log = logging.getLogger(__name__)


class Snapshots:
    """Keeps cluster probabilities in `snapshots.npz` of a record folder: of the last epoch, and of others where asked.

    What is kept follows from the trial and `every` alone, however often the trial was interrupted. Taking a snapshot
    changes neither the method nor any generator of random numbers. Methods without `predict_proba`, and those for
    segmentation, leave no file. The sample goes through the network by itself: where batch norm uses the statistics of
    the test batch, they are the sample's.

    Args:
        folder: the record folder.
        every: also keep each epoch whose number is a multiple of this, and the untrained network where the method
            can build it without training; None for the last epoch alone.
    """

    def __init__(self, folder: Path, every: int | None = None) -> None:
        self.folder, self.every = folder, every
        self.kept: Probabilities | None = None
        self.has_failed = False

    def take(self, method: Method, score: Images, epoch: int, *, last: bool = False) -> None:
        """Keep what `method` gives for the sample of `score` now, after `epoch` (0: before the first), if it is wanted.

        Args:
            method: at the end of that epoch.
            score: the images that the trial is judged on, wherever they are.
            epoch: its number.
            last: whether the trial ends here.

        Raises `RecordError` if the disk refuses. A method that cannot answer costs the picture, not the trial.
        """
        wanted = last or self._is_due(epoch)
        if not wanted or self.has_failed or not _has_probabilities(method) or self._has(epoch):
            return
        rows = sample_rows(len(score))
        found = self._ask(method, subset(score, rows).to(method.device), epoch)
        if found is None:
            return
        values, head = found
        kept = self.kept or Probabilities(rows, np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, *values.shape)))
        self.kept = kept.added(epoch, head, values)
        self.kept.write(self.folder)

    def truncate(self, epochs_done: int) -> None:
        """Forget what came after `epochs_done`, and last epochs that are not the last any more: a trial begins or goes on."""
        try:
            kept = Probabilities.read(self.folder)
        except RecordError as error:
            log.warning("%s", error)
            kept = None
        if kept is not None:
            stays = [epoch <= epochs_done != 0 and self._is_due(epoch) for epoch in kept.epochs.tolist()]
            kept = kept.chosen(np.array(stays, bool))
        self.kept = kept if kept is not None and len(kept.epochs) else None
        if self.kept is None:
            (self.folder / FILE).unlink(missing_ok=True)
        else:
            self.kept.write(self.folder)

    def _is_due(self, epoch: int) -> bool:
        return self.every is not None and epoch % self.every == 0

    def _has(self, epoch: int) -> bool:
        return self.kept is not None and epoch in self.kept.epochs

    def _ask(self, method: Method, images: Images, epoch: int) -> tuple[np.ndarray, int] | None:
        """The probabilities (n, K) and the sub-head they are of; None if there are none to be had."""
        before = random_state(method.device)
        try:
            asked = method if epoch else _untrained(method, images)
            if asked is None:
                return None
            values = np.asarray(asked.predict_proba(images))
            if values.shape != (len(images), method.n_clusters):
                raise ValueError(f"predict_proba gave {values.shape}, not {(len(images), method.n_clusters)}")
            return values, int(asked.chosen_head)
        except Exception as error:  # whatever a method raises here, its training is worth more than a picture of it
            log.warning("%s: no snapshot of epoch %d: %s", method.name, epoch, error)
            self.has_failed = epoch > 0
            return None
        finally:
            restore_random_state(before, method.device)


def sample_rows(n: int) -> np.ndarray:
    """Which of `n` images are in the sample: int64, all of them or `SAMPLE`, evenly spread over the stored order."""
    return np.linspace(0, n - 1, min(n, SAMPLE)).round().astype(np.int64)


def _has_probabilities(method: Method) -> bool:
    return method.task != "segmentation" and type(method).predict_proba is not Method.predict_proba


def subset(images: Images, rows: np.ndarray) -> Images:
    """The images at `rows`, cut as they are in `images`."""
    index = torch.from_numpy(rows)
    pixels = images.pixels.index_select(0, index.to(images.pixels.device))
    extents = None if images.extents is None else images.extents.index_select(0, index.to(images.extents.device))
    return replace(images, pixels=pixels, extents=extents, roles={})


def _untrained(method: Method, images: Images) -> Method | None:
    """A twin of `method` with its first weights; None where only training builds them."""
    build = getattr(type(method), "build", None)
    if build is None:
        return None
    twin = type(method)(method.n_clusters, seed=method.seed, device=method.device, **method.settings)
    build(twin, images.shape)
    return twin
