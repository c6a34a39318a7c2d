"""Files that are whole at any moment: replaced in one step, or appended to by whole lines."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np


class RecordError(Exception):
    """A record that cannot be read or written. One line: which one, what is wrong, what to do."""


def write_json(path: Path, content: Any) -> None:
    """Replace `path` by `content` as JSON: at any moment the old file or the new one is there, whole.

    NumPy scalars and arrays become numbers and lists, NaN and infinities null, paths strings. Raises `RecordError` if
    the disk refuses.
    """
    replace_file(path, (json.dumps(plain(content), indent=2, ensure_ascii=False) + "\n").encode())


def replace_file(path: Path, content: bytes | Callable[[IO[bytes]], object]) -> None:
    """Put `content` (bytes, or what writes them into an open file) in the place of `path`, in one step.

    It is written and synchronised beside `path` first, so a full disk, a kill or a power cut leaves the old file whole.
    """
    # The process number keeps two writers apart; the ending .tmp keeps the file out of every search for records.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with refusals(path):
        try:
            with temporary.open("wb") as file:
                file.write(content) if isinstance(content, bytes) else content(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def append_line(path: Path, line: bytes) -> None:
    """Add `line` to `path`, all of it or nothing; first cut off what a killed writer left after the last newline."""
    with refusals(path), path.open("a+b", buffering=0) as file:
        whole = _end_of_last_line(file)
        file.truncate(whole)
        try:
            # Unbuffered, so that closing the file after a refusal cannot write the rest of the line.
            if os.write(file.fileno(), line + b"\n") != len(line) + 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(whole)
            raise


def plain(value: Any) -> Any:
    """`value` in JSON's types: NumPy's and torch's scalars and arrays as numbers and lists, NaN and infinities as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return plain(value.tolist()) if hasattr(value, "tolist") else str(value)


def smallest_signed(array: np.ndarray) -> np.ndarray:
    """`array` (integers) in the smallest signed integer type that holds all its values."""
    if not array.size:
        return array.astype(np.int8)
    extremes = int(array.min()), int(array.max())
    return array.astype(next(t for t in (np.int8, np.int16, np.int32, np.int64) if fits(extremes, np.iinfo(t))))


def fits(extremes: tuple[int, int], limits: np.iinfo) -> bool:
    """Whether both extremes lie within the limits of an integer type."""
    return limits.min <= extremes[0] and extremes[1] <= limits.max


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turn what the disk refuses at `path` into a `RecordError` that says what to do."""
    try:
        yield
    except OSError as error:
        remedy = "Free some space, then run it again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Choose another --out"
        raise RecordError(f"Cannot write {path}: {reason(error)}. {remedy}; what was there before is intact.") from error


def reason(error: OSError) -> str:
    """What the operating system says, without the number and the path."""
    return error.strerror or str(error)


def _end_of_last_line(file: IO[bytes]) -> int:
    """Bytes up to and with the last newline, found from the end so that long files cost nothing."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 4096)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
