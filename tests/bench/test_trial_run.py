"""A trial taken epoch by epoch, as a scheduler does."""

from __future__ import annotations

from pathlib import Path

import pytest
from trial_fakes import drift_spec, tiny_data

from clusterbench.bench.trial import TrialRun
from clusterbench.datasets.base import TrialData
from clusterbench.results.record import RecordError, read_record

pytestmark = pytest.mark.usefixtures("drift")


@pytest.fixture(scope="module")
def data() -> TrialData:
    return tiny_data()


def test_a_run_gives_its_epochs_one_by_one_and_its_record_at_the_end(data: TrialData, tmp_path: Path) -> None:
    run = TrialRun(drift_spec(data, epochs=3), data, out=tmp_path, device="cpu")
    rows = run.epochs()
    assert next(rows)["epoch"] == 1
    with pytest.raises(RecordError, match="not finished yet"):
        run.finished  # noqa: B018
    assert [row["epoch"] for row in rows] == [2, 3]
    assert run.finished == read_record(run.folder)
    assert run.finished.is_complete


def test_a_run_that_is_told_to_stop_ends_with_the_epochs_so_far(data: TrialData, tmp_path: Path) -> None:
    run = TrialRun(drift_spec(data, epochs=5), data, out=tmp_path, device="cpu")
    rows = run.epochs()
    next(rows)
    run.stop("pruned")
    assert list(rows) == []
    assert (run.finished.status, run.finished.stop_reason, run.finished.epochs_done) == ("stopped", "pruned", 1)
    assert run.finished.metrics["last"]["epoch"] == 1


def test_a_run_that_is_told_to_stop_after_its_last_epoch_is_complete(data: TrialData, tmp_path: Path) -> None:
    run = TrialRun(drift_spec(data, epochs=1), data, out=tmp_path, device="cpu")
    rows = run.epochs()
    next(rows)
    run.stop("pruned")
    assert list(rows) == []
    assert run.finished.is_complete


def test_a_run_that_nobody_asks_any_more_is_interrupted(data: TrialData, tmp_path: Path) -> None:
    run = TrialRun(drift_spec(data, epochs=5), data, out=tmp_path, device="cpu")
    rows = run.epochs()
    next(rows)
    rows.close()
    record = read_record(run.folder)
    assert (record.status, record.stop_reason, record.epochs_done) == ("stopped", "interrupted", 1)


def test_a_finished_trial_gives_no_epoch_again(data: TrialData, tmp_path: Path) -> None:
    spec = drift_spec(data, epochs=2)
    first = TrialRun(spec, data, out=tmp_path, device="cpu")
    assert len(list(first.epochs())) == 2
    again = TrialRun(spec, data, out=tmp_path, device="cpu")
    assert list(again.epochs()) == []
    assert again.finished.id == first.finished.id
