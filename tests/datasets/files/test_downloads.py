import errno
import fcntl
import hashlib
import http.server
import os
import socket
import threading
from dataclasses import dataclass, field

import numpy as np
import pytest

from clusterbench.datasets.errors import DataError
from clusterbench.datasets.files import downloads
from clusterbench.datasets.files.downloads import fetch

CONTENT = np.random.default_rng(0).integers(0, 256, 1_000_000, np.uint8).tobytes()
OTHER = CONTENT[::-1]
MD5, SHA256 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """What the local server has and how it behaves; `asked` are the Range headers it got."""

    content: bytes = CONTENT
    etag: str | None = '"first"'
    modified: str | None = None
    ranges: bool = True
    lengths: bool = True
    drop_after: list[int] = field(default_factory=list)  # bytes sent in each of the next answers, which then break off
    statuses: list[int] = field(default_factory=list)  # of the next answers
    silent: bool = False
    minds_if_range: bool = True
    asked: list[str | None] = field(default_factory=list)
    url: str = ""

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.asked.append(wanted)
        if self.statuses:
            handler.send_error(self.statuses.pop(0))
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0
        if self.minds_if_range and handler.headers.get("If-Range") not in (None, self.etag, self.modified):
            start = 0
        if start >= len(self.content):
            handler.send_error(416)
            return
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        for name, value in (("ETag", self.etag), ("Last-Modified", self.modified)):
            if value:
                handler.send_header(name, value)
        if self.lengths:
            handler.send_header("Content-Length", str(len(self.content) - start))
        handler.end_headers()
        if self.silent:
            released.wait(10)
        body = self.content[start:]
        handler.wfile.write(body[: self.drop_after.pop(0)] if self.drop_after else body)


released = threading.Event()


@pytest.fixture
def server(monkeypatch):
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            state.answer(self)

        def log_message(self, *args):
            pass

    monkeypatch.setattr(downloads, "PAUSES", (0.0, 0.0))
    monkeypatch.setenv("no_proxy", "*")
    released.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.url = f"http://127.0.0.1:{running.server_port}/data.zip"
        yield state
        released.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "new" / "data.zip"


def failure(server, target, **expected):
    with pytest.raises(DataError) as error:
        fetch(server.url, target, what="mydata", **expected)
    assert "\n" not in str(error.value) and not target.exists()
    return str(error.value)


def names(target):
    return sorted(path.name for path in target.parent.iterdir())


def interrupted(server, target, sent):
    """A first call that breaks off for good after `sent` bytes."""
    server.drop_after, server.statuses = [sent], []
    server.ranges, before = False, server.ranges
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(downloads, "PAUSES", ())
        assert f"the connection broke off. The {sent:,} bytes so far are kept." in failure(server, target)
    server.ranges = before
    server.asked.clear()
    assert target.with_name("data.zip.part").stat().st_size == sent


def test_file_is_fetched_whole_and_nothing_else_stays(server, target):
    told = []
    fetch(server.url, target, md5=MD5, sha256=SHA256, size=len(CONTENT), progress=lambda *n: told.append(n), what="mydata")
    assert target.read_bytes() == CONTENT
    assert names(target) == ["data.zip"] and server.asked == [None]
    assert ("fetching mydata", len(CONTENT), len(CONTENT)) in told and told[-1] == ("checking mydata", len(CONTENT), len(CONTENT))


def test_dropped_connection_goes_on_where_it_stopped(server, target):
    server.drop_after = [300_000, 250_000]
    fetch(server.url, target, md5=MD5, what="mydata")
    assert server.asked == [None, "bytes=300000-", "bytes=550000-"]
    assert target.read_bytes() == CONTENT


def test_next_call_goes_on_where_the_last_one_stopped(server, target):
    interrupted(server, target, 400_000)
    fetch(server.url, target, md5=MD5, what="mydata")
    assert server.asked == ["bytes=400000-"] and target.read_bytes() == CONTENT and names(target) == ["data.zip"]


def test_time_of_last_change_serves_where_there_is_no_etag(server, target):
    server.etag, server.modified = None, "Wed, 21 Oct 2015 07:28:00 GMT"
    interrupted(server, target, 400_000)
    fetch(server.url, target, md5=MD5, what="mydata")
    assert server.asked == ["bytes=400000-"] and target.read_bytes() == CONTENT


@pytest.mark.parametrize("minds_if_range", [True, False])
def test_file_that_changed_meanwhile_is_not_glued_to_the_old_part(server, target, minds_if_range):
    interrupted(server, target, 400_000)
    server.content, server.etag, server.minds_if_range = OTHER, '"second"', minds_if_range
    fetch(server.url, target, what="mydata")  # no checksum that could tell
    assert server.asked[0] == "bytes=400000-" and target.read_bytes() == OTHER


def test_file_that_became_shorter_is_fetched_anew(server, target):
    interrupted(server, target, 400_000)
    server.content, server.minds_if_range = CONTENT[:1000], False
    fetch(server.url, target, what="mydata")
    assert server.asked == ["bytes=400000-", None] and target.read_bytes() == CONTENT[:1000]


def test_server_without_ranges_begins_again(server, target):
    server.ranges, server.drop_after = False, [300_000]
    fetch(server.url, target, md5=MD5, what="mydata")
    assert target.read_bytes() == CONTENT


