"""Suites: lists of products of methods, data sets and seeds, as data. Ours stand in `suites.yaml`, a user's in a file of its own.

    title: Learning rates
    defaults: {datasets: [digits], seeds: 3, preset: short}
    runs:
      - {methods: [kmeans, random]}
      - {methods: iic, set: {lr: 1e-3}, label: higher rate}

Reading a suite checks its form. Whether its names can be run is another question: `suite_plan` answers it.
"""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ..datasets.registry import not_found
from .config import merged
from .durations import seconds_in
from .spec import SpecError
from .yaml_file import SettingsLoader, read_yaml

OURS = Path(__file__).with_name("suites.yaml")
FILE = "suite file"
MOST_SEEDS = 10_000


def _names(value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError("write a name or a list of names")
    return tuple(dict.fromkeys(names))


def _seeds(value: Any) -> tuple[int, ...]:
    seeds = value if isinstance(value, (list, tuple)) else [value]
    if not seeds or not all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in seeds):
        raise ValueError("write a number of seeds (5) or a list of seeds ([0, 1, 2])")
    if isinstance(value, int):
        if not 1 <= value <= MOST_SEEDS:
            raise ValueError(f"a number of seeds is 1 to {MOST_SEEDS:,}; write [{value}] for seed {value} alone")
        return tuple(range(value))
    return tuple(dict.fromkeys(seeds))


