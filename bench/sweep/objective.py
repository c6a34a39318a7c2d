"""What a sweep makes as small or as large as it can. Unsupervised by default; what uses labels says so wherever it stands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ...methods.base import MethodError

CRITERION = "criterion"
ORACLES = ("acc", "nmi", "ari")
Row = Mapping[str, Any]


class Unjudged(MethodError):
    """The method gives no criterion, so that nothing but labels could tell a good sample from a bad one."""


@dataclass(frozen=True)
class Objective:
    """One number for a sample at an epoch: the mean over its seeds.

    Attributes:
        name: `criterion` (the method's own judgement of itself, lower is better, no labels) or a labelled score of
            `ORACLES` (higher is better), taken of the sub-head that the method itself chooses.
    """

    name: str = CRITERION

    @property
    def uses_labels(self) -> bool:
        return self.name != CRITERION

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """As Optuna spells it."""
        return "maximize" if self.uses_labels else "minimize"

    @property
    def mode(self) -> Literal["min", "max"]:
        """As Ray Tune spells it."""
        return "max" if self.uses_labels else "min"

    @property
    def worst(self) -> float:
        """What a diverged sample counts as."""
        return -math.inf if self.uses_labels else math.inf

    @property
    def title(self) -> str:
        """For headings and every row."""
        return f"{self.name.upper()} (oracle: uses labels)" if self.uses_labels else "criterion (no labels)"

    def of(self, rows: Sequence[Row], method: str) -> float:
        """The mean over the seeds' rows of epochs.jsonl. Raises `Unjudged` if a row does not hold what is asked for."""
        values = [score(row, self.name) if self.uses_labels else row.get(CRITERION) for row in rows]
        found = [value for value in values if value is not None]
        if len(found) < len(values):
            raise Unjudged(_missing(self, method))
        return sum(found) / len(found)

    def rank(self, value: float) -> float:
        """A key that sorts the best value first."""
        return -value if self.uses_labels else value


def score(row: Row, metric: str) -> float | None:
    """A labelled score of the chosen sub-head at one epoch; None without labels."""
    values = row.get(metric)
    return values[row["chosen_head"]] if values else None


def _missing(objective: Objective, method: str) -> str:
    if objective.uses_labels:
        return f"The data has no labels, so {objective.name.upper()} cannot be the objective. Leave --oracle out."
    return f"{method} has no criterion of its own, so it can be swept with labels only: --oracle acc."
