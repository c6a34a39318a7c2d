"""What every method must do, asked of all that are registered: a new one is tested by its card file lying there."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.base import clone
from sklearn.metrics.cluster import contingency_matrix
from state_tools import same

from clusterbench.bench.config import resolve
from clusterbench.bench.predictor import trained_method
from clusterbench.bench.trained import save_trained
from clusterbench.datasets.base import Images
from clusterbench.methods.base import Epoch, Method, MethodError
from clusterbench.methods.registry import methods
from clusterbench.results.record import Record

CLASSES, PER_CLASS = 4, 24
CLUSTERING = [name for name in methods.names() if methods.card(name).get("task") == "clustering"]
every_method = pytest.mark.parametrize("name", CLUSTERING)


@cache
def blobs(channels: int = 1) -> tuple[Images, np.ndarray]:
    """96 noisy 8x8 images of four well separated patterns, and which pattern each shows."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:8, :8]
    disc = (rows - 3.5) ** 2 + (columns - 3.5) ** 2 < 9
    patterns = np.stack([rows % 4 < 2, columns % 4 < 2, disc, ~disc])[:, None]  # (4, 1, 8, 8)
    labels = generator.permutation(np.repeat(np.arange(CLASSES), PER_CLASS))
    clean = 50.0 + 150.0 * patterns[labels].repeat(channels, axis=1)
    noisy = clean + generator.normal(0, 15, clean.shape) + generator.uniform(-20, 20, (len(labels), 1, 1, 1))
    return Images(torch.from_numpy(noisy.clip(0, 255).astype(np.uint8))), labels


def smoke(name: str, seed: int = 0) -> Method:
    """The method at the settings of its `smoke` preset."""
    return methods.get(name)(CLASSES, seed=seed, **resolve(name, "blobs", "smoke").config)


def trained(method: Method, channels: int = 1) -> list[Epoch]:
    return list(method.train(blobs(channels)[0]))


@cache
def first(name: str) -> tuple[Method, list[Epoch]]:
    """One trained method for all tests that only look at it."""
    method = smoke(name)
    return method, trained(method)


def through_disk(state: Any) -> Any:
    stored = io.BytesIO()
    torch.save(state, stored)
    return torch.load(io.BytesIO(stored.getvalue()), map_location="cpu", weights_only=True)


def acc(predicted: np.ndarray, truth: np.ndarray) -> float:
    counts = contingency_matrix(truth, predicted)
    return counts[linear_sum_assignment(counts, maximize=True)].sum() / len(truth)


def test_there_are_methods_to_sweep() -> None:
    assert {"iic", "kmeans", "random"} <= set(CLUSTERING)


@every_method
def test_it_learns_blobs_by_its_own_choice(name: str) -> None:
    images, labels = blobs()
    assert acc(first(name)[0].predict(images), labels) >= 0.9


@every_method
def test_it_yields_one_epoch_after_the_other_with_finite_losses(name: str) -> None:
    method, epochs = first(name)
    assert [epoch.number for epoch in epochs] == list(range(1, method.planned_epochs + 1))
    for epoch in epochs:
        assert all(np.isfinite(loss).all() for loss in epoch.losses.values())
        assert epoch.criterion is None or np.isfinite(epoch.criterion)
        assert isinstance(epoch.images, int) and epoch.images >= 0


@every_method
def test_what_its_record_keeps_labels_images_as_it_did(name: str, tmp_path: Path) -> None:
    method, epochs = first(name)
    save_trained(method, tmp_path)
    spec = {"method": name, "n_clusters": CLASSES, "seed": 0, "config": dict(resolve(name, "blobs", "smoke").config)}
    about = {"status": "complete", "created": "2025-06-01", "metrics": {"last": {}}, "epochs_done": len(epochs)}
    again = trained_method(Record(id="0" * 12, spec=spec, folder=tmp_path, **about))
    turned = Images(blobs()[0].pixels.flip(-1).clone())  # new images, that no method has in mind
    assert again.chosen_head == method.chosen_head
    assert np.array_equal(again.predict(turned), method.predict(turned))


@every_method
def test_the_same_seed_repeats_it_whatever_ran_before(name: str) -> None:
    method, epochs = first(name)
    torch.rand(3)
    again = smoke(name)
    assert trained(again) == epochs
    assert same(again.state_dict(), method.state_dict())
    assert np.array_equal(again.predict_heads(blobs()[0]), method.predict_heads(blobs()[0]))


@every_method
def test_another_seed_gives_another_training(name: str) -> None:
    method, other = first(name)[0], smoke(name, seed=1)
    trained(other)
    same_clusters = np.array_equal(other.predict_heads(blobs()[0]), method.predict_heads(blobs()[0]))
    assert not (same_clusters and same(other.state_dict(), method.state_dict()))


