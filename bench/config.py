"""From names to settings: defaults < preset < config file < `--set` < `--epochs`, checked by the method's own `Config`.

Presets stand in the method's card file. Importing this module loads no torch; `resolve` loads the method it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from ..datasets.names import parse
from ..datasets.registry import not_found
from ..methods.registry import methods
from .spec import SpecError, canonical_json
from .yaml_file import SettingsLoader, read_yaml

if TYPE_CHECKING:
    from ..methods.base import Method

Settings = dict[str, Any]
# Arguments of a method, or of a clusterer that is wrapped, that are no settings of a trial's configuration.
OPTIONS = {"seed": "--seeds", "random_state": "--seeds", "device": "--device", "n_components": "--clusters"}
WITHOUT_PRESETS = "defaults"


@dataclass(frozen=True)
class Resolved:
    """A configuration that a method accepts.

    Attributes:
        method, dataset: the names it was made for.
        preset: the preset it started from; `defaults` for a method that declares no presets.
        config: every setting, as plain JSON values.
        overrides: the settings whose value differs from the preset's, by dotted name.
        n_clusters: number of clusters if a preset, file or `--set` names it, else None: as many as the data has classes.
        changes: what the preset says it changes against the published setting.
    """

    method: str
    dataset: str
    preset: str
    config: Settings
    overrides: Settings
    n_clusters: int | None = None
    changes: tuple[str, ...] = ()


def resolve(
    method_name: str,
    dataset_name: str,
    preset: str = "short",
    config_file: Path | str | None = None,
    set_: Sequence[str] = (),
    epochs: int | None = None,
) -> Resolved:
    """Put the settings of one method for one data set together; later sources win.

    Args:
        method_name, dataset_name: public names.
        preset: name of a preset of the method: `paper`, `short`, `smoke`.
        config_file: YAML file: a plain mapping of settings, or the config.yaml of a record.
        set_: texts `key=value`; the value is YAML, the key may be dotted to reach into nested settings.
        epochs: shorthand for `epochs=N`.

    Raises:
        NotFound: no such method, or no such preset of it.
        SpecError: the preset does not know the data set; a file or a `key=value` that cannot be read.
        MethodError: an unknown setting, or a value that the method refuses.
    """
    method = methods.get(method_name)
    preset, settings, changes = preset_of(method_name, dataset_name, preset)
    asked = read_config(config_file, method_name) if config_file is not None else {}
    for text in set_:
        asked = merged(asked, parse_setting(text))
    if epochs is not None:
        asked = merged(asked, {"epochs": epochs})
    config, n_clusters = _validated(method, method_name, merged(settings, asked))
    overrides = _overrides(method, method_name, settings, asked, config, n_clusters)
    return Resolved(method_name, dataset_name, preset, config, overrides, n_clusters, changes)


def method_for(method_name: str, dataset_name: str) -> str:
    """The name under which `method_name` works on a data set: its own, or that of its variant for the data set's task.

    A method's card names its variants by task: `variants: {segmentation: iic-segmentation}`.

    Raises:
        NotFound: no such method or data set.
        SpecError: the method is for another kind of data; with the names of those that fit.
    """
    needed = _task_of_data(dataset_name)
    name = (methods.card(method_name).get("variants") or {}).get(needed, method_name)
    task = methods.get(name).task
    if (task == "segmentation") == (needed == "segmentation"):
        return name
    instead = _instead(method_name, needed)
    raise SpecError(f"{name} is a method for {task}, {dataset_name} is a data set for {needed}. {instead} See 'bench list'.")


def _task_of_data(dataset_name: str) -> str:
    from ..datasets.catalogue import datasets

    return str(datasets.card(dataset_name).get("task", "clustering"))


def _instead(method_name: str, needed: str) -> str:
    """The method that `method_name` is a variant of, if that fits; else all that fit."""
    cards = {name: methods.card(name) for name in methods.names()}
    fitting = [name for name, card in cards.items() if (card.get("task") == "segmentation") == (needed == "segmentation")]
    base = [name for name in fitting if method_name in (cards[name].get("variants") or {}).values()]
    if base:
        return f"Use {base[0]}."
    return f"Methods for {needed}: {', '.join(fitting)}." if fitting else f"No method for {needed} is here."


def preset_of(method_name: str, dataset_name: str, preset: str) -> tuple[str, Settings, tuple[str, ...]]:
    """The name, settings and listed changes of a preset for one data set: its own entry, else the preset's `default`.

    A sample of a data set takes the settings of the whole.

    A method without any preset (somebody else's, without a card file) runs with the defaults of its `Config`, under the
    name `defaults`. Raises `NotFound` for an unknown preset, `SpecError` for one without settings for this data set.
    """
    presets: Mapping[str, Any] = methods.card(method_name).get("presets") or {}
    if not presets and preset != "paper":
        return WITHOUT_PRESETS, {}, ()
    if not presets:
        raise SpecError(f"{method_name} declares no presets, so none reproduces a paper. Leave --preset out to use its defaults.")
    if preset not in presets:
        raise not_found("preset", preset, list(presets), f"bench show {method_name}")
    by_dataset: Mapping[str, Settings] = presets[preset].get("datasets") or {}
    whole = parse(dataset_name).base
    if whole not in by_dataset and "default" not in by_dataset:
        raise SpecError(_no_settings_for(method_name, whole, preset, presets))
    settings = by_dataset[whole] if whole in by_dataset else by_dataset["default"]
    return preset, dict(settings or {}), tuple(presets[preset].get("changes") or ())


def read_config(path: Path | str, method_name: str) -> Settings:
    """The settings in a YAML file: a plain mapping, or a record's config.yaml, whose `n_clusters` is taken over too.

    Raises `SpecError` if it is missing, not YAML, not a mapping, or the record of another method.
    """
    content = read_yaml(path, "config file")
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SpecError(f"The config file {path} must hold settings as 'name: value' lines, not a {type(content).__name__}.")
    if not (isinstance(content.get("config"), dict) and "method" in content):
        return content
    if content["method"] != method_name:
        raise SpecError(f"The config file {path} is of the method {content['method']!r}, not of {method_name!r}.")
    own = {"n_clusters": content["n_clusters"]} if "n_clusters" in content else {}
    return {**content["config"], **own}


def as_file(config: Settings, **about: Any) -> Settings:
    """What a record's config.yaml holds: `about` the trial (`method`, `n_clusters`, ...) and its settings under `config`.

    `read_config` reads it back.
    """
    return {**about, "config": config}


def parse_setting(text: str) -> Settings:
    """`lr=1e-3` as {"lr": 0.001}, `head.width=64` as {"head": {"width": 64}}. Raises `SpecError` if it is not `key=value`."""
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise SpecError(f"--set takes key=value, got {text!r}. For example: --set lr=0.001")
    try:
        setting = yaml.load(value, Loader=SettingsLoader)
    except yaml.YAMLError:
        raise SpecError(f"--set {key.strip()}: {value!r} is not YAML. Put a text with special signs in quotes.") from None
    for part in reversed(parts):
        setting = {part: setting}
    return setting


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Settings:
    """`above` laid over `below`; where both hold a mapping, that is merged too. Neither is changed."""
    result = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


def _validated(method: type[Method], name: str, settings: Settings) -> tuple[Settings, int | None]:
    """The full configuration as plain values, and the number of clusters if the settings name one."""
    from ..methods.base import MethodError, explain

    settings = dict(settings)
    n_clusters = settings.pop("n_clusters", None)
    if n_clusters is not None and (isinstance(n_clusters, bool) or not isinstance(n_clusters, int) or n_clusters < 2):
        raise MethodError(f"{name}: n_clusters must be a whole number of at least 2 (got {n_clusters!r}).")
    for option in OPTIONS.keys() & settings.keys() - method.Config.model_fields.keys():
        raise SpecError(f"{option!r} is no setting of {name}: use {OPTIONS[option]}.")
    try:
        config = method.Config.model_validate(settings).model_dump(mode="json")
    except ValidationError as error:
        raise MethodError(explain(name, method.Config, error)) from None
    canonical_json(config)  # refuses here what the identity of a trial could not hold
    return config, n_clusters


def _overrides(
    method: type[Method], name: str, preset: Settings, asked: Settings, config: Settings, n_clusters: int | None
) -> Settings:
    """The settings that came out different from the preset's own, by dotted name."""
    if not asked:
        return {}
    try:
        base, base_clusters = _validated(method, name, preset)
    except Exception:  # a method whose settings have no defaults: everything that was asked for counts
        base, base_clusters = {}, None
    before, after = _flat(base), _flat(config)
    changed = {key: value for key, value in after.items() if key not in before or before[key] != value}
    return changed if n_clusters == base_clusters else {**changed, "n_clusters": n_clusters}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Settings:
    """Nested settings by dotted name."""
    flat: Settings = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        flat.update(_flat(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value})
    return flat


def _no_settings_for(method: str, dataset: str, preset: str, presets: Mapping[str, Any]) -> str:
    has = {name: sorted(content.get("datasets") or {}) for name, content in presets.items()}
    others = [name for name, known in has.items() if dataset in known or "default" in known]
    instead = f"Presets that fit: {', '.join(others)}." if others else f"See 'bench show {method}'."
    known = ", ".join(has[preset]) or "no data set"
    return f"The preset {preset!r} of {method} has settings for {known}, not for {dataset}. {instead}"
