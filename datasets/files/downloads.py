"""Downloads that go on where they stopped and are checked before they count.

The bytes gather in `NAME.part` beside the target; `NAME.part.json` remembers which version of the server's file they belong
to. The next attempt, in this call or a later one, asks for the rest of that same version only (HTTP `Range` with
`If-Range`). A file under its own name is always whole and has the right checksum. The usual helpers (torch.hub, torchvision,
pooch) check files but begin again after each interruption, and what resumes needs an HTTP library of its own.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import http.client
import json
import os
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..source import Progress, silent

PAUSES = (1.0, 3.0, 10.0)
"""Seconds before each further attempt; an attempt that brought some bytes starts them anew."""
STALL = 60.0
"""Seconds without a byte until a connection counts as dropped."""
BLOCK = 1 << 18
MAY_PASS = {408, 425, 429, 500, 502, 503, 504}


class _Dropped(Exception):
    """The connection failed in a way that may pass; the bytes so far are kept."""


def fetch(
    url: str,
    target: Path,
    *,
    md5: str | None = None,
    sha256: str | None = None,
    size: int | None = None,
    progress: Progress = silent,
    what: str,
) -> None:
    """Fetch `url` to the file `target`, unless it is there already and is the right one.

    Args:
        md5, sha256, size: what the file must have, where known; its size is in bytes.
        progress: told `fetching WHAT`, then `checking WHAT`, and the bytes done and to do.
        what: name of the data set or file in messages.
    Raises:
        DataError: in one line, what went wrong and what to do. Bytes that may serve another attempt are kept.
    """
    digests = {name: digest for name, digest in (("md5", md5), ("sha256", sha256)) if digest}
    download = _Download(url, target, digests, size, progress, what)
    if not target.exists():
        with download.locked_part() as part:
            if not target.exists():  # another process may have finished it just before the lock was free
                download.gather(part)
                download.finish(part)
                return
    if wrong := download.difference(target):
        raise DataError(f"{target} is not the original file ({wrong}). Delete it, then fetch {what} again.")


@dataclass(frozen=True)
class _Download:
    url: str
    target: Path
    digests: dict[str, str]
    size: int | None
    progress: Progress
    what: str

    @property
    def part_path(self) -> Path:
        return self.target.with_name(self.target.name + ".part")

    @property
    def version_path(self) -> Path:
        return self.target.with_name(self.target.name + ".part.json")

    @contextmanager
    def locked_part(self) -> Iterator[FileIO]:
        """The part, at its end, for one process at a time; without a buffer, so that a full disk is noticed at once."""
        with self.saving():
            self.target.parent.mkdir(parents=True, exist_ok=True)
            part = self.part_path.open("ab", buffering=0)
        with part:
            try:
                fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DataError(f"Another process is fetching {self.what} to {self.target} just now. Wait for it.") from error
            yield part

    def gather(self, part: FileIO) -> None:
        """Bring the part to its full length, in as many attempts as bring something and a few more."""
        failures = 0
        while True:
            before = part.tell()
            try:
                self.attempt(part)
                return
            except _Dropped as dropped:
                failures = 1 if part.tell() > before else failures + 1
                if failures > len(PAUSES):
                    kept = f" The {part.tell():,} bytes so far are kept." if part.tell() else ""
                    raise self.failure(f"{dropped}.{kept}") from dropped
                time.sleep(PAUSES[failures - 1])

    def attempt(self, part: FileIO) -> None:
        """One request for what is missing, written behind what is there. Raises `_Dropped` if the connection fails."""
        version = self.version(part)
        if part.tell() and part.tell() == version.get("total"):
            return
        with _may_pass(), self.response(part.tell(), version) as response:
            if not _continues(response, part.tell(), version):
                self.empty(part)
                if response.status != 200:
                    raise _Dropped("the server's answer does not continue what was fetched before")
            total = self.total(response, part.tell())
            self.remember(response, total)
            while block := response.read(BLOCK):
                self.write(part, block)
                self.progress(f"fetching {self.what}", part.tell(), total or 0)
        if total is not None and part.tell() < total:
            raise _Dropped("the connection broke off")

    def response(self, start: int, version: dict[str, Any]) -> http.client.HTTPResponse:
        headers = {"User-Agent": "clusterbench", "Accept-Encoding": "identity"}
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": version["validator"]}
        try:
            return urllib.request.urlopen(urllib.request.Request(self.url, headers=headers), timeout=STALL)
        except urllib.error.HTTPError as error:
            answer = f"the server answers {error.code} {error.reason}"
            error.close()
            if error.code == 416:  # the file has become shorter than what is here
                self.version_path.unlink(missing_ok=True)
            if error.code == 416 or error.code in MAY_PASS:
                raise _Dropped(answer) from error
            raise self.failure(f"{answer}.") from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise self.failure(f"the server's certificate is not valid: {error.reason.verify_message}.") from error
            raise

    def version(self, part: FileIO) -> dict[str, Any]:
        """What is known of the file that the part belongs to; nothing, and the part emptied, if it cannot be continued."""
        try:
            version = json.loads(self.version_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            version = {}
        if version.get("url") == self.url and version.get("validator"):
            return version
        self.empty(part)
        return {}

    def remember(self, response: http.client.HTTPResponse, total: int | None) -> None:
        version = {"url": self.url, "validator": _validator(response), "total": total}
        with self.saving():
            self.version_path.write_text(json.dumps(version), encoding="utf-8")

    def total(self, response: http.client.HTTPResponse, start: int) -> int | None:
        """The size that the whole file will have, None if the server does not say."""
        length = response.headers.get("Content-Length", "")
        if not length.isdecimal():
            return self.size
        total = start + int(length)
        if self.size is not None and total != self.size:
            raise self.failure(f"the server's file has {total:,} bytes, the original {self.size:,}.")
        return total

    def empty(self, part: FileIO) -> None:
        with self.saving():
            part.seek(0)
            part.truncate()

    def write(self, part: FileIO, block: bytes) -> None:
        rest = memoryview(block)
        while rest:
            with self.saving():
                rest = rest[part.write(rest) :]

    def finish(self, part: FileIO) -> None:
        """Give the part its own name if it is the right file, else delete it."""
        if wrong := self.difference(self.part_path):
            self.part_path.unlink()
            self.version_path.unlink(missing_ok=True)
            raise self.failure(f"what came is not the original file ({wrong}), and was deleted.")
        with self.saving():
            os.fsync(part)
            self.part_path.replace(self.target)
            self.version_path.unlink(missing_ok=True)

    def difference(self, path: Path) -> str | None:
        """How a file differs from what it must be, None if it does not."""
        with self.saving(path), path.open("rb") as file:
            total = os.fstat(file.fileno()).st_size
            if self.size is not None and total != self.size:
                return f"{total:,} bytes, expected {self.size:,}"
            found = {name: hashlib.new(name, usedforsecurity=False) for name in self.digests}
            while found and (block := file.read(BLOCK)):
                for digest in found.values():
                    digest.update(block)
                self.progress(f"checking {self.what}", file.tell(), total)
        for name, expected in self.digests.items():
            if found[name].hexdigest() != expected.lower():
                return f"{name.upper()} {found[name].hexdigest()}, expected {expected}"
        return None

    def failure(self, reason: str) -> DataError:
        advice = f"Try again, or put the file at {self.target} yourself."
        return DataError(f"{self.what} could not be fetched from {self.url}: {reason} {advice}")

    @contextmanager
    def saving(self, path: Path | None = None) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            advice = "Make room, then try again: it goes on where it stopped." if full else "Mend that, then try again."
            where = path or self.part_path
            raise DataError(f"{self.what} cannot be saved to {where} ({error.strerror or error}). {advice}") from error


@contextmanager
def _may_pass() -> Iterator[None]:
    """Faults of the network as `_Dropped`, in words."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        raise _Dropped(_in_words(cause)) from error


def _in_words(cause: object) -> str:
    if isinstance(cause, TimeoutError):
        return f"nothing came for {STALL:g} seconds"
    if isinstance(cause, socket.gaierror):
        return "the server's name cannot be looked up; there may be no network"
    if isinstance(cause, http.client.IncompleteRead | http.client.RemoteDisconnected):
        return "the connection broke off"
    return " ".join(str(cause).split()).rstrip(".") or type(cause).__name__


def _continues(response: http.client.HTTPResponse, start: int, version: dict[str, Any]) -> bool:
    """Whether an answer goes on at byte `start` of the version known."""
    if start == 0:
        return response.status == 200
    begins = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
    return response.status == 206 and begins and _validator(response) in (None, version["validator"])


def _validator(response: http.client.HTTPResponse) -> str | None:
    """What tells one version of the server's file from another: a strong ETag, else the time of its last change."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")
