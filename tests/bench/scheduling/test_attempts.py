"""The order of trials, and what becomes of one that breaks."""

from __future__ import annotations

import itertools
import random

import pytest
from trial_fakes import Drift, drift_spec, registered, tiny_data

from clusterbench.bench.scheduling.attempts import HELD_AGAIN_AFTER, Attempts, Failure, Kind, Verdict
from clusterbench.bench.scheduling.events import Planned
from clusterbench.bench.spec import TrialSpec


@pytest.fixture(scope="module")
def spec() -> TrialSpec:
    with registered(Drift):
        return drift_spec(tiny_data())


def attempts(spec: TrialSpec, count: int = 4, **options) -> Attempts:
    options = {"retries": 2, "limit": 2, **options}
    return Attempts([Planned(str(number), spec) for number in range(count)], **options)


def begun(queue: Attempts) -> list[str]:
    """All that may begin now."""
    return [item.planned.key for item in iter(queue.next, None)]


OOM, LOST = Failure(Kind.OUT_OF_MEMORY, "no memory"), Failure(Kind.LOST, "its node died")


def test_trials_begin_in_their_order_as_many_as_the_limit_allows(spec: TrialSpec) -> None:
    queue = attempts(spec)
    assert begun(queue) == ["0", "1"]
    queue.finished("0")
    assert begun(queue) == ["2"]
    for key in ("1", "2"):
        queue.finished(key)
    assert begun(queue) == ["3"]
    assert not queue.are_over
    queue.finished("3")
    assert queue.are_over


def test_a_trial_that_breaks_is_tried_again_first_and_as_often_as_allowed(spec: TrialSpec) -> None:
    queue = attempts(spec, retries=2, limit=1)
    for left in (1, 0):
        assert begun(queue) == ["0"]
        assert queue.broke("0", LOST) == (Verdict.RETRY, None)
        assert queue.attempts_left("0") == left
    assert begun(queue) == ["0"]
    assert queue.broke("0", LOST) == (Verdict.FAIL, None)
    assert begun(queue) == ["1"]


def test_what_would_break_again_in_the_same_way_is_not_tried_again(spec: TrialSpec) -> None:
    queue = attempts(spec)
    begun(queue)
    assert queue.broke("0", Failure(Kind.HOPELESS, "no such setting")) == (Verdict.FAIL, None)


def test_out_of_memory_halves_the_limit_and_does_not_count_as_an_attempt(spec: TrialSpec) -> None:
    queue = attempts(spec, count=9, limit=8, retries=0)
    begun(queue)
    verdict, note = queue.broke("3", OOM)
    assert (verdict, queue.limit) == (Verdict.RETRY, 4)
    assert note == "memory ran out: 4 trials at a time from now on"
    assert begun(queue) == []  # seven still run
    for key in ("0", "1", "2", "4"):
        queue.finished(key)
    assert begun(queue) == ["3"]


def test_out_of_memory_in_the_end_runs_alone_and_then_fails_alone(spec: TrialSpec) -> None:
    queue = attempts(spec, count=3, limit=2)
    assert begun(queue) == ["0", "1"]
    queue.broke("0", OOM)
    assert begun(queue) == []
    queue.finished("1")
    assert begun(queue) == ["0"]  # alone: nothing begins beside it
    assert queue.broke("0", OOM) == (Verdict.FAIL, None)
    assert begun(queue) == ["2"]
    queue.finished("2")
    assert queue.are_over


def test_a_trial_that_another_process_runs_is_asked_for_again_later(spec: TrialSpec) -> None:
    now = [0.0]
    queue = attempts(spec, count=1, limit=1, retries=0, clock=lambda: now[0])
    assert begun(queue) == ["0"]
    assert queue.broke("0", Failure(Kind.HELD, "another process")) == (Verdict.WAIT, None)
    assert begun(queue) == []
    assert not queue.are_over
    now[0] += HELD_AGAIN_AFTER
    assert begun(queue) == ["0"]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_every_trial_ends_once_and_the_limit_holds(spec: TrialSpec, seed: int) -> None:
    """A random history: each trial is finished or failed exactly once, and never more begun than allowed."""
    dice, seconds = random.Random(seed), itertools.count(step=HELD_AGAIN_AFTER)
    queue = attempts(spec, count=12, limit=dice.randint(1, 5), retries=dice.randint(0, 3), clock=lambda: next(seconds))
    ended: list[str] = []
    while not queue.are_over:
        before = len(queue.running)
        now = begun(queue)
        assert not now or before + len(now) <= queue.limit
        if not queue.running:
            continue  # all that are left wait for another process
        key = dice.choice(sorted(queue.running))
        kind = dice.choice([None, None, Kind.LOST, Kind.OUT_OF_MEMORY, Kind.OTHER, Kind.HOPELESS, Kind.HELD])
        if kind is None:
            queue.finished(key)
            ended.append(key)
        elif queue.broke(key, Failure(kind, ""))[0] is Verdict.FAIL:
            ended.append(key)
    assert sorted(ended, key=int) == [str(number) for number in range(12)]
