"""Tar and zip archives, read and unpacked without trusting them.

An archive from elsewhere may name paths outside the folder it is unpacked to, hold links or devices that lead there, or swell
to fill the disk. Here each of these, a duplicate name, a damaged and a shortened archive is one `DataError`. The kind of
archive (tar, plain or packed by gzip, bzip2 or xz, and zip) is told by its content, not by its name.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from ..errors import DataError
from ..source import Progress, silent

BLOCK = 1 << 20
HEADER_BYTES = 1 << 20
"""A tar's own headers (long names, attributes) are read into memory whole, so they must not be larger than this."""
PACKED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    RuntimeError,  # includes RecursionError (header upon header) and NotImplementedError (unknown packing)
)


@dataclass(frozen=True)
class Limits:
    """How much an archive may hold.

    Attributes:
        total_bytes: of all members, unpacked.
        members: how many files and folders.
        ratio: unpacked bytes for each byte of the archive; minded once more than `harmless` bytes come out.
        harmless: bytes that any archive may unpack to.
        in_memory: bytes of one member that is read into memory as a whole.
    """

    total_bytes: int = 1 << 40
    members: int = 2_000_000
    ratio: int = 250
    harmless: int = 1 << 28
    in_memory: int = 1 << 30


USUAL = Limits()


@dataclass(frozen=True)
class Member:
    """A regular file in an archive. `name` is relative, with `/` between folders, and stays inside any folder."""

    name: str
    size: int
    entry: Any


class Archive(ABC):
    """An open archive: iterate over it once for its files, in their order; `read` or `open` them then or later.

    Every way to use it raises `DataError`, in one line that names the archive, if it is unsafe, damaged or cut short. A
    shortened tar is noticed when the iteration comes to its end, a changed byte of a packed member when it is read.
    """

    def __init__(self, stream: BinaryIO, label: str, limits: Limits) -> None:
        self.label, self.limits = label, limits
        self.stream, self.packed_bytes = stream, stream.seek(0, os.SEEK_END)
        self._files: set[str] = set()
        self._folders: set[str] = set()
        self._count = self._total = 0
        stream.seek(0)

    @abstractmethod
    def __iter__(self) -> Iterator[Member]: ...

    @abstractmethod
    def open(self, member: Member) -> BinaryIO:
        """A stream of the member's bytes; for a member of an unpacked tar it can seek, so it may be an archive itself."""

    def read(self, member: Member) -> bytes:
        """The member's bytes."""
        if member.size > self.limits.in_memory:
            raise self._unsafe(f"its member {member.name!r} has {member.size:,} bytes, too many for the memory")
        with readable(self.label), self.open(member) as stream:
            content = stream.read(member.size)
        if len(content) != member.size:
            raise _damaged(self.label, f"{member.name!r} ends early")
        return content

    def _admit(self, name: str, size: int, is_folder: bool, entry: Any) -> Member | None:
        """The member as it may be used; None for a folder. Raises `DataError` if the name or the amount is unsafe."""
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or name[1:2] == ":":
            raise self._unsafe(f"its member {name!r} points out of the folder it belongs to")
        self._add(size)
        if is_folder:
            return None
        self._refuse_collision(path)
        return Member(str(path), size, entry)

    def _refuse_collision(self, path: PurePosixPath) -> None:
        name, folders = str(path), {str(folder) for folder in path.parents}
        if name in self._files or name in self._folders | {"."} or self._files & folders:
            raise self._unsafe(f"its member {name!r} collides with another of that name")
        self._files.add(name)
        self._folders |= folders

    def _add(self, size: int) -> None:
        self._count += 1
        self._total += size
        if self._count > self.limits.members:
            raise self._unsafe(f"it holds more than {self.limits.members:,} members")
        if self._total > self.limits.total_bytes:
            raise self._unsafe(f"it unpacks to more than {self.limits.total_bytes:,} bytes")
        if self._total > max(self.limits.harmless, self.limits.ratio * self.packed_bytes):
            raise self._unsafe(f"its {self.packed_bytes:,} bytes unpack to more than {self.limits.ratio} times as many")

    def _unsafe(self, why: str) -> DataError:
        return DataError(f"{self.label} is not safe to open: {why}. Use the original archive.")


class _Tar(Archive):
    """A tar, whose bytes come plain or through a decompressor."""

    def __init__(self, stream: BinaryIO, label: str, limits: Limits, unpacked: BinaryIO) -> None:
        super().__init__(stream, label, limits)
        self._bytes = _Careful(unpacked)
        with readable(label), self._bytes.in_small_pieces():
            self._tar = tarfile.TarFile(fileobj=cast(BinaryIO, self._bytes), mode="r")

    def __iter__(self) -> Iterator[Member]:
        while (entry := self._next()) is not None:
            if not (entry.isreg() or entry.isdir()) or entry.issparse():
                raise self._unsafe(f"its member {entry.name!r} is a link, a device or a file with holes")
            if member := self._admit(entry.name, entry.size, entry.isdir(), entry):
                yield member

    def _next(self) -> tarfile.TarInfo | None:
        with readable(self.label), self._bytes.in_small_pieces():
            entry = self._tar.next()
            if entry is None:
                self._check_end()
            return entry

    def _check_end(self) -> None:
        """A whole tar ends in zeros, and a whole packed stream in its checksum, which is compared when its end is read.

        tarfile takes a header that is missing, or makes no sense, for the end as well.
        """
        if self._bytes.last != bytes(tarfile.BLOCKSIZE):
            raise EOFError("it ends without an end mark, or a header is spoilt")
        while filling := self._bytes.read(HEADER_BYTES):
            self._add(len(filling))

    def open(self, member: Member) -> BinaryIO:
        with readable(self.label):
            stream = self._tar.extractfile(member.entry)
        if stream is None:
            raise _damaged(self.label, f"{member.name!r} has no content")
        return cast(BinaryIO, stream)


