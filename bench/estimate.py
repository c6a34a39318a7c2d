"""How long what is left will take, by the mean of past runs of the same settings. Where there is none, nothing is guessed."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..results.grid import duration
from ..results.record import Record
from .outlook import Outlook, State
from .spec import canonical_json
from .suite_plan import Cell
from .trial_folder import OUT_OF_TIME

NO_PAST_RUN = "no past run"


@dataclass(frozen=True)
class Estimate:
    """The time that some trials will take.

    Attributes:
        seconds: for those with past runs, with `at_a_time` trials running side by side.
        trials: number of those.
        unknown: number of trials without a past run.
        past: number of past runs that the estimate stands on.
        at_a_time: trials that run at a time, at least 1.
    """

    seconds: float
    trials: int
    unknown: int
    past: int
    at_a_time: int = 1

    def __str__(self) -> str:
        if not self.trials:
            return f"{NO_PAST_RUN} of these settings to go by" if self.unknown else "nothing"
        side_by_side = "one at a time" if self.at_a_time == 1 else f"divided by {self.at_a_time} at a time"
        told = f"about {duration(self.seconds)} for {_count(self.trials, 'trial')}, {side_by_side}"
        told += f", by the mean of {_count(self.past, 'past run')} of the same settings"
        return f"{told}; {NO_PAST_RUN} of the other {self.unknown}" if self.unknown else told


class PastRuns:
    """The seconds that finished records took, by everything but the seed that decides them.

    Only runs with the same method, data set, protocol and settings count. The copy of the data and the preset's name do not.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._seconds: dict[str, list[float]] = defaultdict(list)
        for record in records:
            seconds = record.cost.get("total_seconds")
            if seconds is not None and (record.is_complete or record.stop_reason == OUT_OF_TIME):
                self._seconds[_key_of_record(record.spec)].append(float(seconds))

    def of(self, cell: Cell) -> list[float]:
        """The seconds of every past run of `cell`."""
        return self._seconds.get(_key_of_cell(cell), [])

    def mean(self, cell: Cell) -> float | None:
        """Seconds of one of its trials; None without a past run."""
        seconds = self.of(cell)
        return statistics.fmean(seconds) if seconds else None

    def estimate(self, trials: Sequence[Outlook], at_a_time: int = 1) -> Estimate:
        """The time for what is left of `trials`: never less than the longest of them takes alone."""
        left = [trial for trial in trials if trial.state is not State.DONE]
        seconds = [mean * trial.share_left for trial in left if (mean := self.mean(trial.cell)) is not None]
        used = {_key_of_cell(trial.cell) for trial in left}
        past = sum(len(self._seconds.get(key, ())) for key in used)
        total = max(sum(seconds) / at_a_time, max(seconds, default=0.0))
        return Estimate(total, len(seconds), len(left) - len(seconds), past, at_a_time)


def _key_of_record(spec: Mapping[str, Any]) -> str:
    asked = (spec.get("overrides") or {}).get("n_clusters")
    return _key(spec["method"], spec["dataset"], spec["protocol"], spec["config"], asked, spec.get("time_limit_s"))


def _key_of_cell(cell: Cell) -> str:
    assert cell.resolved is not None
    resolved, run = cell.resolved, cell.run
    asked = resolved.overrides.get("n_clusters")
    return _key(cell.method, cell.dataset, run.protocol, resolved.config, asked, run.time_limit)


def _key(*deciding: Any) -> str:
    return canonical_json(list(deciding))


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s'[: n != 1]}"
