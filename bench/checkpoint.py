"""Checkpoints of a running trial: whole or not there, checked on reading, and never a large part of the cost.

They lie in the record folder under `checkpoint/`, as `epoch-<number>-<digest>.pt`. The digest in the name is that of the
content, so that a file which is truncated or altered is known for it; the one before it is then used. Two are kept.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import re
import shutil
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ..methods.base import MethodError
from ..results.files import refusals, replace_file

FORMAT = 1
KEPT = 2
LARGEST_SHARE = 0.02  # of the time since the last save that the next one may cost
_PLAIN = {int, float, str, bool, type(None)}  # exactly these: np.float64 is a float, too, and cannot be read back
_NAME = re.compile(r"epoch-(\d+)-([0-9a-f]{32})\.pt")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """All that a trial needs to go on after an epoch as if nothing had happened.

    Attributes:
        trial: identity of the trial.
        epoch: the last epoch that is in it.
        method: the method's `state_dict`.
        tracker: the selections so far.
        random: state of the process-wide random generators.
        cost: seconds and images so far.
    """

    trial: str
    epoch: int
    method: dict[str, Any]
    tracker: dict[str, Any]
    random: dict[str, Any]
    cost: dict[str, Any]


class Checkpoints:
    """The checkpoints of one trial.

    Args:
        folder: the record folder.
        trial: identity of the trial; checkpoints of another are passed over.
    """

    def __init__(self, folder: Path, trial: str) -> None:
        self.folder, self.trial = folder / "checkpoint", trial
        self._saved_at = time.monotonic()
        self._cost = 0.0

    def due(self) -> bool:
        """Whether saving now would cost at most `LARGEST_SHARE` of the time since the last save, going by what that one cost.

        So short epochs are not slowed down, and a killed trial loses at most fifty times the cost of a save, or one epoch.
        """
        return self._cost <= LARGEST_SHARE * (time.monotonic() - self._saved_at)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write `checkpoint`; when this returns it is on the disk, and until then the ones before it are.

        Raises:
            MethodError: the method's state holds what a checkpoint cannot.
            RecordError: the disk refuses.
        """
        began = time.monotonic()
        check_storable(checkpoint.method, "state_dict()")
        with refusals(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary = self.folder / ".new"
            digest = _write({"format": FORMAT, **_shallow(checkpoint)}, temporary)
            os.replace(temporary, self.folder / f"epoch-{checkpoint.epoch:06d}-{digest}.pt")
            _sync_folder(self.folder)
            for old in self._files()[KEPT:]:
                old.unlink()
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - began

    def load(self) -> Checkpoint | None:
        """The newest checkpoint that is whole, on the CPU, or None. A damaged one is named in the log and deleted."""
        for path in self._files():
            try:
                return self._read(path)
            except (ValueError, OSError, RuntimeError, KeyError, TypeError, pickle.UnpicklingError) as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                log.warning("Checkpoint %s cannot be used (%s); going on from what came before it.", path.name, reason)
                path.unlink(missing_ok=True)
        return None

    def remove(self) -> None:
        """Delete all of them."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        """Newest first; what a killed process left half written has another name."""
        return sorted((path for path in self.folder.glob("epoch-*.pt") if _NAME.fullmatch(path.name)), reverse=True)

    def _read(self, path: Path) -> Checkpoint:
        found = _NAME.fullmatch(path.name)
        with path.open("rb") as file:
            if not found or _digest_of(file) != found.group(2):
                raise ValueError("its content is damaged")
            file.seek(0)
            content = torch.load(file, map_location="cpu", weights_only=True)
        if content.pop("format") != FORMAT or content["trial"] != self.trial:
            raise ValueError("it belongs to another trial or another version of clusterbench")
        return Checkpoint(**content)


def save_weights(model: Mapping[str, Any], path: Path) -> None:
    """Write the tensors of `model`, by dotted name, as a safetensors file, whole or not at all.

    Raises `RecordError` if the disk refuses.
    """
    from safetensors.torch import save

    replace_file(path, save(dict(_tensors(model)), metadata={"format": "pt"}))


def _tensors(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _tensors(value, f"{prefix}{key}.")
        elif isinstance(value, torch.Tensor):
            # Cloned, because safetensors refuses tensors that share memory.
            yield f"{prefix}{key}", value.detach().cpu().clone(memory_format=torch.contiguous_format)


class _Digesting:
    """A file to write to that takes the digest of what goes through it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest = file, hashlib.blake2b(digest_size=16)

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def _write(content: dict[str, Any], path: Path) -> str:
    """Write `content` through to the disk, or nothing; its digest."""
    try:
        with path.open("wb") as file:
            through = _Digesting(file)
            torch.save(content, through)  # type: ignore[arg-type]  # any object with `write` will do
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error.__context__, OSError):  # torch's writer covers what the disk said by an error of its own
            raise error.__context__ from None
        raise
    return through.digest.hexdigest()


def _digest_of(file: BinaryIO) -> str:
    digest = hashlib.blake2b(digest_size=16)
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a power cut too, where the system lets a folder be synced; the file itself is safe already."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _shallow(checkpoint: Checkpoint) -> dict[str, Any]:
    """Its fields by name, without the deep copy that `dataclasses.asdict` makes."""
    return {name: getattr(checkpoint, name) for name in Checkpoint.__dataclass_fields__}


def check_storable(state: Any, where: str) -> None:
    """Refuse at once what `torch.load(weights_only=True)` would refuse when it is too late."""
    if isinstance(state, torch.Tensor) or type(state) in _PLAIN:
        return
    if type(state) in (dict, OrderedDict):
        for key, value in state.items():
            check_storable(key, f"a key of {where}")
            check_storable(value, f"{where}[{key!r}]")
    elif type(state) in (list, tuple, torch.Size):
        for index, value in enumerate(state):
            check_storable(value, f"{where}[{index}]")
    else:
        kind = type(state).__name__
        raise MethodError(f"{where} is a {kind}, which cannot be saved. Use tensors, numbers, texts, lists and dicts.")
