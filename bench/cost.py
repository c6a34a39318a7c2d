"""What a trial costs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Cost:
    """What a trial has cost so far, over all resumptions; what was lost with a killed process is not in it."""

    train_seconds: float = 0.0
    evaluate_seconds: float = 0.0
    total_seconds: float = 0.0
    images: int = 0
    energy_joules: float | None = None
    resumed: int = 0
