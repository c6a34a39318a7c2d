from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import Field
from trial_fakes import Drift, registered

from clusterbench.bench import config
from clusterbench.bench.config import as_file, parse_setting, resolve
from clusterbench.bench.spec import SpecError
from clusterbench.datasets.registry import NotFound
from clusterbench.methods.base import MethodConfig, MethodError
from clusterbench.methods.registry import methods


class NetConfig(MethodConfig):
    width: Annotated[int, Field(gt=0)] = 16
    crops: tuple[int, ...] = (20, 24)


class NestedConfig(MethodConfig):
    lr: Annotated[float, Field(gt=0)] = 0.1
    epochs: Annotated[int, Field(ge=1)] = 5
    sobel: bool = False
    net: NetConfig = NetConfig()


class Nested(Drift):
    name = "nested"
    Config = NestedConfig


CARD: dict[str, Any] = {
    "presets": {
        "paper": {"changes": [], "datasets": {"mnist": {"lr": 1e-4, "epochs": 100}}},
        "short": {
            "changes": ["fewer epochs"],
            "datasets": {"mnist": {"epochs": 30}, "default": {"epochs": 10, "net": {"width": 8}}},
        },
        "smoke": {"datasets": {"default": None}},
    }
}


@pytest.fixture(autouse=True)
def nested(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with registered(Nested):
        monkeypatch.setattr(methods, "card", lambda name: CARD)
        yield


def test_the_preset_lies_over_the_defaults_and_every_default_is_spelt_out() -> None:
    resolved = resolve("nested", "digits", "short")
    assert resolved.config == {"lr": 0.1, "epochs": 10, "sobel": False, "net": {"width": 8, "crops": [20, 24]}}
    assert (resolved.preset, resolved.changes, resolved.overrides, resolved.n_clusters) == ("short", ("fewer epochs",), {}, None)


def test_the_entry_of_the_data_set_is_taken_before_the_default_one() -> None:
    assert resolve("nested", "mnist", "short").config["epochs"] == 30
    assert resolve("nested", "mnist", "short").config["net"]["width"] == 16
    assert resolve("nested", "digits", "smoke").config == NestedConfig().model_dump(mode="json")


def test_later_sources_win(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("lr: 1e-3\nepochs: 40\nnet: {width: 4}\n")
    assert resolve("nested", "mnist", "short", file).config["epochs"] == 40
    resolved = resolve("nested", "mnist", "short", file, ["epochs=50", "net.crops=[1, 2]"])
    assert resolved.config == {"lr": 0.001, "epochs": 50, "sobel": False, "net": {"width": 4, "crops": [1, 2]}}
    assert resolve("nested", "mnist", "short", file, ["epochs=50", "epochs=55"]).config["epochs"] == 55
    assert resolve("nested", "mnist", "short", file, ["epochs=50"], epochs=60).config["epochs"] == 60


def test_overrides_name_only_what_came_out_different_from_the_preset() -> None:
    resolved = resolve("nested", "digits", "short", set_=["lr=0.5", "epochs=10", "net.width=32", "n_clusters=20"])
    assert resolved.overrides == {"lr": 0.5, "net.width": 32, "n_clusters": 20}
    assert resolved.n_clusters == 20 and "n_clusters" not in resolved.config


def test_the_config_file_of_a_record_gives_the_same_configuration_whatever_the_preset(tmp_path: Path) -> None:
    first = resolve("nested", "mnist", "paper", set_=["sobel=yes", "n_clusters=12"])
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(as_file(first.config, method="nested", dataset="mnist", seed=3, n_clusters=12)))
    again = resolve("nested", "digits", "smoke", file)
    assert again.config == first.config and again.n_clusters == 12
    file.write_text(yaml.safe_dump(first.config))
    assert resolve("nested", "digits", "smoke", file).config == first.config


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("lr=1e-3", {"lr": 0.001}),
        ("lr=-2.5E+4", {"lr": -25000.0}),
        ("epochs=7", {"epochs": 7}),
        ("a.b.c=[1, x]", {"a": {"b": {"c": [1, "x"]}}}),
        ("sobel=true", {"sobel": True}),
        ("pca=null", {"pca": None}),
        ("name=e5", {"name": "e5"}),
        ("url=a=b", {"url": "a=b"}),
    ],
)
def test_values_are_yaml_and_dotted_keys_reach_into_nested_settings(text: str, setting: dict[str, Any]) -> None:
    assert parse_setting(text) == setting


