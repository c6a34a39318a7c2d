"""Tracking many trials in MLflow, by a driver that only pretends to run them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tracking_tools as tools
from mlflow import MlflowClient

from clusterbench.bench.scheduling.events import Planned, Progress
from clusterbench.bench.tracking import MlflowListener, store_uri, viewer
from clusterbench.results import mlflow_courier
from clusterbench.results.mlflow_sink import Store, TrackingError, feed


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def uri(out: Path) -> str:
    return tools.new_store(out)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Does not rest for seconds before it tries again, neither here nor in MLflow."""
    monkeypatch.setattr(mlflow_courier, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


class Told(list[str]):
    """The lines that a listener said, and the threads that it said them in."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[threading.Thread] = set()

    def __call__(self, line: str) -> None:
        self.threads.add(threading.current_thread())
        self.append(line)


@pytest.fixture
def told() -> Told:
    return Told()


def listening(uri: str, out: Path, told: Told, n: int = 1, **options: Any) -> tuple[MlflowListener, list[Planned]]:
    """A listener that has heard the plan of `n` trials."""
    listener, trials = MlflowListener(uri, out, say=told, **options), tools.planned(n)
    listener.on_plan(trials)
    return listener, trials


def caught_up(listener: MlflowListener) -> None:
    """Wait until the listener's thread has done all it was given."""
    courier = listener._courier
    assert courier is not None
    done = threading.Event()
    courier._show(done.set)
    assert done.wait(60)


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(50)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def dead_server() -> str:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


def test_a_run_is_there_while_its_trial_runs_and_is_completed_by_its_record(uri: str, out: Path, told: Told) -> None:
    listener, (trial,) = listening(uri, out, told)
    writer = tools.begun(out, trial.spec)
    listener.on_start(trial.key, "node 1, cpu", 1)
    for epoch in (1, 2):
        writer.append_epoch(tools.row(epoch))
        listener.on_epoch(trial.key, tools.row(epoch))
    caught_up(listener)
    (live,) = tools.runs(uri)
    assert (live.info.status, live.info.run_name) == ("RUNNING", trial.spec.folder_name())
    assert live.data.params["config.lr"] == "0.1" and live.data.tags["clusterbench.data_fingerprint"] == "f00d"
    assert tools.history(uri, live) == tools.wanted_history(0)[:2]

    writer.append_epoch(tools.row(3))  # an epoch that the driver never heard of
    listener.on_finish(trial.key, tools.finished(writer))
    listener.on_end()
    (run,) = tools.runs(uri)
    assert (run.info.run_id, run.info.status, run.data.metrics["own-loss/acc"]) == (live.info.run_id, "FINISHED", 0.3)
    assert tools.history(uri, run) == tools.wanted_history(0) and run.data.tags["clusterbench.revision"] == "abc"
    assert told == []


def test_a_live_run_and_one_fed_from_the_record_are_the_same(uri: str, out: Path, told: Told, tmp_path: Path) -> None:
    listener, trials = listening(uri, out, told)
    tools.drive(listener, trials, out, lambda: caught_up(listener))
    listener.on_end()
    (live,) = tools.runs(uri)
    other = tools.new_store(tmp_path / "other")
    feed(tools.complete(tmp_path / "other", 0), other)
    (fed,) = tools.runs(other)
    untimed = {"clusterbench.content"}  # the two records began at different times
    assert live.data.params == fed.data.params and live.data.metrics == fed.data.metrics
    assert {**live.data.tags, **dict.fromkeys(untimed)} == {**fed.data.tags, **dict.fromkeys(untimed)}
    assert [file.path for file in MlflowClient(uri).list_artifacts(live.info.run_id)] == [
        file.path for file in MlflowClient(other).list_artifacts(fed.info.run_id)
    ]


def test_epochs_that_come_again_after_a_retry_are_not_doubled(uri: str, out: Path, told: Told) -> None:
    """Trained again from a checkpoint, on a device that does not repeat itself: what stands in the record counts."""
    listener, (trial,) = listening(uri, out, told)
    listener.on_start(trial.key, "here", 1)
    listener.on_epoch(trial.key, tools.row(1))
    listener.on_epoch(trial.key, {**tools.row(2), "acc": [0.9, 0.9]})
    listener.on_retry(trial.key, "killed", 1)
    listener.on_start(trial.key, "there", 2)
    listener.on_epoch(trial.key, tools.row(2))
    caught_up(listener)
    assert [value for _, value in tools.history(uri, tools.runs(uri)[0])] == [0.1, 0.9]
    listener.on_finish(trial.key, tools.complete(out, 0))
    listener.on_end()
    (run,) = tools.runs(uri)
    assert tools.history(uri, run) == tools.wanted_history(0) and run.info.status == "FINISHED"


def test_what_a_killed_driver_left_is_completed_and_not_doubled(uri: str, out: Path, told: Told) -> None:
    killed, (trial,) = listening(uri, out, told)
    killed.on_start(trial.key, "here", 1)
    killed.on_epoch(trial.key, tools.row(1))
    caught_up(killed)
    (torso,) = tools.runs(uri)
    assert torso.info.status == "RUNNING"
    feed(tools.complete(out, 0), uri)
    (run,) = tools.runs(uri)
    assert (run.info.status, tools.history(uri, run)) == ("FINISHED", tools.wanted_history(0))

    MlflowClient(uri).restore_run(torso.info.run_id)
    MlflowClient(uri).delete_run(run.info.run_id)
    listener, _ = listening(uri, out, told)
    tools.drive(listener, [trial], out, lambda: caught_up(listener))
    listener.on_end()
    (run,) = tools.runs(uri)
    assert (run.info.status, tools.history(uri, run)) == ("FINISHED", tools.wanted_history(0))


def test_trials_are_nested_in_one_run_however_often_the_suite_is_run(uri: str, out: Path, told: Told, tmp_path: Path) -> None:
    title = "quick: 'all' the \"methods\""
    figure = tmp_path / "figure.svg"
    figure.write_text("<svg/>")
    for attempt in (1, 2):
        done = tools.complete(out, 2)  # by an earlier command
        trials = [Planned(each.key, each.spec, done if each.spec.seed == 2 else None) for each in tools.planned(3)]
        listener = MlflowListener(uri, out, title=title, say=told)
        listener.on_plan(trials)
        listener.attach(figure)
        tools.drive(listener, trials[: 2 if attempt == 1 else 0], out)
        listener.on_end()
    suite, *children = sorted(tools.runs(uri), key=lambda run: "mlflow.parentRunId" in run.data.tags)
    assert (suite.info.run_name, suite.info.status, len(children)) == (title, "FINISHED", 3)
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {suite.info.run_id}
    files = {file.path for file in MlflowClient(uri).list_artifacts(suite.info.run_id)}
    assert files == {"leaderboard.html", "leaderboard.csv", "leaderboard.md", "figure.svg"}
    assert told == []


def test_one_trial_alone_is_nested_in_nothing(uri: str, out: Path, told: Told) -> None:
    listener, trials = listening(uri, out, told, title="alone")
    tools.drive(listener, trials, out)
    listener.on_end()
    assert ["mlflow.parentRunId" in run.data.tags for run in tools.runs(uri)] == [False]


def test_a_trial_that_fails_says_why_with_and_without_a_record(uri: str, out: Path, told: Told) -> None:
    listener, (first, second) = listening(uri, out, told, 2, title="both")
    for trial in (first, second):
        listener.on_start(trial.key, "here", 1)
    caught_up(listener)
    tools.begun(out, first.spec, 1).fail(ValueError("no images"))
    listener.on_fail(first.key, "no images", None)
    listener.on_fail(second.key, "its node died", None)
    listener.on_end()
    *trials, suite = sorted(tools.runs(uri), key=lambda run: run.data.tags.get("clusterbench.error", "z"))
    assert [(run.info.status, run.data.tags["clusterbench.error"]) for run in trials] == [
        ("FAILED", "ValueError: no images"),
        ("FAILED", "its node died"),
    ]
    assert suite.info.status == "FAILED" and suite.data.tags["clusterbench.failed"] == "2" and told == []


def test_an_interrupted_trial_is_marked_and_completed_later(uri: str, out: Path, told: Told) -> None:
    listener, (first, second) = listening(uri, out, told, 2)
    for trial in (first, second):
        listener.on_start(trial.key, "here", 1)
        listener.on_epoch(trial.key, tools.row(1, trial.spec.seed))
    caught_up(listener)
    writer = tools.begun(out, first.spec, 1)
    writer.finish(stop_reason="interrupted", epochs_done=1)
    tools.begun(out, second.spec, 1)  # its process was killed: nobody has written how it ended
    listener.on_end()
    assert [run.info.status for run in tools.runs(uri)] == ["KILLED", "KILLED"] and told == []
    for seed in (0, 1):
        feed(tools.complete(out, seed), uri)
    assert [run.info.status for run in tools.runs(uri)] == ["FINISHED", "FINISHED"]


@pytest.mark.usefixtures("impatient")
def test_a_store_that_is_away_costs_two_lines_and_no_trial(dead_server: str, out: Path, told: Told) -> None:
    """One while the trials run, one at the end, which names what is missing and the command that delivers it."""
    address = dead_server.replace("//", "//someone:secret@")
    listener, trials = listening(address, out, told, 5, title="many")
    tools.drive(listener, trials[:4], out)
    while listener._courier is None or listener._courier.refusal is None:
        listener.on_progress(trials[4].key, Progress(1, 3))
        threading.Event().wait(0.01)
    tools.drive(listener, trials[4:], out)
    listener.on_end()
    refused, left = told
    assert "Connection refused" in refused and "trials go on" in refused
    assert left.startswith("5 records did not reach MLflow: drift-tiny-smoke-s0-") and " and 2 more" in left
    assert f"bench import {out} --mlflow 'http://someone:***@127.0.0.1:" in left
    assert "secret" not in refused + left and told.threads == {threading.current_thread()}
    assert listener.viewer is None


@pytest.mark.usefixtures("impatient")
def test_a_store_that_comes_back_gets_everything(uri: str, out: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    feeds, refusals = Store.feed, iter(range(5))

    def away_at_first(store: Store, *arguments: Any, **options: Any) -> Any:
        if next(refusals, None) is not None:
            raise TrackingError("The tracking store is away.")
        return feeds(store, *arguments, **options)

    monkeypatch.setattr(Store, "feed", away_at_first)
    listener, trials = listening(uri, out, told, 4, title="")
    tools.drive(listener, trials, out)
    while listener._courier is None or listener._courier.waiting:
        threading.Event().wait(0.01)
    listener.on_end()
    assert [run.info.status for run in tools.runs(uri)] == ["FINISHED"] * 4
    assert told in ([], ["The tracking store is away. The trials go on, and it is tried again while they do."])


@pytest.mark.usefixtures("impatient")
def test_a_server_that_never_answers_holds_nobody_up(
    silent_server: str, out: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    listener, trials = listening(silent_server, out, told, 2, patience_s=0.2)
    tools.drive(listener, trials, out)
    listener.on_end()
    assert "delivering" in told[0] and told[-1].startswith("2 records did not reach MLflow")
    assert listener._courier is not None
    listener._courier._thread.join()  # it gives up too, in its own time


def test_a_damaged_record_is_named_and_the_others_arrive(uri: str, out: Path, told: Told) -> None:
    listener, trials = listening(uri, out, told, 2)
    tools.drive(listener, trials, out)
    damaged = tools.complete(out, 7)
    (damaged.folder / "epochs.jsonl").write_text("{\n")
    listener.on_plan([Planned("x", tools.spec(7), damaged)])
    listener.on_end()
    assert len(tools.runs(uri)) == 2
    assert told[-1].startswith(f"1 record did not reach MLflow: {damaged.folder.name} (") and "line 1" in told[-1]


def test_where_to_deliver(tmp_path: Path) -> None:
    assert store_uri(" OFF", tmp_path) is None and store_uri("http://a", tmp_path) == "http://a"
    assert store_uri("", tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    assert viewer("http://a") is None and viewer(None) is None
    assert viewer("sqlite:////a b.db") == "bench ui --mlflow 'sqlite:////a b.db'"
