"""Many files of one kind, in a folder or straight from a zip archive: found by name, read and decoded one at a time.

Nothing is extracted: a member of an archive is read into memory, so no path of an archive is ever written to.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from PIL import Image

from ..errors import DataError
from .archives import open_archive

LARGEST_IMAGE = 64_000_000  # pixels; those of Potsdam have 36 million
SOUND_COPY = "Fetch it again, or give a sound copy with --from PATH."


@dataclass(frozen=True, eq=False)
class FileSet:
    """Files by key.

    Attributes:
        where: the folder, or the zip archive.
        entries: key -> the file's name in the folder, or the member's name in the archive.
    """

    where: Path
    entries: Mapping[str, str]

    def __contains__(self, key: object) -> bool:
        return key in self.entries

    def __len__(self) -> int:
        return len(self.entries)

    def title(self, key: str) -> str:
        """What messages call the file: its path, or `archive.zip: member`."""
        name = self.entries[key]
        return f"{self.where}: {name}" if self.where.is_file() else str(self.where / name)

    @contextmanager
    def reader(self) -> Iterator[Callable[[str], bytes]]:
        """A function from a key to the bytes of the file; several threads may call it. It raises `DataError`."""
        if not self.where.is_file():
            yield self._from_folder
            return
        with open_archive(self.where) as archive:
            members = {member.name: member for member in archive}
            yield lambda key: archive.read(members[self.entries[key]])

    @contextmanager
    def opened(self, key: str) -> Iterator[IO[bytes]]:
        """One file, to read its head from."""
        if self.where.is_file():
            with open_archive(self.where) as archive:
                member = next(member for member in archive if member.name == self.entries[key])
                with archive.open(member) as stream:
                    yield stream
            return
        try:
            stream = (self.where / self.entries[key]).open("rb")
        except OSError as error:
            raise self._unreadable(key, error) from error
        with stream:
            yield stream

    def _from_folder(self, key: str) -> bytes:
        try:
            return (self.where / self.entries[key]).read_bytes()
        except OSError as error:
            raise self._unreadable(key, error) from error

    def _unreadable(self, key: str, error: OSError) -> DataError:
        return DataError(f"{self.title(key)} cannot be read ({error.strerror or error}). {SOUND_COPY}")


def in_folder(folder: Path, name: re.Pattern[str]) -> FileSet | None:
    """The files of `folder` whose whole name matches, by the pattern's first group in sorted order; None if there is none.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror or error}). {SOUND_COPY}") from error
    entries = {match[1]: match[0] for match in map(name.fullmatch, names) if match}
    return FileSet(folder, entries) if entries else None


def in_zip(path: Path, name: re.Pattern[str], parent: str | None = None) -> FileSet | None:
    """The same for members of an archive, in any of its folders or in one called `parent`; None if `path` is no file.

    Raises:
        DataError: the archive is damaged or unsafe.
    """
    if not path.is_file():
        return None
    with open_archive(path) as archive:
        members = sorted(member.name for member in archive)
    entries = {}
    for member in map(PurePosixPath, members):
        match = name.fullmatch(member.name)
        if match and (parent is None or member.parent.name == parent):
            entries[match[1]] = str(member)
    return FileSet(path, entries) if entries else None


def decoded(title: str, content: bytes | bytearray) -> Image.Image:
    """The image in `content`, decoded, in the mode it is stored in. Raises `DataError` for one that cannot be decoded."""
    try:
        image = Image.open(io.BytesIO(content))
        if image.width * image.height > LARGEST_IMAGE:
            raise ValueError(f"{image.width}x{image.height} pixels, which no original image has")
        image.load()
    except Exception as error:  # Pillow raises whatever a damaged file leads its parsers to
        raise damaged(title, error) from error
    return image


def damaged(title: str, error: Exception) -> DataError:
    """The error for a file that cannot be decoded."""
    reason = re.sub(r"<_io\.\w+ object at 0x\w+>", "it", " ".join(str(error).split())) or type(error).__name__
    return DataError(f"{title} is damaged or cut short ({reason.rstrip('.')}). {SOUND_COPY}")
