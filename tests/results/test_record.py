"""Run records: what is written can be read, and no accident leaves a file that lies."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clusterbench.results import files
from clusterbench.results.metrics import score_heads
from clusterbench.results.record import (
    SELECTIONS,
    Record,
    RecordError,
    RecordWriter,
    find_damaged,
    find_records,
    read_record,
    scan_records,
    write_json,
)

FIXTURE = Path(__file__).parent / "fixtures" / "schema1" / "iic-digits-short-s0-5b0c1f6f2d9e"
SPEC = {"method": "kmeans", "dataset": "digits", "seed": 3, "config": {"n_init": 10, "whiten": False}}


@pytest.fixture
def writer(tmp_path: Path) -> RecordWriter:
    writer = RecordWriter(tmp_path / "kmeans-digits-paper-s3-aaaaaaaaaaaa")
    writer.start(id="a" * 12, spec=SPEC, planned_epochs=4)
    return writer


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the fixture that a test may damage."""
    return Path(shutil.copytree(FIXTURE, tmp_path / FIXTURE.name))


def refusing(code: int) -> Callable[..., int]:
    def refuse(*_: Any) -> int:
        raise OSError(code, os.strerror(code))

    return refuse


def test_a_record_of_schema_1_stays_readable() -> None:
    record = read_record(FIXTURE)
    assert (record.id, record.status, record.schema_version) == ("5b0c1f6f2d9e", "complete", 1)
    assert record.is_complete and record.epochs_done == record.planned_epochs == 4
    assert record.spec["method"] == "iic" and record.spec["config"]["repeats"] == 5
    assert [row["epoch"] for row in record.epochs()] == [1, 2, 3, 4]
    assert record.selection_gap == record.score("acc", "oracle") - record.score("acc")  # type: ignore[operator]


def test_the_labels_of_a_schema_1_record_still_give_its_metrics() -> None:
    record = read_record(FIXTURE)
    labels = record.labels()
    for selection in SELECTIONS:
        heads = score_heads(labels[selection], labels["truth"], 10, 10)
        stored = record.metrics[selection]
        again = heads[int(labels[f"{selection}/head"])]
        assert again == pytest.approx({name: stored[name] for name in again})


def test_what_is_written_is_read_again(writer: RecordWriter) -> None:
    writer.append_epoch({"epoch": 1, "acc": np.array([0.5, 0.25]), "criterion": np.float32(0.5)})
    writer.append_epoch({"epoch": 2, "criterion": float("nan")})
    writer.save_labels({"truth": np.array([0, 1, -1]), "last": np.array([[0, 300, 2]]), "last/head": 0})
    writer.finish(metrics={"last": {"acc": np.float64(0.75)}}, epochs_done=np.int64(2))
    record = read_record(writer.folder)
    assert record.status == "complete" and record.finished is not None and record.finished >= record.created
    assert record.spec == SPEC and record.score("acc", "last") == 0.75 and record.score("acc") is None
    assert record.epochs() == [{"epoch": 1, "acc": [0.5, 0.25], "criterion": 0.5}, {"epoch": 2, "criterion": None}]
    labels = record.labels()
    assert labels["last"].tolist() == [[0, 300, 2]] and labels["truth"].tolist() == [0, 1, -1] and labels["last/head"] == 0
    assert (labels["truth"].dtype, labels["last"].dtype) == (np.int8, np.int16)


def test_the_configuration_is_a_file_of_its_own(writer: RecordWriter) -> None:
    import yaml

    assert yaml.safe_load((writer.folder / "config.yaml").read_text()) == SPEC["config"]


def test_a_stopped_trial_says_why(writer: RecordWriter) -> None:
    record = writer.finish(stop_reason="time limit", epochs_done=2)
    assert (record.status, record.stop_reason, record.is_complete) == ("stopped", "time limit", False)
    assert read_record(writer.folder) == record


def test_a_failed_trial_keeps_its_error_and_what_it_had(writer: RecordWriter) -> None:
    writer.update(epochs_done=3)
    try:
        raise ArithmeticError("the loss is not finite")
    except ArithmeticError as error:
        writer.fail(error)
    record = read_record(writer.folder)
    assert (record.status, record.epochs_done) == ("failed", 3)
    assert record.error is not None and record.error["type"] == "ArithmeticError"
    assert "test_a_failed_trial" in record.error["traceback"]


