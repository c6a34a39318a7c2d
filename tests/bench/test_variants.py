"""One public name for all kinds of data: a method's variants by task, and pairings that cannot be, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from trial_fakes import Drift, registered, two_parts

from clusterbench.bench.cli import plan as planning
from clusterbench.bench.cli.plan import Asked, plan
from clusterbench.bench.config import Resolved, method_for, resolve
from clusterbench.bench.spec import SpecError, make_spec
from clusterbench.bench.suite_plan import cells
from clusterbench.bench.suites import Suite, suite
from clusterbench.datasets.base import Images, Labelled
from clusterbench.methods.base import LabelledMethod
from clusterbench.methods.registry import methods


class DriftOnMaps(Drift):
    name = "drift-segmentation"
    task = "segmentation"


class Lone(Drift):
    """For label maps only, a variant of nothing."""

    name = "lone"
    task = "segmentation"


class Taught(LabelledMethod):
    name = "taught"
    predicts_classes = True
    train_labelled = predict_heads = state_dict = load_state_dict = None  # type: ignore[assignment]


CARDS: dict[str, Any] = {
    "drift": {"task": "clustering", "variants": {"segmentation": "drift-segmentation"}},
    "drift-segmentation": {"task": "segmentation"},
    "lone": {"task": "segmentation"},
    "taught": {"task": "semi-supervised"},
}


@pytest.fixture(autouse=True)
def family(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    ours = methods.card
    monkeypatch.setattr(methods, "card", lambda name: CARDS.get(name) or ours(name))
    with registered(Drift), registered(DriftOnMaps), registered(Lone), registered(Taught):
        yield


@pytest.mark.parametrize(
    ("method", "dataset", "found"),
    [
        ("drift", "digits", "drift"),
        ("drift", "potsdam", "drift-segmentation"),
        ("drift", "coco-stuff-3@sample", "drift-segmentation"),
        ("drift-segmentation", "potsdam", "drift-segmentation"),
        ("drift", "npz:/some/where.npz", "drift"),
        ("taught", "stl10", "taught"),
    ],
)
def test_the_task_of_the_data_decides_which_variant_a_name_means(method: str, dataset: str, found: str) -> None:
    assert method_for(method, dataset) == found


@pytest.mark.parametrize(
    ("method", "dataset", "line"),
    [
        (
            "drift-segmentation",
            "digits",
            "drift-segmentation is a method for segmentation, digits is a data set for clustering. Use drift.",
        ),
        ("lone", "digits", "lone is a method for segmentation, digits is a data set for clustering. Methods for clustering: "),
        (
            "taught",
            "potsdam",
            "taught is a method for semi-supervised, potsdam is a data set for segmentation. Methods for segmentation: ",
        ),
    ],
)
def test_a_wrong_pairing_is_one_line_that_names_what_fits(method: str, dataset: str, line: str) -> None:
    with pytest.raises(SpecError) as told:
        method_for(method, dataset)
    assert str(told.value).startswith(line) and "\n" not in str(told.value)
    if dataset == "potsdam":
        assert "drift-segmentation" in str(told.value) and "lone" in str(told.value)


def test_a_plan_holds_the_variant_once_under_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved: list[tuple[str, str]] = []

    def remember(method: str, dataset: str, *_: Any) -> Resolved:
        resolved.append((method, dataset))
        return Resolved(method, dataset, "smoke", {}, {})

    monkeypatch.setattr(planning, "resolve", remember)
    monkeypatch.setattr(planning, "_load", lambda asked, name, progress: replace(two_parts().under("full"), name=name))
    trials = plan(Asked(["drift", "drift-segmentation"], ["potsdam"]))
    assert [(trial.spec.method, trial.spec.task) for trial in trials] == [("drift-segmentation", "segmentation")]
    assert resolved == [("drift-segmentation", "potsdam")]


def test_a_suite_takes_the_variant_too(tmp_path: Any) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("title: t\nruns: [{methods: drift, datasets: [digits, potsdam], preset: short}]")
    mine: Suite = suite(str(path))
    assert [cell.method for cell in cells(mine)] == ["drift", "drift-segmentation"]


def test_a_method_that_learns_from_labels_is_refused_before_any_data_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_load", lambda *_: pytest.fail("data was read"))
    with pytest.raises(SpecError, match="taught learns from labels, which protocol 'split' does not give"):
        plan(Asked(["taught"], ["mnist"], protocol="split"))


def test_every_trial_under_semi_supervised_says_so() -> None:
    found = {}
    for protocol in ("full", "split", "semi-supervised"):
        data = two_parts().under(protocol)
        found[protocol] = make_spec(resolve("drift", data.name, "short"), data).task
    assert found == {"full": "clustering", "split": "clustering", "semi-supervised": "semi-supervised"}


def test_the_task_is_no_part_of_the_identity() -> None:
    data = two_parts().under("semi-supervised")
    spec = make_spec(resolve("drift", data.name, "short"), data)
    assert spec.identity() == spec.model_copy(update={"task": "clustering"}).identity()


def test_labels_come_one_for_each_image() -> None:
    import torch

    from clusterbench.datasets.base import DataError

    images = Images(torch.zeros(3, 1, 2, 2, dtype=torch.uint8))
    assert len(Labelled(images, torch.zeros(3, dtype=torch.int64)).labels) == 3
    for wrong in (torch.zeros(2, dtype=torch.int64), torch.zeros(3)):
        with pytest.raises(DataError, match="3 labelled images need as many int64 labels"):
            Labelled(images, wrong)
