"""The files of one kept artefact, `tensors.safetensors` and `facts.json`, and what a list of artefacts shows of them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # `bench cache list` reads no tensor, so it need not import torch
    import torch

TENSORS, FACTS = "tensors.safetensors", "facts.json"
BLOCK = 2**20  # bytes that are hashed at a time


@dataclass(frozen=True)
class Artefact:
    """One kept artefact.

    Attributes:
        kind, key: its address.
        folder: where it lies.
        bytes: size on disk.
        created, used: times in UTC; `used` is when it was last loaded, or made.
        facts: what its maker said of it; {} if that cannot be read.
    """

    kind: str
    key: str
    folder: Path
    bytes: int
    created: datetime
    used: datetime
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`pretext/4f2a...`, as records have it."""
        return f"{self.kind}/{self.key}"


def write_artefact(folder: Path, about: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    """Write both files into `folder`, which exists, and through to the disk.

    Args:
        folder: where they go.
        about: what facts.json says beside the checksum, the time and the shapes.
        tensors: by name, on any device.
    """
    from safetensors.torch import save_file

    path = folder / TENSORS
    save_file(_apart(tensors), path, metadata={"format": "pt"})
    shapes = {name: [str(tensor.dtype).removeprefix("torch."), list(tensor.shape)] for name, tensor in tensors.items()}
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    content = {**about, "created": now, "sha256": _sha256(path), "tensors": shapes}
    (folder / FACTS).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    path.chmod((folder / FACTS).stat().st_mode)  # safetensors lets nobody but the owner read it
    for written in (path, folder / FACTS):
        _sync(written)


def read_artefact(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors in `folder`, on the CPU.

    Raises `ValueError`, `OSError` or safetensors' own error where they are not what was written.
    """
    from safetensors.torch import load_file

    expected = json.loads((folder / FACTS).read_text(encoding="utf-8"))["sha256"]
    if _sha256(folder / TENSORS) != expected:
        raise ValueError("the checksum differs")
    return load_file(folder / TENSORS)


def read_facts(folder: Path) -> dict[str, Any] | None:
    """The content of facts.json; None if it is missing or damaged."""
    try:
        content = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and isinstance(content.get("facts"), dict) else None


def describe(folder: Path) -> Artefact | None:
    """What lies in `folder`, damaged or not; None if it has just gone."""
    about = read_facts(folder) or {}
    try:
        changed = (folder / FACTS if about else folder).stat().st_mtime
        size = sum(path.stat().st_size for path in folder.iterdir())
    except OSError:
        return None
    used = datetime.fromtimestamp(changed, timezone.utc)
    created = used
    with suppress(KeyError, ValueError, TypeError):
        created = datetime.fromisoformat(about["created"])
    return Artefact(folder.parent.name, folder.name, folder, size, created, used, about.get("facts", {}))


def reason(error: Exception) -> str:
    """What went wrong, in a few words."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    full = (errno.ENOSPC, errno.EDQUOT)
    # safetensors writes by itself, and tells what the disk said as text.
    if getattr(error, "errno", None) in full or any(re.search(rf"(code:|os error) {number}\b", text) for number in full):
        return "the disk is full"
    return " ".join(text.split()) or type(error).__name__


def _apart(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """On the CPU, each with memory of its own, which is what safetensors takes."""
    seen: set[int] = set()
    found = {}
    for name, tensor in tensors.items():
        here = tensor.detach().cpu().contiguous()
        storage = here.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != here.nbytes:
            here = here.clone()
        seen.add(here.untyped_storage().data_ptr())
        found[name] = here
    return found


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
