"""Records on a remote file system: nothing half there, nothing brought or sent twice, and one line for each refusal.

The remote is pyarrow's own local file system, reached through a file system that counts every operation and can die at any.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trial_fakes
from pyarrow import NativeFile, PythonFile, fs

from clusterbench.bench.lock import exclusive
from clusterbench.bench.scheduling.remote import Remote, join, without_secrets
from clusterbench.bench.scheduling.storage import Mirror, Storage, mirror_folder
from clusterbench.bench.trial import Observer
from clusterbench.results.record import RecordError, RecordWriter, read_record

FOLDER = "iic-digits-short-s0-0123456789ab"
OPERATIONS = ("get_file_info", "get_file_info_selector", "create_dir", "delete_dir", "delete_dir_contents", "delete_file", "move",
              "copy_file", "open_input_stream", "open_input_file", "open_output_stream", "open_append_stream")  # fmt: skip
UNUSED = ("delete_root_dir_contents", "__eq__", "__ne__")


class Torn:
    """A file whose writing may break off in the middle: half is there then, or nothing in an object store."""

    closed = False

    def __init__(self, open_file: Callable[[], NativeFile], check: Callable[[], None], whole_only: bool) -> None:
        self.open_file, self.check, self.whole_only = open_file, check, whole_only
        self.file = None if whole_only else open_file()
        self.data: list[bytes] = []
        self.torn = False

    def write(self, data: Any) -> int:
        whole = bytes(data)
        self._keep(whole[: len(whole) // 2])
        self.torn = True
        self.check()
        self.torn = False
        self._keep(whole[len(whole) // 2 :])
        return len(whole)

    def _keep(self, data: bytes) -> None:
        self.file.write(data) if self.file else self.data.append(data)

    def writable(self) -> bool:
        return True

    def flush(self) -> None:
        if self.file:
            self.file.flush()

    def close(self) -> None:
        self.closed = True
        if self.file:
            self.file.close()
        elif not self.torn:
            with self.open_file() as file:
                file.write(b"".join(self.data))


class Counting:
    """What `pyarrow.fs.PyFileSystem` asks: every operation is counted, and from the one numbered `dies_at` all are refused."""

    def __init__(self, inner: fs.FileSystem, error: Exception | None = None) -> None:
        self.inner = inner
        self.calls: list[str] = []
        self.dies_at: int | None = None
        self.recovers_at: int | None = None
        self.is_object_store = False
        self.error = error or PermissionError(13, "the process is dead")

    def count(self, name: str) -> None:
        number = len(self.calls)
        self.calls.append(name)
        if self.dies_at is not None and number >= self.dies_at and (self.recovers_at is None or number < self.recovers_at):
            raise self.error

    def get_type_name(self) -> str:
        return "counting"

    def normalize_path(self, path: str) -> str:
        return path

    def asked(self, name: str, *arguments: Any) -> Any:
        self.count(name)
        if name == "create_dir":
            return self.inner.create_dir(arguments[0], recursive=arguments[1])
        if name == "delete_dir":
            return self._delete_one_by_one(arguments[0])
        if name == "open_output_stream":
            return PythonFile(
                Torn(lambda: self._opened(arguments[0]), lambda: self.count("write"), self.is_object_store), mode="w"
            )
        if name.startswith("open_input"):
            return getattr(self.inner, name)(*arguments)
        return getattr(self.inner, name.removesuffix("_selector"))(*arguments)

    def _delete_one_by_one(self, folder: str) -> None:
        """As object stores do it."""
        for info in sorted(self.inner.get_file_info(fs.FileSelector(folder, recursive=True)), key=lambda info: info.path):
            if info.type == fs.FileType.File:
                self.count("delete")
                self.inner.delete_file(info.path)
        self.inner.delete_dir(folder)

    def _opened(self, path: str) -> NativeFile:
        if self.is_object_store:  # which has no folders that must be made
            self.inner.create_dir(path.rpartition("/")[0], recursive=True)
        return self.inner.open_output_stream(path, compression=None)


def counting_file_system(inner: fs.FileSystem, error: Exception | None = None) -> tuple[fs.PyFileSystem, Counting]:
    def method(name: str) -> Callable[..., Any]:
        return lambda self, *arguments, **options: self.asked(name, *arguments)

    def unused(self: Any, *arguments: Any) -> bool:
        return NotImplemented

    methods = {name: method(name) for name in OPERATIONS} | dict.fromkeys(UNUSED, unused)
    kind = type("Handler", (Counting, fs.FileSystemHandler), methods)
    handler = kind(inner, error)
    return fs.PyFileSystem(handler), handler


class Place:
    """A remote folder on this disk, with nodes that mirror it."""

    def __init__(self, base: Path, error: Exception | None = None) -> None:
        self.base, self.folder = base, base / "remote"
        self.files, self.handler = counting_file_system(fs.LocalFileSystem(), error)
        self.waits: list[float] = []

    def node(self, name: str, pauses: tuple[float, ...] = ()) -> Mirror:
        remote = Remote(self.files, str(self.folder), "file:///shown", pauses=pauses, sleep=self.waits.append)
        remote.in_one_step = self.handler.is_object_store
        return Mirror(remote, self.base / name)

    def calls(self) -> list[str]:
        calls, self.handler.calls = self.handler.calls, []
        return calls


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine stays up, and a busy disk would make these tests last minutes."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


class Life:
    """A trial as it writes its folder, without training: rows, then a checkpoint, two of which are kept."""

    def __init__(self, top: Path) -> None:
        self.folder = top / FOLDER
        self.writer = RecordWriter(self.folder)

    def begin(self, created: str) -> None:
        shutil.rmtree(self.folder / "checkpoint", ignore_errors=True)
        for name in ("record.json", "epochs.jsonl", "labels.npz", "config.yaml", "model.safetensors"):
            (self.folder / name).unlink(missing_ok=True)
        self.writer = RecordWriter(self.folder)
        self.writer.start(id="0123456789ab", spec={"method": "iic", "config": {"epochs": 9}}, created=created)

    def train_to(self, epoch: int) -> None:
        done = len(read_record(self.folder).epochs())
        for number in range(done + 1, epoch + 1):
            self.writer.append_epoch({"epoch": number, "begun": self.writer.update().created})
        checkpoints = self.folder / "checkpoint"
        checkpoints.mkdir(exist_ok=True)
        (checkpoints / f"epoch-{epoch:06d}-{self.writer.update().created[-1]}.pt").write_bytes(bytes(epoch) * 100)
        for old in sorted(checkpoints.glob("epoch-*.pt"))[:-2]:
            old.unlink()

    def finish(self) -> None:
        self.writer.save_labels({"truth": np.arange(50)})
        (self.folder / "model.safetensors").write_bytes(b"weights" * 50)
        self.writer.finish(epochs_done=len(self.writer.update().epochs()))
        shutil.rmtree(self.folder / "checkpoint")


def content(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` that is no lock, by name."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if not name.endswith(".lock")}


def visible(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if "/." not in f"/{name}"}


def rows(data: bytes) -> list[Any]:
    return [json.loads(line) for line in data.splitlines()]


def check_sound(remote: dict[str, bytes], old: dict[str, bytes], new: dict[str, bytes], may_lose: int = 0) -> None:
    """Every file is an old or a new one, whole; the record speaks of nothing that is not there; no epoch is lost."""
    for name, data in remote.items():
        assert data in (old.get(name), new.get(name)), f"{name} is neither the old nor the new one"
    if "record.json" not in remote:
        return
    record, epochs = json.loads(remote["record.json"]), rows(remote.get("epochs.jsonl", b""))
    assert {row["begun"] for row in epochs} <= {record["created"]}
    checkpoints = [int(match.group(1)) for name in remote if (match := re.match(r"checkpoint/epoch-(\d+)-", name))]
    assert len(epochs) >= max(checkpoints, default=0)
    if record["status"] == "running" and "record.json" in old and record["created"] == json.loads(old["record.json"])["created"]:
        assert max(checkpoints) >= max(int(name[17:23]) for name in old if name.startswith("checkpoint/")) - may_lose
    if record["status"] == "complete":
        assert len(epochs) >= record["epochs_done"]
        assert {"labels.npz", "model.safetensors", "config.yaml"} <= set(remote)


STEPS: dict[str, Callable[[Life], None]] = {
    "started": lambda life: (life.begin("2026-01-01"), life.train_to(2))[0],
    "second checkpoint": lambda life: life.train_to(4),
    "first checkpoint gone": lambda life: life.train_to(6),
    "finished": lambda life: life.finish(),
    "begun anew": lambda life: (life.begin("2026-01-02"), life.train_to(1))[0],
    "finished again": lambda life: life.finish(),
}


@pytest.mark.parametrize("is_object_store", [False, True], ids=["a file system", "an object store"])
def test_a_push_that_dies_at_any_operation_leaves_an_old_or_a_new_record(tmp_path: Path, is_object_store: bool) -> None:
    calm = Place(tmp_path / "calm")
    life, deaths = Life(calm.node("a").local), 0
    for number, step in enumerate(STEPS.values()):
        before = tmp_path / f"before-{number}"
        shutil.copytree(calm.base, before)
        step(life)
        calm.node("a").push(FOLDER)
        old, new = content(before / "remote" / FOLDER), content(calm.folder / FOLDER)
        assert new == visible(content(life.folder))
        for dies_at in itertools.count():
            died = _dying(tmp_path / f"died-{number}-{dies_at}", before, calm, dies_at, is_object_store)
            node = died.node("a")
            try:
                node.push(FOLDER)
                break
            except RecordError as error:
                assert "the process is dead" in str(error)  # noqa: PT017
            check_sound(visible(content(died.folder / FOLDER)), old, new)
            died.handler.dies_at = None
            _goes_on(died, node, new)
            deaths += 1
    assert deaths > 40


def _dying(base: Path, before: Path, after: Place, dies_at: int, is_object_store: bool) -> Place:
    """The remote and what was known of it from `before`, the trial's own folder from `after`, and a death to come."""
    died = Place(base)
    for part in ("remote", "a/known"):
        if (before / part).exists():
            shutil.copytree(before / part, base / part)
    shutil.copytree(after.base / "a" / "records", base / "a" / "records")
    died.handler.dies_at, died.handler.is_object_store = dies_at, is_object_store
    return died


