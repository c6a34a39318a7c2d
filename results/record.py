"""Run records: what one trial leaves on disk, written as it goes, and how it is read again.

A record is a folder::

    record.json     spec, status, metrics by selection, cost, provenance (replaced atomically, never half written)
    epochs.jsonl    one JSON object per epoch, only ever appended to
    labels.npz      truth and predicted clusters, so that a new metric needs no training
    config.yaml     the resolved configuration, as `bench run --config` takes it
    origin.json     only where another laboratory ran it: whose it is, and the bundle that it came in

Tables, pages and trackers are fed from records and can be rebuilt from them.
"""

from __future__ import annotations

import json
import traceback
import zipfile
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .collector import uncollected
from .files import RecordError, append_line, plain, reason, refusals, replace_file, smallest_signed, write_json
from .origin import read_origin

__all__ = ["SCHEMA", "SELECTIONS", "Record", "RecordError", "RecordWriter", "Selection", "Status", "find_damaged",
           "find_records", "now", "read_epochs", "read_record", "scan_records", "write_json"]  # fmt: skip

SCHEMA = 1
COUNTS = ("confusion", "sizes")  # ends of the names of arrays that are added up and multiplied
Selection = Literal["last", "own-loss", "oracle"]
SELECTIONS: tuple[Selection, ...] = get_args(Selection)
Status = Literal["running", "complete", "stopped", "failed"]


class Record(BaseModel):
    """One trial, as `record.json` has it; keys that a newer writer added are kept.

    Attributes:
        schema_version: `schema` in the file; what this version of the code writes is `SCHEMA`.
        id: 12 hex digits of the trial's identity.
        created, finished: ISO 8601 times in UTC; `finished` is None while it runs.
        spec: method, dataset, protocol, seed, n_clusters, preset, overrides, config and what else decides the result.
        metrics: by selection (`last`, `own-loss`, `oracle`), e.g. `metrics["own-loss"]["acc"]` in [0, 1]. Only
            `last` and `own-loss` are chosen without labels. `other_predictions` has the scores of a method's other ways to
            predict by name, e.g. the published evaluation beside an honest one. Per pixel `iou` by class, `miou` their mean, and
            in `away_from_boundaries` the scores more than `reach` pixels away from another label.
        mapping: how clusters became classes for `acc`: `kind` (`hungarian`, `many-to-one`, `identity`) and the splits whose
            labels the map was found `on`; None where nothing is labelled, and in records of before it was written.
        diagnostics: how healthy the training was, told without labels: `criterion` and its `loss_floor`, `effective_clusters`,
            `sub_head_gap`, `lagging` sub-heads, `collapsed`, and the `notices` of the log; {} in older records.
        selection_gap: ACC of `oracle` minus ACC of `own-loss`, in [0, 1].
        cost: seconds (train, evaluate, total), images, energy_joules, the number of resumptions, and the names of artefacts:
            `reused` ones, whose making is not in this cost, and `made` ones, whose making is.
        provenance: code, packages, hardware, data and the command, as found when the trial started.
        error: type, message and traceback of a failed trial.
        origin: of a record that another laboratory ran: its name `lab`, the `bundle` it came in, that file's `sha256`, the time
            `imported`, and whether the `metrics` were `recomputed` from the labels. None for our own. Not part of record.json.
        folder: where it was read from; not part of the file.
    """

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    schema_version: int = Field(SCHEMA, alias="schema")
    id: str
    status: Status = "running"
    created: str
    finished: str | None = None
    spec: dict[str, Any]
    metrics_version: int | None = None
    metrics: dict[str, dict[str, Any]] = {}
    mapping: dict[str, Any] | None = None
    selection_gap: float | None = None
    diagnostics: dict[str, Any] = {}
    epochs_done: int = 0
    planned_epochs: int | None = None
    stop_reason: str | None = None
    cost: dict[str, Any] = {}
    provenance: dict[str, Any] = {}
    error: dict[str, Any] | None = None
    origin: dict[str, Any] | None = Field(None, exclude=True)
    folder: Path = Field(Path(), exclude=True)

    @property
    def lab(self) -> str | None:
        """The laboratory that ran it; None for our own."""
        return None if self.origin is None else self.origin["lab"]

    @property
    def is_complete(self) -> bool:
        """Ran to its last planned epoch."""
        return self.status == "complete"

    def score(self, metric: str, selection: Selection = "own-loss") -> float | None:
        """One metric of one selection; None where it has not been measured or nothing is labelled."""
        return self.metrics.get(selection, {}).get(metric)

    def epochs(self) -> list[dict[str, Any]]:
        """The rows of `epochs.jsonl` in order. A last line that a killed writer left unfinished is passed over."""
        return read_epochs(self.folder / "epochs.jsonl")

    def labels(self, selection: Selection | None = None) -> dict[str, np.ndarray]:
        """The arrays of `labels.npz`: `truth` (N,), and per selection S the clusters `S` (H, N) and its head `S/head` (a scalar).

        Where the map from clusters to classes was found on other images also `mapping/truth` (N',) and `S/mapping` (H, N').
        A method's other ways to predict are `S/other/NAME` (H, N), and their `S/other/NAME/mapping` (H, N').
        Per pixel these are label maps of the images `rows` (M,) only, `truth` (M, H', W') and `S` (H, M, H', W'); of all
        images there are the counts `S/confusion` (H, K, C) and `S/sizes` (H, K), int64, and where the map was found on other
        images `S/mapping-confusion` and `S/mapping-sizes`; `S/away-3-confusion` counts the pixels more than 3 away from
        another label.

        All but the counts come in the smallest signed type that holds them (-1 is unknown). Of one `selection`, what belongs to
        the others is not read. Raises `RecordError` if the file is missing or damaged.
        """
        path = self.folder / "labels.npz"
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                others = [] if selection is None else [each for each in SELECTIONS if each != selection]
                return {name: stored[name] for name in stored.files if name.split("/")[0] not in others}
        except FileNotFoundError:
            raise RecordError(f"{self.folder} holds no labels.npz: the trial ended before its predictions were saved.") from None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise RecordError(f"{path} is damaged ({error}). Delete the folder and run the trial again.") from None


