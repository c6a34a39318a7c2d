"""Feeds run records to MLflow. The record stays the truth: a store can be lost and filled again from the records.

Only the process that drives the trials feeds, so workers never fight over one database.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .record import Record

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

EXPERIMENT = "clusterbench"
ARTIFACTS = ("record.json", "config.yaml", "labels.npz")
HASHED = (*ARTIFACTS, "epochs.jsonl")
# MLflow refuses more in one request, and longer texts.
METRICS_A_BATCH, PARAMS_A_BATCH, LONGEST_KEY, LONGEST_PARAM, LONGEST_TAG = 1000, 100, 250, 6000, 5000
STATUS = {"running": "RUNNING", "complete": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
# MLflow's own patience is four minutes with a server that is down; the record is on disk, so there is no need to wait.
QUIET_AND_QUICK = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class TrackingError(Exception):
    """The tracking store did not take a record. One line: which store, why, and that the record is safe."""


def default_uri(out: Path | str) -> str:
    """The SQLite store beside the records in `out`; artefacts go to `mlflow-artifacts` next to it."""
    return f"sqlite:///{Path(out).resolve() / 'mlflow.db'}"


def feed(record: Record, uri: str, experiment: str = EXPERIMENT) -> str:
    """Put one record into an MLflow store: parameters, metrics by epoch and by selection, tags and files.

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
    with _quietly(), _explained(record, uri):
        from mlflow import MlflowClient

        client = MlflowClient(uri)
        experiment_id = _experiment(client, uri, experiment)
        content = _content_hash(record)
        earlier = _runs_of(client, experiment_id, record)
        for run in earlier:
            if run.data.tags.get("clusterbench.content") == content:
                return run.info.run_id
        run_id = _write(client, experiment_id, record, content)
        for run in earlier:
            client.delete_run(run.info.run_id)
        return run_id


def _write(client: MlflowClient, experiment_id: str, record: Record, content: str) -> str:
    from mlflow.entities import Param, RunTag

    run = client.create_run(experiment_id, _milliseconds(record.created), {"clusterbench.id": record.id}, record.folder.name)
    run_id = run.info.run_id
    for part in _chunks([Param(key, value) for key, value in _params(record).items()], PARAMS_A_BATCH):
        client.log_batch(run_id, params=part)
    for part in _chunks([RunTag(key, value) for key, value in _tags(record).items()], PARAMS_A_BATCH):
        client.log_batch(run_id, tags=part)
    for part in _chunks(_metrics(record), METRICS_A_BATCH):
        client.log_batch(run_id, metrics=part)
    for path in (record.folder / name for name in ARTIFACTS):
        if path.is_file():
            client.log_artifact(run_id, str(path))
    if record.finished:
        client.set_terminated(run_id, STATUS[record.status], _milliseconds(record.finished))
    client.set_tag(run_id, "clusterbench.content", content)  # last: a run without it was never finished
    return run_id


def _experiment(client: MlflowClient, uri: str, name: str) -> str:
    from mlflow.exceptions import MlflowException

    known = client.get_experiment_by_name(name)
    if known is None:
        try:
            return client.create_experiment(name, _artifact_location(uri))
        except MlflowException:
            known = client.get_experiment_by_name(name)  # another process may have made it in between
            if known is None:
                raise
    if known.lifecycle_stage == "deleted":
        raise TrackingError(f"The MLflow experiment {name!r} at {_masked(uri)} is deleted. Restore it or name another one.")
    return known.experiment_id


def _artifact_location(uri: str) -> str | None:
    """Beside an SQLite file; a server decides for itself."""
    if not uri.startswith("sqlite:///"):
        return None
    return (Path(uri.removeprefix("sqlite:///")).resolve().parent / "mlflow-artifacts").as_uri()


def _runs_of(client: MlflowClient, experiment_id: str, record: Record) -> list[Run]:
    """Runs that this record folder was fed to before: one trial may stand in two folders, under two preset names."""
    found = client.search_runs([experiment_id], f"tags.`clusterbench.id` = '{record.id}'")
    return [run for run in found if run.info.run_name == record.folder.name]