def _goes_on(died: Place, node: Mirror, new: dict[str, bytes]) -> None:
    """Once the remote is back, the same process makes it the new record, without leftovers, and another node takes it over."""
    node.push(FOLDER)
    assert content(died.folder / FOLDER) == new
    other = died.node("b")
    assert other.fetch(FOLDER)
    assert visible(content(other.local / FOLDER)) == new


def test_after_a_death_another_node_takes_over_what_is_sound_and_the_first_one_is_told(place: Place) -> None:
    node, other = place.node("a"), place.node("b")
    life = Life(node.local)
    STEPS["started"](life)
    node.push(FOLDER)
    old = content(place.folder / FOLDER)
    life.train_to(4)
    place.handler.dies_at = len(place.handler.calls) + 2
    with pytest.raises(RecordError, match="the process is dead"):
        node.push(FOLDER)
    place.handler.dies_at = None
    assert other.fetch(FOLDER)
    assert visible(content(other.local / FOLDER)) == old
    theirs = Life(other.local)
    theirs.train_to(3)
    other.push(FOLDER)
    with pytest.raises(RecordError, match=rf"Another process has written {FOLDER} in file:///shown since"):
        node.push(FOLDER)
    assert node.fetch(FOLDER)
    assert visible(content(node.local / FOLDER)) == visible(content(theirs.folder))


