"""Whether a training is healthy, told without labels: collapse, sub-heads that lag behind, and the loss beside its bound.

What is seen of an epoch goes into its row of epochs.jsonl, what is left at the end into record.json, and a collapse into the log
as soon as it lasts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

PATIENCE = 3  # epochs that a collapse must last: in the first ones every network puts nearly all images together
LAG = 0.02  # of the loss's bound, by which a sub-head must be worse than the best to be called behind
HELP = "A lower learning rate, larger batches, or for IIC an entropy_weight above 1 may help."


class Watch:
    """Follows one trial epoch by epoch.

    Args:
        n_clusters: how many there should be.
        before: rows of the epochs before, of a trial that is taken up again.
    """

    def __init__(self, n_clusters: int, before: Iterable[Mapping[str, Any]] = ()) -> None:
        self.n_clusters = n_clusters
        self.recent = deque((self._is_collapsed(row) for row in before), maxlen=PATIENCE)

    def examine(self, row: Mapping[str, Any], sizes: np.ndarray, floors: Mapping[str, float]) -> dict[str, Any]:
        """What an epoch's row says of its health.

        Args:
            row: the epoch's row so far.
            sizes: int (H, K), images or pixels of each cluster by every sub-head.
            floors: the lowest values that the losses can take, by name.

        Returns:
            `effective_clusters`: per sub-head, see there. `sub_head_gap`: see there. `loss_floors`: as given.
            `notices`: lines that a reader should see now, usually none.
        """
        seen: dict[str, Any] = {
            "effective_clusters": effective_clusters(sizes),
            "sub_head_gap": sub_head_gap(row),
            "loss_floors": dict(floors),
        }
        whole = {**row, **seen}
        was, lasted = list(self.recent), self._is_collapsed(whole)
        self.recent.append(lasted)
        known = len(was) >= PATIENCE and all(was)  # it was told before
        seen["notices"] = []
        if not known and len(self.recent) == PATIENCE and all(self.recent):
            seen["notices"] = [f"collapse in the last {PATIENCE} epochs: {_crowd(whole, self.n_clusters)}. {HELP}"]
        elif known and not lasted:
            seen["notices"] = [f"the collapse is over: {_crowd(whole, self.n_clusters)}"]
        return seen

    def _is_collapsed(self, row: Mapping[str, Any]) -> bool:
        effective = _chosen(row, "effective_clusters")
        return effective is not None and is_collapsed(effective, self.n_clusters)


def effective_clusters(sizes: np.ndarray) -> list[float]:
    """exp of the entropy of the marginal: as many clusters of equal size would be as diverse; 1 if all is in one.

    Args:
        sizes: int (H, K), how much is in each cluster by every sub-head.
    """
    shares = np.asarray(sizes, np.float64)
    shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return [float(value) for value in np.exp(-(shares * logs).sum(axis=1))]


def is_collapsed(effective: float, n_clusters: int) -> bool:
    """Whether the effective clusters are less than a third of the way from one cluster to all of them."""
    return effective < 1 + (n_clusters - 1) / 3


def sub_head_gap(row: Mapping[str, Any]) -> float | None:
    """Largest minus smallest loss of the sub-heads that predict, in nats; None where there is one only, or none has a loss."""
    values = _predicting(row)
    return max(values) - min(values) if len(values) > 1 else None


def summary(rows: Sequence[Mapping[str, Any]], epoch: int | None, n_clusters: int) -> dict[str, Any]:
    """What record.json says of a training's health.

    Args:
        rows: those of epochs.jsonl.
        epoch: the one that the method's own loss chose; the last one if it is not among them.
        n_clusters: how many there should be.

    Returns:
        `epoch`; `criterion` and `loss_floor`, in nats; `chosen_head`, `clusters_used`, `effective_clusters` and `sub_head_gap`
        as in its row; `lagging`, the sub-heads whose loss is behind; `collapsed`, whether the chosen sub-head is; `notices`,
        with their epochs. Empty without rows.
    """
    if not rows:
        return {}
    row = next((row for row in rows if row["epoch"] == epoch), rows[-1])
    effective = _chosen(row, "effective_clusters")
    return {
        "epoch": row["epoch"],
        "criterion": row.get("criterion"),
        "loss_floor": (row.get("loss_floors") or {}).get("criterion"),
        "chosen_head": row.get("chosen_head", 0),
        "clusters_used": row.get("clusters_used"),
        "effective_clusters": row.get("effective_clusters"),
        "sub_head_gap": row.get("sub_head_gap"),
        "lagging": lagging(row),
        "collapsed": None if effective is None else is_collapsed(effective, n_clusters),
        "notices": [{"epoch": each["epoch"], "text": text} for each in rows for text in each.get("notices") or ()],
    }


def lagging(row: Mapping[str, Any]) -> list[int]:
    """The predicting sub-heads whose loss is above the best one's by more than 2 % of its bound; none without a bound."""
    floor, values = (row.get("loss_floors") or {}).get("criterion"), _predicting(row)
    if floor is None or len(values) < 2:
        return []
    return [head for head, value in enumerate(values) if value - min(values) > LAG * abs(floor)]


def told(found: Mapping[str, Any], n_clusters: int) -> list[str]:
    """The lines of a result card that a reader must see, of what `summary` gave."""
    lines = []
    if found.get("collapsed"):
        lines.append(f"collapse in epoch {found['epoch']}: {_crowd(found, n_clusters)}. {HELP}")
    behind = found.get("lagging") or []
    if behind:
        names = ", ".join(map(str, behind))
        gap = f"{found['sub_head_gap']:.3f}"
        lines.append(
            f"sub-head{'s'[: len(behind) != 1]} {names} lag{'s'[: len(behind) == 1]} behind: loss up to {gap} above the best"
        )
    return lines


def beside_floor(loss: float, floor: float | None) -> str:
    """`-2.167 (bound -2.303)`."""
    return f"{loss:.3f}" if floor is None else f"{loss:.3f} (bound {floor:.3f})"


def _predicting(row: Mapping[str, Any]) -> list[float]:
    """The losses of the head that predicts, by sub-head: `main`, or the only ones there are."""
    by_name: Mapping[str, Any] = row.get("losses") or {}
    given = by_name.get("main", next(iter(by_name.values())) if len(by_name) == 1 else None)
    return list(given) if isinstance(given, list) else []


def _chosen(row: Mapping[str, Any], name: str) -> Any:
    """A value of the sub-head that the method chooses; None where the row has none."""
    values = row.get(name)
    return values[row.get("chosen_head", 0)] if values else None


def _crowd(row: Mapping[str, Any], n_clusters: int) -> str:
    used, effective = _chosen(row, "clusters_used"), _chosen(row, "effective_clusters")
    return f"the chosen sub-head uses {used} of {n_clusters} clusters, {effective:.1f} effectively"
