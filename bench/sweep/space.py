"""What a sweep may change: settings by dotted name, each with the values it may take, checked against the method's `Config`.

Spaces are data: `search_space` in a method's card file, or a user's YAML file of the same form::

    lr: {log_uniform: [1.0e-4, 1.0e-2]}       # any number between the two, evenly in its logarithm
    views.rotation: {uniform: [0, 45]}        # any number between the two
    sub_heads: {int_uniform: [1, 10]}         # whole numbers, both ends included
    epochs: {log_int_uniform: [10, 1000]}     # whole numbers, evenly in their logarithm
    views.crop: {quantised: [8, 20, 4]}       # from the first to the second in steps of the third
    passes: {choice: [[main], [auxiliary, main]]}
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ...datasets.registry import not_found
from ..config import Settings, merged
from ..spec import SpecError
from ..terminal import yaml_line
from ..yaml_file import read_yaml

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from ...methods.base import Method

KINDS = ("uniform", "log_uniform", "int_uniform", "log_int_uniform", "quantised", "choice")
DIGITS = 4  # significant ones that a number keeps: enough for any search, and it can be read and typed


@dataclass(frozen=True)
class Dimension:
    """One setting and the values that it may take.

    Attributes:
        name: of the setting, dotted where settings are nested.
        kind: one of `KINDS`.
        values: the choices; otherwise the lowest and the highest value, and for `quantised` the step.
    """

    name: str
    kind: str
    values: tuple[Any, ...]

    @classmethod
    def read(cls, name: str, content: Any) -> Dimension:
        """From the form that YAML has, `{kind: [values]}`. Raises `SpecError` for anything else."""
        if not (isinstance(content, Mapping) and len(content) == 1):
            raise SpecError(f"{name}: a setting of a space is written as 'kind: [values]', with a kind of {', '.join(KINDS)}.")
        kind, values = next(iter(content.items()))
        if kind not in KINDS:
            raise not_found(f"kind of space for {name}", str(kind), list(KINDS), "bench sweep --help")
        if not isinstance(values, (list, tuple)):
            raise SpecError(f"{name}: {kind} takes a list, got {values!r}.")
        dimension = cls(name, kind, tuple(values))
        dimension._check_choices() if kind == "choice" else dimension._check_range()
        return dimension

    @property
    def written(self) -> dict[str, list[Any]]:
        """The form that `read` takes."""
        return {self.kind: list(self.values)}

    @property
    def probes(self) -> tuple[Any, ...]:
        """The values that tell whether a method takes all of them: every choice, or the two ends."""
        return self.values if self.kind == "choice" else self.values[:2]

    @property
    def is_whole(self) -> bool:
        return self.kind.endswith("int_uniform") or (self.kind == "quantised" and all(_is_whole(v) for v in self.values))

    def distribution(self) -> BaseDistribution:
        """The same for Optuna. Choices are the texts that `--set` takes, because Optuna knows no lists."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.kind == "choice":
            return CategoricalDistribution([yaml_line(value) for value in self.values])
        low, high, *step = self.values
        log = self.kind.startswith("log_")
        if self.is_whole:
            return IntDistribution(low, high, log=log, step=step[0] if step else 1)
        return FloatDistribution(low, high, log=log, step=step[0] if step else None)

    def decoded(self, drawn: Any) -> Any:
        """The value of the setting for what Optuna drew."""
        if self.kind == "choice":
            return next(value for value in self.values if yaml_line(value) == drawn)
        if self.is_whole:
            return int(drawn)
        digits = 12 if self.kind == "quantised" else DIGITS
        rounded = float(f"{drawn:.{digits}g}")
        return min(max(rounded, self.values[0]), self.values[1])

    def encoded(self, value: Any) -> Any:
        """What Optuna would have had to draw for `value`."""
        return yaml_line(value) if self.kind == "choice" else value

    def _check_choices(self) -> None:
        texts = [yaml_line(value) for value in self.values]
        if not texts or len(set(texts)) < len(texts):
            raise SpecError(f"{self.name}: choice needs at least one value, and none of them twice (got {list(self.values)}).")

    def _check_range(self) -> None:
        wanted = "[lowest, highest, step]" if self.kind == "quantised" else "[lowest, highest]"
        numbers = [value for value in self.values if _is_number(value)]
        if len(numbers) != len(self.values) or len(numbers) != 2 + (self.kind == "quantised"):
            raise SpecError(f"{self.name}: {self.kind} takes {wanted}, all of them numbers (got {list(self.values)}).")
        low, high, *step = numbers
        if low >= high or (step and not 0 < step[0] <= high - low):
            raise SpecError(f"{self.name}: {self.kind} takes {wanted}, growing and in its range (got {list(self.values)}).")
        if self.kind.startswith("log_") and low <= 0:
            raise SpecError(f"{self.name}: a logarithm needs a lowest value above 0 (got {low}). Use {self.kind[4:]}.")
        if self.kind.endswith("int_uniform") and not all(_is_whole(value) for value in numbers):
            raise SpecError(f"{self.name}: {self.kind} takes whole numbers (got {list(self.values)}).")


