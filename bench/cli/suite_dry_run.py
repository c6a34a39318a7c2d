"""What `bench suite run --dry-run` prints: every trial with its state, and how long what is left may take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ...results.grid import duration
from ...results.record import find_records
from ..devices import available_cores
from ..estimate import NO_PAST_RUN, PastRuns
from ..outlook import Outlook, State, outlook
from ..scheduling.placement import HERE, NO_RAY, Placement
from ..suite_plan import Cell
from ..suites import Suite
from ..terminal import UNBROKEN, emit

NOT_HERE = "not in this version"


class Lacking(NamedTuple):
    """Trials that cannot be run for one reason."""

    heading: str
    preset: str
    why: str
    trials: int


def tell(part: Suite, planned: Sequence[Cell], out: Path, data_root: Path | None, placement: Placement, *, force: bool) -> None:
    """Print it.

    Args:
        part: what was chosen of a suite, and `planned`, its cells.
        out: folder of the records that tell what is done and how long things took.
        data_root: searched first for data.
        placement: decides how many trials run at a time.
        force: whether what is done would be run again.
    """
    trials = outlook(planned, out, data_root)
    if force:
        trials = [replace(trial, state=State.TO_DO, told="to do from the start", share_left=1.0) for trial in trials]
    past, missing = PastRuns(record for record in find_records(out) if record.lab is None), lacking(planned)
    lines = [_sums(trials, missing, out)]
    if trials:
        lines.append(f"time left: {past.estimate(trials, _at_a_time(placement))}")
    title = Text(f"{part.name}: {part.title}", style="bold")
    emit(Console(highlight=False), Group(title, _table(trials, missing, past), Text(), *map(Text, lines)), UNBROKEN)


def lacking(planned: Sequence[Cell]) -> list[Lacking]:
    """What cannot be run, together by row, method and reason."""
    together: dict[tuple[str, str, str, str], list[Cell]] = {}
    for cell in planned:
        if cell.resolved is None:
            together.setdefault((cell.run.label or "", cell.method, cell.run.preset, cell.why_not), []).append(cell)
    return [
        Lacking(_heading(cells[0], _names(cells)), preset, why, sum(len(cell.run.seeds) for cell in cells))
        for (_, _, preset, why), cells in together.items()
    ]


def _names(cells: Sequence[Cell]) -> str:
    return ", ".join(dict.fromkeys(cell.dataset for cell in cells))


def _heading(cell: Cell, datasets: str) -> str:
    return f"{cell.method} on {datasets}" + (f" ({cell.run.label})" if cell.run.label else "")


def _table(trials: Sequence[Outlook], missing: Sequence[Lacking], past: PastRuns) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in ("trial", "preset", "state", "time of one"):
        table.add_column(column, overflow="fold")
    for trial in trials:
        mean, cell = past.mean(trial.cell), trial.cell
        heading = f"{_heading(cell, cell.dataset)}, seed {trial.seed}"
        time = NO_PAST_RUN if mean is None else duration(mean)
        table.add_row(*map(Text, (heading, cell.run.preset, trial.told, time)))
    for row in missing:
        table.add_row(*map(Text, (f"{row.heading}, {_count(row.trials)}", row.preset, f"{NOT_HERE}: {row.why}", "")))
    return table


def _sums(trials: Sequence[Outlook], missing: Sequence[Lacking], out: Path) -> str:
    """`15 trials: 3 done, 1 begun, 11 to do (records in bench-results); 5 not in this version`."""
    counts = Counter(trial.state for trial in trials)
    told = ", ".join(f"{counts[state]} {state.value}" for state in State if counts[state])
    absent = sum(row.trials for row in missing)
    sums = [f"{_count(len(trials))}: {told} (records in {out})"] if trials else []
    return "; ".join([*sums, *([f"{absent} {NOT_HERE}"] if absent else [])]) or "no run has what was chosen"


def _count(trials: int) -> str:
    return f"{trials} trial{'s'[: trials != 1]}"


def _at_a_time(placement: Placement) -> int:
    """Trials that run side by side on this machine; of a cluster elsewhere no more is known than what was asked for."""
    if placement.address == NO_RAY:
        return 1
    if placement.address != HERE:
        return placement.max_concurrent or 1
    import os

    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    here = {"CPU": float(available_cores()), "GPU": float(torch.cuda.device_count()), "memory": float(memory)}
    return placement.concurrency(here)