def test_part_of_unknown_version_is_fetched_anew(server, target):
    server.etag = None
    server.drop_after = [300_000]
    fetch(server.url, target, md5=MD5, what="mydata")
    assert server.asked == [None, None] and target.read_bytes() == CONTENT

    second = target.with_name("second.zip")
    second.with_name("second.zip.part").write_bytes(b"left by something else")
    fetch(server.url, second, what="mydata")
    assert second.read_bytes() == CONTENT


def test_part_of_another_address_is_fetched_anew(server, target):
    interrupted(server, target, 400_000)
    server.url, server.content = server.url.replace("data.zip", "mirror.zip"), OTHER
    fetch(server.url, target, what="mydata")
    assert server.asked == [None] and target.read_bytes() == OTHER


def test_whole_part_that_was_not_yet_named_is_not_fetched_again(server, target, monkeypatch):
    def broken(self, part):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(downloads._Download, "finish", broken)
        with pytest.raises(KeyboardInterrupt):
            fetch(server.url, target, md5=MD5, what="mydata")
    assert not target.exists()
    server.asked.clear()
    fetch(server.url, target, md5=MD5, what="mydata")
    assert server.asked == [] and target.read_bytes() == CONTENT


@pytest.mark.parametrize("expected", [{"md5": "0" * 32}, {"sha256": "0" * 64}, {"md5": MD5, "sha256": "0" * 64}])
def test_wrong_checksum_deletes_the_part_and_says_so(server, target, expected):
    message = failure(server, target, **expected)
    assert "is not the original file" in message and "was deleted" in message and "0" * 32 in message
    assert names(target) == []


def test_wrong_size_is_noticed_before_the_file_is_fetched(server, target):
    assert "the server's file has 1,000,000 bytes, the original 5." in failure(server, target, size=5)
    assert target.with_name("data.zip.part").stat().st_size == 0


def test_file_without_announced_length_is_judged_by_its_size(server, target):
    server.lengths = False
    fetch(server.url, target, size=len(CONTENT), what="mydata")
    assert target.read_bytes() == CONTENT
    server.drop_after = [1000, 1000, 1000, 1000, 1000]
    second = target.with_name("second.zip")
    fetch(server.url, second, size=len(CONTENT), md5=MD5, what="mydata")
    assert second.read_bytes() == CONTENT


def test_missing_file_is_reported_at_once(server, target):
    server.statuses = [404]
    message = failure(server, target)
    assert message.startswith(f"mydata could not be fetched from {server.url}: the server answers 404 Not Found.")
    assert str(target) in message and len(server.asked) == 1


def test_busy_server_is_asked_again_a_few_times(server, target):
    server.statuses = [503, 429]
    fetch(server.url, target, md5=MD5, what="mydata")
    assert len(server.asked) == 3 and target.read_bytes() == CONTENT
    server.statuses, server.asked = [503] * 9, []
    assert "503 Service Unavailable" in failure(server, target.with_name("second.zip"))
    assert len(server.asked) == 3


def test_stalled_connection_is_given_up(server, target, monkeypatch):
    monkeypatch.setattr(downloads, "STALL", 0.05)
    server.silent = True
    assert "nothing came for 0.05 seconds" in failure(server, target)


def test_absent_server_and_absent_network_are_one_line(server, target, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server.url = f"http://127.0.0.1:{free.getsockname()[1]}/data.zip"
    assert "Connection refused" in failure(server, target)

    def no_names(*args, **kwargs):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", no_names)
    server.url = "http://example.invalid/data.zip"
    assert "there may be no network" in failure(server, target)


def test_full_disk_is_one_line_and_keeps_what_came(server, target, monkeypatch):
    def full(self, part, block):
        with self.saving():
            if part.tell() >= downloads.BLOCK:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            part.write(block)

    with monkeypatch.context() as patch:
        patch.setattr(downloads._Download, "write", full)
        message = failure(server, target)
    assert message.startswith("mydata cannot be saved to") and "No space left on device" in message and "Make room" in message
    fetch(server.url, target, md5=MD5, what="mydata")
    assert server.asked == [None, f"bytes={downloads.BLOCK}-"] and target.read_bytes() == CONTENT


def test_disk_that_is_really_full_is_one_line(server, target, monkeypatch):
    target.parent.mkdir()
    target.with_name("data.zip.part").symlink_to("/dev/full")
    monkeypatch.setattr(downloads._Download, "empty", lambda self, part: None)  # a device cannot be shortened
    assert "No space left on device" in failure(server, target)


def test_folder_that_cannot_be_written_is_one_line(server, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match=r"cannot be saved to .*Mend that"):
        fetch(server.url, tmp_path / "file" / "data.zip", what="mydata")


def test_right_file_that_is_there_is_not_fetched(server, target):
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    fetch(server.url, target, md5=MD5, size=len(CONTENT), what="mydata")
    assert server.asked == []


def test_wrong_file_that_is_there_is_reported_and_not_overwritten(server, target):
    target.parent.mkdir()
    target.write_bytes(b"mine")
    for expected in ({"md5": MD5}, {"size": 5}):
        with pytest.raises(DataError, match=r"is not the original file .*Delete it"):
            fetch(server.url, target, what="mydata", **expected)
    assert target.read_bytes() == b"mine" and server.asked == []


def test_part_that_another_process_is_writing_is_left_alone(server, target):
    target.parent.mkdir()
    with target.with_name("data.zip.part").open("ab") as part:
        fcntl.flock(part, fcntl.LOCK_EX)  # belongs to this opening of the file, so it keeps out this process too
        assert "Another process is fetching mydata" in failure(server, target)
    fetch(server.url, target, md5=MD5, what="mydata")
    assert target.read_bytes() == CONTENT
