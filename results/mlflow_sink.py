"""Feeds run records to MLflow. The record stays the truth: a store can be lost and filled again from the records.

Only the process that drives the trials feeds, so workers never fight over one database.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from . import mlflow_content as content
from .mlflow_link import (
    TrackingError,
    artifact_location,
    connect,
    default_uri,
    explained,
    masked,
    persistently,
    quietly,
    sqlite_file,
)
from .record import Record, RecordError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

    from .mlflow_live import LiveRun

__all__ = ["EXPERIMENT", "Fed", "Store", "TrackingError", "default_uri", "feed", "masked"]

EXPERIMENT = "clusterbench"
# MLflow refuses more in one request.
ITEMS_A_BATCH, PARAMS_A_BATCH, RUNS_A_PAGE = 1000, 100, 1000
WORTH_AN_INDEX = 20
"""From so many records on, reading all runs of the experiment once is cheaper than asking for those of each record."""
STATUS = {"running": "RUNNING", "complete": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


@dataclass(frozen=True)
class Fed:
    """Where a record is in MLflow; `is_new` is False if it was there already, unchanged."""

    run_id: str
    is_new: bool


@dataclass(frozen=True)
class _Known:
    """A run that a record folder was fed to; `content` is None for one that was never finished."""

    run_id: str
    record: tuple[str, str]
    content: str | None
    ended: int

    @property
    def rank(self) -> tuple[int, str]:
        """Of two whole runs of one record folder the later one stays, the same one whoever looks at them."""
        return (-self.ended, self.run_id)


def feed(record: Record, uri: str, experiment: str = EXPERIMENT) -> str:
    """Put one record into an MLflow store: parameters, metrics by epoch and by selection, tags, files and the model.

    Feeding the same record again changes nothing. A record that has changed since replaces its run, once the new one is
    complete, so nothing is ever doubled and a store that fails half-way loses nothing.

    Args:
        record: as read from its folder.
        uri: MLflow tracking URI: a server's address, or what `default_uri` returns.
        experiment: name of the MLflow experiment; made if missing.

    Returns:
        The id of the run in MLflow.

    Raises:
        TrackingError: the store cannot be reached or refuses, or MLflow is not installed.
    """
    return Store(uri, experiment).feed(record).run_id


class Store:
    """One experiment of a tracking store, connected when it is first used.

    Any number of processes may feed one store: whoever finds a record's run doubled when it has written its own deletes
    one, and all choose the same.

    Args:
        uri: MLflow tracking URI.
        experiment: name of the experiment; made if missing.
    """

    def __init__(self, uri: str, experiment: str = EXPERIMENT) -> None:
        self.uri, self.experiment = uri, experiment
        self._index: dict[tuple[str, str], list[_Known]] | None = None

    @cached_property
    def client(self) -> MlflowClient:
        return connect(self.uri)

    @cached_property
    def experiment_id(self) -> str:
        from mlflow.exceptions import MlflowException

        known = self.client.get_experiment_by_name(self.experiment)
        if known is None:
            path = sqlite_file(self.uri)
            try:
                return self.client.create_experiment(self.experiment, artifact_location(path) if path else None)
            except MlflowException:
                known = self.client.get_experiment_by_name(self.experiment)  # another process may have made it in between
                if known is None:
                    raise
        if known.lifecycle_stage == "deleted":
            where = f"{self.experiment!r} at {masked(self.uri)}"
            raise TrackingError(f"The MLflow experiment {where} is deleted. Restore it or name another one.")
        return known.experiment_id

    def feed(self, record: Record, *, parent: str | None = None, live: LiveRun | None = None) -> Fed:
        """See the function `feed`.

        Args:
            record: as read from its folder.
            parent: id of the run that a new run is nested in.
            live: the run that was shown while the trial ran. It becomes the record's run if it told the same, else a
                new one takes its place.

        Raises:
            TrackingError: the store cannot be reached or refuses, or MLflow is not installed.
            RecordError: a file of the record is damaged.
        """
        with quietly(), explained(self.uri, record.folder):
            return persistently(lambda: self._feed(record, parent, live))

    def feed_all(
        self, records: Sequence[Record], parent: Callable[[Record], str | None] = lambda record: None
    ) -> Iterator[tuple[Record, Fed | Exception]]:
        """Feed many records, each paired with where it is now or with why it was refused (see `feed`).

        The iteration must come to its end: what other processes fed meanwhile is looked for there.
        """
        with quietly(), explained(self.uri):
            self._index = self._all_runs() if len(records) >= WORTH_AN_INDEX else None
        fresh: list[Record] = []
        for record in records:
            try:
                fed = self.feed(record, parent=parent(record))
            except (TrackingError, RecordError) as error:
                yield record, error
                continue
            fresh += [record] if fed.is_new else []
            yield record, fed
        if self._index is not None and fresh:
            with quietly(), explained(self.uri):
                persistently(lambda: self._settle_all(fresh))
        self._index = None

    def runs_of(self, record_id: str, folder_name: str) -> list[_Known]:
        """Runs that this record folder was fed to before: one trial may stand in two folders, under two preset names."""
        found = self.client.search_runs([self.experiment_id], f"tags.`{content.ID}` = '{record_id}'")
        return [run for run in map(_known, found) if run.record == (record_id, folder_name)]

    def _feed(self, record: Record, parent: str | None, live: LiveRun | None) -> Fed:
        key, mark = (record.id, record.folder.name), content.content_hash(record)
        before = self.runs_of(*key) if self._index is None else self._index.get(key, [])
        whole = sorted((run for run in before if run.content == mark), key=lambda run: run.rank)
        if whole:
            self._delete(run for run in before if run is not whole[0])
            return Fed(whole[0].run_id, is_new=False)
        if live is not None and all(run.run_id != live.run_id for run in before):
            live = None  # somebody has deleted it
        run_id = self._write(record, mark, parent, live)
        self._delete(run for run in before if run.run_id != run_id)
        if self._index is None:
            run_id = self._settle(self.runs_of(*key)) or run_id
        return Fed(run_id, is_new=True)

    def _settle(self, runs: Iterable[_Known]) -> str | None:
        """Leave one whole run of these; those that were never finished may be another process's, at work on them."""
        kept, *others = sorted((run for run in runs if run.content), key=lambda run: run.rank) or [None]
        self._delete(run for run in others if run)
        return kept and kept.run_id

    def _settle_all(self, records: Iterable[Record]) -> None:
        found = self._all_runs()
        for record in records:
            self._settle(found.get((record.id, record.folder.name), ()))

    def _all_runs(self) -> dict[tuple[str, str], list[_Known]]:
        found: dict[tuple[str, str], list[_Known]] = {}
        token: str | None = None
        while True:
            page = self.client.search_runs([self.experiment_id], max_results=RUNS_A_PAGE, page_token=token)
            for run in map(_known, page):
                found.setdefault(run.record, []).append(run)
            token = page.token
            if not token:
                return found

    def _delete(self, runs: Iterable[_Known]) -> None:
        for run in runs:
            self.client.delete_run(run.run_id)

    def _write(self, record: Record, mark: str, parent: str | None, live: LiveRun | None) -> str:
        """The content's mark goes last: a run without it was never finished.

        Files and the end come before the metrics, because MLflow reads all metrics of a run again whenever it changes it.
        """
        completes = live is not None and live.tells_of(record)
        metrics = content.metrics(record, live.epochs if live and completes else ())  # reads, so a damaged record leaves no run
        tags = content.tags(record) | ({content.PARENT: parent} if parent else {})
        if live and completes:
            run_id = live.run_id
            self.log(run_id, tags=tags)
            location = self.client.get_run(run_id).info.artifact_uri
        else:
            run = self.client.create_run(self.experiment_id, content.milliseconds(record.created), tags, record.folder.name)
            run_id, location = run.info.run_id, run.info.artifact_uri
        self._save_files(record, run_id, location)
        if record.finished:
            self.client.set_terminated(run_id, STATUS[record.status], content.milliseconds(record.finished))
        self.log(run_id, metrics, content.params(record.spec), {content.CONTENT: mark})
        return run_id

    def log(
        self,
        run_id: str,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Everything in as few requests as MLflow allows. The last of them brings the tags (at most 100)."""
        from mlflow.entities import Param, RunTag

        *early_params, last_params = _chunks([Param(*item) for item in (params or {}).items()], PARAMS_A_BATCH)
        for part in early_params:
            self.client.log_batch(run_id, params=part)
        last_tags = [RunTag(*item) for item in (tags or {}).items()]
        *early_metrics, last_metrics = _chunks(metrics, ITEMS_A_BATCH - len(last_params) - len(last_tags))
        for part in early_metrics:
            self.client.log_batch(run_id, metrics=part)
        self.client.log_batch(run_id, metrics=last_metrics, params=last_params, tags=last_tags)

    def _save_files(self, record: Record, run_id: str, location: str | None) -> None:
        files = [path for path in (record.folder / name for name in content.ARTIFACTS) if path.is_file()]
        self._save(run_id, location, files)
        model = content.model_files(record)
        if model:
            with TemporaryDirectory() as folder:
                about = Path(folder) / "MLmodel"
                about.write_text(content.mlmodel(record, run_id), encoding="utf-8")
                self._save(run_id, location, [about, *model], content.MODEL_FOLDER)

    def _save(self, run_id: str, location: str | None, files: Iterable[Path], folder: str = "") -> None:
        """Copy files beside an SQLite store; through the client, which asks for the run once more, to any other."""
        if not (location and location.startswith("file:") and sqlite_file(self.uri)):
            for path in files:
                self.client.log_artifact(run_id, str(path), folder or None)
            return
        target = Path(url2pathname(urlsplit(location).path)) / folder
        target.mkdir(parents=True, exist_ok=True)
        for path in files:
            shutil.copyfile(path, target / path.name)


def _known(run: Run) -> _Known:
    tags: dict[str, Any] = run.data.tags
    record = (tags.get(content.ID, ""), run.info.run_name or "")
    return _Known(run.info.run_id, record, tags.get(content.CONTENT), run.info.end_time or 0)


def _chunks(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """At least one, which may be empty."""
    return [items[start : start + size] for start in range(0, len(items), size)] or [()]
