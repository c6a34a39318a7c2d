"""Where the records of many trials lie: a folder that every node sees, or one on a remote file system, mirrored by each node.

The remote folder holds plain record folders, as a local one does, and whatever is interrupted leaves each of them sound:

* A file is there whole or not at all.
* `record.json` is written last, so it never speaks of files that are not there. What has gone here goes there after it.
* Rows of epochs are there before the checkpoints they belong to, as a trial that goes on expects.
* A trial begun anew withdraws the `record.json` of the old one first: a folder without it counts as empty.

What this node knows of the remote folder stands in a file beside its mirror. A record that another process wrote since is
taken over by `fetch` and never overwritten by `push`.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from shutil import rmtree

from ...results.files import refusals
from ...results.record import RecordError, read_record, write_json
from ..lock import exclusive
from .remote import Remote, State, is_uri

RECORD = "record.json"
CHECKPOINTS = "checkpoint/"
FOR_TABLES = (RECORD, "epochs.jsonl", "config.yaml", "labels.npz", "snapshots.npz", "origin.json")
AT_A_TIME = 16  # records that are brought together; small files wait for the network, not for this node


class Storage:
    """A folder that every node sees: there is nothing to bring and nothing to push.

    Attributes:
        local: the folder to work in on this node.
        is_remote: whether `local` is a mirror of something remote.
    """

    is_remote = False

    def __init__(self, local: Path) -> None:
        self.local = local

    @staticmethod
    def open(out: str) -> Storage:
        """The storage at `out`: a path, or a URI that pyarrow opens (`s3://bucket/folder`, `gs://`, `hdfs://`, `file:///`).

        Raises:
            RecordError: the URI's scheme is not known, its client is not installed, or the folder of the mirror cannot be made.
        """
        return Mirror(Remote.open(out), mirror_folder(out)) if is_uri(out) else Storage(Path(out))

    def check(self) -> None:
        """Write a small file and delete it. Raises `RecordError` if that cannot be: better now than after the first epochs."""

    def fetch(self, folder: str) -> bool:
        """Bring a record folder here if another process wrote it; whether anything came. Before a trial takes its lock.

        What was removed there is removed here. What was never pushed from here stays.
        """
        return False

    def push(self, folder: str) -> list[str]:
        """Make the record folder there what it is here; the files that were sent. After a checkpoint, and at the end.

        The folder must rest meanwhile. Raises `RecordError` if the remote refuses, or if another process wrote the record
        since this one fetched it.
        """
        return []

    def fetch_records(self) -> list[str]:
        """Bring what tables need of all records (`FOR_TABLES`), where it changed; the folders that something came for."""
        return []


@dataclass(frozen=True)
class Known:
    """How a record folder was when it last was the same here and there.

    Attributes:
        there: the remote files that are here, with their states.
        here: size, time of change and inode of the local files.
        created: when the record was begun; a trial that begins anew has another time.
    """

    there: dict[str, State] = field(default_factory=dict)
    here: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    created: str | None = None


class Mirror(Storage):
    """A remote folder, and a folder of this node that trials work in.

    Args:
        remote: the folder there.
        base: a folder of this node that is used for nothing else; made if missing.
    """

    is_remote = True

    def __init__(self, remote: Remote, base: Path) -> None:
        super().__init__(base / "records")
        self.remote, self.notes = remote, base / "known"
        self.sent: dict[str, set[str]] = defaultdict(set)  # what this process may have written since the last note
        with refusals(base):
            base.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.local.mkdir(exist_ok=True)
            self.notes.mkdir(exist_ok=True)

    def check(self) -> None:
        name = f".write-test-{uuid.uuid4().hex}"
        with tempfile.TemporaryDirectory() as folder:
            sample = Path(folder, name)
            sample.write_bytes(b"clusterbench")
            self.remote.upload(sample, name)
        self.remote.delete(name)

    def fetch(self, folder: str) -> bool:
        with self._lock(folder):
            known, there = self._known(folder), _seen(self.remote.listing(folder))
            if RECORD in there:
                news, wanted = there != known.there or not (self.local / folder / RECORD).exists(), there
            else:
                news, wanted = RECORD in known.there, {}
            if news:
                with exclusive(self.local / folder):
                    self._bring(folder, wanted)
        return news and RECORD in there

    def push(self, folder: str) -> list[str]:
        if not (self.local / folder / RECORD).exists():
            return []
        with self._lock(folder):
            known, there = self._known(folder), self.remote.listing(folder)
            self._check_ours(folder, known, there)
            created = read_record(self.local / folder).created
            if RECORD not in there or created != known.created:
                self._withdraw(folder, there)
                known, there = Known(), {}
            return self._send(folder, known, there, created)

    def fetch_records(self) -> list[str]:
        remote: dict[str, dict[str, State]] = defaultdict(dict)
        for path, state in self.remote.listing().items():
            folder, _, name = path.partition("/")
            if name in FOR_TABLES:
                remote[folder][name] = state
        records = {folder: files for folder, files in remote.items() if RECORD in files}
        for note in self.notes.glob("*.json"):
            if note.stem not in records and RECORD in self._known(note.stem).there:
                self._unless_busy(note.stem, {})
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            came = pool.map(self._bring_changed, records, records.values())
            return [folder for folder, is_new in zip(records, came, strict=True) if is_new]

    def _bring_changed(self, folder: str, files: Mapping[str, State]) -> bool:
        known = self._known(folder).there
        same = all(known.get(name) == state for name, state in files.items())
        return not (same and (self.local / folder / RECORD).exists()) and self._unless_busy(folder, files)

    def _unless_busy(self, folder: str, files: Mapping[str, State]) -> bool:
        """Make the folder here hold just `files`, unless a trial of this node works in it: what is here is newer then."""
        from filelock import Timeout

        with ExitStack() as held:
            try:
                held.enter_context(self._lock(folder, wait=False))
                held.enter_context(exclusive(self.local / folder))
            except (Timeout, RecordError):
                return False
            self._bring(folder, files)
        return True

    def _bring(self, folder: str, files: Mapping[str, State]) -> None:
        """Make the folder here hold just `files`; killed in between, it holds no record and is brought again."""
        target = self.local / folder
        with tempfile.TemporaryDirectory(dir=self.notes) as waiting:
            for name in files:
                self.remote.download(f"{folder}/{name}", Path(waiting, name))
            self._clear(folder)
            with refusals(target):
                for name in _in_order(files):
                    (target / name).parent.mkdir(parents=True, exist_ok=True)
                    os.replace(Path(waiting, name), target / name)
        self._note(folder, Known(dict(files), self._here(folder), _created(target)))

    def _clear(self, folder: str) -> None:
        """Delete what a record consists of, its `record.json` first; the lock stays."""
        target = self.local / folder
        (target / RECORD).unlink(missing_ok=True)
        for name in self._here(folder):
            (target / name).unlink(missing_ok=True)
        for inner in [path for path in target.iterdir() if path.is_dir()]:
            rmtree(inner, ignore_errors=True)

    def _check_ours(self, folder: str, known: Known, there: Mapping[str, State]) -> None:
        """Raise `RecordError` if there is a record or a checkpoint that neither this node nor this process knows of."""
        told = [name for name in _seen(there) if name == RECORD or name.startswith(CHECKPOINTS)]
        foreign = [name for name in told if known.there.get(name) != there[name] and name not in self.sent[folder]]
        if foreign and RECORD in there:
            raise RecordError(
                f"Another process has written {folder} in {self.remote.shown} since this one read it. "
                "Let one at a time run this trial, then run it again."
            )

    def _withdraw(self, folder: str, there: Mapping[str, State]) -> None:
        """Remove what an earlier run of this trial left, or a push that never came to its end."""
        if RECORD in there:
            self.remote.delete(f"{folder}/{RECORD}")
        if there:
            self.remote.delete_folder(folder)

    def _send(self, folder: str, known: Known, there: Mapping[str, State], created: str) -> list[str]:
        here = self._here(folder)
        same = {name for name in here if known.here.get(name) == here[name] and there.get(name) == known.there.get(name)}
        changed, gone = [name for name in _in_order(here) if name not in same], [name for name in there if name not in here]
        if not changed and not gone:
            return []
        overtaken = _overtaken(here, gone)
        self._delete(folder, overtaken, here)
        for name in changed:
            self.sent[folder].add(name)
            self.remote.upload(self.local / folder / name, f"{folder}/{name}")
        self._delete(folder, [name for name in gone if name not in overtaken], here)
        self._note(folder, Known(_seen(self.remote.listing(folder)), here, created))
        self.sent.pop(folder, None)
        return changed

    def _delete(self, folder: str, names: Iterable[str], kept: Iterable[str]) -> None:
        """Delete files there, by whole folders where nothing in them is kept."""
        folders_kept = {str(PurePosixPath(name).parent) for name in kept}
        by_parent: dict[str, list[str]] = defaultdict(list)
        for name in names:
            by_parent[str(PurePosixPath(name).parent)].append(name)
        for parent, inside in by_parent.items():
            if parent != "." and parent not in folders_kept:
                self.remote.delete_folder(f"{folder}/{parent}")
                continue
            for name in inside:
                self.remote.delete(f"{folder}/{name}")

    def _here(self, folder: str) -> dict[str, tuple[int, int, int]]:
        """The files of a record, by name; an inode tells two versions apart that the clock does not."""
        top = self.local / folder
        found = {path.relative_to(top).as_posix(): path.stat() for path in top.rglob("*") if path.is_file()}
        return {name: (about.st_size, about.st_mtime_ns, about.st_ino) for name, about in found.items() if not _is_hidden(name)}

    def _known(self, folder: str) -> Known:
        try:
            noted = json.loads((self.notes / f"{folder}.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return Known()
        there, here = ({name: tuple(state) for name, state in noted[side].items()} for side in ("there", "here"))
        return Known(there, here, noted["created"])

    def _note(self, folder: str, known: Known) -> None:
        write_json(self.notes / f"{folder}.json", asdict(known))

    @contextmanager
    def _lock(self, folder: str, wait: bool = True) -> Iterator[None]:
        """Keep the other processes of this node from bringing or pushing the same folder."""
        from filelock import FileLock

        with FileLock(self.notes / f"{folder}.lock").acquire(blocking=wait):
            yield


def mirror_folder(uri: str) -> Path:
    """The folder for the mirror of `uri`: in `$XDG_CACHE_HOME/clusterbench` if that is set, else in the system's folder for
    temporary files, which every node has for itself."""
    cache = os.environ.get("XDG_CACHE_HOME")
    user = os.getuid() if hasattr(os, "getuid") else "user"  # others must not get at our place in a folder that all may write to
    home = Path(cache).expanduser() / "clusterbench" if cache else Path(tempfile.gettempdir(), f"clusterbench-{user}")
    return home / "mirror" / hashlib.sha256(uri.rstrip("/").encode()).hexdigest()[:16]


def _created(folder: Path) -> str | None:
    """When the record in `folder` was begun, if it can be read."""
    try:
        return read_record(folder).created
    except RecordError:
        return None


def _in_order(names: Iterable[str]) -> list[str]:
    """As they are to be written: rows of epochs before checkpoints, `record.json` last."""
    return sorted(names, key=lambda name: (name == RECORD, name.startswith(CHECKPOINTS), name))


def _overtaken(here: Iterable[str], gone: Iterable[str]) -> list[str]:
    """Checkpoints there of epochs that are trained again here: they must go before the rows of these epochs do."""
    newest = max((name for name in here if name.startswith(CHECKPOINTS)), default=None)
    return [] if newest is None else [name for name in gone if name.startswith(CHECKPOINTS) and name > newest]


def _seen(files: Mapping[str, State]) -> dict[str, State]:
    """`files` without what an interrupted upload left beside its place."""
    return {name: state for name, state in files.items() if not _is_hidden(name)}


def _is_hidden(name: str) -> bool:
    return PurePosixPath(name).name.startswith(".")
