"""The MLflow sink, on a real SQLite store that is read back with MLflow's own client."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from clusterbench.results import mlflow_link
from clusterbench.results.mlflow_sink import Fed, Store, TrackingError, default_uri, feed
from clusterbench.results.record import Record, RecordWriter, read_record

FIXTURE = Path(__file__).parent / "fixtures" / "schema1" / "iic-digits-short-s0-5b0c1f6f2d9e"


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new store without an experiment: making one takes MLflow seconds, copying it does not."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def out(tmp_path: Path, empty_store: Path) -> Path:
    """A folder of records with one record and an empty store."""
    shutil.copytree(FIXTURE, tmp_path / FIXTURE.name)
    source, target = sqlite3.connect(empty_store), sqlite3.connect(tmp_path / "mlflow.db")
    source.backup(target)
    source.close()
    target.close()
    return tmp_path


@pytest.fixture
def folder(out: Path) -> Path:
    return out / FIXTURE.name


def runs(out: Path) -> list[Run]:
    client = MlflowClient(default_uri(out))
    return list(client.search_runs([experiment.experiment_id for experiment in client.search_experiments()]))


def test_a_record_arrives_whole(out: Path, folder: Path) -> None:
    record = read_record(folder)
    run_id = feed(record, default_uri(out))
    (run,) = runs(out)
    assert (run.info.run_id, run.info.run_name, run.info.status) == (run_id, folder.name, "FINISHED")
    assert (run.info.start_time, run.info.end_time) == (1749633243518, 1749633341002)  # the record's two times
    assert run.data.params["method"] == "iic" and run.data.params["config.lr"] == "0.0005" and run.data.params["seed"] == "0"
    assert run.data.tags["clusterbench.id"] == record.id and run.data.tags["clusterbench.revision"] == "9f2c1e0b6d7a"
    assert run.data.tags["clusterbench.package.torch"] == "2.4.1" and run.data.tags["clusterbench.data_fingerprint"].startswith(
        "c3a1"
    )
    for selection, metrics in record.metrics.items():
        assert run.data.metrics[f"{selection}/acc"] == metrics["acc"]
        assert run.data.metrics[f"{selection}/heads/acc_mean"] == metrics["heads"]["acc_mean"]
    assert run.data.metrics["cost/images"] == 71880 and run.data.metrics["selection_gap"] == record.selection_gap


def test_every_epoch_is_a_step(out: Path, folder: Path) -> None:
    record = read_record(folder)
    run_id = feed(record, default_uri(out))
    client, rows = MlflowClient(default_uri(out)), record.epochs()
    second_head = client.get_metric_history(run_id, "epochs/acc/1")
    assert [(point.step, point.value) for point in second_head] == [(row["epoch"], row["acc"][1]) for row in rows]
    for metric in ("acc", "nmi", "ari", "clusters_used"):
        chosen = client.get_metric_history(run_id, f"epochs/{metric}/chosen")
        assert [point.value for point in chosen] == [row[metric][row["chosen_head"]] for row in rows]
    losses = client.get_metric_history(run_id, "epochs/losses/main/0")
    assert [point.value for point in losses] == [row["losses"]["main"][0] for row in rows]
    assert [point.timestamp for point in losses] == sorted(point.timestamp for point in losses)


def test_the_files_lie_beside_the_store(out: Path, folder: Path) -> None:
    run_id = feed(read_record(folder), default_uri(out))
    files = {path.name: path for path in (out / "mlflow-artifacts" / run_id / "artifacts").iterdir()}
    assert set(files) == {"record.json", "config.yaml", "epochs.jsonl", "labels.npz"}
    assert all(path.read_bytes() == (folder / name).read_bytes() for name, path in files.items())


def test_feeding_again_changes_nothing(out: Path, folder: Path) -> None:
    first = feed(read_record(folder), default_uri(out))
    before = runs(out)[0].to_dictionary()
    assert feed(read_record(folder), default_uri(out)) == first
    assert [run.to_dictionary() for run in runs(out)] == [before]
    history = MlflowClient(default_uri(out)).get_metric_history(first, "epochs/acc/0")
    assert len(history) == 4


def test_a_record_that_went_on_replaces_its_run(out: Path, folder: Path) -> None:
    writer = RecordWriter(folder)
    writer.update(status="running", finished=None, metrics={}, epochs_done=4)
    early = feed(read_record(folder), default_uri(out))
    assert runs(out)[0].info.status == "RUNNING"
    writer.append_epoch({"epoch": 5, "acc": [0.1, 0.2, 0.3], "chosen_head": 2})
    writer.finish(epochs_done=5, metrics={"last": {"acc": 0.3}})
    late = feed(read_record(folder), default_uri(out))
    (run,) = runs(out)
    assert (run.info.run_id, run.info.status, run.data.metrics["last/acc"]) == (late, "FINISHED", 0.3) and late != early
    assert run.data.metrics["epochs/acc/chosen"] == 0.3


@pytest.mark.parametrize("breaks_at", [(MlflowClient, "log_batch"), (shutil, "copyfile"), (MlflowClient, "set_terminated")])
def test_a_store_that_breaks_half_way_ends_up_with_one_whole_run(
    out: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, breaks_at: tuple[Any, str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("the network is gone")

    with monkeypatch.context() as patched:
        patched.setattr(*breaks_at, broken)
        with pytest.raises(TrackingError, match="the network is gone"):
            feed(read_record(folder), default_uri(out))
    assert len(runs(out)) == 1  # the torso
    run_id = feed(read_record(folder), default_uri(out))
    (run,) = runs(out)
    assert run.info.run_id == run_id and run.info.status == "FINISHED" and "own-loss/acc" in run.data.metrics


def test_one_trial_in_two_folders_is_two_runs(out: Path, folder: Path) -> None:
    shutil.copytree(folder, out / "iic-digits-mine-s0-5b0c1f6f2d9e")
    assert feed(read_record(folder), default_uri(out)) != feed(
        read_record(out / "iic-digits-mine-s0-5b0c1f6f2d9e"), default_uri(out)
    )
    assert len(runs(out)) == 2


def test_failed_and_stopped_trials_say_so(out: Path, folder: Path) -> None:
    RecordWriter(folder).fail(ValueError("no images"))
    feed(read_record(folder), default_uri(out))
    assert runs(out)[0].info.status == "FAILED" and runs(out)[0].data.tags["clusterbench.error"] == "ValueError: no images"
    RecordWriter(folder).finish(stop_reason="time limit")
    feed(read_record(folder), default_uri(out))
    assert runs(out)[0].info.status == "KILLED" and runs(out)[0].data.tags["clusterbench.stop_reason"] == "time limit"


def test_more_than_mlflow_takes_at_once_is_split(out: Path, folder: Path) -> None:
    writer = RecordWriter(folder)
    spec = read_record(folder).spec
    config = {f"setting_{index}": index for index in range(250)} | {"long": "x" * 9000, "bad!name": [1, {"a": None}]}
    writer.update(spec={**spec, "config": config})
    for epoch in range(5, 105):
        writer.append_epoch(
            {"epoch": epoch, "acc": [epoch / 200] * 12, "nmi": [0.5] * 12, "note": "text", "good": True, "nothing": None}
        )
    run_id = feed(read_record(folder), default_uri(out))
    run = MlflowClient(default_uri(out)).get_run(run_id)
    assert run.data.params["config.setting_249"] == "249" and run.data.params["config.long"] == "x" * 6000
    assert json.loads(run.data.params["config.bad_name"]) == [1, {"a": None}]
    assert run.data.metrics["epochs/acc/11"] == 104 / 200
    assert not {"epochs/note", "epochs/good", "epochs/nothing"} & set(run.data.metrics)


def test_unlabelled_data_has_no_scores_there_either(out: Path, folder: Path) -> None:
    RecordWriter(folder).update(metrics={"own-loss": {"acc": None, "clusters_used": 7}}, selection_gap=None)
    feed(read_record(folder), default_uri(out))
    metrics = runs(out)[0].data.metrics
    assert metrics["own-loss/clusters_used"] == 7 and "own-loss/acc" not in metrics and "selection_gap" not in metrics


def test_a_dead_server_is_one_line_and_the_record_stays(folder: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(TrackingError) as caught:
        feed(read_record(folder), f"http://someone:secret@127.0.0.1:{port}")
    message = str(caught.value)
    assert "Connection refused" in message and str(folder) in message and "\n" not in message
    assert f"http://someone:***@127.0.0.1:{port}" in message and "secret" not in message
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_file_that_is_no_store_is_one_line(out: Path, folder: Path) -> None:
    (out / "mlflow.db").write_text("this is not a database, but it is long enough to be mistaken for one" * 20)
    with pytest.raises(TrackingError, match="file is not a database") as caught:
        feed(read_record(folder), default_uri(out))
    assert "\n" not in str(caught.value)


def test_a_deleted_experiment_is_said(out: Path, folder: Path) -> None:
    client = MlflowClient(default_uri(out))
    client.delete_experiment(client.create_experiment("thrown-away"))
    with pytest.raises(TrackingError, match="'thrown-away' .* is deleted"):
        feed(read_record(folder), default_uri(out), experiment="thrown-away")


def test_nothing_is_printed_and_the_environment_is_as_before(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a store that does not exist yet, where MLflow announces every table it makes, and whose maker was killed before."""
    with sqlite3.connect(tmp_path / ".mlflow.db.new") as half_made:
        half_made.execute("CREATE TABLE experiments (half INTEGER)")
    half_made.close()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    before = dict(os.environ)
    shutil.copytree(FIXTURE, tmp_path / FIXTURE.name)
    feed(read_record(tmp_path / FIXTURE.name), default_uri(tmp_path))
    assert capfd.readouterr() == ("", "")
    assert dict(os.environ) == before
    assert not list(tmp_path.glob("*.new*"))
    assert len(runs(tmp_path)) == 1


