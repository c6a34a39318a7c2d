"""How many trials share a GPU."""

from __future__ import annotations

import pytest
from trial_fakes import Drift, drift_spec, registered, tiny_data

from clusterbench.bench.scheduling.events import Planned
from clusterbench.bench.scheduling.packing import (
    HEADROOM,
    LONGEST,
    MEASURED,
    WARM_UP,
    Appetite,
    Enough,
    Steps,
    kinds,
    share_for_all,
)


@pytest.mark.parametrize(
    ("memory", "busy", "trials"),
    [
        (0.01, 0.01, 16), (0.2, 0.1, 4), (0.1, 0.3, 3), (0.5, 0.1, 1), (0.43, 0.1, 2), (0.0, 1.0, 1), (1.0, 1.0, 1),
    ],
)  # fmt: skip
def test_as_many_trials_share_a_gpu_as_its_memory_and_time_suffice_for(memory: float, busy: float, trials: int) -> None:
    share = Appetite(memory, busy).share
    assert 1 / share == pytest.approx(trials)
    if trials > 1:
        assert trials * memory * HEADROOM <= 1 + 1e-9 and trials * busy <= 1 + 1e-9


def test_the_hungriest_kind_decides() -> None:
    assert share_for_all([Appetite(0.1, 0.1), Appetite(0.4, 0.1)]) == 0.5
    assert share_for_all([]) == 1.0


def test_trials_that_differ_in_the_seed_alone_are_measured_once() -> None:
    data = tiny_data()
    with registered(Drift):
        specs = [drift_spec(data, epochs=epochs).model_copy(update={"seed": seed}) for epochs in (2, 3) for seed in range(4)]
    found = kinds(Planned(spec.identity(), spec) for spec in specs)
    assert [trial.spec.config["epochs"] for trial in found] == [2, 3]


def test_measuring_starts_after_the_warm_up_and_ends_the_training_when_enough_was_seen() -> None:
    started: list[int] = []
    steps = Steps(lambda: started.append(steps.seen), clock=lambda: 0.0)
    for step in range(1, WARM_UP + MEASURED):
        steps(step, 1000, 0)
    with pytest.raises(Enough):
        steps(WARM_UP + MEASURED, 1000, 0)
    assert started == [WARM_UP]
    assert steps.seen == WARM_UP + MEASURED


def test_measuring_ends_after_a_while_however_slow_the_steps_are() -> None:
    now = [0.0]
    steps = Steps(lambda: None, clock=lambda: now[0])
    steps(1, 10, 0)
    now[0] = LONGEST + 1
    with pytest.raises(Enough):
        steps(2, 10, 0)


@pytest.mark.gpu
def test_a_small_network_takes_a_small_share_of_a_gpu() -> None:
    from clusterbench.bench.cli.plan import Asked, plan
    from clusterbench.bench.scheduling.packing import measure

    (trial,) = plan(Asked(methods=["iic"], datasets=["digits"]))
    appetite = measure(trial.spec.model_dump(mode="json"), {"data_root": None, "memory_share": 0.5})
    assert 0 < appetite.memory < 0.2
    assert 0 < appetite.busy <= 1
