"""`bench figures`: pictures made from records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import say
from .help import examples
from .options import DataRoot, OnlyDataset, OnlyMethod, Out, output_folder
from .output import check_datasets, records_in

if TYPE_CHECKING:
    from ...results.figures.plan import Outcome
    from ...results.record import Record

_EXAMPLES = examples(
    "bench figures",
    "bench figures curves confusion --method iic --dataset digits --format both",
    "bench figures simplex bars --dataset mnist --seed 0 --to pictures --data-root data",
    "bench figures label-fractions --out results --selection last",
)
NAMED = 3  # figures that are named where one line tells of several


class Kind(str, Enum):
    CURVES = "curves"
    CONFUSION = "confusion"
    SIMPLEX = "simplex"
    BARS = "bars"
    LABEL_FRACTIONS = "label-fractions"
    SEGMENTATION = "segmentation"
    RANKS = "ranks"


class Format(str, Enum):
    PNG = "png"
    SVG = "svg"
    BOTH = "both"


class Selection(str, Enum):
    OWN_LOSS = "own-loss"
    LAST = "last"
    ORACLE = "oracle"


def add_to(app: typer.Typer) -> None:
    app.command("figures", epilog=_EXAMPLES)(figures)


def figures(
    kinds: Annotated[
        list[Kind] | None,
        typer.Argument(metavar="[KIND]...", help="What to draw.", show_default="everything that the records allow"),
    ] = None,
    method: OnlyMethod = None,
    dataset: OnlyDataset = None,
    seed: Annotated[
        list[int] | None,
        typer.Option("--seed", min=0, help="Only this seed; may be repeated.", show_default="all, or the median one"),
    ] = None,
    selection: Annotated[
        Selection, typer.Option(help="Which epoch and sub-head: the method's own choice, the last epoch, or that of labels.")
    ] = Selection.OWN_LOSS,
    form: Annotated[Format, typer.Option("--format", "-f", help="png, svg or both.")] = Format.PNG,
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the pictures.", show_default="figures, beside the records")
    ] = None,
    out: Out = None,
    data_root: DataRoot = None,
) -> None:
    """Draw pictures from the records: one line for each file, and one for what could not be drawn.

    curves: loss against its lowest possible value, and accuracy, by epoch, with the spread over seeds.

    confusion: which class is taken for which, after matching.

    simplex: cluster probabilities by epoch, with average images (bench run --snapshots N keeps what it needs).

    bars: sample images with their cluster probabilities, right and wrong ones.

    label-fractions: accuracy against the share of labels and the number of clusters.

    segmentation: image, truth and the methods' maps side by side.

    ranks: average ranks over data sets, and which methods they tell apart (critical-difference diagram).

    Where a picture shows one trial, it is that of the median accuracy among its seeds; --seed names others.
    """
    from ...results.figures.jobs import Request
    from ...results.figures.plan import draw_all, plan
    from ...results.groups import split_counted
    from .figure_sources import ImageSource, gives_probabilities

    folder = output_folder(out)
    records = _asked(records_in(folder), folder, method, dataset, seed)
    counted, left_out = split_counted(records)
    request = Request(
        counted, ImageSource(data_root), selection.value, gives_probabilities=gives_probabilities, every_seed=bool(seed)
    )
    forms = ("png", "svg") if form is Format.BOTH else (form.value,)
    outcomes = []
    for outcome in draw_all(plan([kind.value for kind in kinds or ()], request), to or folder / "figures", forms):
        for file in outcome.files:
            typer.echo(f"{file}: {outcome.shows}")
        outcomes.append(outcome)
    for line in _problems(outcomes):
        say(line)
    if left_out:
        say(f"left out as not finished: {len(left_out)} of {len(records)} records. See bench leaderboard --out {folder}")
    raise typer.Exit(0 if any(outcome.files for outcome in outcomes) else 1)


def _asked(
    records: Sequence[Record],
    folder: Path,
    methods: Sequence[str] | None,
    datasets: Sequence[str] | None,
    seeds: Sequence[int] | None,
) -> list[Record]:
    """The records that the options name. Raises `RecordError` if there are none, with what there is."""
    from ...results.files import RecordError

    check_datasets(datasets or (), records)
    wanted = {"method": methods, "dataset": datasets, "seed": seeds}
    found = [
        record for record in records if all(not values or record.spec.get(name) in values for name, values in wanted.items())
    ]
    if records and not found:
        there = sorted({f"{record.spec['method']} on {record.spec['dataset']}" for record in records})
        raise RecordError(f"No record in {folder} is what was asked for. There are {', '.join(there)}.")
    if not found:
        raise RecordError(f"There is no record in {folder}. Make one: bench run --method iic --dataset digits")
    return found


def _problems(outcomes: Iterable[Outcome]) -> list[str]:
    """A line for each thing that could not be drawn; figures that lack the same share one."""
    lacking: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for outcome in outcomes:
        for problem in outcome.problems:
            lacking.setdefault((outcome.job.kind, problem.why), []).append((outcome.job.stem, problem.remedy))
    lines = []
    for (kind, why), which in lacking.items():
        named = ", ".join(filter(None, (stem.removeprefix(f"{kind}-") for stem, _ in which[:NAMED])))
        more = f" and {len(which) - NAMED} more" if len(which) > NAMED else ""
        remedy = next((remedy for _, remedy in which if remedy), "")
        lines.append(f"{kind}{f' of {named}{more}' if named else ''}: {why}.{f' Try: {remedy}' if remedy else ''}")
    return lines
