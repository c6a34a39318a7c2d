"""Whether a record speaks the truth about itself, as far as its own files and the true labels of our records can tell.

A checksum shows that a bundle is what was packed, not that what was packed is honest. Here a record must follow from itself: its
id from its spec, its settings from its spec, its metrics from its stored labels or at least from its epochs, and its true labels
must be those of every other record on the same data. Whoever also invents predictions that fit is not found out.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import ValidationError

from ...results.metrics import METRICS_VERSION
from ...results.record import Record, RecordError
from ...results.scoring import OTHER, scoring_of
from ..rescore import rescore
from ..spec import SpecError, TrialSpec
from .folders import LABELS

MOST_LABEL_BYTES = 4 << 30  # unpacked: a small file may swell to fill the memory
ROUNDING = 1e-6  # of a metric: other versions of NumPy and SciPy add up in another order
RATES = ("acc", "nmi", "ari", "ami", "purity", "many_to_one_acc", "miou")
Labels = Mapping[str, np.ndarray]


class TrueLabels:
    """The true labels of the data sets that we have records of: those of other records on the same data must be the same.

    Args:
        records: our own, and those that count as sound; their labels are read when they are asked for.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._records: dict[tuple[Any, Any], list[Record]] = {}
        self._known: dict[tuple[Any, Any], tuple[str, Labels]] = {}
        for record in records:
            self._records.setdefault(_data_of(record), []).append(record)

    def other(self, record: Record, labels: Labels) -> str | None:
        """The name of a record on the same data with other true labels, or None. Labels of data not met before are remembered."""
        data = _data_of(record)
        if data not in self._known:
            self._known[data] = self._ours(record) or (record.folder.name, _truth(labels))
        name, known = self._known[data]
        return None if _agree(known, _truth(labels)) else name

    def _ours(self, record: Record) -> tuple[str, Labels] | None:
        for ours in self._records.get(_data_of(record), ()):
            if (ours.folder / LABELS).is_file():
                return ours.folder.name, _truth(ours.labels())
        return None


def doubts(record: Record, truths: TrueLabels) -> list[str]:
    """Why the record cannot be believed, a short reason each; [] if nothing speaks against it."""
    checks: tuple[Callable[[Record], Iterator[str]], ...] = (_identity, _state, _settings, _rates, _gap, _epochs)
    found = [reason for check in checks for reason in _carefully(check, record)]
    if (record.folder / LABELS).exists():
        found += _carefully(lambda record: _labels(record, truths), record)
    return found


def _carefully(check: Callable[[Record], Iterator[str]], record: Record) -> list[str]:
    """What `check` finds. A forged record may hold anything anywhere, so whatever the check stumbles over is a reason too."""
    try:
        return list(check(record))
    except (RecordError, SpecError) as error:
        return [str(error)]
    except Exception as error:
        return [f"it cannot be checked ({type(error).__name__}: {error})"]


def _identity(record: Record) -> Iterator[str]:
    try:
        identity = TrialSpec.model_validate(record.spec).identity()
    except ValidationError as error:
        yield f"its spec is no trial's ({'; '.join('.'.join(map(str, each['loc'])) for each in error.errors())})"
        return
    if record.id != identity:
        yield f"its id {record.id!r} is not the hash of its spec, {identity}"


def _state(record: Record) -> Iterator[str]:
    if record.status == "running":
        yield "it is not finished"


def _settings(record: Record) -> Iterator[str]:
    """config.yaml is what `bench run --config` would repeat."""
    try:
        content = yaml.safe_load((record.folder / "config.yaml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError, yaml.YAMLError):
        content = None
    about: dict[str, Any] = {"config": content}
    if isinstance(content, dict) and isinstance(content.get("config"), dict):
        about = content
    if any(record.spec.get(name) != value for name, value in about.items()):
        yield "its config.yaml has other settings than its spec"


def _rates(record: Record) -> Iterator[str]:
    for selection, metrics in record.metrics.items():
        for name in RATES:
            value = metrics.get(name)
            if value is not None and not -1 <= value <= 1:
                yield f"its {selection} {name} is {value}, which no {name} can be"


def _gap(record: Record) -> Iterator[str]:
    oracle, own = (record.metrics.get(name, {}).get("acc") for name in ("oracle", "own-loss"))
    gap = None if oracle is None or own is None else oracle - own
    if record.selection_gap is not None and not _close(gap, record.selection_gap):
        yield f"its selection gap is {record.selection_gap}, its metrics make {gap}"


def _epochs(record: Record) -> Iterator[str]:
    """The row of the epoch that a selection chose has its ACC; a metric of another version than the rows' is no slip."""
    if record.model_extra and record.model_extra.get("metrics_history"):
        return
    rows = {row.get("epoch"): row for row in record.epochs()}
    for selection, metrics in record.metrics.items():
        heads = rows.get(metrics.get("epoch"), {}).get("acc")
        found = heads and heads[metrics["head"]]
        if heads and not _close(found, metrics["acc"]):
            yield f"its {selection} acc is {metrics['acc']}, epoch {metrics['epoch']} of its epochs.jsonl has {found}"


def _labels(record: Record, truths: TrueLabels) -> Iterator[str]:
    _refuse_swelling(record.folder / LABELS)
    labels = record.labels()
    if record.metrics:
        usual = scoring_of(record.model_copy(update={"mapping": None}), labels).kind
        if (kind := (record.mapping or {}).get("kind", usual)) not in (usual, "identity"):
            yield f"it maps clusters to classes by {kind!r}, its labels by {usual!r}"
        yield from _recomputed(record)
    if (name := truths.other(record, labels)) is not None:
        yield f"its true labels are not those that {name} has on the same data"


def _recomputed(record: Record) -> Iterator[str]:
    if record.metrics_version != METRICS_VERSION:
        yield f"its metrics have version {record.metrics_version}, this clusterbench computes {METRICS_VERSION} (bench rescore)"
        return
    for name, (stated, computed) in rescore(record, dry_run=True).changes.items():
        if not _close(stated, computed):
            yield f"its metrics do not follow from its labels: {name} is {stated}, its labels make {computed}"
            return


def _refuse_swelling(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as packed:
            size = sum(entry.file_size for entry in packed.infolist())
    except (OSError, zipfile.BadZipFile) as error:
        raise RecordError(f"its {path.name} is damaged ({error})") from None
    if size > MOST_LABEL_BYTES:
        raise RecordError(f"its {path.name} unpacks to {size:,} bytes")


def _close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=ROUNDING, abs_tol=ROUNDING)


def _data_of(record: Record) -> tuple[Any, Any]:
    return record.spec.get("data_fingerprint"), record.spec.get("protocol")


def _truth(labels: Labels) -> Labels:
    """The arrays that the data alone decide; per pixel the pixels of each class too, which every sub-head must add up to."""
    known = {name: labels[name] for name in ("truth", "mapping/truth") if name in labels}
    counts = {name: array for name, array in labels.items() if name.endswith("confusion") and f"/{OTHER}" not in name}
    return known | {name: array.sum(axis=1)[0] for name, array in counts.items()}  # another way may leave pixels out


def _agree(ours: Labels, theirs: Labels) -> bool:
    return all(_same(ours[name], theirs[name]) for name in ours.keys() & theirs.keys())


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    shared = min(len(one), len(other)) if one.ndim > 1 else None  # of label maps the first few are kept
    return np.array_equal(one[:shared], other[:shared])