def test_a_process_that_was_given_up_for_lost_cannot_undo_what_another_finished(place: Place) -> None:
    lost, other = place.node("a"), place.node("b")
    STEPS["started"](Life(lost.local))
    lost.push(FOLDER)
    other.fetch(FOLDER)
    Life(other.local).finish()
    other.push(FOLDER)
    finished = content(place.folder / FOLDER)
    Life(lost.local).train_to(3)
    with pytest.raises(RecordError, match="Another process has written"):
        lost.push(FOLDER)
    assert content(place.folder / FOLDER) == finished


def test_a_truncated_history_never_leaves_a_checkpoint_without_its_rows(tmp_path: Path) -> None:
    """A damaged checkpoint sends a trial back: its later rows go, and their checkpoint there must go before them."""
    calm = Place(tmp_path / "calm")
    life = Life(calm.node("a").local)
    STEPS["started"](life)
    life.train_to(6)
    calm.node("a").push(FOLDER)
    old, before = content(calm.folder / FOLDER), tmp_path / "before"
    shutil.copytree(calm.base, before)
    (life.folder / "checkpoint" / "epoch-000006-1.pt").unlink()
    life.writer.truncate_epochs(2)
    life.train_to(3)
    calm.calls()
    calm.node("a").push(FOLDER)
    new, n_calls = content(calm.folder / FOLDER), len(calm.calls())
    assert new == visible(content(life.folder))
    for dies_at in range(n_calls):
        died = _dying(tmp_path / f"died-{dies_at}", before, calm, dies_at, is_object_store=False)
        with pytest.raises(RecordError):
            died.node("a").push(FOLDER)
        check_sound(visible(content(died.folder / FOLDER)), old, new, may_lose=4)