@dataclass(frozen=True)
class Space:
    """All that a sweep may change."""

    dimensions: tuple[Dimension, ...]

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Space:
        """From the form that YAML has. Raises `SpecError` for a setting that is not written as it must be."""
        return cls(tuple(Dimension.read(str(name), values) for name, values in content.items()))

    @property
    def written(self) -> dict[str, dict[str, list[Any]]]:
        """The form that `read` takes."""
        return {dimension.name: dimension.written for dimension in self.dimensions}

    def without(self, names: Iterable[str]) -> Space:
        """The space without the settings in `names`, and without those nested in one of them."""
        fixed = tuple(names)
        return Space(tuple(each for each in self.dimensions if not any(f"{each.name}.".startswith(f"{name}.") for name in fixed)))

    def distributions(self) -> dict[str, BaseDistribution]:
        return {dimension.name: dimension.distribution() for dimension in self.dimensions}

    def decoded(self, drawn: Mapping[str, Any]) -> Settings:
        """Settings by dotted name for what Optuna drew."""
        return {each.name: each.decoded(drawn[each.name]) for each in self.dimensions}

    def encoded(self, settings: Mapping[str, Any]) -> Settings:
        """What Optuna would have had to draw for `settings`."""
        return {each.name: each.encoded(settings[each.name]) for each in self.dimensions}

    def check(self, method: type[Method], name: str, base: Settings) -> None:
        """Raise one line for the first setting that the method does not know or a value that it never takes.

        Args:
            method: the method's class.
            name: its public name, for the message.
            base: a full configuration that the method accepts.

        What only the combination of several settings makes impossible is no error here: see `refusal`.
        """
        if not self.dimensions:
            raise SpecError(f"{name} has nothing to search over. Write a space into a file and name it with --space.")
        for dimension in self.dimensions:
            if dimension.name == "n_clusters":
                raise SpecError(
                    "n_clusters is not swept: scores with different numbers of clusters do not compare. Use --clusters."
                )
            for value in dimension.probes:
                _check_value(method, name, base, dimension.name, value)


def read_space(path: Path) -> Space:
    """The space in a YAML file. Raises `SpecError` if it is missing, not YAML or not a space."""
    content = read_yaml(path, "space file")
    if not isinstance(content, dict):
        raise SpecError(f"The space file {path} must hold lines such as 'lr: {{log_uniform: [1.0e-4, 1.0e-2]}}'.")
    return Space.read(content)


def nested(settings: Mapping[str, Any]) -> Settings:
    """Settings by dotted name as the nested mapping that a `Config` takes."""
    result: Settings = {}
    for name, value in settings.items():
        branch = value
        for part in reversed(name.split(".")):
            branch = {part: branch}
        result = merged(result, branch)
    return result


def flat_names(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted names of nested settings."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flat_names(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _check_value(method: type[Method], name: str, base: Settings, setting: str, value: Any) -> None:
    """Raise `MethodError` if `value` is refused for itself; pydantic places that at the setting, a bad combination above it."""
    from ...methods.base import MethodError, explain

    path = tuple(setting.split("."))
    try:
        method.Config.model_validate(merged(base, nested({setting: value})))
    except ValidationError as error:
        if any(tuple(map(str, problem["loc"]))[: len(path)] == path for problem in error.errors()):
            raise MethodError(f"In the space: {explain(name, method.Config, error)}") from None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
