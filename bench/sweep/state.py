"""What a sweep leaves on disk: `sweep.json` beside the records of its samples, replaced in one step whenever something ends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...results.record import RecordError, now, read_epochs, write_json
from .objective import score

SCHEMA = 1
FILE = "sweep.json"
State = Literal["running", "complete", "pruned", "diverged", "failed"]


class Sample(BaseModel):
    """One choice of settings, trained with every seed.

    Attributes:
        number: from 0, in the order of drawing.
        settings: by dotted name, as they were drawn; none for the preset itself.
        state: `running` also if it was interrupted; such a sample is taken up again.
        uses_labels: whether `objective` was made with labels.
        objective: at its last epoch, the mean over the seeds; None before the first, and for one that diverged or failed.
        objective_by_epoch: likewise, the first epoch first.
        acc: ACC at the last epoch, the mean over the seeds. For readers: no search or scheduler is told of it.
        seconds: of training and evaluation, summed over the seeds.
        records: names of the record folders, one for each seed.
        error: why it diverged or failed.
    """

    number: int
    settings: dict[str, Any]
    state: State = "running"
    uses_labels: bool = False
    objective: float | None = None
    objective_by_epoch: list[float] = []
    acc: float | None = None
    seconds: float = 0.0
    records: list[str] = []
    error: str | None = None

    @property
    def is_preset(self) -> bool:
        return not self.settings

    @property
    def is_over(self) -> bool:
        return self.state != "running"

    @property
    def epochs(self) -> int:
        return len(self.objective_by_epoch)

    def look_up(self, folder: Path) -> None:
        """Fill in ACC and seconds from the records under `folder`."""
        rows = [read_epochs(folder / name / "epochs.jsonl") for name in self.records]
        self.seconds = sum(row["train_seconds"] + row["evaluate_seconds"] for seed in rows for row in seed)
        scores = [score(seed[-1], "acc") for seed in rows if seed]
        known = [each for each in scores if each is not None]
        self.acc = sum(known) / len(known) if known and len(known) == len(rows) else None


class Sweep(BaseModel):
    """A whole sweep.

    Attributes:
        schema_version: `schema` in the file.
        name: of its folder.
        asked: method, dataset, preset, protocol, n_clusters, seeds, and the configuration that the samples change.
        space: as it is written in YAML.
        objective: its name, direction and whether it uses labels.
        search, scheduler: who drew the samples, and who ended them early; with the seed and the rungs.
        draws: how often settings were drawn, also those that came to nothing.
        repeated: draws of settings that there were already.
        refusals: draws that the method refused, by reason.
        samples: in the order of drawing.
    """

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    schema_version: int = Field(default=SCHEMA, alias="schema")
    name: str
    created: str = Field(default_factory=now)
    asked: dict[str, Any]
    space: dict[str, dict[str, list[Any]]]
    objective: dict[str, Any]
    search: dict[str, Any]
    scheduler: dict[str, Any]
    draws: int = 0
    repeated: int = 0
    refusals: dict[str, int] = {}
    samples: list[Sample] = []

    def save(self, folder: Path) -> None:
        write_json(folder / FILE, self.model_dump(by_alias=True))

    def having(self, *states: State) -> list[Sample]:
        """The samples in one of these states."""
        return [sample for sample in self.samples if sample.state in states]


def read_sweep(folder: Path) -> Sweep | None:
    """The sweep in `folder`, None if there is none. Raises `RecordError` if it cannot be read."""
    path = folder / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} cannot be read ({error}). Delete the folder and run the sweep again.") from None
    schema = content.get("schema") if isinstance(content, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise RecordError(f"{path} has schema {schema}; this version reads up to {SCHEMA}. Upgrade clusterbench to read it.")
    try:
        return Sweep.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise RecordError(f"{path} is damaged ({problems}). Delete the folder and run the sweep again.") from None


def state_of(folder: Path, number: int) -> State | None:
    """The state of one sample; None where that cannot be known."""
    try:
        sweep = read_sweep(folder)
    except RecordError:
        return None
    found: Sequence[Sample] = sweep.samples if sweep else ()
    return next((sample.state for sample in found if sample.number == number), None)