def test_only_what_changed_is_sent_and_only_what_changed_is_brought(place: Place) -> None:
    node = place.node("a")
    life = Life(node.local)
    STEPS["started"](life)
    everything = ["config.yaml", "epochs.jsonl", "checkpoint/epoch-000002-1.pt", "record.json"]
    assert node.push(FOLDER) == everything
    assert node.push(FOLDER) == []
    assert place.node("a").push(FOLDER) == []  # also as another process sees it
    life.train_to(3)
    assert node.push(FOLDER) == ["epochs.jsonl", "checkpoint/epoch-000003-1.pt", "record.json"]
    assert not node.fetch(FOLDER)
    assert place.node("b").fetch(FOLDER)
    assert not place.node("b").fetch(FOLDER)


def test_a_finished_record_leaves_no_checkpoints_behind(place: Place) -> None:
    life = Life(place.node("a").local)
    STEPS["started"](life)
    place.node("a").push(FOLDER)
    life.finish()
    place.node("a").push(FOLDER)
    assert not (place.folder / FOLDER / "checkpoint").exists()
    assert read_record(place.folder / FOLDER).is_complete


def test_what_was_never_pushed_stays_and_what_was_removed_there_is_removed_here(place: Place) -> None:
    node = place.node("a")
    life = Life(node.local)
    STEPS["started"](life)
    written = content(life.folder)
    assert not node.fetch(FOLDER)
    assert content(life.folder) == written
    node.push(FOLDER)
    shutil.rmtree(place.folder / FOLDER)
    assert not node.fetch(FOLDER)
    assert visible(content(life.folder)) == {}


def test_a_folder_that_lost_its_record_in_the_middle_is_brought_again(place: Place) -> None:
    life = Life(place.node("a").local)
    STEPS["started"](life)
    place.node("a").push(FOLDER)
    (life.folder / "record.json").unlink()
    assert place.node("a").fetch(FOLDER)
    assert (life.folder / "record.json").is_file()


def test_a_trial_that_runs_here_is_not_replaced(place: Place) -> None:
    node, other = place.node("a"), place.node("b")
    life = Life(node.local)
    STEPS["started"](life)
    node.push(FOLDER)
    other.fetch(FOLDER)
    Life(other.local).train_to(3)
    other.push(FOLDER)
    mine = visible(content(life.folder))
    with exclusive(life.folder):
        with pytest.raises(RecordError, match="Another process is running this trial"):
            node.fetch(FOLDER)
        assert node.fetch_records() == []
        assert visible(content(life.folder)) == mine
    assert node.fetch_records() == [FOLDER]


def test_tables_bring_only_what_they_need_of_all_records(place: Place) -> None:
    source = place.node("a").local
    for number in range(20):
        life = Life(source)
        life.folder = source / f"{FOLDER[:-2]}{number:02d}"
        life.begin("2026-01-01")
        life.train_to(2)
        life.finish()
        assert len(place.node("a").push(life.folder.name)) == 5
    (place.folder / "sweeps" / "mine" / "nested").mkdir(parents=True)
    (place.folder / "sweeps" / "mine" / "nested" / "record.json").write_text("{}")
    (place.folder / "someone-elses.txt").write_text("hello")
    driver = place.node("driver")
    brought = driver.fetch_records()
    assert sorted(brought) == sorted(path.name for path in source.iterdir())
    for name in brought:
        held = visible(content(driver.local / name))
        assert sorted(held) == ["config.yaml", "epochs.jsonl", "labels.npz", "record.json"]
        assert held.items() <= content(source / name).items()
    assert driver.fetch_records() == []
    shutil.rmtree(place.folder / brought[3])
    assert driver.fetch_records() == []
    assert visible(content(driver.local / brought[3])) == {}
    assert driver.fetch(brought[0])  # the rest of a record, when a trial needs it
    assert visible(content(driver.local / brought[0])) == content(place.folder / brought[0])


