"""Somebody who changes bundles, and who knows how a manifest is made."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Files = dict[str, bytes]
MANIFEST = "manifest.json"


def opened(bundle: Path) -> Files:
    """Every file of a bundle by its name in it."""
    with tarfile.open(bundle) as packed:
        return {entry.name: packed.extractfile(entry).read() for entry in packed}  # type: ignore[union-attr]


def written(files: Files, target: Path, *more: tarfile.TarInfo) -> Path:
    """A bundle of these files, and of members without content."""
    with tarfile.open(target, "w:gz") as packed:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))
        for entry in more:
            packed.addfile(entry)
    return target


def sealed(files: Files, **changed: Any) -> Files:
    """The files with a manifest that fits them, worked out here by hand, and with other values in it if asked."""
    manifest = {**json.loads(files[MANIFEST]), **changed}
    manifest["files"] = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
        if name != MANIFEST
    }
    del manifest["seal"]
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    manifest["seal"] = hashlib.sha256(text.encode()).hexdigest()
    return {**files, MANIFEST: json.dumps(manifest).encode()}


def forged(bundle: Path, change: Callable[[Files], object]) -> Path:
    """The bundle with changed files and a manifest that fits them."""
    files = opened(bundle)
    change(files)
    return written(sealed(files), bundle.with_name("forged.tar.gz"))


def first(files: Files, name: str) -> str:
    """The path of that file of the first record."""
    return min(path for path in files if path.endswith(f"/{name}"))


def record(files: Files) -> dict[str, Any]:
    """What the first record.json says."""
    return json.loads(files[first(files, "record.json")])


def edit_record(files: Files, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what the first record.json says."""
    content = record(files)
    change(content)
    files[first(files, "record.json")] = json.dumps(content).encode()


def edit_labels(files: Files, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    """Change what the first labels.npz holds."""
    path = first(files, "labels.npz")
    with np.load(io.BytesIO(files[path])) as stored:
        arrays = dict(stored)
    change(arrays)
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    files[path] = packed.getvalue()


def edit_epochs(files: Files, change: Callable[[dict[str, Any]], object]) -> None:
    """Change every row of the first epochs.jsonl."""
    path = first(files, "epochs.jsonl")
    rows = [json.loads(line) for line in files[path].splitlines()]
    for row in rows:
        change(row)
    files[path] = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
