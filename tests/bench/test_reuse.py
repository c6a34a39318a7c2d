"""What a trial took from the store of artefacts and what it kept there stands in its record, over resumptions too."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trial_fakes
from cli_tools import Bench
from trial_fakes import Drift, drift_spec, run, tiny_data

from clusterbench.bench import checkpoint
from clusterbench.bench.observer import Observer
from clusterbench.bench.spec import TrialSpec
from clusterbench.bench.trial import Interrupted
from clusterbench.datasets.base import Images
from clusterbench.methods.base import Epoch
from clusterbench.methods.kit.arithmetic import Arithmetic
from clusterbench.methods.kit.artefacts import Artefacts, artefact_key, images_id
from clusterbench.methods.kit.backbones import BackboneSettings
from clusterbench.methods.kit.contrastive_views import SimCLRViewSettings
from clusterbench.methods.kit.kept_pretext import KeptPretext
from clusterbench.methods.kit.simclr import Pretext, PretextSettings

SMALL = BackboneSettings(name="small", widths=(4, 8))


class Keeper(Drift):
    """Takes the mean image from the store, or makes it."""

    def train(self, images: Images) -> Iterator[Epoch]:
        mean = images.pixels.float().mean(0)
        Artefacts.of(self).obtain("features", artefact_key("features", of=images_id(images)), {}, lambda: {"mean": mean})
        yield from super().train(images)


@pytest.fixture
def keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Keeper]]:
    monkeypatch.setenv("CLUSTERBENCH_CACHE", str(tmp_path / "kept"))
    monkeypatch.setattr(checkpoint, "LARGEST_SHARE", float("inf"))
    with trial_fakes.registered(Keeper):
        yield Keeper


def test_the_first_trial_makes_it_and_the_next_reuses_it(keeper: type[Keeper], tmp_path: Path) -> None:
    data = tiny_data()
    spec = drift_spec(data, epochs=1)
    first = run(spec, data, tmp_path).cost
    (name,) = first["made"]
    assert name.startswith("features/") and first["reused"] == []
    second = run(spec.model_copy(update={"seed": 7}), data, tmp_path).cost
    assert (second["reused"], second["made"]) == ([name], [])


def test_a_resumed_trial_does_not_count_its_own_work_as_reused(
    keeper: type[Keeper], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_data()
    spec = drift_spec(data, fault="ctrl-c", fault_at=3)
    for seed, expected in ((6, ("made", "reused")), (7, ("reused", "made"))):
        monkeypatch.setattr(keeper, "faults_left", 1)
        with pytest.raises(Interrupted):
            run(spec.model_copy(update={"seed": seed}), data, tmp_path)
        cost = run(spec.model_copy(update={"seed": seed}), data, tmp_path).cost
        assert cost["resumed"] == 1
        assert (len(cost[expected[0]]), len(cost[expected[1]])) == (1, 0)


def test_kmeans_on_a_kept_network_runs_by_its_name_and_says_what_its_time_lacks(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clusterbench.datasets.catalogue import load

    monkeypatch.setenv("CLUSTERBENCH_CACHE", "nowhere")
    images = load("digits").under("full").train
    pretext = Pretext(PretextSettings(), SMALL, SimCLRViewSettings(), images.shape, 0, Arithmetic("cpu"))
    store = Artefacts(tmp_path / "shared")
    KeptPretext(pretext, store, role="all").keep(images)
    (entry,) = store.entries()
    settings = ("--set", "features=network", "--set", f"network.weights={entry.name}", "--set", "kmeans.restarts=1")
    ran = bench.run("--method", "kmeans", *settings, "--cache-root", "shared")
    assert ran.code == 0, ran.err
    assert f"without what made {entry.name}, which other trials had kept" in " ".join(ran.out.split())
    (path,) = bench.out.glob("*/record.json")
    record = json.loads(path.read_text())
    assert record["cost"]["reused"] == [entry.name]
    assert 0.3 < record["metrics"]["own-loss"]["acc"] < 1
    assert os.environ["CLUSTERBENCH_CACHE"] == str(tmp_path / "shared")  # for the workers that a command starts


class Shortened(Keeper):
    """Plans two epochs more, which it finds done once it trains."""

    @property
    def planned_epochs(self) -> int:
        return super().planned_epochs + (0 if self.artefacts_used or self.artefacts_made else 2)


def test_epochs_that_the_store_saves_are_planned_no_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERBENCH_CACHE", str(tmp_path / "kept"))
    with trial_fakes.registered(Shortened):
        data = tiny_data()
        told = Told()
        record = run(drift_spec(data, epochs=3), data, tmp_path, observer=told)
    assert (record.status, record.epochs_done, record.planned_epochs) == ("complete", 3, 3)
    assert told.plans == [5, 3]


class Told(Observer):
    """Keeps how many epochs were said to be planned."""

    def __init__(self) -> None:
        self.plans: list[int] = []

    def on_start(self, spec: TrialSpec, folder: Path, planned_epochs: int, resumed_from: int) -> None:
        self.plans.append(planned_epochs)

    def on_plan(self, planned_epochs: int) -> None:
        self.plans.append(planned_epochs)