def test_a_damaged_record_there_does_not_hide_the_others(place: Place) -> None:
    life = Life(place.node("a").local)
    STEPS["started"](life)
    place.node("a").push(FOLDER)
    (place.folder / "broken").mkdir()
    (place.folder / "broken" / "record.json").write_text("{half")
    assert place.node("b").fetch_records() == ["broken", FOLDER]


@pytest.mark.parametrize(
    "error",
    [OSError("AWS Error NETWORK_CONNECTION during PutObject operation: curlCode: 28"), TimeoutError(110, "Connection timed out")],
)
def test_what_may_pass_is_tried_again_with_longer_and_longer_pauses(tmp_path: Path, error: OSError) -> None:
    place = Place(tmp_path, error)
    node = place.node("a", pauses=(0.5, 2.0, 8.0))
    STEPS["started"](Life(node.local))
    place.handler.dies_at, place.handler.recovers_at = 2, 5  # refused three times in a row
    node.push(FOLDER)
    assert place.waits == [0.5, 2.0, 8.0]
    assert content(place.folder / FOLDER) == visible(content(node.local / FOLDER))
    place.handler.dies_at, place.handler.recovers_at, place.waits[:] = 0, None, []
    with pytest.raises(RecordError, match=r"Cannot list file:///shown/.*It cannot be reached from this node: check the network"):
        node.push(FOLDER)
    assert place.waits == [0.5, 2.0, 8.0]


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError("When reading key: AWS Error ACCESS_DENIED during HeadObject operation: No response body."), "Allow it"),
        (OSError("google::cloud::Status(UNAUTHENTICATED: Could not create a OAuth2 access token)"), "Allow it"),
        (OSError("AWS Error NO_SUCH_BUCKET during PutObject operation"), "Make the bucket first"),
        (PermissionError(13, "Permission denied"), "Allow it"),
        (OSError(28, "No space left on device"), "Free some space"),
    ],
)
def test_what_will_not_pass_is_told_at_once_in_one_line(tmp_path: Path, error: OSError, remedy: str) -> None:
    place = Place(tmp_path, error)
    node = place.node("a", pauses=(1.0,))
    place.handler.dies_at = 0
    with pytest.raises(RecordError) as refused:
        node.check()
    assert re.fullmatch(rf"Cannot write file:///shown/\.write-test-\w+: .*\. {remedy}.*\.", str(refused.value))
    assert place.waits == []


def test_credentials_are_asked_for_by_the_names_of_their_scheme() -> None:
    class Denied:
        type_name = "s3"

        def get_file_info(self, selector: object) -> None:
            raise OSError("AWS Error INVALID_ACCESS_KEY_ID during ListObjectsV2 operation")

    remote = Remote(Denied(), "bucket/results", "s3://bucket/results", pauses=())
    with pytest.raises(RecordError, match=r"Cannot list s3://bucket/results: .* Give every node credentials .*AWS_ACCESS_KEY_ID"):
        remote.listing()


def test_what_a_client_says_at_length_is_cut_off() -> None:
    class Verbose:
        type_name = "hdfs"

        def get_file_info(self, selector: object) -> None:
            raise OSError("Unable to load libjvm\n" + "dlopen failed " * 100)

    with pytest.raises(RecordError, match=r"^Cannot list hdfs://host/x: Unable to load libjvm dlopen .*…\. The client for hdfs"):
        Remote(Verbose(), "x", "hdfs://host/x").listing()


def test_uris_that_cannot_be_opened_are_told_in_one_line() -> None:
    with pytest.raises(RecordError, match=r"Cannot open foo://x/y: .*Use a plain path, or a URI of file, s3, gs, hdfs or abfs\."):
        Storage.open("foo://x/y")
    with pytest.raises(RecordError, match=r"mock:/*\S* names no folder\. Give one: "):
        Storage.open("mock:///")
    with pytest.raises(RecordError, match=r"Cannot open file://relative/x"):
        Storage.open("file://relative/x")


