"""What a figure's small print says of the records it was drawn from, and the command that would make one anew."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from ..record import Record, Selection

_CHOICES = {
    "own-loss": "selection own-loss (no labels)",
    "last": "selection last epoch (no labels)",
    "oracle": "selection oracle (chosen with labels)",
}


def facts(records: Sequence[Record], selection: Selection | None = None, *more: str) -> str:
    """One line: methods, data sets, protocols, presets, seeds, selection, days of the records, and `more`.

    Args:
        records: what was drawn, at least one.
        selection: whose metrics were drawn; None where no choice of an epoch plays a part.
        more: sentences that follow.
    """
    parts = [
        f"{_listed(records, 'method')} on {_listed(records, 'dataset')}",
        f"protocol {_listed(records, 'protocol')}",
        f"budget {_listed(records, 'preset')}{_changes(records)}",
        _seeds(records),
        *([_CHOICES[selection]] if selection else []),
        *_maps(records),
        _days(records),
    ]
    return " · ".join(parts) + "." + "".join(f"\n{sentence}" for sentence in more)


def class_names(record: Record, n: int) -> tuple[str, ...]:
    """The names of the classes 0..n-1 as the record has them, else their numbers."""
    known = (record.provenance.get("data") or {}).get("class_names") or ()
    return tuple(map(str, known)) if len(known) == n else tuple(str(label) for label in range(n))


def n_classes(record: Record) -> int:
    """Number of classes of the record's data; 0 where they are not known."""
    data = record.provenance.get("data") or {}
    return int(data.get("n_classes") or len(data.get("class_names") or ()))


def command(record: Record, *options: str) -> str:
    """The command line that runs the record's trial again, with `options` added.

    The settings come from the record's own config.yaml, so that nothing of them has to be spelt out.
    """
    spec = record.spec
    words = ["bench", "run", "--method", spec["method"], "--dataset", spec["dataset"], "--preset", str(spec["preset"])]
    words += ["--seeds", f"{spec['seed']},"]
    if spec.get("protocol", "full") != "full":
        words += ["--protocol", spec["protocol"]]
    if spec.get("overrides"):
        words += ["--config", str(record.folder / "config.yaml")]
    words += ["--out", str(record.folder.parent), *options]
    return " ".join(shlex.quote(word) for word in words)


def file_stem(*parts: str) -> str:
    """A file name without ending from `parts`, in characters that every file system takes."""
    return "-".join(re.sub(r"[^A-Za-z0-9.@_-]+", "_", part).strip("_.") or "_" for part in parts)


def _listed(records: Iterable[Record], name: str) -> str:
    return ", ".join(dict.fromkeys(str(record.spec.get(name)) for record in records))


def _changes(records: Sequence[Record]) -> str:
    """What was changed against the preset, where all records have changed the same."""
    changed: list[dict[str, Any]] = [record.spec.get("overrides") or {} for record in records]
    if not any(changed):
        return ""
    if any(each != changed[0] for each in changed):
        return " with changed settings"
    return " with " + ", ".join(f"{key}={value}" for key, value in changed[0].items())


def _maps(records: Iterable[Record]) -> list[str]:
    """Whose labels mapped clusters to classes, where it was not the scored images' own."""
    mappings = [record.mapping or {} for record in records if record.spec.get("protocol") == "semi-supervised"]
    splits = dict.fromkeys(split for mapping in mappings if mapping.get("kind") != "identity" for split in mapping.get("on", ()))
    return [f"clusters mapped to classes by the labels of {' and '.join(splits)}"] if splits else []


def _seeds(records: Iterable[Record]) -> str:
    seeds = list(dict.fromkeys(record.spec.get("seed") for record in records))
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, sorted(seeds, key=str)))}"


def _days(records: Iterable[Record]) -> str:
    days = sorted({(record.finished or record.created)[:10] for record in records})
    return f"recorded {days[0]}" if len(days) == 1 else f"recorded {days[0]} to {days[-1]}"
