"""The manifest of a bundle: whose records are in it, and the checksum of every file.

It shows that a bundle is what was packed. It cannot show who packed it: whoever forges a bundle can forge its manifest too. So
the records are looked at as well (`evidence.py`), and a sender can tell the checksum of the whole bundle another way.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...results.record import RecordError

MANIFEST = "manifest.json"
FORMAT = 1
BLOCK = 1 << 20
HEX = "^[0-9a-f]{64}$"
LAB_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,38}[A-Za-z0-9])?")  # stands at the ends of names of folders


class Sum(BaseModel):
    """Of one file: its size in bytes and its SHA-256."""

    model_config = ConfigDict(frozen=True)

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=HEX)


class Manifest(BaseModel):
    """The content of manifest.json.

    Attributes:
        format: version of the bundle's form; this code writes and reads `FORMAT`.
        lab: the laboratory that ran the records.
        made: when it was packed, ISO 8601 in UTC.
        clusterbench: the version that packed it.
        files: of every other file in the bundle, by its name in it.
        seal: SHA-256 of all of the above, so that a slip of an editor's hand shows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    lab: str
    made: str
    clusterbench: str
    files: dict[str, Sum]
    seal: Annotated[str, Field(pattern=f"{HEX}|^$")] = ""

    def sealed(self) -> Manifest:
        """The same with its seal."""
        return self.model_copy(update={"seal": self._proper_seal()})

    @property
    def is_intact(self) -> bool:
        """Whether the seal is that of the content."""
        return self.seal == self._proper_seal()

    def _proper_seal(self) -> str:
        text = json.dumps(self.model_dump(exclude={"seal"}), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


class Summing:
    """A file to read from that counts and sums what was read of it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._digest, self._bytes = file, hashlib.sha256(), 0

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self._digest.update(block)
        self._bytes += len(block)
        return block

    @property
    def sum(self) -> Sum:
        return Sum(bytes=self._bytes, sha256=self._digest.hexdigest())


def sum_of(path: Path) -> Sum:
    """Size and SHA-256 of a file."""
    with path.open("rb") as file:
        summing = Summing(file)
        while summing.read(BLOCK):
            pass
    return summing.sum


def checked_lab(name: str) -> str:
    """`name` if a laboratory may be called so. Raises `RecordError`."""
    if not LAB_NAME.fullmatch(name):
        raise RecordError(
            f"{name!r} cannot name a laboratory: take 1 to 40 letters a-z, digits, dots, dashes and underscores, with a "
            "letter or digit at both ends."
        )
    return name


def read_manifest(folder: Path, bundle: str) -> Manifest | None:
    """The manifest of the bundle that was unpacked into `folder`; None if it has none.

    Raises `RecordError` in one line that names the `bundle` if the manifest is damaged, changed or of a newer form.
    """
    try:
        content: Any = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        newer = isinstance(content, Mapping) and isinstance(content.get("format"), int) and content["format"] > FORMAT
        manifest = None if newer else Manifest.model_validate(content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(f"{bundle} is refused: its {MANIFEST} is damaged ({_first_problem(error)}). Fetch it again.") from None
    if manifest is None:
        raise RecordError(f"{bundle} has form {content['format']}; this version reads up to {FORMAT}. Upgrade clusterbench.")
    if not manifest.is_intact:
        raise RecordError(f"{bundle} is refused: its {MANIFEST} was changed after it was packed. Fetch it again.")
    checked_lab(manifest.lab)
    return manifest


def _first_problem(error: Exception) -> str:
    if isinstance(error, ValidationError):
        problem = error.errors()[0]
        return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
    return str(error)