def test_no_message_shows_a_secret() -> None:
    assert without_secrets("s3://KEY:SECRET@bucket/folder?access=SECRET") == "s3://bucket/folder"
    with pytest.raises(RecordError) as refused:
        Storage.open("foo://KEY:SECRET@bucket/folder")
    assert "foo://bucket/folder" in str(refused.value)
    assert "SECRET" not in str(refused.value)


def test_folders_below_a_uri_keep_its_options() -> None:
    assert join("s3://bucket/out/?region=eu", "sweeps", "one") == "s3://bucket/out/sweeps/one?region=eu"
    assert join("results", "sweeps", "one") == str(Path("results", "sweeps", "one"))


def test_every_uri_has_a_mirror_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = mirror_folder("s3://bucket/a")
    assert first.parent == tmp_path / "clusterbench" / "mirror"
    assert first == mirror_folder("s3://bucket/a/")
    assert first != mirror_folder("s3://bucket/b")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    assert mirror_folder("s3://bucket/a").is_relative_to(tmp_path / "temporary")


def test_file_uris_and_folders_of_other_file_systems_work_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    opened = Storage.open((tmp_path / "far").as_uri())
    inside_another = Mirror(Remote(fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "sub", "sub://x"), tmp_path / "c")
    assert opened.is_remote
    for storage, remote in ((opened, tmp_path / "far"), (inside_another, tmp_path / "sub")):
        storage.check()
        assert content(remote) == {}
        life = Life(storage.local)
        STEPS["started"](life)
        storage.push(FOLDER)
        assert content(remote / FOLDER) == visible(content(life.folder))


def test_a_file_system_in_memory_gives_back_what_it_got(tmp_path: Path) -> None:
    remote = Remote(fs._MockFileSystem(), "bucket/results", "mock:///bucket/results")
    life = Life(Mirror(remote, tmp_path / "a").local)
    for step in STEPS.values():
        step(life)
        Mirror(remote, tmp_path / "a").push(FOLDER)
        other = Mirror(remote, tmp_path / "b")
        other.fetch(FOLDER)
        assert visible(content(other.local / FOLDER)) == visible(content(life.folder))


def test_a_plain_folder_is_used_as_it_is_and_loads_no_pyarrow(tmp_path: Path) -> None:
    code = f"""
import sys
from clusterbench.bench.scheduling.storage import Storage
storage = Storage.open({str(tmp_path / "out")!r})
storage.check()
print(storage.local, storage.is_remote, storage.fetch("x"), storage.push("x"), storage.fetch_records())
assert not [name for name in ("pyarrow", "torch", "ray") if name in sys.modules]
"""
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert told.strip() == f"{tmp_path / 'out'} False False [] []"
    assert not (tmp_path / "out").exists()


class Pushing(Observer):
    """Pushes after every epoch; after epoch `until` the node is lost."""

    def __init__(self, storage: Storage, folder: str, until: int) -> None:
        self.storage, self.folder, self.until = storage, folder, until

    def on_epoch(self, row: dict[str, Any]) -> None:
        self.storage.push(self.folder)
        if row["epoch"] == self.until:
            raise ConnectionError("the node is lost")


def test_a_trial_whose_node_is_lost_goes_on_elsewhere_to_the_same_result(
    place: Place, drift: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clusterbench.bench.checkpoint.LARGEST_SHARE", float("inf"))  # save after every epoch, however short
    data = trial_fakes.tiny_data()
    spec = trial_fakes.drift_spec(data)
    undisturbed = trial_fakes.run(spec, data, place.base / "alone")
    name = spec.folder_name()
    lost = place.node("a")
    with pytest.raises(ConnectionError):
        trial_fakes.run(spec, data, lost.local, observer=Pushing(lost, name, until=4))
    node = place.node("b")
    assert node.fetch(name)
    record = trial_fakes.run(spec, data, node.local, observer=Pushing(node, name, until=0))
    node.push(name)
    assert record.cost["resumed"] == 1
    assert trial_fakes.outcome(record) == trial_fakes.outcome(undisturbed)
    assert trial_fakes.outcome(read_record(place.folder / name)) == trial_fakes.outcome(undisturbed)
    driver = place.node("driver")
    driver.fetch_records()
    assert trial_fakes.outcome(read_record(driver.local / name)) == trial_fakes.outcome(undisturbed)