class _Careful:
    """A stream for tarfile that, while headers are read, refuses to read one of a gigabyte into memory."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._most: int | None = None
        self.last = b""
        self.seek, self.tell, self.seekable, self.close = stream.seek, stream.tell, stream.seekable, stream.close

    @contextmanager
    def in_small_pieces(self) -> Iterator[None]:
        self._most = HEADER_BYTES
        try:
            yield
        finally:
            self._most = None

    def read(self, size: int = -1) -> bytes:
        if self._most is not None and not 0 <= size <= self._most:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        self.last = self._stream.read(size)
        return self.last


class _Zip(Archive):
    def __init__(self, stream: BinaryIO, label: str, limits: Limits) -> None:
        super().__init__(stream, label, limits)
        with readable(label):
            self._zip = zipfile.ZipFile(stream)
        admitted = [self._admitted(entry) for entry in self._zip.infolist()]
        self._members = [member for member in admitted if member]

    def _admitted(self, entry: zipfile.ZipInfo) -> Member | None:
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise self._unsafe(f"its member {entry.filename!r} is a link or a device")
        if entry.flag_bits & 1:
            raise self._unsafe(f"its member {entry.filename!r} is locked by a password")
        # the name as it was stored: zipfile itself cuts it at a zero byte
        return self._admit(entry.orig_filename, entry.file_size, entry.is_dir(), entry)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members)

    def open(self, member: Member) -> BinaryIO:
        with readable(self.label):
            return cast(BinaryIO, self._zip.open(member.entry))


@contextmanager
def open_archive(source: Path | BinaryIO, *, label: str | None = None, limits: Limits = USUAL) -> Iterator[Archive]:
    """Open an archive: a file, or a stream that can seek, such as a member of an unpacked tar.

    Args:
        label: what messages call it; the path if None.
        limits: what is refused as too much.
    Raises:
        DataError: it cannot be read, is neither tar nor zip, damaged or unsafe.
    """
    name = label or str(source)
    with ExitStack() as stack:
        with readable(name):
            stream = stack.enter_context(source.open("rb")) if isinstance(source, Path) else source
            magic = stream.read(6)
            stream.seek(0)
        if magic.startswith(ZIP):
            yield _Zip(stream, name, limits)
            return
        opener: Any = next((opener for start, opener in PACKED.items() if magic.startswith(start)), None)
        yield _Tar(stream, name, limits, stack.enter_context(opener(stream)) if opener else stream)


def members(
    archive: Path, wanted: Callable[[str], bool] = lambda name: True, *, limits: Limits = USUAL
) -> Iterator[tuple[str, bytes]]:
    """The names and contents of the files in an archive, one after the other, of those whose name is `wanted`."""
    with open_archive(archive, limits=limits) as opened:
        for member in opened:
            if wanted(member.name):
                yield member.name, opened.read(member)


def unpack(archive: Path, target: Path, *, limit_bytes: int, progress: Progress = silent) -> None:
    """Unpack all files of `archive` into the new folder `target`, which appears at once when everything is there.

    Until then the files lie in a hidden folder beside it, which goes away when this fails or is interrupted. Empty folders,
    owners, permissions and times are not kept.

    Args:
        limit_bytes: the most that the archive may unpack to.
        progress: told how many bytes of the archive have been read.
    Raises:
        DataError: the archive is damaged or unsafe, `target` is there already, or there is no room for the files.
    """
    with _written(target):
        if target.exists():
            raise FileExistsError(errno.EEXIST, "it is there already")
        target.parent.mkdir(parents=True, exist_ok=True)
        hidden = Path(tempfile.mkdtemp(prefix=f".{target.name}-", suffix=".unpacking", dir=target.parent))
    try:
        content = hidden / "content"  # made anew, so that it gets the user's permissions and not a temporary folder's
        _unpack_into(archive, content, Limits(total_bytes=limit_bytes), progress)
        with _written(target):
            content.rename(target)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _unpack_into(archive: Path, folder: Path, limits: Limits, progress: Progress) -> None:
    with _written(folder):
        folder.mkdir()
    with open_archive(archive, limits=limits) as opened:
        for member in opened:
            with opened.open(member) as packed, _written(folder.parent):
                path = folder / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("xb") as file:
                    _copy(opened, member, packed, file)
            progress(f"unpacking {archive.name}", opened.stream.tell(), opened.packed_bytes)


def _copy(archive: Archive, member: Member, packed: BinaryIO, file: BinaryIO) -> None:
    left = member.size
    while left:
        with readable(archive.label):
            block = packed.read(min(BLOCK, left))
            if not block:
                raise EOFError(f"{member.name!r} ends early")
        file.write(block)
        left -= len(block)


@contextmanager
def readable(label: str) -> Iterator[None]:
    """What tar, zip and the decompressors raise on damaged bytes becomes a `DataError` that names the archive."""
    try:
        yield
    except DAMAGE as error:
        raise _damaged(label, " ".join(str(error).split()) or type(error).__name__) from error
    except OSError as error:
        if error.errno is None:  # gzip and bzip2 say so that the bytes are wrong
            raise _damaged(label, str(error)) from error
        raise DataError(f"{label} cannot be read ({error.strerror}). Mend that, or give another copy.") from error


def _damaged(label: str, reason: str) -> DataError:
    return DataError(f"{label} is no archive, damaged or cut short ({reason}). Fetch it again, or give a sound copy.")


@contextmanager
def _written(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        advice = "Make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Mend that"
        raise DataError(f"{target} cannot be written ({error.strerror}). {advice}, then try again.") from error
