"""A sweep in MLflow, played without Ray: what arrives, where it hangs, and that nothing comes twice."""

from __future__ import annotations

from pathlib import Path

import pytest
import tracking_tools as tools
from sweep_fakes import Played, make_plan

from clusterbench.bench.sweep.conductor import Conductor
from clusterbench.bench.sweep.plan import SweepPlan
from clusterbench.bench.sweep.tracking import Tracked
from clusterbench.bench.tracking import MlflowListener
from clusterbench.results.record import find_records

pytestmark = pytest.mark.usefixtures("valley")
X = "x: {choice: [0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.96]}"


def played(plan: SweepPlan, out: Path, uri: str, told: list[str], stop_after: int | None = None) -> Conductor:
    tracked = Tracked(MlflowListener(uri, plan.folder(out), title=f"sweep {plan.name}", say=told.append, patience_s=300), plan)
    conductor = Played(plan, out, stop_after=stop_after, watcher=tracked).conductor
    tracked.close([conductor.folder / "sweep.json"])
    return conductor


def test_every_trial_of_every_sample_arrives_nested_in_one_run_for_the_sweep(tmp_path: Path) -> None:
    told: list[str] = []
    uri, out = tools.new_store(tmp_path), tmp_path / "out"
    plan = make_plan(tmp_path, samples=7, seeds=(0, 1), space=X, search="random")
    played(plan, out, uri, told, stop_after=25)
    conductor = played(plan, out, uri, told)
    states = {sample.state for sample in conductor.sweep.samples}
    assert states == {"complete", "pruned", "diverged"}, "the draw was to hold all of them"
    assert [line for line in told if not line.startswith("delivering ")] == []  # said on a slow machine, and no trouble
    runs = {run.info.run_name: run for run in tools.runs(uri)}
    parent = runs.pop(f"sweep {plan.name}")
    assert set(runs) == {record.folder.name for record in find_records(conductor.folder)}
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {parent.info.run_id}
    assert "sweep.json" in tools.artefacts(uri, parent)
    for record in find_records(conductor.folder):
        wanted = [(row["epoch"], row["criterion"]) for row in record.epochs()]
        assert tools.history(uri, runs[record.folder.name], "epochs/criterion") == wanted
        assert (runs[record.folder.name].info.status == "FAILED") == (record.status == "failed")


def test_the_search_is_told_nothing_by_being_tracked(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, samples=4, space=X)
    alone = Played(plan, tmp_path / "alone").sweep
    uri = tools.new_store(tmp_path)
    tracked = played(plan, tmp_path / "tracked", uri, []).sweep
    assert [sample.model_dump(exclude={"seconds"}) for sample in alone.samples] == [
        sample.model_dump(exclude={"seconds"}) for sample in tracked.samples
    ]