def test_a_resumed_trial_keeps_its_time_of_creation_and_its_epochs(writer: RecordWriter) -> None:
    created = read_record(writer.folder).created
    for epoch in (1, 2, 3):
        writer.append_epoch({"epoch": epoch})
    again = RecordWriter(writer.folder)
    again.start(id="a" * 12, spec=SPEC)
    again.truncate_epochs(2)
    again.append_epoch({"epoch": 3, "again": True})
    record = read_record(writer.folder)
    assert record.created == created
    assert record.epochs() == [{"epoch": 1}, {"epoch": 2}, {"epoch": 3, "again": True}]


def test_a_writer_goes_on_with_a_record_that_another_process_began(writer: RecordWriter) -> None:
    RecordWriter(writer.folder).update(epochs_done=2)
    assert read_record(writer.folder).epochs_done == 2 and read_record(writer.folder).spec == SPEC


def test_keys_of_a_newer_writer_are_kept(copied: Path) -> None:
    content = json.loads((copied / "record.json").read_text())
    (copied / "record.json").write_text(json.dumps({**content, "carbon_grams": 12}))
    RecordWriter(copied).update(epochs_done=5)
    assert json.loads((copied / "record.json").read_text())["carbon_grams"] == 12


@pytest.mark.parametrize(("content", "message"), [
    ('{"schema": 1, "id": "abc", "spec"', "is damaged .*Delete the folder and run the trial again"),
    ("", "is damaged"),
    ('{"schema": 2, "id": "abc"}', "has schema 2; this version reads up to 1. Upgrade clusterbench"),
    ('{"id": "abc"}', "names no schema version"),
    ("[1, 2]", "names no schema version"),
    ('{"schema": 1, "id": "abc", "created": "x"}', "is damaged .spec: Field required"),
    ('{"schema": 1, "id": "a", "created": "x", "spec": {}, "status": "asleep"}', "is damaged .status"),
])  # fmt: skip
def test_a_damaged_record_is_one_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "record.json").write_text(content)
    with pytest.raises(RecordError, match=message) as caught:
        read_record(tmp_path)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_a_missing_record_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no record.json"):
        read_record(tmp_path / "nowhere")


@pytest.mark.parametrize("keep", [0, 10, 3000])
def test_damaged_labels_are_one_line(copied: Path, keep: int) -> None:
    whole = (copied / "labels.npz").read_bytes()
    (copied / "labels.npz").write_bytes(whole[:keep])
    with pytest.raises(RecordError, match="labels.npz is damaged") as caught:
        read_record(copied).labels()
    assert "\n" not in str(caught.value)


def test_missing_labels_are_said_to_be_missing(writer: RecordWriter) -> None:
    with pytest.raises(RecordError, match="holds no labels.npz"):
        read_record(writer.folder).labels()


def test_a_line_cut_off_by_a_kill_is_passed_over_and_written_over(copied: Path) -> None:
    path = copied / "epochs.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert [row["epoch"] for row in read_record(copied).epochs()] == [1, 2, 3]
    RecordWriter(copied).append_epoch({"epoch": 4})
    assert [row["epoch"] for row in read_record(copied).epochs()] == [1, 2, 3, 4]
    assert path.read_bytes().startswith(whole[: whole.rindex(b'{"epoch": 4')])


def test_a_cut_off_line_longer_than_a_block_is_found_too(writer: RecordWriter) -> None:
    writer.append_epoch({"epoch": 1})
    with (writer.folder / "epochs.jsonl").open("a") as file:
        file.write('{"epoch": 2, "long": "' + "x" * 10_000)
    writer.append_epoch({"epoch": 2})
    assert read_record(writer.folder).epochs() == [{"epoch": 1}, {"epoch": 2}]


def test_a_damaged_line_in_the_middle_is_an_error(copied: Path) -> None:
    lines = (copied / "epochs.jsonl").read_text().splitlines()
    (copied / "epochs.jsonl").write_text("\n".join([lines[0], lines[1][:40], *lines[2:], ""]))
    with pytest.raises(RecordError, match="damaged in line 2"):
        read_record(copied).epochs()


