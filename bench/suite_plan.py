"""From a suite to what can be run of it: chosen parts, and the trials that this version has the methods and settings for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..datasets.catalogue import datasets
from ..datasets.errors import DataError
from ..datasets.names import parse
from ..datasets.protocols import schemes
from ..datasets.registry import NotFound, not_found
from ..methods.base import MethodError
from ..methods.registry import methods
from .config import Resolved, method_for, resolve
from .spec import SpecError, check_protocol
from .suites import Run, Suite


@dataclass(frozen=True)
class Cell:
    """One method on one data set in one run of a suite: trials that differ in nothing but the seed.

    Attributes:
        index: which run of the suite.
        method: its name for this data set: of `iic`, where the suite says so, perhaps the variant for segmentation.
        resolved: the settings; None for what cannot be run.
        why_not: the reason then.
    """

    index: int
    run: Run
    method: str
    dataset: str
    resolved: Resolved | None
    why_not: str = ""


def select(
    suite: Suite,
    *,
    chosen_methods: Sequence[str] = (),
    chosen_datasets: Sequence[str] = (),
    preset: str | None = None,
    seeds: Sequence[int] | None = None,
) -> Suite:
    """The part of `suite` that was asked for. Runs keep their place, so that messages name the right one.

    Args:
        suite: all of it.
        chosen_methods: of the suite's methods; all if empty.
        chosen_datasets: of the suite's data sets; all if empty. `NAME@sample` takes the place of NAME, and one that no
            run names takes the place of every run's own: any table can be made on any data set.
        preset, seeds: in place of every run's own.

    Raises:
        NotFound: a method that the suite does not name, a data set or a preset that nobody knows.
    """
    for name in chosen_methods:
        if name not in suite.methods:
            raise not_found("method", name, list(suite.methods), f"bench suite show {suite.name}")
    for name in chosen_datasets:
        datasets.card(name)
    if preset is not None:
        _check_preset(preset, [name for name in chosen_methods or suite.methods if name in methods])
    runs = tuple(
        run.model_copy(
            update={
                "methods": tuple(name for name in run.methods if not chosen_methods or name in chosen_methods),
                "datasets": _datasets_of(run, suite, chosen_datasets),
                "preset": preset or run.preset,
                "seeds": tuple(seeds) if seeds is not None else run.seeds,
            }
        )
        for run in suite.runs
    )
    return Suite(suite.name, suite.title, suite.summary, runs, suite.shipped)


def cells(suite: Suite) -> list[Cell]:
    """Every method on every data set of every run, with its settings.

    One of our suites may name what this version does not have: such a cell says why. In a user's file that is a mistake.

    Raises:
        SpecError: a run of a user's file that cannot be, with its place in the file.
    """
    return [
        _cell(suite, index, method, dataset)
        for index, run in enumerate(suite.runs)
        for dataset in run.datasets
        for method in run.methods
    ]


def _datasets_of(run: Run, suite: Suite, chosen: Sequence[str]) -> tuple[str, ...]:
    if not chosen:
        return run.datasets
    foreign = {name for name in chosen if not {name, parse(name).base} & set(suite.datasets)}
    return tuple(name for name in chosen if name in foreign or {name, parse(name).base} & set(run.datasets))


def _check_preset(preset: str, installed: Sequence[str]) -> None:
    known = dict.fromkeys(name for method in installed for name in methods.card(method).get("presets") or ())
    if known and preset not in known:
        raise not_found("preset", preset, list(known), f"bench show {installed[0]}")


def _cell(suite: Suite, index: int, method: str, dataset: str) -> Cell:
    run = suite.runs[index]
    try:
        resolved = _resolved(run, method, dataset)
        return Cell(index, run, resolved.method, dataset, resolved)
    except (NotFound, SpecError, MethodError, DataError) as error:
        if not suite.shipped:
            raise SpecError(f"{suite.name}: runs[{index}]: {error}") from None
        why_not = f"no method {method!r}" if method not in methods else str(error).rstrip(".")
        return Cell(index, run, method, dataset, None, why_not)


def _resolved(run: Run, method: str, dataset: str) -> Resolved:
    name, card = method_for(method, dataset), datasets.card(dataset)
    task = methods.get(name).task
    if run.task is not None and run.task != task:
        raise SpecError(f"{name} is a method for {task}, this run asks for {run.task}.")
    if "splits" in card and run.protocol not in schemes(card, tuple(card["splits"])):
        raise SpecError(f"{dataset} has no protocol {run.protocol!r}.")
    check_protocol(name, run.protocol)
    clusters = [] if run.clusters is None else [f"n_clusters={run.clusters}"]
    return resolve(name, dataset, run.preset, set_=[*run.set_words, *clusters])