def _content_hash(record: Record) -> str:
    digest = hashlib.sha256()
    for name in HASHED:
        path = record.folder / name
        digest.update(f"{name}:{path.stat().st_size if path.is_file() else None};".encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _params(record: Record) -> dict[str, str]:
    spec = {name: value for name, value in record.spec.items() if name != "overrides"}
    return {_key(name): _text(value)[:LONGEST_PARAM] for name, value in _flat(spec)}


def _tags(record: Record) -> dict[str, str]:
    about, spec = record.provenance, record.spec
    git = about.get("git") or {}
    tags = {
        "clusterbench.status": record.status,
        "clusterbench.stop_reason": record.stop_reason,
        "clusterbench.error": record.error and f"{record.error.get('type')}: {record.error.get('message')}",
        "clusterbench.preset": spec.get("preset"),
        "clusterbench.overrides": spec.get("overrides") or None,
        "clusterbench.data_fingerprint": spec.get("data_fingerprint"),
        "clusterbench.metrics_version": record.metrics_version,
        "clusterbench.revision": git.get("revision"),
        "clusterbench.revision_dirty": git.get("dirty"),
        **{f"clusterbench.{name}": about.get(name) for name in ("device", "gpu", "cpu", "python", "command")},
        "clusterbench.version": about.get("clusterbench"),
        **{f"clusterbench.package.{name}": version for name, version in (about.get("packages") or {}).items()},
    }
    return {_key(name): _text(value)[:LONGEST_TAG] for name, value in tags.items() if value is not None}


def _metrics(record: Record) -> list[Metric]:
    """Metrics of every epoch at its step, then the final ones at the last step; what is not a number is left out."""
    from mlflow.entities import Metric

    begin = _milliseconds(record.created)
    metrics, elapsed = [], 0.0
    for row in record.epochs():
        elapsed += (row.get("train_seconds") or 0.0) + (row.get("evaluate_seconds") or 0.0)
        at, step = begin + round(1000 * elapsed), int(row.get("epoch", 0))
        metrics += [Metric(key, value, at, step) for key, value in _numbers({"epochs": _with_chosen_head(row)})]
    last = {**record.metrics, "selection_gap": record.selection_gap, "cost": record.cost, "epochs_done": record.epochs_done}
    end = _milliseconds(record.finished or record.created)
    return metrics + [Metric(key, value, end, record.epochs_done) for key, value in _numbers(last)]


def _with_chosen_head(row: Mapping[str, Any]) -> dict[str, Any]:
    """An epoch's row without its number, its scores by head and once more for the head that was chosen then."""
    named: dict[str, Any] = {name: value for name, value in row.items() if name != "epoch"}
    for name in ("acc", "nmi", "ari", "clusters_used"):
        heads = dict(enumerate(row.get(name) or ()))
        named[name] = {**heads, "chosen": heads.get(row.get("chosen_head", 0))}
    return named


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in _flat(values, separator="/", lists=True):
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield _key(name), float(value)


def _flat(value: Any, name: str = "", separator: str = ".", lists: bool = False) -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings by joined name; list items too if asked, by their index."""
    if isinstance(value, Mapping):
        items: Iterable[tuple[Any, Any]] = value.items()
    elif lists and isinstance(value, (list, tuple)):
        items = enumerate(value)
    else:
        yield name, value
        return
    for key, item in items:
        yield from _flat(item, f"{name}{separator}{key}" if name else str(key), separator, lists)


def _key(name: str) -> str:
    """A name in the characters that MLflow takes."""
    return re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII)[:LONGEST_KEY]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _milliseconds(time: str) -> int:
    return round(1000 * datetime.fromisoformat(time).timestamp())


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


@contextmanager
def _explained(record: Record, uri: str) -> Iterator[None]:
    """Turn what MLflow, its database or the network refuse into one line."""
    try:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError as error:
        raise TrackingError(
            f"MLflow is not installed ({error}): pip install mlflow. The record is safe in {record.folder}."
        ) from None
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise TrackingError(
            f"The tracking store {_masked(uri)} did not take the record ({_masked(_root_cause(error))}). "
            f"The record is safe in {record.folder}; the same command feeds it once the store answers."
        ) from error


def _root_cause(error: BaseException) -> str:
    """First line of what lies under the wrappings, such as `[Errno 111] Connection refused`."""
    while inner := error.__cause__ or (None if error.__suppress_context__ else error.__context__):
        error = inner
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]


def _masked(text: str) -> str:
    """Without the password of an address."""
    return re.sub(r"(://[^:/@\s]+):[^@\s]+@", r"\1:***@", text)


@contextmanager
def _quietly() -> Iterator[None]:
    """Impatient with dead servers and silent, unless the user's own settings say otherwise; all is as before afterwards."""
    added = {name: value for name, value in QUIET_AND_QUICK.items() if name not in os.environ}
    os.environ.update(added)
    loggers = {name: logging.getLogger(name) for name in ("mlflow", "alembic", "urllib3")}
    with suppress(ImportError):
        import mlflow  # noqa: F401 - it sets the level of its loggers when it is imported
    levels = {name: logger.level for name, logger in loggers.items()}
    for logger in loggers.values():
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow's and SQLAlchemy's notes to their own developers
            yield
    finally:
        for name, logger in loggers.items():
            logger.setLevel(levels[name])
        for name in added:
            os.environ.pop(name, None)
