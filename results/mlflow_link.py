"""The way to an MLflow store: opened quietly, an SQLite file made whole or not at all, a refusal told in one line."""

from __future__ import annotations

import logging
import os
import random
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

if TYPE_CHECKING:
    from mlflow import MlflowClient

Result = TypeVar("Result")
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
LOGGERS = ("mlflow", "alembic", "urllib3")
TALKATIVE = r"(mlflow|sqlalchemy|alembic|clusterbench\.results\.mlflow)"  # their warnings are notes to their own developers
MAKING_PATIENCE_S = 120.0
ATTEMPTS, FIRST_PAUSE_S = 7, 0.1
# Two processes at one store: its file is busy, or the other one has just taken our unfinished run for a leftover.
PASSING = ("database is locked", "must be in the 'active' state")


class TrackingError(Exception):
    """The tracking store did not take a record. One line: which store, why, and that the record is safe."""


def default_uri(out: Path | str) -> str:
    """The SQLite store beside the records in `out`; artefacts go to `mlflow-artifacts` next to it."""
    return f"sqlite:///{Path(out).resolve() / 'mlflow.db'}"


def connect(uri: str) -> MlflowClient:
    """A client of the store at `uri`. An SQLite store is made if missing; others only answer when they are asked."""
    from mlflow import MlflowClient

    path = sqlite_file(uri)
    if path is not None:
        _make_store(path)
    return MlflowClient(uri)


def sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite store; None for every other kind of store."""
    if not uri.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url

    name = make_url(uri).database
    return Path(name).resolve() if name and name != ":memory:" else None


def artifact_location(path: Path) -> str:
    """Where the artefacts of the SQLite store in `path` lie: beside it."""
    return (path.parent / "mlflow-artifacts").as_uri()


def _make_store(path: Path) -> None:
    """Make the tables under another name, then move the file into place.

    MLflow takes seconds for them, in many steps. A process that is killed meanwhile, or two that do it at the same
    time, would leave half of them, and MLflow refuses such a file forever.
    """
    if path.exists():
        return
    from filelock import FileLock
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock"), timeout=MAKING_PATIENCE_S):
        if path.exists():
            return
        unfinished = path.with_name(f".{path.name}.new")
        for leftover in path.parent.glob(f"{unfinished.name}*"):
            leftover.unlink(missing_ok=True)
        store = SqlAlchemyStore(f"sqlite:///{unfinished}", artifact_location(path))
        store.engine.dispose()
        unfinished.replace(path)


def persistently(action: Callable[[], Result]) -> Result:
    """What `action` returns, after up to `ATTEMPTS` tries if another process at the same store is in its way."""
    for pause in (FIRST_PAUSE_S * 2**attempt for attempt in range(ATTEMPTS - 1)):
        try:
            return action()
        except Exception as error:
            if not any(text in str(error) for text in PASSING):
                raise
        time.sleep(pause * random.uniform(0.5, 1.5))
    return action()


@contextmanager
def explained(uri: str, folder: Path | None = None) -> Iterator[None]:
    """Turn what MLflow, its database or the network refuse into one line, which names the record in `folder` if given."""
    safe = f"The record is safe in {folder}" if folder else "The records are safe on disk"
    try:
        from filelock import Timeout
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError as error:
        raise TrackingError(f"MLflow is not installed ({error}): pip install mlflow. {safe}.") from None
    try:
        yield
    except (MlflowException, SQLAlchemyError, Timeout, OSError) as error:
        what = "did not take the record" if folder else "refuses"
        raise TrackingError(
            f"The tracking store {masked(uri)} {what} ({masked(_root_cause(error))}). {safe}; "
            "bench import delivers what is missing once the store answers."
        ) from error


def _root_cause(error: BaseException) -> str:
    """First line of what lies under the wrappings, such as `[Errno 111] Connection refused`."""
    while inner := error.__cause__ or (None if error.__suppress_context__ else error.__context__):
        error = inner
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]


def masked(text: str) -> str:
    """Without the password of an address."""
    return re.sub(r"(://[^:/@\s]+):[^@\s]+@", r"\1:***@", text)


class _Quiet:
    """How many threads work quietly; the first one sets the process so, the last one sets it back."""

    lock = threading.Lock()
    threads = 0
    added: tuple[str, ...] = ()
    levels: ClassVar[dict[str, int]] = {}

    @classmethod
    def begin(cls) -> None:
        with cls.lock:
            cls.threads += 1
            if cls.threads > 1:
                return
            cls.added = tuple(name for name in QUIET_AND_QUICK if name not in os.environ)
            os.environ.update({name: QUIET_AND_QUICK[name] for name in cls.added})
            with suppress(ImportError):
                import mlflow  # noqa: F401 - it sets the level of its loggers when it is imported
            cls.levels = {name: logging.getLogger(name).level for name in LOGGERS}
            for name in LOGGERS:
                logging.getLogger(name).setLevel(logging.CRITICAL)

    @classmethod
    def end(cls) -> None:
        with cls.lock:
            cls.threads -= 1
            if cls.threads:
                return
            for name, level in cls.levels.items():
                logging.getLogger(name).setLevel(level)
            for name in cls.added:
                os.environ.pop(name, None)


@contextmanager
def quietly() -> Iterator[None]:
    """Impatient with dead servers and silent, unless the user's own settings say otherwise; all is as before afterwards.

    Any thread may work in here. Only the filter for the warnings of MLflow's own modules stays: putting filters back
    from a thread would undo what others have set meanwhile.
    """
    _Quiet.begin()
    warnings.filterwarnings("ignore", module=TALKATIVE)
    try:
        yield
    finally:
        _Quiet.end()
