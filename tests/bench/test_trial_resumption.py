"""However a trial was stopped: the same command ends as if nothing had happened, and says what did."""

from __future__ import annotations

import errno
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trial_fakes
from trial_fakes import Drift, drift_spec, outcome, run, tiny_data

from clusterbench.bench import checkpoint, trial
from clusterbench.bench.observer import Observer
from clusterbench.bench.trial import Interrupted
from clusterbench.datasets.base import Images, TrialData
from clusterbench.methods.base import Diverged, Epoch, MethodError
from clusterbench.results.record import Record, RecordError, read_record

pytestmark = pytest.mark.usefixtures("drift")


@pytest.fixture(scope="module")
def data() -> TrialData:
    return tiny_data()


@pytest.fixture(autouse=True)
def save_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "LARGEST_SHARE", float("inf"))
    monkeypatch.setattr(Drift, "faults_left", 1)


@pytest.fixture
def undisturbed(data: TrialData, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The outcome of the same trial without a break."""

    def of(**settings: Any) -> Any:
        Drift.faults_left = 0
        finished = outcome(run(drift_spec(data, **settings), data, tmp_path_factory.mktemp("undisturbed")))
        Drift.faults_left = 1
        return finished

    return of


class Beginning(Observer):
    """Remembers from where trials went on."""

    def __init__(self) -> None:
        self.after: list[int] = []

    def on_start(self, spec: object, folder: Path, planned_epochs: int, resumed_from: int) -> None:
        self.after.append(resumed_from)


def the_only_record(out: Path) -> Record:
    (folder,) = out.iterdir()
    return read_record(folder)


def victims(kind: str, out: Path) -> int:
    """Run the kill script; how many kills hit."""
    script = [sys.executable, trial_fakes.__file__, kind, str(out)]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_killed_at_random_moments_it_ends_with_the_same_record(tmp_path: Path, data: TrialData, undisturbed: Any) -> None:
    hits = victims("random", tmp_path)
    record = the_only_record(tmp_path)
    assert hits >= 2 and record.is_complete and 1 <= record.cost["resumed"] <= hits
    assert outcome(record) == undisturbed(epochs=30, pause=0.02)


def test_killed_at_any_single_write_it_ends_with_the_same_record(tmp_path: Path, undisturbed: Any) -> None:
    hits = victims("every", tmp_path)
    assert hits >= 20, "fewer operations on the disk than three epochs have"
    expected, resumed = undisturbed(epochs=3), set()
    for out in tmp_path.iterdir():
        record = the_only_record(out)
        assert record.is_complete and outcome(record) == expected, out.name
        assert not (record.folder / "checkpoint").exists(), out.name
        resumed.add(record.cost["resumed"])
    assert resumed == {0, 1}


def test_ctrl_c_leaves_a_stopped_record_and_says_how_to_go_on(tmp_path: Path, data: TrialData, undisturbed: Any) -> None:
    spec, start = drift_spec(data, fault="ctrl-c", fault_at=4), Beginning()
    with pytest.raises(Interrupted, match="Interrupted after epoch 3. The same command goes on after epoch 3") as stop:
        run(spec, data, tmp_path, observer=start)
    record = the_only_record(tmp_path)
    assert isinstance(stop.value, KeyboardInterrupt)
    assert (record.status, record.stop_reason, record.epochs_done, record.metrics) == ("stopped", "interrupted", 3, {})
    finished = run(spec, data, tmp_path, observer=start)
    assert start.after == [0, 3] and finished.is_complete and finished.stop_reason is None and finished.cost["resumed"] == 1
    assert outcome(finished) == undisturbed(fault="ctrl-c", fault_at=4)


def test_ctrl_c_before_anything_was_saved_begins_again(tmp_path: Path, data: TrialData) -> None:
    spec = drift_spec(data, fault="ctrl-c", fault_at=1)
    with pytest.raises(Interrupted, match="before the end of the first epoch. The same command begins again"):
        run(spec, data, tmp_path)
    assert run(spec, data, tmp_path).cost["resumed"] == 0


def test_ctrl_c_while_a_finished_trial_is_shown_leaves_it_finished(tmp_path: Path, data: TrialData) -> None:
    class Impatient(Observer):
        def on_finish(self, record: Record) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(drift_spec(data), data, tmp_path, observer=Impatient())
    assert the_only_record(tmp_path).is_complete


def test_a_trial_that_broke_says_why_and_goes_on_from_its_last_epoch(tmp_path: Path, data: TrialData, undisturbed: Any) -> None:
    spec, start = drift_spec(data, fault="broken", fault_at=5), Beginning()
    with pytest.raises(RuntimeError, match="the device fell off"):
        run(spec, data, tmp_path, observer=start)
    record = the_only_record(tmp_path)
    assert record.status == "failed" and record.error is not None
    assert (record.error["type"], record.error["message"]) == ("RuntimeError", "the device fell off")
    assert "_break_down" in record.error["traceback"] and record.epochs_done == 4
    finished = run(spec, data, tmp_path, observer=start)
    assert start.after == [0, 4] and finished.is_complete and finished.error is None
    assert outcome(finished) == undisturbed(fault="broken", fault_at=5)


def test_a_trial_that_diverged_begins_from_the_start(tmp_path: Path, data: TrialData) -> None:
    spec, start = drift_spec(data, fault="diverged", fault_at=5), Beginning()
    with pytest.raises(Diverged):
        run(spec, data, tmp_path, observer=start)
    record = the_only_record(tmp_path)
    assert record.status == "failed" and record.error is not None and record.error["type"] == "Diverged"
    assert not (record.folder / "checkpoint").exists()
    assert run(spec, data, tmp_path, observer=start).is_complete and start.after == [0, 0]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("where", ["criterion", "loss", "loss of a sub-head"])
def test_a_loss_that_is_not_finite_counts_as_diverged(
    tmp_path: Path, data: TrialData, monkeypatch: pytest.MonkeyPatch, value: float, where: str
) -> None:
    losses = {"criterion": {}, "loss": {"loss": value}, "loss of a sub-head": {"loss": [1.0, value]}}
    sick = Epoch(3, losses[where], value if where == "criterion" else None)
    train = Drift.train

    def turning_sick(self: Drift, images: Images) -> Iterator[Epoch]:
        yield from (sick if epoch.number == 3 else epoch for epoch in train(self, images))

    monkeypatch.setattr(Drift, "train", turning_sick)
    with pytest.raises(Diverged, match=f"{where.split()[0]} is .* in epoch 3"):
        run(drift_spec(data), data, tmp_path)
    record = the_only_record(tmp_path)
    assert record.status == "failed" and len(record.epochs()) == 2


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial's clock shows what `Drift` adds to it: `pause` seconds an epoch."""
    monkeypatch.setattr(Drift, "clock", [0.0])
    monkeypatch.setattr(trial.TrialRun, "_clock", lambda self: Drift.clock[0])


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(("limit", "epochs"), [(4.0, 1), (14.9, 1), (15.0, 2), (30.0, 3), (34.0, 3), (36.0, 4), (54.0, 5)])
def test_it_stops_where_the_next_epoch_would_pass_the_limit_by_more_than_half_of_it(
    tmp_path: Path, data: TrialData, limit: float, epochs: int
) -> None:
    spec = drift_spec(data, pause=10.0, time_limit_s=limit)
    record = run(spec, data, tmp_path)
    assert (record.status, record.stop_reason, record.epochs_done) == ("stopped", "time limit", epochs)
    assert record.metrics["last"]["epoch"] == epochs and record.labels()["last"].shape == (3, 60)
    assert not (record.folder / "checkpoint").exists()
    assert run(spec, data, tmp_path) == record, "its time is used up, so there is nothing to go on with"


@pytest.mark.usefixtures("clock")
def test_a_trial_that_ends_within_its_limit_is_complete(tmp_path: Path, data: TrialData) -> None:
    assert run(drift_spec(data, pause=10.0, time_limit_s=56.0), data, tmp_path).status == "complete"


@pytest.mark.usefixtures("clock")
def test_the_limit_counts_the_training_before_a_break(tmp_path: Path, data: TrialData) -> None:
    spec = drift_spec(data, pause=10.0, time_limit_s=30.0, fault="broken", fault_at=3)
    with pytest.raises(RuntimeError):
        run(spec, data, tmp_path)
    record = run(spec, data, tmp_path)
    assert record.epochs_done == 3 and record.cost["train_seconds"] == 30.0 and record.cost["images"] == 180


def broken_at_five(data: TrialData, out: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A trial of six epochs that broke in the fifth; its spec."""
    spec = drift_spec(data, fault="broken", fault_at=5)
    with pytest.raises(RuntimeError):
        run(spec, data, out)
    return spec


def test_a_damaged_checkpoint_costs_an_epoch_and_two_cost_the_whole(
    tmp_path: Path, data: TrialData, undisturbed: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = undisturbed(fault="broken", fault_at=5)
    for damaged, goes_on_after in ((1, 3), (2, 0)):
        Drift.faults_left, out, start = 1, tmp_path / str(damaged), Beginning()
        spec = broken_at_five(data, out, monkeypatch)
        for path in sorted((out / spec.folder_name() / "checkpoint").iterdir())[-damaged:]:
            path.write_bytes(path.read_bytes()[:-1000])
        with caplog.at_level(logging.WARNING):
            record = run(spec, data, out, observer=start)
        assert start.after == [goes_on_after] and outcome(record) == expected
    assert len(caplog.messages) == 3


def test_a_checkpoint_that_the_method_cannot_read_is_kept_until_forced(
    tmp_path: Path, data: TrialData, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = broken_at_five(data, tmp_path, monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr(Drift, "load_state_dict", lambda self, state: state["missing"])
        with pytest.raises(MethodError, match="does not fit it.*Begin again with --force"):
            run(spec, data, tmp_path)
    assert list((tmp_path / spec.folder_name() / "checkpoint").iterdir())
    start = Beginning()
    run(spec, data, tmp_path, force=True, observer=start)
    assert start.after == [0]


def test_a_method_that_begins_again_instead_of_going_on_is_found_out(
    tmp_path: Path, data: TrialData, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = broken_at_five(data, tmp_path, monkeypatch)
    monkeypatch.setattr(Drift, "load_state_dict", lambda self, state: None)
    with pytest.raises(MethodError, match="yielded epoch 1 after epoch 4. load_state_dict must"):
        run(spec, data, tmp_path)


def test_a_full_disk_fails_the_trial_and_leaves_what_was_saved(
    tmp_path: Path, data: TrialData, monkeypatch: pytest.MonkeyPatch, undisturbed: Any
) -> None:
    expected = undisturbed()
    write, saves = checkpoint._write, [0]

    def filling_up(*arguments: Any) -> str:
        saves[0] += 1
        if saves[0] == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "_write", filling_up)
        with pytest.raises(RecordError, match="No space left on device"):
            run(drift_spec(data), data, tmp_path)
    record = the_only_record(tmp_path)
    assert record.status == "failed" and record.epochs_done == 3
    start = Beginning()
    assert outcome(run(drift_spec(data), data, tmp_path, observer=start)) == expected and start.after == [2]


def test_an_error_that_cannot_be_noted_is_still_the_one_raised(
    tmp_path: Path, data: TrialData, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: object, *arguments: Any, **fields: Any) -> None:
        raise RecordError("Cannot write record.json: No space left on device.")

    monkeypatch.setattr(trial.RecordWriter, "fail", refuse)
    with pytest.raises(RuntimeError, match="the device fell off"):
        run(drift_spec(data, fault="broken", fault_at=2), data, tmp_path)
    assert "cannot be noted" in caplog.text


def test_saving_less_often_loses_epochs_but_not_the_result(
    tmp_path: Path, data: TrialData, monkeypatch: pytest.MonkeyPatch, undisturbed: Any
) -> None:
    spec, start = drift_spec(data, fault="broken", fault_at=5), Beginning()
    due = iter([False, True, False, False])
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint.Checkpoints, "due", lambda self: next(due))
        with pytest.raises(RuntimeError):
            run(spec, data, tmp_path, observer=start)
    assert len(the_only_record(tmp_path).epochs()) == 4
    finished = run(spec, data, tmp_path, observer=start)
    assert start.after == [0, 2] and outcome(finished) == undisturbed(fault="broken", fault_at=5)
