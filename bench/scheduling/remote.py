"""A folder on a file system that pyarrow opens: a few operations, tried again where that may help, and one line for each refusal.

A file arrives whole or not at all: object stores replace an object in one step; elsewhere a file is written beside its place
and moved there.
"""

from __future__ import annotations

import errno
import re
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from ...results.record import RecordError

State = tuple[int, int]  # bytes, and nanoseconds of the last change
Result = TypeVar("Result")

PAUSES = (0.5, 2.0, 8.0)  # seconds before each further try
REPLACES_IN_ONE_STEP = ("s3", "gcs", "abfs")
LONGEST_REASON = 200  # characters of what a client library says
GOOGLE_GIVES_UP_AFTER = 20  # seconds; its own default is 15 minutes
PASSING = {errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ECONNRESET, errno.ECONNREFUSED,
           errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EPIPE}  # fmt: skip

# What the client libraries say, and what helps; the first that fits counts. Only the last may pass by itself.
DENIED = (
    r"ACCESS_DENIED|ACCESS_KEY|SIGNATURE|EXPIRED_TOKEN|CLIENT_TOKEN|UNAUTHENTICATED|PERMISSION_DENIED|HTTP status 40[13]"
    r"|OAuth2 access token|Authentication|Authorization|AccessControl|[Pp]ermission denied|[Cc]redential"
)
ABSENT = r"NO_SUCH_BUCKET|[Bb]ucket.*(not exist|not found)|[Cc]ontainer ?NotFound|container does not exist"
NO_CLIENT = r"libjvm|libhdfs|HADOOP_HOME|No module named|Install |built without|not (enabled|built)"
UNREACHED = r"NETWORK_CONNECTION|resolve host|connect|UNAVAILABLE|[Tt]imed? ?out|TIMEOUT|CURL|curl"
CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or run: gcloud auth application-default login",
    "gcs": "GOOGLE_APPLICATION_CREDENTIALS, or run: gcloud auth application-default login",
    "hdfs": "a Kerberos ticket (kinit)",
    "abfs": "AZURE_STORAGE_ACCOUNT and its key, or run: az login",
    "abfss": "AZURE_STORAGE_ACCOUNT and its key, or run: az login",
}


