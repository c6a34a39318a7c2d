"""The manifest of a prepared data set: what its arrays are, where they come from, and the checksums that prove it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import DataError

SCHEMA = 1
FILE = "manifest.json"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ArrayFile(_Model):
    """One `.npy` file: its size in bytes and the SHA-256 of the whole file."""

    file: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    sha256: str


class SplitRange(_Model):
    """Rows `start`..`start + count - 1` of the arrays.

    Attributes:
        per_class: images per class (pixels, for segmentation), in the order of the class names.
        unknown: images (pixels) without a label.
        images_sha256: of the pixels alone, uint8 (N, C, H, W).
        labels_sha256: of the labels alone, int64 (N,) or int16 (N, H, W).
        verified: whether the pixels are known to be the original ones, by checksum.
        subsets: rows of its named parts, counted from its first.
    """

    start: int
    count: int
    per_class: tuple[int, ...]
    unknown: int
    images_sha256: str
    labels_sha256: str
    verified: bool
    subsets: dict[str, tuple[int, ...]] = {}


class Origin(_Model):
    """Where the images were read: the form, the folder or file, and the checksums of the files that were checked.

    `stamp` is a digest of names, sizes and times of a user's own files, by which a change of them is noticed.
    """

    form: str
    where: str
    files: dict[str, str] = {}
    stamp: str | None = None


class Manifest(_Model):
    """The content of manifest.json; `version` is that of the preparation, by the data set's card."""

    schema_version: int = SCHEMA
    name: str
    version: int
    created: str
    task: str
    origin: Origin
    licence: str
    notes: tuple[str, ...]
    class_names: tuple[str, ...]
    splits: dict[str, SplitRange]
    arrays: dict[str, ArrayFile]
    fingerprints: dict[str, str]

    def fingerprints_of(self, view: str) -> dict[str, str]:
        """Fingerprints of one view of the arrays, by protocol."""
        named = (key.rpartition("/") for key in self.fingerprints)
        return {protocol: self.fingerprints[f"{name}/{protocol}"] for name, _, protocol in named if name == view}

    def as_text(self) -> str:
        """JSON with a checksum of its own, by which a changed byte is noticed."""
        content = self.model_dump(mode="json")
        return json.dumps({**content, "manifest_sha256": _digest(content)}, indent=1) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """The manifest in `folder`. Raises `DataError` if it is missing, damaged, or of a newer clusterbench."""
    path = folder / FILE
    remedy = f"Delete {folder}; it is prepared again when it is needed."
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        claimed = content.pop("manifest_sha256", None)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}). {remedy}") from None
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}). {remedy}") from None
    if isinstance(content.get("schema_version"), int) and content["schema_version"] > SCHEMA:
        raise DataError(f"{path} was written by a newer clusterbench. Update this one, or prepare the data set again.")
    if claimed != _digest(content):
        raise DataError(f"{path} was changed after it was written. {remedy}")
    try:
        return Manifest(**content)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise DataError(f"{path}: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}. {remedy}") from None


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