def read_record(folder: Path | str) -> Record:
    """Read one record folder. Raises `RecordError` if it is missing, damaged or of a newer schema than this code reads."""
    path = Path(folder) / "record.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordError(f"{folder} is no run record: it holds no record.json.") from None
    except OSError as error:
        raise RecordError(f"Cannot read {path}: {reason(error)}.") from None
    except ValueError as error:
        raise RecordError(f"{path} is damaged ({error}). Delete the folder and run the trial again.") from None
    _check_schema(path, content)
    try:
        return Record.model_validate({**content, "folder": Path(folder), "origin": read_origin(Path(folder))})
    except ValidationError as error:
        raise RecordError(f"{path} is damaged ({_problems(error)}). Delete the folder and run the trial again.") from None


def scan_records(out: Path | str) -> tuple[list[Record], list[RecordError]]:
    """Every record directly under `out`, oldest first, and one error for each that cannot be read.

    Folders without a record.json are other people's and passed over; a missing `out` holds no records.
    """
    records, damaged = [], []
    with uncollected():
        for path in sorted(Path(out).glob("*/record.json")):
            try:
                records.append(read_record(path.parent))
            except RecordError as error:
                damaged.append(error)
    return sorted(records, key=lambda record: (record.created, record.id)), damaged


def find_records(out: Path | str) -> list[Record]:
    """The readable records of `scan_records`."""
    return scan_records(out)[0]


def find_damaged(out: Path | str) -> list[RecordError]:
    """The errors of `scan_records`: say them, so that no run disappears without a word."""
    return scan_records(out)[1]


