"""A run as people name it: its folder, or any part of the folder's name that no other run has."""

from __future__ import annotations

from pathlib import Path

from ..results.record import Record, RecordError, read_record

RECORD = "record.json"
NAMED_AT_MOST = 5


def find_run(name: str, out: Path) -> Record:
    """The record that `name` means: a record folder, or a part of the name of one in `out` or in a sweep in it.

    Args:
        name: a path, or e.g. `iic-digits`, `s3`, `9c3c02b0b976`.
        out: folder of records.

    Raises `RecordError` if there is none or more than one, with what there is, or if the record cannot be read.
    """
    if (Path(name) / RECORD).is_file():
        return read_record(Path(name))
    folders = [path.parent for pattern in (f"*/{RECORD}", f"sweeps/*/*/{RECORD}") for path in sorted(out.glob(pattern))]
    exact = [folder for folder in folders if folder.name == name]
    found = exact or [folder for folder in folders if name in folder.name]
    if len(found) == 1:
        return read_record(found[0])
    if found:
        raise RecordError(f"{len(found)} runs in {out} have {name!r} in their names: {_some(found)}. Give more of the name.")
    raise RecordError(_nothing(name, out, folders))


def _nothing(name: str, out: Path, folders: list[Path]) -> str:
    from difflib import get_close_matches

    if not folders:
        return f"There is no run in {out}. Make one: bench run --method iic --dataset digits"
    near = get_close_matches(name, [folder.name for folder in folders], n=1, cutoff=0.3)
    there = f"Did you mean {near[0]!r}?" if near else f"There are {_some(folders)}."
    return f"No run in {out} has {name!r} in its name. {there}"


def _some(folders: list[Path]) -> str:
    names = [folder.name for folder in folders]
    return ", ".join(names[:NAMED_AT_MOST]) + (f" and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else "")