class Remote:
    """A folder there.

    Args:
        files: a `pyarrow.fs.FileSystem`.
        root: the folder's path in it.
        shown: its URI as messages may show it, without secrets.
        pauses: seconds to wait before each further try.
        sleep: waits that long.

    Every operation raises `RecordError`, one line, if it is refused or cannot be done after all tries.
    """

    def __init__(
        self,
        files: Any,
        root: str,
        shown: str,
        *,
        pauses: Sequence[float] = PAUSES,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.files, self.root, self.shown, self.pauses, self.sleep = files, root.rstrip("/"), shown, pauses, sleep
        self.in_one_step = files.type_name in REPLACES_IN_ONE_STEP

    @classmethod
    def open(cls, uri: str) -> Remote:
        """The folder that `uri` names. Nothing is asked of it yet, except that S3 looks up the bucket's region."""
        shown = without_secrets(uri)
        try:
            from pyarrow.fs import FileSystem
        except ImportError as error:
            raise RecordError(f"{shown} needs the package pyarrow ({error}). Install it: pip install pyarrow") from None
        files, root = _tried(f"open {shown}", lambda: FileSystem.from_uri(_impatient(uri)), shown, PAUSES, time.sleep)
        if not root.strip("/"):
            raise RecordError(f"{shown} names no folder. Give one: {shown.rstrip('/')}/NAME")
        return cls(files, root, shown)

    def listing(self, folder: str = "") -> dict[str, State]:
        """Every file below `folder`, by its path from there; empty if there is no such folder."""
        from pyarrow.fs import FileSelector, FileType

        top = self._at(folder)
        selector = FileSelector(top, recursive=True, allow_not_found=True)
        found = self._tried(f"list {self._named(folder)}", lambda: self.files.get_file_info(selector))
        files = (info for info in found if info.type == FileType.File)
        return {info.path[len(top) :].lstrip("/"): (info.size or 0, info.mtime_ns or 0) for info in files}

    def upload(self, path: Path, name: str) -> None:
        """Put the local file `path` in the place of `name`, in one step."""
        self._tried(f"write {self._named(name)}", lambda: self._put(path, self._at(name)))

    def download(self, name: str, path: Path) -> None:
        """Write `name` to the local file `path`, whose folder is made."""
        from pyarrow.fs import LocalFileSystem, copy_files

        def work() -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            copy_files(self._at(name), str(path.absolute()), self.files, LocalFileSystem())

        self._tried(f"read {self._named(name)}", work)

    def delete(self, name: str) -> None:
        """Delete a file; one that is not there is as good as deleted."""
        self._tried(f"delete {self._named(name)}", lambda: _unless_gone(self.files.delete_file, self._at(name)))

    def delete_folder(self, name: str) -> None:
        """Delete a folder with all that is in it."""
        self._tried(f"delete {self._named(name)}", lambda: _unless_gone(self.files.delete_dir, self._at(name)))

    def _put(self, path: Path, target: str) -> None:
        # One call into C++ for the whole file: an interruption between two calls would close, and so keep, half an object.
        from pyarrow.fs import LocalFileSystem, copy_files

        if self.in_one_step:
            copy_files(str(path.absolute()), target, LocalFileSystem(), self.files)
            return
        folder, _, name = target.rpartition("/")
        beside = f"{folder}/.{name}.{uuid.uuid4().hex}.tmp"
        self.files.create_dir(folder, recursive=True)
        copy_files(str(path.absolute()), beside, LocalFileSystem(), self.files)
        self.files.move(beside, target)

    def _at(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def _named(self, name: str) -> str:
        return join(self.shown, name) if name else self.shown

    def _tried(self, what: str, work: Callable[[], Result]) -> Result:
        return _tried(what, work, self.shown, self.pauses, self.sleep)


def join(out: str, *parts: str) -> str:
    """`parts` below `out`, which is a path or a URI (whose options after `?` stay where they are)."""
    if not is_uri(out):
        return str(Path(out, *parts))
    place, mark, options = out.partition("?")
    return "/".join([place.rstrip("/"), *parts]) + mark + options


def is_uri(out: str) -> bool:
    """Whether `out` is a URI (`s3://bucket/folder`) and no plain path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", out) is not None


def without_secrets(uri: str) -> str:
    """`uri` as it may be shown: without user, password and options."""
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _impatient(uri: str) -> str:
    """`uri`, on which Google's client does not wait a quarter of an hour for a network or credentials that are not there."""
    if urlsplit(uri).scheme not in ("gs", "gcs") or "retry_limit_seconds=" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}retry_limit_seconds={GOOGLE_GIVES_UP_AFTER}"


def _tried(
    what: str, work: Callable[[], Result], shown: str, pauses: Sequence[float], sleep: Callable[[float], object]
) -> Result:
    for pause in (*pauses, None):
        try:
            return work()
        except (OSError, ValueError, ImportError, NotImplementedError) as error:  # pyarrow's own errors are among these
            if pause is None or not _may_pass(error):
                raise RecordError(_refusal(what, shown, error)) from error
        sleep(pause)
    raise AssertionError("the last try returns or raises")


def _may_pass(error: Exception) -> bool:
    """Whether another try may succeed: what the network did, and what nobody can tell."""
    if not isinstance(error, OSError):
        return False
    if error.errno:
        return error.errno in PASSING
    return not re.search(f"{DENIED}|{ABSENT}|{NO_CLIENT}", str(error))


def _refusal(what: str, shown: str, error: Exception) -> str:
    """One line: what could not be done, what the client says, what to do."""
    said = re.sub(r"://[^/\s]*@", "://", " ".join(str(error).split()))  # pyarrow quotes the URI with its password
    reason = said.rstrip(".") if len(said) <= LONGEST_REASON else f"{said[:LONGEST_REASON]}…"
    return f"Cannot {what}: {reason}. {_remedy(said, urlsplit(shown).scheme, error)}"


def _remedy(said: str, scheme: str, error: Exception) -> str:
    if "Unrecognized filesystem type" in said:
        return "Use a plain path, or a URI of file, s3, gs, hdfs or abfs."
    if re.search(NO_CLIENT, said) or isinstance(error, ImportError):
        return f"The client for {scheme}:// is not installed on this node" + (
            ": set JAVA_HOME, HADOOP_HOME and CLASSPATH." if scheme == "hdfs" else "."
        )
    if re.search(DENIED, said):
        known = CREDENTIALS.get(scheme)
        return (
            f"Give every node credentials that may read and write there: {known}."
            if known
            else "Allow it, or choose another --out."
        )
    if re.search(ABSENT, said):
        return "Make the bucket first, or correct its name."
    if re.search(UNREACHED, said):
        return "It cannot be reached from this node: check the network and the address, then run it again."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "Free some space, then run it again."
    return "Correct --out, or run it again."


def _unless_gone(delete: Callable[[str], object], path: str) -> None:
    try:
        delete(path)
    except FileNotFoundError:
        return
