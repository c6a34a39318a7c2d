"""The result of a trial, and of several, as something to look at: made from records alone.

A panel in a terminal, plain lines elsewhere. Scores are in percent, as in the tables.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ..results import unlabelled
from ..results.grid import NONE, duration, percent
from ..results.groups import Group as Seeds
from ..results.groups import Spread, group_records
from ..results.record import Record
from . import diagnostics
from .run_line import run_line
from .terminal import UNBROKEN, emit, yaml_line

CHOICES = {"own-loss": "lowest own loss", "last": "last epoch", "oracle": "oracle (uses labels)"}
METRICS = ("acc", "nmi", "ari")
MOST_CLASSES = 8  # whose IoU is told one by one
TABLES = {"clustering": 1, "semi-supervised": 3, "segmentation": 4}  # of the IIC paper, by task


def show(console: Console, record: Record, steps: Sequence[str] = ()) -> None:
    """Print the result card of `record`, with the command lines that may come next."""
    title, body = Text(headline(record), style="bold"), _body(record, steps)
    if console.is_terminal:
        console.print(Panel(body, title=title, title_align="left", expand=False, padding=(0, 1)))
    else:
        emit(console, Group(title, body), UNBROKEN)


def show_line(console: Console, record: Record) -> None:
    """Print one of several results in a line, and under it what a reader must know beside it."""
    own, spec = record.metrics.get("own-loss", {}), record.spec
    told = [f"{_clusters(own, record)} clusters", duration(record.cost.get("total_seconds"))]
    if unlabelled.told(record):
        told[:0] = [f"{name} {text}" for name, text in _without_labels(record)[1:]]
    else:
        told[:0] = [f"{name.upper()} {percent(own.get(name))}" for name in METRICS]
        told.insert(-1, f"oracle ACC {percent(record.score('acc', 'oracle'))}")
    heading = f"{spec['method']} on {spec['dataset']}, seed {spec['seed']}"
    console.print(Text.assemble((heading, "bold"), f": {', '.join(told)}{_ending(record)}"), soft_wrap=True)
    for warning in warnings(record):
        console.print(Text(f"  ! {warning}", style="yellow"), soft_wrap=True)


def show_summary(console: Console, records: Sequence[Record], failures: Sequence[tuple[str, str]] = ()) -> None:
    """Print mean and standard deviation over seeds for every method and data set, then what failed and why.

    Args:
        records: finished records; those that differ in nothing but the seed share a row.
        failures: pairs of a trial's heading and the reason.
    """
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in ("data set", "method"):
        table.add_column(column, no_wrap=True)
    for column in ("seeds", "ACC %", "NMI %", "ARI %", "oracle ACC %", "time a seed"):
        table.add_column(column, justify="right", no_wrap=True)
    groups = group_records(records)
    for group in groups:
        spreads = [group.spread(name) for name in METRICS] + [group.spread("acc", "oracle")]
        cells = [_in_percent(spread) for spread in spreads]
        table.add_row(group.spec["dataset"], group.spec["method"], str(group.n), *cells, duration(group.cost("total_seconds")))
    if records:
        note = Text("mean ± sample standard deviation over seeds; all but the oracle chosen without labels", style="dim")
        console.print()
        emit(console, Group(table, note))
    for group in groups:
        if line := _agreement(group):
            console.print(Text(line), soft_wrap=True)
    for heading, reason in failures:
        console.print(Text.assemble((f"failed: {heading}: ", "bold red"), reason), soft_wrap=True)


def _agreement(group: Seeds) -> str:
    """What is known of several seeds on data without labels; "" for any other group."""
    if group.is_labelled or not unlabelled.told(group.records[0]):
        return ""
    apart, sure, agree = unlabelled.silhouettes(group), unlabelled.confidence(group), unlabelled.stability(group)
    known = (("silhouette", apart), ("confidence", sure), ("ARI between seeds", agree))
    told = [
        f"{name} {spread.mean:.2f}" + (f" ± {spread.std:.2f}" if spread.std is not None else "")
        for name, spread in known
        if spread
    ]
    return f"no labels: {group.spec['method']} on {group.spec['dataset']}: {', '.join(told)}" if told else ""


def show_next(console: Console, steps: Sequence[str]) -> None:
    """Print the command lines that may come next."""
    for index, step in enumerate(steps):
        console.print(
            Text.assemble(("" if index else "next", "dim"), " " * (4 if index else 0), "  ", (step, "cyan")), soft_wrap=True
        )


def headline(record: Record) -> str:
    """`iic on digits: short preset, seed 0`, with what was changed and how it ended where that is not the plain way."""
    spec = record.spec
    changed = "".join(f", {name}={yaml_line(value)}" for name, value in (spec.get("overrides") or {}).items())
    protocol = "" if spec["protocol"] == "full" else f", {spec['protocol']} protocol"
    start = f"{spec['method']} on {spec['dataset']}: {spec['preset']} preset"
    return f"{start}{changed}{protocol}, seed {spec['seed']}{_ending(record)}"


def warnings(record: Record) -> list[str]:
    """What a reader must know beside the numbers: collapse, missing labels, notes on this copy of the data."""
    own, clusters, data = record.metrics.get("own-loss", {}), record.spec["n_clusters"], record.provenance.get("data") or {}
    used, expected = own.get("clusters_used"), min(clusters, data.get("n_classes") or clusters)
    told = []
    if used is not None and used < expected and not record.diagnostics.get("collapsed"):
        told.append(f"only {used} of {clusters} clusters are used: the others are empty (collapse)")
    told += diagnostics.told(record.diagnostics, clusters)
    if own and own.get("acc") is None:
        told.append("the data has no labels, so nothing can be scored (bench sheet RUN shows the clusters)")
    return [*told, *map(str, data.get("notes") or ())]


def next_steps(
    records: Sequence[Record], *, out: Path | None = None, data_root: Path | None = None, viewer: str | None = None
) -> list[str]:
    """Command lines that are worth typing after these records, ready to be pasted.

    Args:
        records: what was just made.
        out: folder of the records, if commands must be told.
        data_root: folder of the data, likewise.
        viewer: command that shows the tracked runs.
    """
    where = "" if out is None else f" --out {shlex.quote(str(out))}"
    datasets = dict.fromkeys(record.spec["dataset"] for record in records)
    steps = [run_line(records[0].spec, "5", data_root, unsaid=("short",)) + where] if len(records) == 1 else []
    steps += [f"bench leaderboard --dataset {shlex.quote(dataset)}{where}" for dataset in [*datasets][:1]]
    tasks = {record.spec.get("task", "clustering") for record in records}
    steps += [f"bench tables {number}{where}" for task, number in TABLES.items() if task in tasks]
    unscored = next((record for record in records if unlabelled.told(record)), None)
    if unscored is not None:
        steps.insert(0, f"bench sheet {shlex.quote(str(unscored.folder))} --html sheet.html")
    return [*steps, viewer] if viewer else steps


def _body(record: Record, steps: Sequence[str]) -> RenderableType:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    if record.selection_gap is not None:
        facts.add_row("gap", f"{100 * record.selection_gap:+.1f} points of ACC, had labels chosen epoch and head")
    for name, scores in (record.metrics.get("own-loss", {}).get("other_predictions") or {}).items():
        facts.add_row("also", f"{name}: {', '.join(f'{metric.upper()} {percent(scores.get(metric))}' for metric in METRICS)}")
    for name, text in (*_of_pixels(record), *_without_labels(record)):
        facts.add_row(name, text)
    if loss := _loss(record):
        facts.add_row("loss", loss)
    facts.add_row("cost", _cost(record))
    for warning in warnings(record):
        facts.add_row("note", Text(warning, style="yellow"))
    facts.add_row("record", Text(str(record.folder)))
    for index, step in enumerate(steps):
        facts.add_row("" if index else "next", Text(step, style="cyan"))
    return Group(_scores(record), Text(), facts) if record.metrics else facts


def _scores(record: Record) -> Table:
    """A row for each way of choosing, and the average over sub-heads where there are several."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("chosen by", no_wrap=True)
    metrics = () if unlabelled.told(record) else METRICS
    for column in (*(f"{name.upper()} %" for name in metrics), "clusters", "head", "epoch"):
        table.add_column(column, justify="right", no_wrap=True)
    for selection, title in CHOICES.items():
        if selection == "oracle" and not metrics:
            continue
        chosen = record.metrics.get(selection, {})
        place = (_clusters(chosen, record), str(chosen.get("head", NONE)), str(chosen.get("epoch", NONE)))
        style = {"own-loss": "bold", "oracle": "dim"}.get(selection)
        table.add_row(title, *(percent(chosen.get(name)) for name in metrics), *place, style=style)
        heads = chosen.get("heads") or {}
        if selection == "own-loss" and heads.get("n", 1) > 1 and metrics:
            table.add_row(
                f"mean of {heads['n']} sub-heads", *(_in_percent(_of_heads(heads, name)) for name in metrics), "", "all", place[2]
            )
    return table