def read_epochs(path: Path) -> list[dict[str, Any]]:
    """The rows of an epochs file; [] if there is none. Raises `RecordError` if a line other than the last is damaged."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return []
    rows = []
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last newline was never finished
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise RecordError(f"{path} is damaged in line {number} ({error}). Run the trial again with --force.") from None
    return rows


class RecordWriter:
    """Writes one record folder as the trial goes.

    Every method raises `RecordError` if the disk refuses (full, read-only); what was written before stays whole.

    Args:
        folder: the record folder; made if missing.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.record: Record | None = None

    def start(self, *, id: str, spec: Mapping[str, Any], config: Mapping[str, Any] | None = None, **fields: Any) -> Record:
        """Write the first record.json, with status `running`, and config.yaml: `config`, or the settings in `spec`.

        A record of the same id that lies here already is a trial being resumed: its time of creation is kept. Epochs
        and labels are left alone; see `truncate_epochs`.
        """
        with refusals(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for leftover in self.folder.glob(".*.tmp"):  # of a writer that was killed
                leftover.unlink(missing_ok=True)
        created = fields.pop("created", None) or self._created_before(id) or now()
        self._write(Record(id=id, spec=dict(spec), created=created, status="running", folder=self.folder, **fields))
        self._save_config(spec.get("config", {}) if config is None else config)
        return self._started

    def update(self, **fields: Any) -> Record:
        """Change fields of record.json."""
        known = self._started.model_dump(by_alias=True)
        return self._write(Record.model_validate({**known, **fields, "folder": self.folder, "origin": self._started.origin}))

    def append_epoch(self, row: Mapping[str, Any]) -> None:
        """Add one row to epochs.jsonl, after cutting off what a killed writer may have left half written."""
        append_line(self.folder / "epochs.jsonl", _line(row))

    def truncate_epochs(self, n: int) -> None:
        """Keep the first `n` rows of epochs.jsonl: a resumed trial repeats what came after its checkpoint."""
        path = self.folder / "epochs.jsonl"
        kept = read_epochs(path)[:n]
        replace_file(path, b"".join(_line(row) + b"\n" for row in kept))

    def save_labels(self, labels: Mapping[str, Any]) -> None:
        """Write labels.npz, each array in the smallest signed integer type that holds it; counts stay int64."""
        arrays: dict[str, Any] = {
            name: np.asarray(array) if name.endswith(COUNTS) else smallest_signed(np.asarray(array))
            for name, array in labels.items()
        }
        replace_file(self.folder / "labels.npz", lambda file: np.savez_compressed(file, **arrays))

    def _save_config(self, config: Mapping[str, Any]) -> None:
        """Write config.yaml."""
        import yaml

        text = yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True)
        replace_file(self.folder / "config.yaml", text.encode())

    def finish(self, *, stop_reason: str | None = None, **fields: Any) -> Record:
        """The last write of a trial that ran: `complete`, or `stopped` if there is a `stop_reason`."""
        status: Status = "stopped" if stop_reason else "complete"
        return self.update(**fields, stop_reason=stop_reason, status=status, finished=now(), error=None)

    def fail(self, error: BaseException, **fields: Any) -> Record:
        """The last write of a trial that broke: the error stands in the record, and tables report it."""
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        about = {"type": type(error).__name__, "message": str(error), "traceback": text}
        return self.update(**fields, status="failed", finished=now(), error=about)

    @property
    def _started(self) -> Record:
        if self.record is None:
            self.record = read_record(self.folder)
        return self.record

    def _created_before(self, id: str) -> str | None:
        try:
            before = read_record(self.folder)
        except RecordError:
            return None
        return before.created if before.id == id else None

    def _write(self, record: Record) -> Record:
        write_json(self.folder / "record.json", record.model_dump(by_alias=True))
        self.record = record
        return record


def now() -> str:
    """The time as records have it: ISO 8601, UTC, to the millisecond."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def _check_schema(path: Path, content: Any) -> None:
    schema = content.get("schema") if isinstance(content, dict) else None
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise RecordError(f"{path} is no run record: it names no schema version.")
    if schema > SCHEMA:
        raise RecordError(f"{path} has schema {schema}; this version reads up to {SCHEMA}. Upgrade clusterbench to read it.")


def _problems(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())


def _line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(plain(row), ensure_ascii=False).encode()
