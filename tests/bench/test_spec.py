from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

from clusterbench.bench.config import Resolved
from clusterbench.bench.spec import SpecError, TrialSpec, canonical_json, make_spec
from clusterbench.datasets.base import TrialData
from clusterbench.datasets.splits import Dataset, Split

FIELDS: dict[str, Any] = {
    "method": "iic",
    "method_version": 1,
    "task": "clustering",
    "dataset": "digits",
    "data_fingerprint": "f" * 64,
    "protocol": "full",
    "seed": 0,
    "n_clusters": 10,
    "preset": "short",
    "overrides": {"lr": 1e-4},
    "config": {"lr": 1e-4, "epochs": 20, "sobel": False, "views": {"crop": [20, 24]}, "name": "é"},
    "time_limit_s": None,
}


def spec(**changes: Any) -> TrialSpec:
    return TrialSpec(**{**FIELDS, **changes})


def test_the_identity_of_a_known_trial_never_changes() -> None:
    """A change here would orphan every record that exists."""
    assert spec().identity() == "f55f782ffec1"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("method", "kmeans"),
        ("method_version", 2),
        ("dataset", "mnist"),
        ("data_fingerprint", "e" * 64),
        ("protocol", "split"),
        ("seed", 1),
        ("n_clusters", 20),
        ("config", {**FIELDS["config"], "lr": 2e-4}),
        ("config", {**FIELDS["config"], "sobel": True}),
        ("config", {**FIELDS["config"], "views": {"crop": [24, 20]}}),
        ("time_limit_s", 60.0),
    ],
)
def test_what_decides_the_result_changes_the_identity(field: str, value: object) -> None:
    assert spec(**{field: value}).identity() != spec().identity()


@pytest.mark.parametrize(("field", "value"), [("preset", "paper"), ("overrides", {}), ("overrides", {"epochs": 20})])
def test_what_is_only_a_label_leaves_the_identity(field: str, value: object) -> None:
    assert spec(**{field: value}).identity() == spec().identity()


def test_the_order_and_the_writing_of_settings_leave_the_identity() -> None:
    turned = {**dict(reversed(FIELDS["config"].items())), "lr": 0.0001, "epochs": 20.0}
    assert spec(config=turned, time_limit_s=None).identity() == spec().identity()


def test_a_spec_read_back_from_json_is_the_same_trial() -> None:
    back = TrialSpec.model_validate(json.loads(spec(time_limit_s=600).model_dump_json()))
    assert back == spec(time_limit_s=600.0) and back.identity() == spec(time_limit_s=600.0).identity()


def test_a_folder_of_images_may_be_moved_without_a_new_identity() -> None:
    assert spec(dataset="folder:/data/cats").identity() == spec(dataset="folder:./cats").identity()
    assert spec(dataset="folder:/data/cats").identity() != spec(dataset="npz:/data/cats").identity()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [1.0, 0.1, -0.0]}, '{"a":[1,0.1,0],"b":1}'),
        ({"x": 0.00001, "y": 1e6, "z": 1e22}, '{"x":1e-05,"y":1000000,"z":1e+22}'),
        ({"yes": True, "none": None, "text": "é"}, '{"none":null,"text":"\\u00e9","yes":true}'),
        ((1, (2,)), "[1,[2]]"),
    ],
)
def test_canonical_json_is_written_in_one_way(value: object, text: str) -> None:
    assert canonical_json(value) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object()])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(SpecError, match="cannot be written as JSON"):
        canonical_json({"a": value})


def test_the_folder_name_tells_the_trial_and_suits_every_file_system() -> None:
    assert spec(seed=3).folder_name() == f"iic-digits-short-s3-{spec(seed=3).identity()}"
    name = spec(dataset='folder:/home/me/my "pictures" <1>?*|/', method="their/own:method").folder_name()
    assert re.fullmatch(r"[A-Za-z0-9._-]+", name) and "folder-my_pictures" in name and "home" not in name
    assert len(spec(dataset="npz:" + "x" * 500).folder_name().encode()) < 200


def data(n_classes: int) -> TrialData:
    split = Split(np.zeros((4, 1, 2, 2), np.uint8), np.full(4, -1))
    return Dataset("four", {"all": split}, tuple("abcdefgh"[:n_classes])).under("full")


RESOLVED = Resolved("drift", "four", "smoke", {"epochs": 6}, {"epochs": 6})


@pytest.mark.usefixtures("drift")
def test_a_spec_takes_version_and_task_from_the_class_and_the_rest_from_the_data() -> None:
    made = make_spec(RESOLVED, data(3), seed=2, time_limit_s=30)
    assert (made.method_version, made.task, made.n_clusters, made.seed, made.time_limit_s) == (3, "clustering", 3, 2, 30.0)
    assert (made.dataset, made.protocol, made.data_fingerprint) == ("four", "full", data(3).fingerprint)
    assert (made.preset, made.config, made.overrides) == ("smoke", {"epochs": 6}, {"epochs": 6})


@pytest.mark.usefixtures("drift")
def test_the_number_of_clusters_may_differ_from_that_of_classes_but_must_be_known() -> None:
    asked = Resolved("drift", "four", "smoke", {}, {}, n_clusters=7)
    assert make_spec(asked, data(3)).n_clusters == 7
    assert make_spec(asked, data(0)).n_clusters == 7
    with pytest.raises(SpecError, match="--set n_clusters="):
        make_spec(RESOLVED, data(0))


@pytest.mark.usefixtures("drift")
@pytest.mark.parametrize(("option", "value"), [("seed", -1), ("time_limit_s", 0.0)])
def test_a_value_out_of_range_is_refused_by_name(option: str, value: float) -> None:
    with pytest.raises(SpecError, match=option):
        make_spec(RESOLVED, data(3), **{option: value})  # type: ignore[arg-type]


def test_weights_count_by_their_content_and_not_by_their_place() -> None:
    here = {"start": {"path": "/here/model.safetensors", "sha256": "ab", "trained_on": "mnist"}}
    there = {"start": {"path": "/there/model.safetensors", "sha256": "ab", "trained_on": "elsewhere"}}
    other = {"start": {**here["start"], "sha256": "cd"}}
    assert spec(config=here).identity() == spec(config=there).identity() != spec(config=other).identity()