def _time_limit(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("write 90s, 10m, 1h30m or a number of seconds")
    return seconds_in(value if isinstance(value, str) else f"{value:f}s")


class Choices(BaseModel):
    """What a run may say, and what `defaults` may say for all of them.

    Attributes:
        methods, datasets: names; every method is run on every data set.
        seeds: a number n in the file means 0..n-1.
        preset: name of a preset of the methods.
        protocol: `full`, `split` or `semi-supervised`.
        task: what the methods must be for, where the data set leaves that open: methods that learn from labels are for
            `semi-supervised`.
        settings: `set` in the file: settings over the preset, nested or by dotted name.
        clusters: clusters to find; None for as many as there are classes.
        time_limit: seconds of training after which a trial stops; a duration such as 20m in the file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    methods: Annotated[tuple[str, ...], BeforeValidator(_names)] = ()
    datasets: Annotated[tuple[str, ...], BeforeValidator(_names)] = ()
    seeds: Annotated[tuple[int, ...], BeforeValidator(_seeds)] = (0,)
    preset: str = Field(default="short", min_length=1)
    protocol: Literal["full", "split", "semi-supervised"] = "full"
    task: Literal["clustering", "segmentation", "semi-supervised"] | None = None
    settings: dict[str, Any] = Field(default_factory=dict, alias="set")
    clusters: int | None = Field(default=None, ge=2, strict=True)
    time_limit: Annotated[float | None, BeforeValidator(_time_limit)] = None


class Run(Choices):
    """One product of a suite: every one of `methods` on every one of `datasets` with every one of `seeds`.

    Attributes:
        label: name of its row, where the method's name does not tell it from others.
    """

    label: str | None = Field(default=None, min_length=1)

    @property
    def trials(self) -> int:
        return len(self.methods) * len(self.datasets) * len(self.seeds)

    @property
    def seeds_text(self) -> str:
        """`0 to 4`, or the seeds one by one where they are not a row of that kind."""
        first, last = self.seeds[0], self.seeds[-1]
        in_a_row = len(self.seeds) > 1 and self.seeds == tuple(range(first, last + 1))
        return f"{first} to {last}" if in_a_row else ", ".join(map(str, self.seeds))

    @property
    def set_words(self) -> tuple[str, ...]:
        """The settings as `--set` takes them."""
        from .terminal import yaml_line

        return tuple(f"{name}={yaml_line(value)}" for name, value in self.settings.items())

    def over(self, defaults: Choices) -> Run:
        """This run with `defaults` for what it does not say; settings are merged."""
        below, own = (choices.model_dump(by_alias=True, exclude_unset=True) for choices in (defaults, self))
        return Run.model_validate({**below, **own, "set": merged(below.get("set", {}), own.get("set", {}))})


class _File(BaseModel):
    """A suite as it is written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = Field(min_length=1)
    summary: str = ""
    defaults: Choices = Choices()
    runs: tuple[Run, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Suite:
    """A named list of runs.

    Attributes:
        name: one of ours, or the path of the user's file as it was given.
        runs: with the defaults filled in.
        shipped: one of ours, which may name what this version cannot run yet.
    """

    name: str
    title: str
    summary: str
    runs: tuple[Run, ...]
    shipped: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for run in self.runs for name in run.methods))

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for run in self.runs for name in run.datasets))

    @property
    def trials(self) -> int:
        return sum(run.trials for run in self.runs)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The methods and data sets that this version does not have, by their names alone."""
        from ..datasets.catalogue import datasets
        from ..datasets.names import parse
        from ..methods.registry import methods

        known_datasets = datasets.names()
        return (
            *(name for name in self.methods if name not in methods),
            *(name for name in self.datasets if parse(name).base not in known_datasets),
        )

    def command(self) -> str:
        """The line that runs all of it."""
        import shlex

        return f"bench suite run {shlex.quote(self.name)}"


@cache
def suites() -> dict[str, Suite]:
    """Our suites by name."""
    cards = read_yaml(OURS, FILE, _NoKeyTwice)
    return {name: _suite(name, card, f"{OURS.name}, {name}", shipped=True) for name, card in cards.items()}


def suite(name: str) -> Suite:
    """One of our suites by its name, or a user's by the path of its file.

    Raises:
        NotFound: it is neither; with the nearest names.
        SpecError: the file cannot be read as a suite: where in it and why.
    """
    if name in suites():
        return suites()[name]
    if Path(name).suffix.lower() not in (".yaml", ".yml") and not Path(name).is_file():
        raise not_found("suite", name, sorted(suites()), "bench suite list")
    return _suite(name, read_yaml(name, FILE, _NoKeyTwice), name)


def _suite(name: str, content: Any, where: str, *, shipped: bool = False) -> Suite:
    if not isinstance(content, dict):
        raise SpecError(f"{where}: a suite has a title and runs as 'name: value' lines; this is a {type(content).__name__}.")
    try:
        file = _File.model_validate(content)
    except ValidationError as error:
        raise SpecError(f"{where}: {_explained(error)}") from None
    runs = tuple(run.over(file.defaults) for run in file.runs)
    for index, run in enumerate(runs):
        for key in ("methods", "datasets"):
            if not getattr(run, key):
                raise SpecError(f"{where}: runs[{index}] names no {key}, and the defaults name none either.")
    return Suite(name, file.title, file.summary, runs, shipped)


def _explained(error: ValidationError) -> str:
    """What is wrong in a suite's file, each fault with its place in it."""
    return " ".join(_fault(problem) for problem in error.errors())


def _fault(problem: Mapping[str, Any]) -> str:
    *above, key = problem["loc"]
    place = _place(problem["loc"])
    if problem["type"] == "missing":
        return f"{place} is missing."
    if problem["type"] == "extra_forbidden":
        known = _known_keys(str(above[0]) if above else "")
        near = difflib.get_close_matches(str(key), known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}."
        return f"{f'{_place(above)}: ' if above else ''}unknown key {key!r}. {hint}"
    why = problem["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{place}: {why} (got {problem['input']!r})."


def _place(parts: tuple[Any, ...] | list[Any]) -> str:
    """`runs[1].seeds` for ("runs", 1, "seeds")."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")


def _known_keys(where: str) -> list[str]:
    model = {"runs": Run, "defaults": Choices}.get(where, _File)
    return [field.alias or name for name, field in model.model_fields.items()]


class _NoKeyTwice(SettingsLoader):
    """Refuses a key that stands twice in one mapping: YAML forbids it, and the first would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        twice = [key for index, key in enumerate(keys) if key in keys[:index]]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice[0]!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)