@every_method
def test_it_goes_on_from_a_saved_state_as_if_nothing_had_happened(name: str) -> None:
    method, epochs = first(name)
    images = blobs()[0]
    for cut in {1, (len(epochs) + 1) // 2, len(epochs)}:
        broken, onward = smoke(name), smoke(name)
        training = broken.train(images)
        before = [next(training) for _ in range(cut)]
        onward.load_state_dict(through_disk(broken.state_dict()))
        assert np.array_equal(onward.predict_heads(images), broken.predict_heads(images))
        assert before + trained(onward) == epochs
        assert same(onward.state_dict(), method.state_dict()) and onward.chosen_head == method.chosen_head
        assert np.array_equal(onward.predict_heads(images), method.predict_heads(images))


@every_method
def test_being_judged_after_every_epoch_changes_nothing(name: str) -> None:
    method, epochs = first(name)
    judged, seen = smoke(name), []
    for epoch in judged.train(blobs()[0]):
        judged.predict_heads(blobs()[0])
        judged.state_dict()
        seen.append(epoch)
    assert seen == epochs and same(judged.state_dict(), method.state_dict())


@every_method
def test_the_images_stay_as_they_were(name: str) -> None:
    images = Images(blobs()[0].pixels.clone())
    smoke(name).fit(images)
    assert torch.equal(images.pixels, blobs()[0].pixels) and not images.roles


@every_method
@pytest.mark.parametrize("count", [1, 7, CLASSES * PER_CLASS])
def test_predictions_have_their_shape_type_and_range(name: str, count: int) -> None:
    method, images = first(name)[0], Images(blobs()[0].pixels[:count])
    heads = method.predict_heads(images)
    assert heads.ndim == 2 and heads.shape[1] == count and heads.dtype == np.int64
    assert heads.min() >= 0 and heads.max() < CLASSES and 0 <= method.chosen_head < len(heads)
    assert np.array_equal(method.predict(images), heads[method.chosen_head])


@every_method
def test_predictions_are_taken_from_notebook_arrays_too(name: str) -> None:
    method, pixels = first(name)[0], blobs()[0].pixels
    assert np.array_equal(method.predict(pixels[:, 0].numpy()), method.predict(pixels))


@every_method
def test_probabilities_agree_with_the_clusters_or_are_plainly_refused(name: str) -> None:
    method, images = first(name)[0], blobs()[0]
    if type(method).predict_proba is Method.predict_proba:
        with pytest.raises(MethodError, match=f"{name} gives no cluster probabilities, only clusters: use predict"):
            method.predict_proba(images)
        return
    chances = method.predict_proba(images)
    assert chances.shape == (len(images), CLASSES) and chances.dtype == np.float32
    assert np.allclose(chances.sum(1), 1, atol=1e-5) and chances.min() >= 0
    assert np.array_equal(chances.argmax(1), method.predict(images))


@every_method
def test_colour_images_are_taken(name: str) -> None:
    images, labels = blobs(channels=3)
    assert acc(smoke(name).fit(images).labels_, labels) >= 0.5


@every_method
def test_it_keeps_scikit_learns_habits(name: str) -> None:
    method = smoke(name, seed=3)
    params = method.get_params()
    assert {"n_clusters", "seed", "device", *type(method).Config.model_fields} == params.keys()
    twin: Any = clone(method)  # pyright: ignore[reportArgumentType]
    assert type(twin) is type(method) and twin.get_params() == params and not hasattr(twin, "labels_")
    assert method.set_params(n_clusters=7, seed=4) is method
    assert method.get_params() == {**params, "n_clusters": 7, "seed": 4}
    with pytest.raises(MethodError, match="no_such_setting"):
        method.set_params(n_clusters=9, no_such_setting=1)
    assert method.get_params() == {**params, "n_clusters": 7, "seed": 4}, "what was refused must leave no trace"


@every_method
def test_fit_predict_gives_the_labels_of_fit(name: str) -> None:
    method = smoke(name)
    labels = method.fit_predict(blobs()[0].pixels)
    assert labels.dtype == np.int64 and np.array_equal(labels, method.labels_)
    assert np.array_equal(labels, first(name)[0].predict(blobs()[0]))


@every_method
def test_a_second_fit_owes_nothing_to_the_first(name: str) -> None:
    images = blobs()[0]
    method = smoke(name).fit(Images(255 - images.pixels.flip(0)[:60]))
    assert np.array_equal(method.fit(images).labels_, first(name)[0].predict(images))
    assert same(method.state_dict(), first(name)[0].state_dict())
    assert vars(method.set_params()).keys() == vars(smoke(name)).keys(), "changed settings forget what was learned"


@every_method
def test_its_card_says_what_a_reader_needs(name: str) -> None:
    card = methods.card(name)
    for part in ("title", "summary", "task", "citation", "idea", "needs", "cost", "traps", "search_space", "presets"):
        assert card.get(part) is not None, part
    assert {"paper", "short", "smoke"} <= card["presets"].keys() and "default" in card["presets"]["smoke"]["datasets"]
    assert all(preset.get("changes") for preset in card["presets"].values()), "what a preset changes stands in it"
    assert methods.get(name).name == name


@every_method
def test_every_preset_is_a_configuration_that_the_method_takes(name: str) -> None:
    for preset, content in methods.card(name)["presets"].items():
        for dataset in content["datasets"]:
            resolved = resolve(name, dataset, preset)
            made = methods.get(name)(resolved.n_clusters or 10, **resolved.config)
            assert made.config.model_dump(mode="json") == resolved.config