def test_missing_mlflow_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "mlflow.exceptions", None)
    with pytest.raises(TrackingError, match="MLflow is not installed.*pip install mlflow"):
        feed(read_record(folder), "sqlite:///never-made.db")


def test_the_default_store_has_an_absolute_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_uri("runs") == f"sqlite:////{str(tmp_path / 'runs' / 'mlflow.db').lstrip('/')}"


def copies(out: Path, folder: Path, n: int) -> list[Record]:
    """Records that differ in their identity only, with that in `folder` as the first."""
    records = [read_record(folder)]
    for index in range(1, n):
        copied = out / f"{folder.name[:-12]}{index:012x}"
        shutil.copytree(folder, copied)
        content = json.loads((copied / "record.json").read_text())
        (copied / "record.json").write_text(json.dumps({**content, "id": f"{index:012x}"}))
        records.append(read_record(copied))
    return records


def test_many_records_are_fed_once_however_often(out: Path, folder: Path) -> None:
    """So many that the store is asked once for all: one changed, one damaged and one new among them."""
    records = copies(out, folder, 24)
    first = [fed for _, fed in Store(default_uri(out)).feed_all(records[:22])]
    assert all(isinstance(fed, Fed) and fed.is_new for fed in first)
    RecordWriter(records[3].folder).update(selection_gap=0.25)
    (records[22].folder / "epochs.jsonl").write_text("damaged\n")
    changed = [read_record(record.folder) for record in records]
    again = {record.id: fed for record, fed in Store(default_uri(out)).feed_all(changed)}
    new = {name for name, fed in again.items() if isinstance(fed, Fed) and fed.is_new}
    assert new == {records[3].id, records[23].id} and "damaged" in str(again[records[22].id])
    arrived = sorted(run.data.tags["clusterbench.id"] for run in runs(out))
    assert arrived == sorted({record.id for record in records} - {records[22].id})