@pytest.mark.parametrize("text", ["lr", "=3", "a..b=1", "lr={"])
def test_a_set_option_that_is_no_setting_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="--set"):
        parse_setting(text)


def test_an_unknown_setting_gets_a_suggestion() -> None:
    with pytest.raises(MethodError, match="unknown setting 'epoch'. Did you mean 'epochs'"):
        resolve("nested", "digits", set_=["epoch=3"])
    with pytest.raises(MethodError, match="net.widht"):
        resolve("nested", "digits", set_=["net.widht=3"])


@pytest.mark.parametrize(
    ("setting", "named"), [("lr=-1", "lr"), ("epochs=many", "epochs"), ("net.width=0", "net.width"), ("net=3", "net")]
)
def test_a_value_that_the_method_refuses_is_named(setting: str, named: str) -> None:
    with pytest.raises(MethodError, match=f"setting '{named}'"):
        resolve("nested", "digits", set_=[setting])


@pytest.mark.parametrize("value", ["1", "true", "ten", "2.5"])
def test_a_number_of_clusters_that_cannot_be_is_refused(value: str) -> None:
    with pytest.raises(MethodError, match="n_clusters must be a whole number of at least 2"):
        resolve("nested", "digits", set_=[f"n_clusters={value}"])


def test_what_has_an_option_of_its_own_is_no_setting() -> None:
    with pytest.raises(SpecError, match="use --seeds"):
        resolve("nested", "digits", set_=["seed=3"])


def test_a_preset_without_the_data_set_says_which_it_has_and_which_presets_fit() -> None:
    with pytest.raises(SpecError, match="'paper' of nested has settings for mnist, not for digits. Presets that fit: short, sm"):
        resolve("nested", "digits", "paper")


def test_an_unknown_preset_or_method_gets_a_suggestion() -> None:
    with pytest.raises(NotFound, match="Did you mean 'short'"):
        resolve("nested", "digits", "shrt")


def test_a_method_without_presets_runs_with_its_defaults_but_reproduces_no_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "card", lambda name: {"title": name})
    resolved = resolve("nested", "digits", "short", epochs=2)
    assert (resolved.preset, resolved.overrides, resolved.config["lr"]) == ("defaults", {"epochs": 2}, 0.1)
    with pytest.raises(SpecError, match="declares no presets"):
        resolve("nested", "digits", "paper")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("- 1\n- 2\n", "must hold settings"),
        ("lr: [1,\n", "is not YAML"),
        ("method: iic\nconfig: {lr: 1}\n", "is of the method 'iic'"),
    ],
)
def test_a_config_file_that_cannot_serve_is_refused_by_name(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    with pytest.raises(SpecError, match=f"mine.yaml .*{said}"):
        resolve("nested", "digits", config_file=file)


def test_a_missing_config_file_is_said_and_an_empty_one_changes_nothing(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="There is no config file"):
        resolve("nested", "digits", config_file=tmp_path / "none.yaml")
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert resolve("nested", "digits", config_file=tmp_path / "empty.yaml") == resolve("nested", "digits")


def test_settings_can_be_read_without_loading_torch() -> None:
    code = "import sys, clusterbench.bench.config; print({'torch', 'sklearn', 'scipy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_neither_presets_nor_files_are_changed_by_merging() -> None:
    below, above = {"a": {"b": 1}, "c": 2}, {"a": {"d": 3}, "c": {"e": 4}}
    assert config.merged(below, above) == {"a": {"b": 1, "d": 3}, "c": {"e": 4}}
    assert below == {"a": {"b": 1}, "c": 2} and above == {"a": {"d": 3}, "c": {"e": 4}}
