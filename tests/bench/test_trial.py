"""One trial from spec to record, with a method that shows every slip."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from trial_fakes import HEADS, Drift, drift_spec, outcome, run, tiny_data

from clusterbench.bench import trial
from clusterbench.bench.config import read_config
from clusterbench.bench.observer import Observer
from clusterbench.datasets.base import DataError, Images, TrialData
from clusterbench.methods.base import Epoch, MethodError
from clusterbench.results.record import Record, RecordError, find_records, read_record

pytestmark = pytest.mark.usefixtures("drift")


@pytest.fixture(scope="module")
def data() -> TrialData:
    return tiny_data()


def best_matching(predicted: np.ndarray, truth: np.ndarray) -> float:
    """ACC by trying every assignment."""
    return max(float(np.mean(np.array(order)[predicted] == truth)) for order in permutations(range(3)))


def test_the_scores_are_those_of_the_predictions_of_every_epoch(
    tmp_path: Path, data: TrialData, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []
    predict = Drift.predict_heads

    def keep(self: Drift, images: Images) -> np.ndarray:
        seen.append(predict(self, images))
        return seen[-1]

    monkeypatch.setattr(Drift, "predict_heads", keep)
    rows = run(drift_spec(data), data, tmp_path).epochs()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6] and len(seen) == 6
    for row, predictions in zip(rows, seen, strict=True):
        assert row["acc"] == pytest.approx([best_matching(head, data.labels) for head in predictions])
        assert row["nmi"] == pytest.approx([normalized_mutual_info_score(data.labels, head) for head in predictions])
        assert row["ari"] == pytest.approx([adjusted_rand_score(data.labels, head) for head in predictions])
        assert row["clusters_used"] == [len(set(head.tolist())) for head in predictions]
        assert row["losses"] == {"main": [0.5, 0.25], "total": row["epoch"]} and row["images"] == 60
        assert row["chosen_head"] == row["epoch"] % HEADS


def test_each_selection_is_the_epoch_and_head_that_its_rule_says(tmp_path: Path, data: TrialData) -> None:
    record = run(drift_spec(data), data, tmp_path)
    rows = record.epochs()
    lowest = min(rows, key=lambda row: row["criterion"])
    best = max(((acc, -row["epoch"], -head) for row in rows for head, acc in enumerate(row["acc"])))
    metrics = record.metrics
    assert (metrics["last"]["epoch"], metrics["last"]["head"]) == (6, 6 % HEADS)
    assert (metrics["own-loss"]["epoch"], metrics["own-loss"]["head"]) == (lowest["epoch"], lowest["chosen_head"])
    assert (metrics["oracle"]["epoch"], metrics["oracle"]["head"]) == (-best[1], -best[2])
    assert len({metrics[name]["epoch"] for name in metrics}) == 3, "the three rules agree here, so this test shows nothing"
    assert record.selection_gap == pytest.approx(best[0] - lowest["acc"][lowest["chosen_head"]]) != 0


def test_the_stored_labels_give_the_stored_metrics(tmp_path: Path, data: TrialData) -> None:
    record = run(drift_spec(data), data, tmp_path)
    labels = record.labels()
    assert labels["truth"].tolist() == data.labels.tolist()
    for name, metrics in record.metrics.items():
        heads, head = labels[name], int(labels[f"{name}/head"])
        accs = [best_matching(each, data.labels) for each in heads]
        assert heads.shape == (HEADS, 60) and heads.dtype == np.int8 and head == metrics["head"]
        assert metrics["acc"] == pytest.approx(accs[head])
        assert metrics["nmi"] == pytest.approx(normalized_mutual_info_score(data.labels, heads[head]))
        assert metrics["heads"]["acc"] == pytest.approx(accs)
        assert metrics["heads"]["acc_std"] == pytest.approx(np.std(accs)) and metrics["heads"]["n"] == HEADS


def test_the_record_says_all_of_the_trial(tmp_path: Path, data: TrialData) -> None:
    spec = drift_spec(data)
    record = run(spec, data, tmp_path)
    assert record.model_dump() == read_record(record.folder).model_dump()
    assert record.folder == tmp_path / spec.folder_name() and record.id == spec.identity()
    assert (record.status, record.stop_reason, record.error) == ("complete", None, None)
    assert (record.epochs_done, record.planned_epochs) == (6, 6)
    assert record.spec == spec.model_dump(mode="json")
    cost, rows = record.cost, record.epochs()
    assert cost["images"] == 6 * 60 and cost["resumed"] == 0 and cost["energy_joules"] is None
    assert cost["train_seconds"] == pytest.approx(sum(row["train_seconds"] for row in rows))
    assert cost["evaluate_seconds"] == pytest.approx(sum(row["evaluate_seconds"] for row in rows))
    assert cost["train_seconds"] + cost["evaluate_seconds"] <= cost["total_seconds"]
    assert record.provenance["data"]["fingerprint"] == data.fingerprint
    assert not (record.folder / "checkpoint").exists()


def test_the_final_weights_are_kept_as_safetensors(tmp_path: Path, data: TrialData) -> None:
    record = run(drift_spec(data), data, tmp_path)
    weights = load_file(record.folder / "model.safetensors")["heads.weight"]
    pixels = data.score.pixels.flatten(1).float() - 127.5
    again = torch.stack([(pixels @ head).argmax(1) for head in weights])
    assert np.array_equal(again.numpy(), record.labels()["last"])


def test_the_config_file_of_the_record_is_the_configuration(tmp_path: Path, data: TrialData) -> None:
    spec = drift_spec(data, epochs=2)
    file = run(spec, data, tmp_path).folder / "config.yaml"
    assert read_config(file, "drift") == {**spec.config, "n_clusters": 3}
    assert yaml.safe_load(file.read_text())["seed"] == 6


def test_the_seed_decides_the_result(tmp_path: Path, data: TrialData) -> None:
    first = run(drift_spec(data), data, tmp_path / "a")
    torch.rand(7)  # whatever ran before in this process has no part in it
    assert outcome(run(drift_spec(data), data, tmp_path / "b")) == outcome(first)
    other = run(drift_spec(data).model_copy(update={"seed": 7}), data, tmp_path / "a")
    assert other.folder != first.folder and outcome(other)[1] != outcome(first)[1]


class Diary(Observer):
    def __init__(self) -> None:
        self.entries: list[Any] = []

    def on_start(self, spec: object, folder: Path, planned_epochs: int, resumed_from: int) -> None:
        self.entries.append(("start", folder, planned_epochs, resumed_from))

    def on_step(self, done: int, total: int, images: int) -> None:
        self.entries.append(("step", done, total, images))

    def on_epoch(self, row: dict[str, Any]) -> None:
        self.entries.append(("epoch", row["epoch"]))

    def on_finish(self, record: Record) -> None:
        self.entries.append(("finish", record.status, (record.folder / "labels.npz").exists()))


def test_an_observer_is_told_in_order(tmp_path: Path, data: TrialData) -> None:
    spec, diary = drift_spec(data, epochs=2), Diary()
    run(spec, data, tmp_path, observer=diary)
    step = ("step", 1, 2, 60)
    start = ("start", tmp_path / spec.folder_name(), 2, 0)
    assert diary.entries == [start, step, ("epoch", 1), step, ("epoch", 2), ("finish", "complete", True)]


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_a_complete_trial_is_returned_untouched(tmp_path: Path, data: TrialData, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = drift_spec(data)
    record = run(spec, data, tmp_path)
    before = snapshot(record.folder)
    monkeypatch.setattr(Drift, "train", lambda self, images: pytest.fail("it trained again"))
    diary = Diary()
    assert run(spec, data, tmp_path, observer=diary) == record
    assert snapshot(record.folder) == before and not diary.entries


def test_a_complete_trial_is_found_under_the_name_of_another_preset(tmp_path: Path, data: TrialData) -> None:
    first = run(drift_spec(data, preset="short"), data, tmp_path)
    assert run(drift_spec(data, preset="smoke"), data, tmp_path).folder == first.folder
    assert len(find_records(tmp_path)) == 1


def test_force_begins_from_the_start_and_keeps_what_is_not_ours(tmp_path: Path, data: TrialData) -> None:
    first = run(drift_spec(data), data, tmp_path)
    (first.folder / "my-notes.txt").write_text("mine")
    (first.folder / "labels.npz").write_bytes(b"damaged")
    second = run(drift_spec(data), data, tmp_path, force=True)
    assert second.created > first.created and len(second.epochs()) == 6 and len(second.labels()["truth"]) == 60
    assert (first.folder / "my-notes.txt").read_text() == "mine"


def test_a_record_that_cannot_be_read_is_not_overwritten_unless_forced(tmp_path: Path, data: TrialData) -> None:
    record = run(drift_spec(data), data, tmp_path)
    (record.folder / "record.json").write_text('{"schema": 99}')
    with pytest.raises(RecordError, match="schema 99"):
        run(drift_spec(data), data, tmp_path)
    assert run(drift_spec(data), data, tmp_path, force=True).is_complete


def test_a_trial_that_another_process_runs_is_refused(tmp_path: Path, data: TrialData) -> None:
    spec = drift_spec(data)
    with trial.exclusive(tmp_path / spec.folder_name()), pytest.raises(RecordError, match="is running this trial"):
        run(spec, data, tmp_path)
    assert run(spec, data, tmp_path).is_complete


def test_data_and_method_that_the_spec_was_not_made_for_are_refused(tmp_path: Path, data: TrialData) -> None:
    spec = drift_spec(data)
    with pytest.raises(DataError, match="fingerprint of the data"):
        run(spec, tiny_data(30), tmp_path)
    with pytest.raises(MethodError, match="version 2 of drift; version 3 is installed"):
        run(spec.model_copy(update={"method_version": 2}), data, tmp_path)
    assert not list(tmp_path.iterdir())


def test_unlabelled_images_are_clustered_and_their_scores_are_unknown(tmp_path: Path) -> None:
    data = tiny_data(labelled=False)
    record = run(drift_spec(data), data, tmp_path)
    assert record.is_complete and record.selection_gap is None
    assert {record.metrics[name][metric] for name in record.metrics for metric in ("acc", "nmi", "ari")} == {None}
    assert record.metrics["last"]["clusters_used"] == len(set(record.labels()["last"][0].tolist()))
    assert record.metrics["oracle"]["epoch"] == record.metrics["last"]["epoch"] == 6
    assert record.metrics["own-loss"]["epoch"] != 6


def test_a_method_that_never_judges_itself_is_taken_at_its_last_epoch(tmp_path: Path, data: TrialData) -> None:
    record = run(drift_spec(data, judges=False), data, tmp_path)
    assert record.metrics["own-loss"] == record.metrics["last"] != record.metrics["oracle"]


@pytest.mark.parametrize(
    ("gives", "said"),
    [
        (np.zeros((1, 59), int), "predict_heads gave int64 (1, 59)"),
        (np.zeros(60, int), "predict_heads gave int64 (60,)"),
        (np.zeros((1, 60)), "predict_heads gave float64"),
        (np.full((1, 60), 3), "clusters 3..3 of 3"),
        (np.full((4, 60), -1), "clusters -1..-1 of 3"),
        (np.zeros((1, 60), int), "chose sub-head 1 of 1"),
    ],
)
def test_predictions_that_cannot_be_are_refused(
    tmp_path: Path, data: TrialData, monkeypatch: pytest.MonkeyPatch, gives: np.ndarray, said: str
) -> None:
    monkeypatch.setattr(Drift, "predict_heads", lambda self, images: gives)
    with pytest.raises(MethodError) as refusal:
        run(drift_spec(data), data, tmp_path)
    assert said in str(refusal.value)


def test_a_method_that_trains_nothing_is_refused(tmp_path: Path, data: TrialData) -> None:
    with pytest.raises(MethodError, match="trained no epoch"):
        run(drift_spec(data, epochs=0), data, tmp_path)


def test_epochs_out_of_order_are_refused(tmp_path: Path, data: TrialData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drift, "train", lambda self, images: iter([Epoch(2)]))
    with pytest.raises(MethodError, match="yielded epoch 2 after epoch 0"):
        run(drift_spec(data), data, tmp_path)