def test_two_drivers_that_feed_one_record_leave_one_run(out: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one begins and ends while the first has already looked for earlier runs."""
    write, other = Store._write, []

    def overtaken(store: Store, record: Record, *arguments: Any) -> str:
        if not other:
            other.append("at it")
            other.append(feed(record, default_uri(out)))
        return write(store, record, *arguments)

    monkeypatch.setattr(Store, "_write", overtaken)
    run_id = feed(read_record(folder), default_uri(out))
    (run,) = runs(out)
    assert run.info.run_id == run_id and other and run.data.metrics["own-loss/acc"] > 0


def test_a_run_that_another_driver_takes_for_a_leftover_is_made_again(
    out: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_link, "FIRST_PAUSE_S", 0.001)
    terminate, deleted = MlflowClient.set_terminated, []

    def then_deleted(client: MlflowClient, run_id: str, *arguments: Any) -> None:
        terminate(client, run_id, *arguments)
        if not deleted:
            deleted.append(run_id)
            client.delete_run(run_id)

    monkeypatch.setattr(MlflowClient, "set_terminated", then_deleted)
    run_id = feed(read_record(folder), default_uri(out))
    assert [run.info.run_id for run in runs(out)] == [run_id] and deleted != [run_id]


def test_a_locked_database_is_waited_for(out: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_link, "FIRST_PAUSE_S", 0.001)
    log_batch, refusals = MlflowClient.log_batch, iter(range(4))

    def locked_at_first(*arguments: Any, **options: Any) -> None:
        if next(refusals, None) is not None:
            raise MlflowException("(sqlite3.OperationalError) database is locked")
        log_batch(*arguments, **options)

    monkeypatch.setattr(MlflowClient, "log_batch", locked_at_first)
    feed(read_record(folder), default_uri(out))
    (run,) = runs(out)
    assert run.data.metrics["own-loss/acc"] == read_record(folder).metrics["own-loss"]["acc"]


def test_the_model_arrives_with_its_signature(out: Path, folder: Path) -> None:
    first = feed(read_record(folder), default_uri(out))
    (folder / "model.safetensors").write_bytes(b"weights")
    about = {**read_record(folder).provenance, "data": {"shape": [1797, 1, 24, 24]}}
    RecordWriter(folder).update(provenance=about)
    run_id = feed(read_record(folder), default_uri(out))
    assert [run.info.run_id for run in runs(out)] == [run_id] != [first]
    model_folder = out / "mlflow-artifacts" / run_id / "artifacts" / "model"
    assert {path.name for path in model_folder.iterdir()} == {"MLmodel", "model.safetensors", "config.yaml"}
    assert (model_folder / "model.safetensors").read_bytes() == b"weights"
    model = Model.load(model_folder)
    assert model.run_id == run_id and model.flavors["clusterbench"]["method"] == "iic"
    assert model.signature.inputs.to_dict()[0]["tensor-spec"] == {"dtype": "uint8", "shape": (-1, 1, 24, 24)}
    assert model.signature.outputs.to_dict()[0]["tensor-spec"] == {"dtype": "int64", "shape": (-1,)}
