"""What is done of a suite and what is left: the state of every trial, from its record, before anything is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from ..datasets.catalogue import datasets, load
from ..datasets.errors import DataError
from ..datasets.places import state
from ..datasets.preparation.prepare import open_prepared
from ..results.record import Record, RecordError, read_record
from .spec import make_spec
from .suite_plan import Cell
from .trial_folder import INTERRUPTED, OUT_OF_TIME, find_folder

if TYPE_CHECKING:
    from ..datasets.base import Protocol, TrialData


class State(str, Enum):
    """What a trial needs."""

    DONE = "done"
    BEGUN = "begun"
    TO_DO = "to do"
    UNKNOWN = "not known"


@dataclass(frozen=True)
class Outlook:
    """One trial of a suite.

    Attributes:
        state: `BEGUN` trials were interrupted, killed or failed, or are running now; of `UNKNOWN` ones nothing can be
            said, because the data is not here or the record is damaged.
        told: the state in words.
        share_left: 0..1, of its epochs.
    """

    cell: Cell
    seed: int
    state: State
    told: str
    share_left: float = 1.0


def outlook(cells: Sequence[Cell], out: Path, data_root: Path | None = None) -> list[Outlook]:
    """The trials of all `cells` that can be run, each once however many runs name it. Prepares and fetches no data."""
    known: dict[tuple[str, str], TrialData | str] = {}
    trials: dict[tuple[object, ...], Outlook] = {}
    for cell in cells:
        if cell.resolved is None:
            continue
        key = (cell.dataset, cell.run.protocol)
        if key not in known:
            known[key] = _data(cell.dataset, cell.run.protocol, data_root)
        for seed in cell.run.seeds:
            same = (*key, cell.method, seed, repr(cell.resolved.config), cell.resolved.n_clusters, cell.run.time_limit)
            if same not in trials:
                trials[same] = _trial(cell, seed, known[key], out)
    return [*trials.values()]


def _data(dataset: str, protocol: Protocol, root: Path | None) -> TrialData | str:
    """The data where it can be used as it lies there, else why it cannot."""
    try:
        found = state(dataset, datasets.card(dataset), root)
        if found.kind == "absent":
            return "data not here"
        ready = load(dataset, root=root) if found.kind == "package" else open_prepared(dataset, root=root)
        return ready.under(protocol) if ready else "data not prepared"
    except DataError as error:
        return f"data cannot be used: {error}"


def _trial(cell: Cell, seed: int, data: TrialData | str, out: Path) -> Outlook:
    if isinstance(data, str):
        return Outlook(cell, seed, State.UNKNOWN, data)
    assert cell.resolved is not None
    folder = find_folder(make_spec(cell.resolved, data, seed=seed, time_limit_s=cell.run.time_limit), out)
    if not (folder / "record.json").exists():
        return Outlook(cell, seed, State.TO_DO, State.TO_DO.value)
    try:
        return _begun(cell, seed, read_record(folder))
    except RecordError:
        return Outlook(cell, seed, State.UNKNOWN, f"record damaged ({folder})")


def _begun(cell: Cell, seed: int, record: Record) -> Outlook:
    if record.is_complete:
        return Outlook(cell, seed, State.DONE, State.DONE.value, 0.0)
    if record.stop_reason == OUT_OF_TIME:
        return Outlook(cell, seed, State.DONE, f"done (stopped by its {OUT_OF_TIME})", 0.0)
    epochs, planned = len(record.epochs()), record.planned_epochs
    reached = f"after epoch {epochs}{f' of {planned}' if planned else ''}"
    how = {"running": "interrupted or still running", "failed": "failed"}.get(record.status, record.stop_reason or INTERRUPTED)
    share_left = 1 - min(epochs / planned, 1.0) if planned else 1.0
    return Outlook(cell, seed, State.BEGUN, f"{how} {reached}", share_left)
