"""A method that gets a setting keeps the trials that were recorded before, as long as the setting stands at its default."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import BaseModel
from trial_fakes import Drift, DriftConfig, registered, run, tiny_data

from clusterbench.bench.config import Resolved, resolve
from clusterbench.bench.spec import TrialSpec, make_spec
from clusterbench.bench.trial_folder import find_folder
from clusterbench.datasets.base import TrialData
from clusterbench.methods.registry import methods
from clusterbench.results.groups import group_records
from clusterbench.results.record import Record, read_record

REPRODUCED = Path(__file__).parents[2] / "results" / "reproduced"


class View(BaseModel):
    tint: int = 0
    size: int = 4


class GrownConfig(DriftConfig):
    later: ClassVar[tuple[tuple[str, ...], ...]] = (("pull",), ("views.tint", "push"))
    push: float = 0.0
    pull: int = 1
    views: View = View()


class Grown(Drift):
    Config = GrownConfig


SETTINGS = {**DriftConfig(epochs=2).model_dump(), "push": 0.0, "pull": 1, "views": {"tint": 0, "size": 4}}
FIRST = {**DriftConfig(epochs=2).model_dump(), "views": {"size": 4}}  # before any addition
SECOND = {**FIRST, "push": 0.0, "views": {"tint": 0, "size": 4}}  # after the first one


@pytest.fixture
def grown() -> Iterator[TrialData]:
    with registered(Grown):
        yield tiny_data()


def spec(data: TrialData, config: dict[str, object], seed: int = 0) -> TrialSpec:
    return make_spec(Resolved("drift", "tiny", "smoke", config, {}), data, seed=seed)


def written_before(data: TrialData, config: dict[str, object], seed: int = 0) -> TrialSpec:
    """The spec that an earlier version made, which knew nothing of later settings."""
    return spec(data, SETTINGS, seed).model_copy(update={"config": config, "later": ()})


def test_the_trial_had_other_identities_before_each_addition(grown: TrialData) -> None:
    earlier = [written_before(grown, config).identity() for config in (SECOND, FIRST)]
    assert list(spec(grown, SETTINGS).earlier_identities()) == earlier
    assert spec(grown, SETTINGS).identity() not in earlier


@pytest.mark.parametrize(("changed", "left"), [
    ({"pull": 2}, 0), ({"push": 0.5}, 1), ({"views": {"tint": 1, "size": 4}}, 1), ({"views": {"tint": 0, "size": 5}}, 2)
])  # fmt: skip
def test_a_setting_that_was_changed_makes_another_trial(grown: TrialData, changed: dict[str, object], left: int) -> None:
    """`left` additions stand at their defaults, so that many earlier versions could have run it."""
    assert len(list(spec(grown, {**SETTINGS, **changed}).earlier_identities())) == left


@pytest.mark.parametrize("config", [FIRST, SECOND])
def test_a_complete_record_from_before_is_found_and_not_run_again(
    grown: TrialData, tmp_path: Path, config: dict[str, object]
) -> None:
    before = run(written_before(grown, config), grown, tmp_path)
    assert run(spec(grown, SETTINGS), grown, tmp_path).folder == before.folder
    assert len(list(tmp_path.iterdir())) == 1


def test_a_forced_run_leaves_a_record_from_before_alone(grown: TrialData, tmp_path: Path) -> None:
    before = run(written_before(grown, FIRST), grown, tmp_path)
    forced = run(spec(grown, SETTINGS), grown, tmp_path, force=True)
    assert forced.folder != before.folder and read_record(before.folder).is_complete


def test_an_unfinished_record_from_before_is_not_gone_on_with(
    grown: TrialData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Grown, "faults_left", 1)
    fault = {"fault": "ctrl-c", "fault_at": 2}
    with pytest.raises(KeyboardInterrupt):
        run(written_before(grown, {**FIRST, **fault}), grown, tmp_path)
    assert not find_folder(spec(grown, {**SETTINGS, **fault}), tmp_path).exists()


def test_seeds_from_before_and_after_are_one_group(grown: TrialData, tmp_path: Path) -> None:
    records = [run(written_before(grown, FIRST), grown, tmp_path), run(written_before(grown, SECOND, 1), grown, tmp_path)]
    records += [run(spec(grown, SETTINGS, seed), grown, tmp_path) for seed in (2, 3)]
    sizes = sorted(group.n for group in group_records(records))
    assert sizes == [1, 3]  # what ran between the two additions wrote down the first of them and knew no second


@pytest.mark.parametrize("method", ["iic", "kmeans", "random"])
def test_the_recorded_trials_on_mnist_are_those_of_today(method: str) -> None:
    """They were run again after the settings had come, IIC for three epochs: the same losses and accuracies to the last digit."""
    folders = sorted(REPRODUCED.glob(f"{method}-mnist-short-s*"))
    if not folders:
        pytest.skip("the records of results/reproduced are in the repository, not in the package")
    at_the_preset = [record for record in map(read_record, folders) if not record.spec["overrides"]]
    assert at_the_preset
    for record in at_the_preset:
        assert record.id in list(today(record).earlier_identities())


def today(record: Record) -> TrialSpec:
    """The spec of a recorded trial as it would be made now."""
    method = record.spec["method"]
    config = resolve(method, "mnist", "short").config
    return TrialSpec.model_validate({**record.spec, "config": config, "later": methods.get(method).Config.later})
