"""The search: draws samples, and learns from the objective of those that are over. It never sees anything else of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from ..config import Settings
from ..spec import canonical_json
from .objective import Objective
from .space import Space
from .state import Sample, State, Sweep

SEARCHES = ("optuna", "random")
MOST_DRAWS = 1000  # for one sample; then the space holds nothing new
PATIENCE = 50  # draws that come to nothing before the search gives way to chance
_ENDS: Mapping[State, TrialState] = {
    "complete": TrialState.COMPLETE,
    "diverged": TrialState.COMPLETE,  # with the worst value there is, so that the search keeps away
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


class Study:
    """Draws settings that the method takes and that have not been drawn before.

    What is drawn depends on `seed`, on how many draws there were before and, with `optuna`, on what is known by then. So
    a random search that is taken up again draws what an undisturbed one would have drawn.

    Args:
        space: what may change.
        objective: its direction and its worst value.
        by: `optuna` (tree-structured Parzen estimator) or `random`.
        seed: of the draws.
        refusal: why the method does not take some settings, or None if it does.
        sweep: where draws are counted; its samples that are over are what is known from the start.
    """

    def __init__(
        self, space: Space, objective: Objective, by: str, seed: int, refusal: Callable[[Settings], str | None], sweep: Sweep
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space, self.objective, self.by, self.seed, self.refusal, self.sweep = space, objective, by, seed, refusal, sweep
        self.distributions = space.distributions()
        self.study = optuna.create_study(direction=objective.direction, sampler=self._sampler(by))
        self.study.add_trials(known_trials(space, objective, sweep.samples))
        self.seen = {canonical_json(sample.settings) for sample in sweep.samples}
        self.running: dict[int, tuple[Trial, int]] = {}  # by number of the sample: and the last epoch that was told

    def draw(self, number: int) -> Settings | None:
        """New settings for the sample `number`; None if a thousand draws bring nothing new."""
        for attempt in range(MOST_DRAWS):
            self.study.sampler = self._sampler(self.by if attempt < PATIENCE else "random")
            self.sweep.draws += 1
            trial = self.study.ask(fixed_distributions=self.distributions)
            settings = self.space.decoded(trial.params)
            if self._is_new(settings):
                self.running[number] = trial, 0
                return settings
            self.study.tell(trial, state=TrialState.FAIL)
        return None

    def resume(self, sample: Sample) -> None:
        """A sample that was interrupted runs again; if it broke under this command, nothing is new to the search."""
        if sample.number in self.running:
            return
        self.study.enqueue_trial(self.space.encoded(sample.settings))
        self.running[sample.number] = self.study.ask(fixed_distributions=self.distributions), 0

    def tell_epoch(self, number: int, epoch: int, value: float) -> None:
        """The objective of a running sample after `epoch`; one that is told again is passed over."""
        trial, told = self.running[number]
        if epoch > told:
            trial.report(value, epoch)
            self.running[number] = trial, epoch

    def tell_end(self, number: int, state: State, value: float | None) -> None:
        """A sample is over."""
        trial, _ = self.running.pop(number)
        end = _ENDS[state]
        self.study.tell(trial, self._final(state, value) if end is TrialState.COMPLETE else None, state=end)

    def _final(self, state: State, value: float | None) -> float | None:
        return self.objective.worst if state == "diverged" else value

    def _is_new(self, settings: Settings) -> bool:
        """Count what comes to nothing, and remember what does not."""
        text = canonical_json(settings)
        if text in self.seen:
            self.sweep.repeated += 1
            return False
        reason = self.refusal(settings)
        if reason is not None:
            self.sweep.refusals[reason] = self.sweep.refusals.get(reason, 0) + 1
            return False
        self.seen.add(text)
        return True

    def _sampler(self, by: str) -> BaseSampler:
        """A fresh one for each draw: it takes nothing over from the draws before but what the study knows."""
        seed = int(np.random.SeedSequence([self.seed, self.sweep.draws]).generate_state(1)[0])
        return RandomSampler(seed=seed) if by == "random" else TPESampler(seed=seed, constant_liar=True)


def known_trials(space: Space, objective: Objective, samples: Iterable[Sample]) -> list[FrozenTrial]:
    """The samples that are over as Optuna knows them, without those that failed."""
    distributions = space.distributions()
    told = (sample for sample in samples if sample.is_over and sample.state != "failed" and not sample.is_preset)
    return [_known(space, objective, distributions, sample) for sample in told]


def _known(space: Space, objective: Objective, distributions: dict[str, BaseDistribution], sample: Sample) -> FrozenTrial:
    value: Any = objective.worst if sample.state == "diverged" else sample.objective
    return create_trial(
        state=_ENDS[sample.state],
        value=value,
        params=space.encoded(sample.settings),
        distributions=distributions,
        intermediate_values=dict(enumerate(sample.objective_by_epoch, start=1)),
    )
