"""Which epoch and which sub-head count: kept for three ways of choosing, two of them without labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
        beside: what else is kept of that epoch, by name.
    """

    epoch: int
    head: int
    rank: float | None
    predictions: np.ndarray
    beside: Mapping[str, np.ndarray] = field(default_factory=dict)


class Tracker:
    """Follows a trial epoch by epoch and keeps the predictions of the epochs that the selections choose.

    `last`: the last epoch. `own-loss`: the epoch with the lowest criterion of the method; the last one as long as the
    method has given no criterion. Both take the sub-head that the method itself prefers there. `oracle`: the epoch and
    sub-head with the highest labelled ACC; without labels, as `last`. Among equals the first counts.
    """

    def __init__(self) -> None:
        self.choices: dict[Selection, Choice] = {}

    def update(
        self,
        epoch: int,
        predictions: np.ndarray,
        *,
        chosen_head: int,
        criterion: float | None,
        acc: Sequence[float | None],
        beside: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Take in one epoch.

        Args:
            epoch: its number.
            predictions: (H, ...) clusters by every sub-head.
            chosen_head: the sub-head that the method prefers.
            criterion: the method's judgement of this epoch, lower is better, or None.
            acc: the labelled ACC of every sub-head, None where nothing is labelled.
            beside: arrays to keep with the predictions, by name.
        """
        last = Choice(epoch, chosen_head, None, predictions, beside or {})
        self.choices["last"] = last
        self._keep_lowest("own-loss", replace(last, rank=criterion))
        known = [value for value in acc if value is not None]
        best = acc.index(max(known)) if known else chosen_head
        self._keep_lowest("oracle", replace(last, head=best, rank=-max(known) if known else None))

    def _keep_lowest(self, selection: Selection, new: Choice) -> None:
        kept = self.choices.get(selection)
        if kept is None or kept.rank is None or (new.rank is not None and new.rank < kept.rank):
            self.choices[selection] = new

    def state_dict(self) -> dict[str, Any]:
        """All of it in tensors and plain values."""
        return {name: _as_state(choice) for name, choice in self.choices.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for name in SELECTIONS:
            each = state[name]
            beside = {key: tensor.numpy() for key, tensor in each.get("beside", {}).items()}
            self.choices[name] = Choice(each["epoch"], each["head"], each["rank"], each["predictions"].numpy(), beside)


def _as_state(choice: Choice) -> dict[str, Any]:
    state = {"epoch": choice.epoch, "head": choice.head, "rank": choice.rank}
    arrays = {key: torch.from_numpy(array) for key, array in choice.beside.items()}
    return {**state, "predictions": torch.from_numpy(choice.predictions), **({"beside": arrays} if arrays else {})}


def smallest(clusters: np.ndarray, n_clusters: int) -> np.ndarray:
    """`clusters` (values 0..n_clusters-1) in the smallest signed integer type that holds them."""
    return np.ascontiguousarray(clusters, dtype=np.min_scalar_type(-n_clusters))