def test_find_records_passes_over_foreign_folders_and_names_damaged_ones(tmp_path: Path) -> None:
    for name, created in (("b-late", "2025-02-01"), ("a-later", "2025-03-01"), ("c-first", "2025-01-01")):
        RecordWriter(tmp_path / name).start(id=name, spec=SPEC, created=created)
    (tmp_path / "mlflow-artifacts").mkdir()
    (tmp_path / "record.json").write_text("{}")  # not in a folder of its own
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "record.json").write_text("{")
    records, damaged = scan_records(tmp_path)
    assert [record.id for record in records] == ["c-first", "b-late", "a-later"]
    assert [record.folder.name for record in records] == [record.id for record in records]
    assert len(damaged) == 1 and "broken" in str(damaged[0])
    assert find_records(tmp_path) == records and len(find_damaged(tmp_path)) == 1


def test_a_place_without_records_has_none(tmp_path: Path) -> None:
    assert find_records(tmp_path / "never-made") == []


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_is_said_and_leaves_the_record_before_it(
    writer: RecordWriter, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = (writer.folder / "record.json").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(files.os, step, refusing(errno.ENOSPC))
        with pytest.raises(RecordError, match="No space left on device. Free some space.*before is intact") as caught:
            writer.update(epochs_done=3)
    assert "\n" not in str(caught.value)
    assert (writer.folder / "record.json").read_bytes() == before
    assert sorted(path.name for path in writer.folder.iterdir()) == ["config.yaml", "record.json"]
    assert writer.update(epochs_done=4).epochs_done == 4


def test_a_disk_that_fills_in_the_middle_of_an_epoch_leaves_whole_lines(
    writer: RecordWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.append_epoch({"epoch": 1})
    with monkeypatch.context() as patched:
        write = os.write
        patched.setattr(files.os, "write", lambda descriptor, line: write(descriptor, line[:5]))
        with pytest.raises(RecordError, match="epochs.jsonl: No space left"):
            writer.append_epoch({"epoch": 2})
    assert (writer.folder / "epochs.jsonl").read_text() == '{"epoch": 1}\n'
    writer.append_epoch({"epoch": 2})
    assert read_record(writer.folder).epochs() == [{"epoch": 1}, {"epoch": 2}]


def test_labels_on_a_full_disk_are_refused_and_the_old_ones_stay(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.os, "fsync", refusing(errno.ENOSPC))
    with pytest.raises(RecordError, match="labels.npz: No space left"):
        RecordWriter(copied).save_labels({"truth": np.zeros(3, int)})
    assert len(read_record(copied).labels()["truth"]) == 1797


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(RecordError, match="Cannot write .*taken.*Choose another --out"):
        RecordWriter(tmp_path / "taken" / "run").start(id="a", spec=SPEC)


def test_a_kill_between_writing_and_replacing_leaves_the_old_record(writer: RecordWriter) -> None:
    """A process of its own kills itself where the new file lies beside the old one."""
    script = f"""
import os, signal
from clusterbench.results import files
from clusterbench.results.record import RecordWriter
files.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
RecordWriter({str(writer.folder)!r}).update(epochs_done=3)
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(list(writer.folder.glob(".record.json.*.tmp"))) == 1
    assert read_record(writer.folder).epochs_done == 0
    RecordWriter(writer.folder).start(id="a" * 12, spec=SPEC)
    assert list(writer.folder.glob(".*.tmp")) == []


def test_json_takes_what_trials_hand_over(tmp_path: Path) -> None:
    import torch

    write_json(tmp_path / "x.json", {
        "scalar": np.int64(3), "array": np.eye(2), "tensor": torch.tensor([1, 2]), "path": Path("a/b"),
        "infinite": float("inf"), "nan": np.float32("nan"), "tuple": (1, None, True), 4: "key", "name": "Zürich",
    })  # fmt: skip
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == {
        "scalar": 3, "array": [[1, 0], [0, 1]], "tensor": [1, 2], "path": "a/b",
        "infinite": None, "nan": None, "tuple": [1, None, True], "4": "key", "name": "Zürich",
    }  # fmt: skip


def test_a_record_is_readable_by_everyone_who_may_read_its_folder(writer: RecordWriter) -> None:
    plainly = writer.folder / "plain"
    plainly.write_text("")
    assert (writer.folder / "record.json").stat().st_mode == plainly.stat().st_mode


def test_the_folder_is_not_part_of_the_file(writer: RecordWriter) -> None:
    assert "folder" not in json.loads((writer.folder / "record.json").read_text())
    assert isinstance(Record.model_validate(json.loads((writer.folder / "record.json").read_text())), Record)
