"""`bench rescore`: today's metrics for records of any age."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .errors import one_line, say
from .help import examples
from .options import OnlyDataset, OnlyMethod, Out, Quiet, output_folder
from .output import records_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..rescore import Rescored

SHOWN = 4  # changed numbers that a line names, and records that one line tells of
_LEFT = {"no labels": "without labels.npz", "unfinished": "without metrics: not finished"}


def add_to(app: typer.Typer) -> None:
    lines = ("bench rescore --dry-run", "bench rescore --method iic --dataset digits", "bench rescore --out results")
    app.command("rescore", epilog=examples(*lines))(rescore)


def rescore(
    method: OnlyMethod = None,
    dataset: OnlyDataset = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would change, write nothing.")] = False,
    out: Out = None,
    quiet: Quiet = False,
) -> None:
    """Compute the metrics of records again from the clusters that they keep: a new or mended metric needs no training.

    Each record is replaced in one step and keeps what was there (metrics_history). A record without labels.npz stays as it is.

    Epochs and sub-heads that were chosen stay chosen. What was delivered to MLflow stays there: bench import with a new
    --experiment delivers the new numbers.
    """
    from ...results.metrics import METRICS_VERSION
    from ...results.record import RecordError
    from ..rescore import rescore as rescore_one

    folder, failed = output_folder(out), 0
    wanted = {"method": method, "dataset": dataset}
    records = [r for r in records_in(folder) if all(not names or r.spec.get(key) in names for key, names in wanted.items())]
    if not records:
        raise RecordError(f"There is no record in {folder} to rescore. See what is there: bench leaderboard --out {folder}")
    names: dict[str, list[str]] = {}
    for record in records:
        try:
            done = rescore_one(record, dry_run=dry_run)
        except RecordError as error:
            failed += 1
            say(one_line(error))
            continue
        names.setdefault(done.outcome, []).append(record.folder.name)
        if done.outcome == "rescored" and not quiet:
            typer.echo(f"{record.folder.name}: {_told(record.metrics_version, METRICS_VERSION, done)}")
    for outcome, why in _LEFT.items():
        if outcome in names:
            say(f"left as it is, {why}: {_listed(names[outcome])}")
    typer.echo(_summary(names, failed, dry_run))
    raise typer.Exit(1 if failed else 0)


def _told(before: int | None, now: int, done: Rescored) -> str:
    version = f"metrics version {before} -> {now}" if before != now else f"metrics version {now}"
    return f"{version}; {_changes(done.changes) if done.changes else 'same numbers'}"


def _changes(changes: Mapping[str, tuple[float | None, float | None]]) -> str:
    """`own-loss acc 0.8012 -> 0.8031`; the scores of the selections before their details, the first few."""
    ordered = sorted(changes, key=lambda name: ("." in name or "[" in name, not name.startswith("own-loss")))
    told = [f"{name} {_number(changes[name][0])} -> {_number(changes[name][1])}" for name in ordered[:SHOWN]]
    more = len(ordered) - SHOWN
    return ", ".join(told) + (f" and {more} more" if more > 0 else "")


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


def _listed(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _summary(names: Mapping[str, list[str]], failed: int, dry_run: bool) -> str:
    count = {outcome: len(found) for outcome, found in names.items()}
    left = sum(count.get(outcome, 0) for outcome in _LEFT)
    verb = "would be rescored" if dry_run else "rescored"
    return f"{count.get('rescored', 0)} {verb}, {count.get('unchanged', 0)} unchanged, {left} left as they are, {failed} failed"
