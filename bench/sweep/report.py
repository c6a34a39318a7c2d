"""What came out of a sweep, as numbers, as a table and as a page of Markdown; all of it from `sweep.json` alone.

ACC stands in it for readers: it is how they see whether an objective without labels was a good guide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...results.files import replace_file
from ...results.grid import NONE, duration, percent
from ..run_line import run_line
from ..spec import TrialSpec
from ..terminal import yaml_line
from .objective import Objective
from .state import Sample, State, Sweep

PAGE = "report.md"
SHOWN = 10  # samples in the table
NEW_SEEDS = 5
FEWEST = 3  # pairs that a rank correlation is told of
TRAP = (
    "A criterion compares samples only as far as they are judged by the same loss. Settings that change the loss itself "
    "(weights of its terms, sub-heads of which the lowest loss counts, the batch that it is estimated on, how strong the "
    "transformations are, how pixels or features are scaled) move it without making the clusters better or worse."
)
LUCK = (
    "Each sample was trained with one seed, so the best of them is in part the luckiest: with new seeds it will do worse. "
    "Compare it with the preset over several new seeds, or sweep with --seeds 3."
)
_ORACLE = "Labels chose these settings (objective: {}). What they reach is an oracle's result, not an unsupervised one."
_HEADINGS = ("rank", "sample", "ended", "epochs")


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation over `n` samples, with its two-sided p-value."""

    n: int
    rho: float
    p: float

    def __str__(self) -> str:
        return f"{self.rho:+.2f} (n = {self.n}, p = {self.p:.2g})"


def rank_correlation(samples: Sequence[Sample]) -> Correlation | None:
    """Between objective and ACC; None for fewer than three samples that have both, or where one of them never changes."""
    from scipy.stats import spearmanr

    pairs = [(sample.objective, sample.acc) for sample in samples if sample.objective is not None and sample.acc is not None]
    objectives, accuracies = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
    if len(pairs) < FEWEST or len(objectives) < 2 or len(accuracies) < 2:
        return None
    found: Any = spearmanr(pairs)
    return Correlation(len(pairs), float(found.statistic), float(found.pvalue))


def ranked(sweep: Sweep) -> list[Sample]:
    """Best first: complete samples by objective, then pruned ones (they trained for less), then what diverged or failed."""
    objective = _objective(sweep)
    order: Sequence[State] = ("complete", "pruned", "diverged", "failed", "running")

    def key(sample: Sample) -> tuple[int, float, int]:
        value = objective.worst if sample.objective is None else sample.objective
        return order.index(sample.state), objective.rank(value), sample.number

    return sorted(sweep.samples, key=key)


def best_of(sweep: Sweep) -> Sample | None:
    """The best complete sample."""
    return next((sample for sample in ranked(sweep) if sample.state == "complete"), None)


def headings(sweep: Sweep) -> list[str]:
    """The columns of `cells`."""
    labelled = [] if sweep.objective["name"] == "acc" else ["ACC % (labels; not used)"]
    return [*_HEADINGS, _objective(sweep).title, *labelled, "time", *sweep.space]


def cells(sweep: Sweep, sample: Sample, rank: int) -> list[str]:
    """One row of the table of samples."""
    objective = NONE if sample.objective is None else f"{sample.objective:.4f}"
    labelled = [] if sweep.objective["name"] == "acc" else [percent(sample.acc)]
    settings = ["preset"] * len(sweep.space) if sample.is_preset else [yaml_line(sample.settings[name]) for name in sweep.space]
    place = str(rank) if sample.state == "complete" else NONE
    about = [place, str(sample.number), sample.state, str(sample.epochs)]
    return [*about, objective, *labelled, duration(sample.seconds), *settings]


def best_line(sweep: Sweep, spec: TrialSpec, data_root: Path | None = None) -> str:
    """`bench run` with the best settings and seeds that the sweep has not seen.

    Args:
        sweep: for the seeds that it has seen.
        spec: any trial of the best sample.
        data_root: folder of the data, if the command must name it.
    """
    first = max(sweep.asked["seeds"]) + 1
    return run_line(spec.model_dump(mode="json"), ",".join(str(first + i) for i in range(NEW_SEEDS)), data_root)


def warnings(sweep: Sweep) -> list[str]:
    """What must stand beside the result: that labels had a part in it, that one seed of each sample is little."""
    told = []
    if sweep.objective["uses_labels"]:
        told.append(_ORACLE.format(sweep.objective["name"].upper()))
    if len(sweep.asked["seeds"]) == 1:
        told.append(LUCK)
    return told


