"""No method learns from labels: what it predicts does not depend on them, and nothing that it is handed leads to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from trial_fakes import Drift, drift_spec, registered

from clusterbench.bench.config import resolve
from clusterbench.bench.observer import Observer
from clusterbench.bench.spec import make_spec
from clusterbench.bench.trial import run_trial
from clusterbench.datasets.base import TrialData
from clusterbench.datasets.splits import Dataset, Split
from clusterbench.methods.registry import methods

NAMES = [name for name in methods.names() if methods.card(name).get("task") == "clustering"]
WITHOUT_LABELS = ("last", "own-loss")


@pytest.fixture(scope="module", params=["full", "split"])
def data(request: pytest.FixtureRequest) -> TrialData:
    """Sixty noisy 8x8 images of three patterns."""
    generator = np.random.default_rng(1)
    rows, columns = np.mgrid[:8, :8]
    patterns = np.stack([rows < 4, columns < 4, (rows + columns) % 2 == 0])[:, None]
    labels = generator.permutation(np.arange(60) % 3)
    images = (40 + 160 * patterns[labels] + generator.integers(0, 50, (60, 1, 8, 8))).astype(np.uint8)
    parts = {"train": Split(images[:40], labels[:40]), "test": Split(images[40:], labels[40:])}
    return Dataset("patterns", parts, ("a", "b", "c")).under(request.param)


def with_other_labels(data: TrialData) -> list[TrialData]:
    """The same images with shuffled labels, and with none."""
    shuffled = np.random.default_rng(2).permutation(data.labels)
    return [replace(data, labels=shuffled), replace(data, labels=np.full_like(shuffled, -1))]


@pytest.mark.parametrize("name", NAMES)
def test_true_shuffled_and_unknown_labels_leave_the_same_predictions(name: str, data: TrialData, tmp_path: Path) -> None:
    spec = make_spec(resolve(name, data.name, "smoke"), data)
    runs = [
        run_trial(spec, each, out=tmp_path / str(number), device="cpu")
        for number, each in enumerate([data, *with_other_labels(data)])
    ]
    assert len({record.score("nmi", "last") for record in runs}) == 3, "the labels made no difference where they must"
    predictions = [record.labels() for record in runs]
    for selection in WITHOUT_LABELS:
        for part in (selection, f"{selection}/head"):
            assert len({each[part].tobytes() for each in predictions}) == 1, part
        assert len({(record.metrics[selection]["epoch"], record.metrics[selection]["head"]) for record in runs}) == 1


def reachable(*roots: Any) -> Iterator[Any]:
    """Everything that code holding `roots` can get hold of by attributes, items, closures and bound methods."""
    seen: set[int] = set()
    waiting = list(roots)
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, (type, ModuleType, str, bytes)):
            continue
        seen.add(id(thing))
        yield thing
        waiting += _within(thing)


def _within(thing: Any) -> list[Any]:
    inside = list(vars(thing).values()) if hasattr(thing, "__dict__") else []
    if isinstance(thing, dict):
        inside += [*thing.keys(), *thing.values()]
    elif isinstance(thing, (list, tuple, set, frozenset)):
        inside += list(thing)
    elif isinstance(thing, MethodType):
        inside += [thing.__self__, thing.__func__]
    elif isinstance(thing, FunctionType):
        inside += [cell.cell_contents for cell in thing.__closure__ or ()] + list(thing.__defaults__ or ())
    elif isinstance(thing, partial):
        inside += [thing.func, thing.args, thing.keywords]
    elif isinstance(thing, np.ndarray) and thing.base is not None:
        inside.append(thing.base)
    return inside


def is_labels(thing: Any, labels: np.ndarray) -> bool:
    """Whether `thing` is the labels or holds the same numbers."""
    if isinstance(thing, torch.Tensor):
        thing = thing.detach().cpu().numpy()
    if isinstance(thing, (list, tuple)) and len(thing) == len(labels) and all(isinstance(each, int) for each in thing):
        thing = np.array(thing)
    if not isinstance(thing, np.ndarray):
        return False
    return np.shares_memory(thing, labels) or (thing.size == labels.size and np.array_equal(thing.ravel(), labels))


def leads_to_labels(labels: np.ndarray, *roots: Any) -> bool:
    return any(is_labels(thing, labels) for thing in reachable(*roots))


def test_the_search_finds_labels_wherever_they_are_hidden(data: TrialData) -> None:
    class Holder:
        def __init__(self, thing: Any) -> None:
            self.thing = thing

        def method(self) -> None: ...

    labels = data.labels
    plain = [data, {"a": [labels]}, torch.from_numpy(labels), labels.tolist(), labels.copy(), labels[:5]]
    for thing in [*plain, Holder(labels).method, lambda: labels, partial(print, labels), Holder(Holder(data))]:
        assert leads_to_labels(labels, thing), thing
    assert not leads_to_labels(labels, data.train, data.score, Observer(), np.sort(labels))


@pytest.mark.parametrize("name", [*NAMES, "drift"])
def test_nothing_that_a_method_is_handed_leads_to_labels(
    name: str, data: TrialData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[str] = []
    data = with_other_labels(data)[0]  # a method may find the true ones, down to their numbers, but not shuffled ones

    def watched(method: type, call: str) -> None:
        original = getattr(method, call)

        def checking(self: Any, *arguments: Any, **options: Any) -> Any:
            result = original(self, *arguments, **options)
            handed.append(call)
            assert not leads_to_labels(data.labels, vars(self), arguments, options), f"{name}.{call}"
            return result

        monkeypatch.setattr(method, call, checking)

    with registered(Drift) if name == "drift" else nullcontext():
        method = methods.get(name)
        for call in ("__init__", "train", "predict_heads", "state_dict"):
            watched(method, call)
        spec = drift_spec(data) if name == "drift" else make_spec(resolve(name, data.name, "smoke"), data)
        run_trial(spec, data, out=tmp_path, device="cpu")
    assert {"__init__", "train", "predict_heads"} <= set(handed)