def _of_pixels(record: Record) -> list[tuple[str, str]]:
    """What only label maps have: the overlap with each class, where they are few, and the scores away from their boundaries."""
    own = record.metrics.get("own-loss", {})
    if own.get("miou") is None:
        return []
    names = (record.provenance.get("data") or {}).get("class_names") or map(str, range(len(own["iou"])))
    each = ", ".join(f"{name} {percent(value)}" for name, value in zip(names, own["iou"], strict=True))
    told = [("IoU", f"{percent(own['miou'])} % on average" + (f": {each}" if len(own["iou"]) <= MOST_CLASSES else ""))]
    away = own.get("away_from_boundaries")
    if away:
        scores = f"ACC {percent(away['acc'])} %, mean IoU {percent(away['miou'])} %"
        where = f"{percent(away['share'])} % of the pixels that are more than {away['reach']} from another label"
        told.append(("away", f"{scores} of the {where}"))
    return told


def _without_labels(record: Record) -> list[tuple[str, str]]:
    """What stands in the place of scores where nothing is labelled."""
    found = unlabelled.told(record)
    if not found:
        return []
    sizes, sure, apart = found["sizes"], found.get("confidence"), found.get("silhouette")
    total = max(1, sum(sizes))
    told = [
        (
            "sizes",
            f"largest cluster {percent(max(sizes) / total)} %, smallest {percent(min(sizes) / total)} % of {total:,} images",
        )
    ]
    if sure:
        told.append(
            ("confidence", f"{sure['mean']:.2f} on average, {percent(sure['sure'], 0)} % of {sure['n']:,} images at 0.9 or more")
        )
    if apart:
        told.append(("silhouette", f"{apart['value']:.3f} on {apart['features']} ({apart['n']:,} images)"))
    return told


