"""The folder of a trial's record: where it is, and whether anything is left to do for it."""

from __future__ import annotations

from pathlib import Path

from ..results.record import Record, RecordError, read_record
from .checkpoint import Checkpoints
from .spec import TrialSpec

OUT_OF_TIME = "time limit"
INTERRUPTED = "interrupted"
PRUNED = "pruned"  # a scheduler gave it up for others
WRITTEN = ("record.json", "epochs.jsonl", "labels.npz", "config.yaml", "snapshots.npz", "model.safetensors", "trained.pt")


def find_folder(spec: TrialSpec, out: Path, *, anew: bool = False) -> Path:
    """The record folder of a trial under `out`: where it lies under the name of any preset, else where it belongs.

    A complete record from before the method got settings that stand at their defaults here is one of this trial too, unless
    the trial is to run `anew`.
    """
    own = out / spec.folder_name()
    if own.exists():
        return own
    same = (path for path in sorted(out.glob(f"*-{spec.identity()}")) if (path / "record.json").is_file())
    return next(same, None) or (None if anew else _earlier(spec, out)) or own


def _earlier(spec: TrialSpec, out: Path) -> Path | None:
    for identity in spec.earlier_identities():
        for path in sorted(out.glob(f"*-{identity}")):
            if (path / "record.json").is_file() and read_record(path).is_complete:
                return path
    return None


def finished_record(folder: Path) -> Record | None:
    """The record in `folder` if nothing is left to do for it: complete, or its time limit used up.

    Checkpoints that a process killed in its very last moment left behind are deleted. Raises `RecordError` if there is a
    record that cannot be read.
    """
    if not (folder / "record.json").exists():
        return None
    record = read_record(folder)
    if not (record.is_complete or record.stop_reason == OUT_OF_TIME):
        return None
    Checkpoints(folder, record.id).remove()
    return record


def clear(folder: Path) -> None:
    """Delete what an earlier run of a trial wrote in its folder, and nothing else."""
    for name in WRITTEN:
        (folder / name).unlink(missing_ok=True)


def resumed_before(folder: Path, saved: int) -> int:
    """How often a trial was resumed, also by processes that were killed before they saved more than `saved`."""
    try:
        return int(read_record(folder).cost.get("resumed", 0))
    except RecordError:
        return saved
