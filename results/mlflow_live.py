"""Runs in MLflow that are shown while their trials run, and the runs that hold them together."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import mlflow_content as content
from .mlflow_link import explained, persistently, quietly
from .mlflow_sink import STATUS, Store
from .record import Record

GROUP = "clusterbench.group"
BOARD = "leaderboard"


@dataclass
class LiveRun:
    """The run of a trial that is not over, and what it has told so far.

    Attributes:
        run_id: in MLflow.
        params: as delivered.
        points: metrics by epoch, as delivered.
        contradicted: an epoch came again with other values, as it does when a trial is taken up from a checkpoint.
    """

    run_id: str
    params: dict[str, str]
    points: dict[int, list[content.Point]] = field(default_factory=dict)
    contradicted: bool = False

    @property
    def epochs(self) -> Iterable[int]:
        return self.points.keys()

    def tells_of(self, record: Record) -> bool:
        """Whether all it has told stands in `record` too, so that the record can complete it."""
        if self.contradicted or self.params != content.params(record.spec):
            return False
        rows = {content.epoch_of(row): content.epoch_points(row) for row in record.epochs()}
        return all(rows.get(epoch) == points for epoch, points in self.points.items())


def begin(store: Store, *, id: str, name: str, spec: Mapping[str, Any], parent: str | None = None) -> LiveRun:
    """A new run for a trial that begins, in the place of one that a killed driver left unfinished.

    Args:
        id, name: of the record, and of its folder.
        spec: as the record will have it.
        parent: id of the run that it is nested in.

    Raises:
        TrackingError: the store cannot be reached or refuses.
    """
    with quietly(), explained(store.uri):
        return persistently(lambda: _begin(store, id, name, spec, parent))


def _begin(store: Store, id: str, name: str, spec: Mapping[str, Any], parent: str | None) -> LiveRun:
    for leftover in store.runs_of(id, name):
        if leftover.content is None:
            store.client.delete_run(leftover.run_id)
    tags = {content.ID: id, **content.spec_tags(spec), **({content.PARENT: parent} if parent else {})}
    run = store.client.create_run(store.experiment_id, _now(), tags, name)
    live = LiveRun(run.info.run_id, content.params(spec))
    store.log(live.run_id, params=live.params)
    return live


def log_epoch(store: Store, live: LiveRun, row: Mapping[str, Any]) -> None:
    """Show an epoch's metrics; one that is there already is compared only.

    Raises:
        TrackingError: the store cannot be reached or refuses.
    """
    epoch, points = content.epoch_of(row), content.epoch_points(row)
    if epoch in live.points:
        live.contradicted = live.contradicted or live.points[epoch] != points
        return
    with quietly(), explained(store.uri):
        live.contradicted = True  # what of it arrived is not known until the store has said that all did
        persistently(lambda: store.log(live.run_id, content.epoch_metrics(row, _now())))
        live.points[epoch], live.contradicted = points, False


def end_without_record(store: Store, live: LiveRun, *, reason: str | None) -> None:
    """The trial left nothing to deliver: it failed for `reason` before there was a record, or was cut off (None)."""
    with quietly(), explained(store.uri):
        if reason is not None:
            store.log(live.run_id, tags={"clusterbench.error": reason[: content.LONGEST_TAG]})
        store.client.set_terminated(live.run_id, STATUS["stopped" if reason is None else "failed"])


def open_group(store: Store, title: str) -> str:
    """The run that holds the trials of a suite or sweep together: the one of that title, made if there is none yet.

    Raises:
        TrackingError: the store cannot be reached or refuses.
    """
    with quietly(), explained(store.uri):
        return persistently(lambda: _open_group(store, title))


def _open_group(store: Store, title: str) -> str:
    key = hashlib.sha256(title.encode()).hexdigest()[:12]  # a title may hold quotes, which a search does not take
    found = _groups(store, key)
    if found:
        store.client.update_run(found[0], status="RUNNING")
        return found[0]
    made = store.client.create_run(store.experiment_id, _now(), {GROUP: key}, title).info.run_id
    oldest = _groups(store, key)[0]  # two drivers may have begun it at the same time
    if oldest != made:
        store.client.delete_run(made)
    return oldest


def _groups(store: Store, key: str) -> list[str]:
    found = store.client.search_runs([store.experiment_id], f"tags.`{GROUP}` = '{key}'")
    return [run.info.run_id for run in sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))]


def close_group(store: Store, run_id: str, records: Iterable[Record], *, failed: int, unfinished: int) -> None:
    """End it, with the leaderboard of its records as a page, a table of values and text, and the numbers of trials as tags.

    Raises:
        TrackingError: the store cannot be reached or refuses.
    """
    from .leaderboard import leaderboard
    from .render import csv, html, markdown

    found = list(records)
    table = leaderboard(found)
    with quietly(), explained(store.uri):
        for ending, render in (("html", html), ("csv", csv), ("md", markdown)):
            store.client.log_text(run_id, render(table), f"{BOARD}.{ending}")
        counts = {"finished": len(found), "failed": failed, "unfinished": unfinished}
        store.log(run_id, tags={f"clusterbench.{name}": str(count) for name, count in counts.items()})
        store.client.set_terminated(run_id, "FAILED" if failed else "KILLED" if unfinished else "FINISHED")


def attach(store: Store, run_id: str, path: str) -> None:
    """Add a file, such as a figure, to a run.

    Raises:
        TrackingError: the store cannot be reached or refuses.
    """
    with quietly(), explained(store.uri):
        store.client.log_artifact(run_id, path)


def _now() -> int:
    return round(1000 * time.time())