def _of_heads(heads: Mapping[str, Any], name: str) -> Spread | None:
    mean = heads.get(f"{name}_mean")
    return None if mean is None else Spread(mean, heads.get(f"{name}_std"), heads["n"])


def _in_percent(spread: Spread | None) -> str:
    return NONE if spread is None else spread.in_percent


def _clusters(chosen: Mapping[str, Any], record: Record) -> str:
    return f"{chosen.get('clusters_used', NONE)} of {record.spec['n_clusters']}"


def _loss(record: Record) -> str:
    """The method's own loss beside its bound, and how far its sub-heads are apart."""
    found = record.diagnostics
    if found.get("criterion") is None:
        return ""
    gap = found.get("sub_head_gap")
    apart = "" if gap is None else f"; sub-heads {gap:.3f} apart"
    return diagnostics.beside_floor(found["criterion"], found.get("loss_floor")) + apart


def _cost(record: Record) -> str:
    cost, about = record.cost, record.provenance
    train, images = cost.get("train_seconds") or 0.0, cost.get("images")
    told = [f"{duration(train)} of training, {duration(cost.get('evaluate_seconds'))} of evaluation"]
    if images:
        told.append(f"{images:,} images through the network" + (f", {images / train:,.0f} a second" if train else ""))
    if about.get("device"):
        threads = about.get("threads")
        told.append(
            f"on {about.get('gpu') or about['device']}" + (f" with {threads} thread{'s'[: threads != 1]}" if threads else "")
        )
    if cost.get("resumed"):
        told.append(f"resumed {cost['resumed']} time{'s'[: cost['resumed'] != 1]}")
    if cost.get("reused"):
        told.append(f"without what made {', '.join(cost['reused'])}, which other trials had kept")
    return "; ".join(told)


def _ending(record: Record) -> str:
    if record.is_complete:
        return ""
    reason = f" ({record.stop_reason})" if record.stop_reason else ""
    return f", {record.status}{reason} after epoch {record.epochs_done} of {record.planned_epochs}"
