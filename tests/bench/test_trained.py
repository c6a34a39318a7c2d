"""What a record keeps of a trained method, and what becomes of records that lack it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from trial_fakes import Drift, drift_spec, registered, run, tiny_data

from clusterbench.bench import trained
from clusterbench.bench.predictor import trained_method
from clusterbench.datasets.base import Images
from clusterbench.methods.base import MethodError, State
from clusterbench.results.record import Record, RecordError


class Remembering(Drift):
    """With an optimiser whose moments are large, a view of something large, and a plain number among the weights."""

    def state_dict(self) -> State:
        weight = torch.nn.Parameter(torch.zeros(1_000))
        weight.grad = torch.ones(1_000)
        optimiser = torch.optim.Adam([weight])
        optimiser.step()
        model = {**super().state_dict()["model"], "scale": 2.5}
        return {"model": model, "epoch": self.epoch, "optimiser": optimiser.state_dict(), "view": torch.arange(10**6)[:3]}

    def load_state_dict(self, state: State) -> None:
        super().load_state_dict(state)
        torch.optim.Adam([torch.nn.Parameter(torch.zeros(1_000))]).load_state_dict(state["optimiser"])
        self.loaded = state


@pytest.fixture
def record(drift: type, tmp_path: Path) -> Record:
    data = tiny_data()
    return run(drift_spec(data, epochs=3), data, tmp_path)


def test_the_method_of_a_record_predicts_what_its_last_epoch_did(record: Record) -> None:
    method = trained_method(record)
    kept = record.labels()
    assert np.array_equal(method.predict_heads(tiny_data().score), kept["last"])
    assert method.chosen_head == kept["last/head"]


def test_what_optimisers_remember_and_what_views_view_is_not_kept(tmp_path: Path) -> None:
    data = tiny_data()
    with registered(Remembering):
        record = run(drift_spec(data, epochs=2), data, tmp_path)
        method: Any = trained_method(record)
    assert (record.folder / "trained.pt").stat().st_size < 6_000
    assert method.loaded["optimiser"]["state"] == {} and method.loaded["optimiser"]["param_groups"][0]["lr"] == 1e-3
    assert method.loaded["view"].tolist() == [0, 1, 2] and method.loaded["model"]["scale"] == 2.5


def test_the_weights_stand_in_the_safetensors_file_alone(record: Record) -> None:
    content = torch.load(record.folder / "trained.pt", weights_only=True)
    assert content["state"]["model"] == {"heads": {"weight": "heads.weight"}}
    weights = load_file(record.folder / "model.safetensors")
    save_file({"heads.weight": torch.zeros_like(weights["heads.weight"])}, record.folder / "model.safetensors")
    assert not trained_method(record).predict_heads(tiny_data().score).any()  # all equal: the first cluster


def test_a_state_that_is_too_large_costs_no_trial_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained, "MOST_BYTES", 10)
    data = tiny_data()
    with registered(Remembering):
        record = run(drift_spec(data, epochs=2), data, tmp_path)
        assert record.is_complete
        with pytest.raises(RecordError, match="labels new images by what it keeps of its training images"):
            trained_method(record)


def test_a_state_that_cannot_be_stored_costs_no_trial(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Odd(Drift):
        def state_dict(self) -> State:
            return {**super().state_dict(), "odd": object()}

    data = tiny_data()
    with registered(Odd):
        assert run(drift_spec(data, epochs=1), data, tmp_path).is_complete
    assert "is not kept" in caplog.text


@pytest.mark.parametrize("name", ["trained.pt", "model.safetensors"])
def test_a_missing_or_damaged_file_is_told_with_the_command_that_makes_it(record: Record, name: str) -> None:
    command = re.escape(f"bench run --method drift --dataset tiny --preset smoke --seeds 6, --out {record.folder.parent} --force")
    (record.folder / name).write_bytes(b"damaged")
    with pytest.raises(RecordError, match=f"{name} is damaged.*{command}"):
        trained_method(record)
    (record.folder / name).unlink()
    with pytest.raises(RecordError, match=f"{name}.*{command}"):
        trained_method(record)


def test_what_runs_code_when_it_is_read_is_refused(record: Record) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (record.folder / "exploded",))

    torch.save({"format": 1, "kept": True, "state": Bomb()}, record.folder / "trained.pt")
    with pytest.raises(RecordError, match="is damaged"):
        trained_method(record)
    assert not (record.folder / "exploded").exists()


def test_a_run_that_is_not_finished_has_nothing_to_predict_with(record: Record) -> None:
    running = record.model_copy(update={"status": "running", "metrics": {}})
    with pytest.raises(RecordError, match="is running and has no trained model yet"):
        trained_method(running)


def test_a_state_of_another_network_is_told(record: Record) -> None:
    weights = load_file(record.folder / "model.safetensors")
    save_file({"other": weights["heads.weight"]}, record.folder / "model.safetensors")
    with pytest.raises(MethodError, match="not of the same run"):
        trained_method(record)


def test_a_new_run_of_the_trial_replaces_what_was_kept(record: Record) -> None:
    data = tiny_data()
    (record.folder / "trained.pt").write_bytes(b"old")
    again = run(drift_spec(data, epochs=3), data, record.folder.parent, force=True)
    assert np.array_equal(
        trained_method(again).predict(Images(data.score.pixels)), again.labels()["last"][again.labels()["last/head"]]
    )
