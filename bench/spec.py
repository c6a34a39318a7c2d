"""What a trial is: the data that decides its result, and the identity made of it.

A trial is never run twice unless asked, and an interrupted one is found again, because its identity is a hash of
exactly what decides the result. Importing this module loads neither torch nor any method.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..results.differences import flat, without

if TYPE_CHECKING:
    from ..datasets.base import TrialData
    from ..methods.base import MethodConfig
    from .config import Resolved

WITH_LABELS = "semi-supervised"  # the task of a method that learns from labels, and the protocol that lets it
DECIDING = ("method", "method_version", "dataset", "data_fingerprint", "protocol", "seed", "n_clusters", "config", "time_limit_s")
LARGEST_WHOLE = 2**53  # above it neighbouring whole numbers are the same double
LONGEST_NAME = 60  # characters of one part of a folder name; file systems allow 255 bytes for the whole


class SpecError(Exception):
    """A trial that cannot be put together as asked. One line: what is wrong and what to do."""


class TrialSpec(BaseModel):
    """One method, one data set, one seed, one configuration.

    Attributes:
        method, method_version, task: the class's `name`, `version` and `task`; under the protocol `semi-supervised` the task
            is `semi-supervised`, for every method, because labels of training images take part.
        dataset, data_fingerprint, protocol: which images, by name and by checksum, and how they are split.
        seed: at least 0; decides every random choice.
        n_clusters: clusters to find, at least 2.
        preset: name of the preset the configuration started from; a label, not part of the identity.
        overrides: settings that differ from the preset's, by dotted name; a label too.
        config: every setting of the method, resolved.
        time_limit_s: seconds of training after which the trial stops, or None.
        later: settings by dotted name that the method got after trials of it were recorded, one tuple for each addition, newest
            first, as far as they stand at their defaults, which do what the code did before; a label too.
    """

    model_config = ConfigDict(frozen=True)

    method: str
    method_version: int
    task: str
    dataset: str
    data_fingerprint: str
    protocol: str
    seed: int = Field(ge=0)
    n_clusters: int = Field(ge=2)
    preset: str
    overrides: dict[str, Any] = {}
    config: dict[str, Any]
    time_limit_s: float | None = Field(None, gt=0)
    later: tuple[tuple[str, ...], ...] = ()

    def identity(self) -> str:
        """12 hex digits of the SHA-256 over the canonical JSON of what decides the result (`DECIDING`).

        A data set that is a file or folder (`folder:PATH`) counts by its kind and fingerprint, and weights that a setting
        names by their checksum, so that moving either changes nothing.
        """
        deciding = {name: getattr(self, name) for name in DECIDING}
        deciding["config"] = {name: _by_content(value) for name, value in self.config.items()}
        deciding["dataset"] = self.dataset.partition(":")[0]
        return hashlib.sha256(canonical_json(deciding).encode()).hexdigest()[:12]

    def earlier_identities(self) -> Iterator[str]:
        """The identities that this trial had before its method got the settings in `later`, the last one first."""
        config = self.config
        for addition in self.later:
            config = without(config, addition)
            yield self.model_copy(update={"config": config}).identity()

    def folder_name(self) -> str:
        """`<method>-<dataset>-<preset>-s<seed>-<identity>`, in characters that every file system takes."""
        parts = (_file_name(self.method), _file_name(self.dataset), _file_name(self.preset))
        return "-".join((*parts, f"s{self.seed}", self.identity()))


def make_spec(resolved: Resolved, data: TrialData, *, seed: int = 0, time_limit_s: float | None = None) -> TrialSpec:
    """The spec of one trial of `resolved` on `data`.

    The number of clusters is the one asked for in the settings, else the number of classes of the data.
    Raises `SpecError` if there is neither, for a seed or time limit out of range, and for a method that the protocol does not
    suit.
    """
    from ..methods.registry import methods

    method = methods.get(resolved.method)
    check_protocol(resolved.method, data.protocol)
    n_clusters = resolved.n_clusters or data.n_classes
    check_classes(resolved.method, n_clusters, data)
    if n_clusters < 2:
        raise SpecError(f"{data.name} has {data.n_classes} classes. Say how many clusters to find: --set n_clusters=10.")
    try:
        return TrialSpec(
            method=resolved.method,
            method_version=method.version,
            task=WITH_LABELS if data.protocol == WITH_LABELS else method.task,
            dataset=data.name,
            data_fingerprint=data.fingerprint,
            protocol=data.protocol,
            seed=seed,
            n_clusters=n_clusters,
            preset=resolved.preset,
            overrides=resolved.overrides,
            config=resolved.config,
            time_limit_s=time_limit_s,
            later=_later_at_default(method.Config, resolved.config),
        )
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, each['loc']))}: {each['msg']} (got {each['input']!r})" for each in error.errors())
        raise SpecError(f"This trial cannot be: {'; '.join(problems)}.") from None


def _later_at_default(settings: type[MethodConfig], config: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """The additions of `settings.later`, newest first, up to the first with a setting that is not at its default."""
    if not settings.later:
        return ()
    usual, given = flat(settings().model_dump(mode="json")), flat(config)
    return tuple(itertools.takewhile(lambda names: all(given[name] == usual[name] for name in names), settings.later))


def check_protocol(method_name: str, protocol: str) -> None:
    """Raise `SpecError` for a method that learns from labels under a protocol that gives it none."""
    from ..methods.registry import methods

    if methods.get(method_name).task == WITH_LABELS and protocol != WITH_LABELS:
        raise SpecError(f"{method_name} learns from labels, which protocol {protocol!r} does not give: --protocol {WITH_LABELS}.")


def check_classes(method_name: str, n_clusters: int, data: TrialData) -> None:
    """Raise `SpecError` for a method that predicts classes and is asked for another number of them than there are."""
    from ..methods.registry import methods

    if methods.get(method_name).predicts_classes and n_clusters != data.n_classes:
        raise SpecError(f"{method_name} predicts the {data.n_classes} classes of {data.name}, not {n_clusters} clusters.")


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, ASCII, no spaces, and 1.0 written as 1.

    Floats are written by `repr`, the shortest text that reads back to the same double, in every Python. Raises
    `SpecError` for what JSON cannot hold (NaN, infinity, objects).
    """
    try:
        return json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SpecError(f"A setting cannot be written as JSON ({error}). Use numbers, texts, lists and mappings.") from None


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < LARGEST_WHOLE:
        return int(value)  # other writers of JSON do not tell 1.0 from 1
    return value


def _by_content(setting: Any) -> Any:
    """A setting that names a file by its checksum, without where the file lies and where it came from."""
    return {"sha256": setting["sha256"]} if isinstance(setting, dict) and "sha256" in setting else setting


def _file_name(text: str) -> str:
    """The last part of a path (`folder:/data/cats` becomes `folder-cats`), without characters that file systems treat apart."""
    kind, colon, path = text.partition(":")
    name = f"{kind}-{path.rstrip('/').rpartition('/')[2]}" if colon else text
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:LONGEST_NAME].strip(".") or "_"
