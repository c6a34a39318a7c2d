"""What a trial costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Cost:
    """What a trial has cost so far, over all resumptions; what was lost with a killed process is not in it.

    `reused` names what other trials had made and this one took from the store of artefacts, whose cost is therefore not in
    here; `made` names what this one made and kept there.
    """

    train_seconds: float = 0.0
    evaluate_seconds: float = 0.0
    total_seconds: float = 0.0
    images: int = 0
    energy_joules: float | None = None
    resumed: int = 0
    reused: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)

    def note_artefacts(self, used: Iterable[str], made: Iterable[str]) -> None:
        """Add names of artefacts, each once."""
        self.reused = list(dict.fromkeys([*self.reused, *used]))
        self.made = list(dict.fromkeys([*self.made, *made]))
