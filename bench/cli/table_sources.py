"""What the papers' tables need beside the records: rows of our suites, the methods that are here, commands that fill cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from ...results.tables import Entry, Here, SuiteRow

WITH_ROWS = (2, 3)  # tables whose rows are more than a method's name
SEGMENTATION = (4,)


def here() -> Here:
    """All of it, from cards and suites; no method is imported."""
    from ...methods.registry import methods
    from ...results.tables import Here

    cards = {name: methods.card(name) for name in methods.names()}
    return Here(
        suites={number: _suite_rows(number) for number in WITH_ROWS},
        methods={name: str(card.get("task", "clustering")) for name, card in cards.items()},
        variants={name: variant for name, card in cards.items() if (variant := (card.get("variants") or {}).get("segmentation"))},
        commands=commands,
    )


def columns(asked: Sequence[str], numbers: Sequence[int]) -> dict[int, list[str]]:
    """By table, the data sets of `asked` that its task is about. Raises `typer.BadParameter` for one that no table takes."""
    by_table = {number: [name for name in asked if _is_segmented(name) == (number in SEGMENTATION)] for number in numbers}
    for name in asked:
        if not any(name in names for names in by_table.values()):
            kind, table = ("segmentation", "4") if _is_segmented(name) else ("clustering", "1, 2 or 3")
            raise typer.BadParameter(f"{name} is a data set for {kind}: see Table {table}.", param_hint="--dataset")
    return by_table


def commands(entry: Entry, missing: Sequence[str]) -> list[str]:
    """The `bench run` lines that make the runs a row lacks, one for all data sets that agree in preset and protocol."""
    together: dict[tuple[str, str], list[str]] = {}
    for dataset in missing:
        preset = _preset(entry, dataset)
        if preset:
            together.setdefault((preset, _protocol(entry, dataset)), []).append(dataset)
    return [_line(entry, names, preset, protocol) for (preset, protocol), names in together.items()]


def _line(entry: Entry, names: Sequence[str], preset: str, protocol: str) -> str:
    import shlex

    from ...results.groups import ENOUGH_SEEDS
    from ..terminal import yaml_line

    words = ["bench", "run", "--method", str(entry.method)]
    words += [word for name in names for word in ("--dataset", name)]
    words += ["--preset", preset]
    words += [word for key, value in entry.settings.items() for word in ("--set", f"{key}={yaml_line(value)}")]
    words += [] if protocol == "full" else ["--protocol", protocol]
    return shlex.join([*words, "--seeds", str(ENOUGH_SEEDS)])


def _preset(entry: Entry, dataset: str) -> str | None:
    """The published settings where there are any for the data set, else the short ones; None if nothing can be run on it."""
    from ...datasets.catalogue import datasets
    from ...datasets.names import parse
    from ...methods.registry import methods

    whole = parse(dataset).base
    if whole not in datasets.names() or _is_segmented(dataset) != (entry.task == "segmentation"):
        return None
    presets: Mapping[str, Any] = methods.card(str(entry.method)).get("presets") or {}
    known = {name: (presets.get(name) or {}).get("datasets") or {} for name in ("paper", "short")}
    return next((name for name, settings in known.items() if whole in settings or "default" in settings), None)


def _protocol(entry: Entry, dataset: str) -> str:
    """That of the published numbers; `full` on data sets that a later system has not reported."""
    if entry.protocol == "split" and not entry.published_on(dataset):
        return "full"
    return entry.protocol


def _is_segmented(dataset: str) -> bool:
    from ...datasets.catalogue import datasets
    from ...datasets.names import parse

    whole = parse(dataset).base
    return whole in datasets and datasets.card(whole).get("task") == "segmentation"


def _suite_rows(number: int) -> list[SuiteRow]:
    from ...results.differences import flat
    from ...results.tables import SuiteRow
    from ..suites import suite

    runs = suite(f"table{number}").runs
    return [SuiteRow(run.label or "", method, flat(run.settings)) for run in runs for method in run.methods]
