"""Which epoch and which sub-head count: kept for three ways of choosing, two of them without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..results.record import SELECTIONS, Selection


@dataclass(frozen=True)
class Choice:
    """An epoch that a selection holds to.

    Attributes:
        epoch: its number, 1 for the first.
        head: the sub-head chosen in it.
        rank: what the choice was made by, lower is better; None where nothing could be compared.
        predictions: the clusters by every sub-head, (H, ...) in the smallest integer type.
    """

    epoch: int
    head: int
    rank: float | None
    predictions: np.ndarray


class Tracker:
    """Follows a trial epoch by epoch and keeps the predictions of the epochs that the selections choose.

    `last`: the last epoch. `own-loss`: the epoch with the lowest criterion of the method; the last one as long as the
    method has given no criterion. Both take the sub-head that the method itself prefers there. `oracle`: the epoch and
    sub-head with the highest labelled ACC; without labels, as `last`. Among equals the first counts.
    """

    def __init__(self) -> None:
        self.choices: dict[Selection, Choice] = {}

    def update(
        self, epoch: int, predictions: np.ndarray, *, chosen_head: int, criterion: float | None, acc: Sequence[float | None]
    ) -> None:
        """Take in one epoch.

        Args:
            epoch: its number.
            predictions: (H, ...) clusters by every sub-head.
            chosen_head: the sub-head that the method prefers.
            criterion: the method's judgement of this epoch, lower is better, or None.
            acc: the labelled ACC of every sub-head, None where nothing is labelled.
        """
        last = Choice(epoch, chosen_head, None, predictions)
        self.choices["last"] = last
        self._keep_lowest("own-loss", Choice(epoch, chosen_head, criterion, predictions))
        known = [value for value in acc if value is not None]
        best = acc.index(max(known)) if known else chosen_head
        self._keep_lowest("oracle", Choice(epoch, best, -max(known) if known else None, predictions))

    def _keep_lowest(self, selection: Selection, new: Choice) -> None:
        kept = self.choices.get(selection)
        if kept is None or kept.rank is None or (new.rank is not None and new.rank < kept.rank):
            self.choices[selection] = new

    def state_dict(self) -> dict[str, Any]:
        """All of it in tensors and plain values."""
        return {
            name: {"epoch": each.epoch, "head": each.head, "rank": each.rank, "predictions": torch.from_numpy(each.predictions)}
            for name, each in self.choices.items()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for name in SELECTIONS:
            each = state[name]
            self.choices[name] = Choice(each["epoch"], each["head"], each["rank"], each["predictions"].numpy())


def smallest(clusters: np.ndarray, n_clusters: int) -> np.ndarray:
    """`clusters` (values 0..n_clusters-1) in the smallest signed integer type that holds them."""
    return np.ascontiguousarray(clusters, dtype=np.min_scalar_type(-n_clusters))