def guide(sweep: Sweep) -> list[str]:
    """Lines on whether an objective without labels led to the better clusters."""
    if sweep.objective["uses_labels"]:
        return ["The objective itself uses labels, so there is nothing to compare it with."]
    complete = rank_correlation(sweep.having("complete"))
    if complete is None:
        needed = f"it needs {FEWEST} complete samples with labels that differ in both"
        return [f"Rank correlation of criterion and ACC: not told; {needed}."]
    lines = [f"Spearman's rank correlation of criterion and ACC over complete samples: {complete}. {_reading(complete)}"]
    everything = rank_correlation(sweep.having("complete", "pruned"))
    if everything is not None and everything.n > complete.n:
        why = "but both get better with every epoch that a sample was given"
        lines.append(f"With pruned samples where they ended it is {everything}, {why}.")
    return lines


def losses(sweep: Sweep) -> list[str]:
    """Lines on what did not become a complete sample, and why."""
    lines = [
        f"Sample {sample.number} {sample.state}: {sample.error or 'no reason was told'}"
        for sample in sweep.having("diverged", "failed")
    ]
    pruned, running = len(sweep.having("pruned")), len(sweep.having("running"))
    if pruned:
        lines.append(f"{pruned} of {len(sweep.samples)} samples were ended early, after {_rungs(sweep)} epochs.")
    if running:
        lines.append(f"{running} of {len(sweep.samples)} samples are not over; the same command goes on with them.")
    if sweep.repeated:
        lines.append(f"{sweep.repeated} draws repeated earlier settings and were drawn again.")
    if sweep.refusals:
        reason = max(sweep.refusals, key=lambda text: sweep.refusals[text])
        count = sum(sweep.refusals.values())
        lines.append(f"{count} draws were combinations that the method refuses and were drawn again, such as: {reason}")
    return lines


def write_report(sweep: Sweep, folder: Path, line: str | None, pictures: Mapping[str, str]) -> Path:
    """Write `report.md`.

    Args:
        sweep: what to tell of.
        folder: of the sweep.
        line: the command of the best sample, if there is one.
        pictures: by title, the file name of each, or why it could not be drawn.
    """
    path = folder / PAGE
    replace_file(path, ("\n".join(_page(sweep, line, pictures)) + "\n").encode())
    return path


def _page(sweep: Sweep, line: str | None, pictures: Mapping[str, str]) -> list[str]:
    asked = sweep.asked
    changed = "".join(f", {name}={yaml_line(value)}" for name, value in asked["overrides"].items())
    seeds = ", ".join(map(str, asked["seeds"]))
    page = [
        f"# Sweep of {asked['method']} on {asked['dataset']}",
        "",
        *(line for said in warnings(sweep) for line in (f"**{said}**", "")),
        f"- Preset {asked['preset']}{changed}, {asked['protocol']} protocol, {asked['n_clusters']} clusters; seeds {seeds}",
        f"- Objective: {_objective(sweep).title}, mean over the seeds at the last epoch, to be {_goal(sweep)}",
        f"- Search: {sweep.search['name']}, seed {sweep.search['seed']}; scheduler: {sweep.scheduler['name']}"
        + (f", ends the worse two thirds after {_rungs(sweep)} epochs" if sweep.scheduler["rungs"] else ""),
        f"- Space: {'; '.join(f'{name} {yaml_line(values)}' for name, values in sweep.space.items())}",
        "",
        "## Best samples",
        "",
        *_markdown(headings(sweep), [cells(sweep, sample, rank) for rank, sample in enumerate(ranked(sweep)[:SHOWN], start=1)]),
        "",
    ]
    if line:
        page += ["With seeds that the sweep has not seen:", "", "```", line, "```", ""]
    page += ["## Is the objective a good guide?", "", *guide(sweep), ""]
    page += [] if sweep.objective["uses_labels"] else [TRAP, ""]
    lost = losses(sweep)
    page += ["## What else happened", "", *(f"- {each}" for each in lost), ""] if lost else []
    page += ["## Pictures", ""]
    for title, found in pictures.items():
        page += [f"![{title}]({found})" if found.endswith(".png") else f"{title}: {found}", ""]
    return page[:-1]


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in each) + " |" for each in lines]


def _reading(found: Correlation) -> str:
    if found.p > 0.05:
        return "That may be chance: over these samples the criterion is no proven guide."
    good = "A lower criterion went with a higher ACC: it was a good guide."
    bad = "A lower criterion went with a lower ACC: it led away from the better clusters."
    return good if found.rho < 0 else bad


def _objective(sweep: Sweep) -> Objective:
    return Objective(sweep.objective["name"])


def _goal(sweep: Sweep) -> str:
    return "raised" if sweep.objective["uses_labels"] else "lowered"


def _rungs(sweep: Sweep) -> str:
    return " or ".join(map(str, sweep.scheduler["rungs"]))
