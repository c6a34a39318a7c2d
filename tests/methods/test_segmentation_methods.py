"""What every method for segmentation must do, asked of all that are registered."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone

from clusterbench.bench.config import resolve
from clusterbench.datasets.base import Images
from clusterbench.datasets.masks import UnreadMasks
from clusterbench.methods.base import Epoch, Method, MethodError
from clusterbench.methods.registry import methods
from clusterbench.results.metrics import confusion, scores

SEGMENTATION = [name for name in methods.names() if methods.card(name).get("task") == "segmentation"]
BLIND = ("random-segmentation", "sift")  # the one learns nothing, the other sees edges alone
every_method = pytest.mark.parametrize("name", SEGMENTATION)


@cache
def lit(count: int = 12, side: int = 32) -> tuple[Images, np.ndarray]:
    """Noisy images, one part of each bright and the other dark, and which part each pixel is of; the rest has no label."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side] - side / 2
    turns = generator.uniform(0, 2 * np.pi, (count, 1, 1))
    labels = (np.cos(turns) * rows + np.sin(turns) * columns > generator.uniform(-6, 6, (count, 1, 1))).astype(np.int64)
    pixels = 60 + 130 * labels[:, None] + generator.normal(0, 12, (count, 3, side, side))
    labels[:, :2] = -1
    return Images(torch.from_numpy(pixels.clip(0, 255).astype(np.uint8)), masks=UnreadMasks(labels)), labels


def smoke(name: str, seed: int = 0) -> Method:
    return methods.get(name)(2, seed=seed, **resolve(name, "coco-stuff-27", "smoke").config)


@cache
def first(name: str) -> tuple[Method, list[Epoch]]:
    method = smoke(name)
    return method, list(method.train(lit()[0]))


def through_disk(state: Any) -> Any:
    stored = io.BytesIO()
    torch.save(state, stored)
    return torch.load(io.BytesIO(stored.getvalue()), map_location="cpu", weights_only=True)


def acc(predicted: np.ndarray, labels: np.ndarray) -> float:
    return scores(confusion(predicted, labels, 2, 2))["acc"]


def test_there_are_methods_to_sweep() -> None:
    assert {"iic-segmentation", "kmeans-segmentation", "random-segmentation"} <= set(SEGMENTATION)


@pytest.mark.parametrize("name", [name for name in SEGMENTATION if name not in BLIND])
def test_it_tells_bright_from_dark(name: str) -> None:
    assert acc(first(name)[0].predict(lit()[0]), lit()[1]) >= 0.85


@every_method
def test_it_yields_one_epoch_after_the_other_with_finite_losses(name: str) -> None:
    method, epochs = first(name)
    assert [epoch.number for epoch in epochs] == list(range(1, method.planned_epochs + 1))
    assert all(np.isfinite(loss).all() for epoch in epochs for loss in epoch.losses.values())


@every_method
def test_the_same_seed_repeats_it_and_another_does_not(name: str) -> None:
    method, epochs = first(name)
    again, other = smoke(name), smoke(name, seed=1)
    assert list(again.train(lit()[0])) == epochs
    list(other.train(lit()[0]))
    maps = [each.predict_heads(lit()[0]) for each in (method, again, other)]
    assert np.array_equal(maps[0], maps[1])
    assert not np.array_equal(maps[0], maps[2]) or str(method.state_dict()) != str(other.state_dict())


@every_method
def test_it_goes_on_from_a_saved_state_as_if_nothing_had_happened(name: str) -> None:
    method, epochs = first(name)
    for cut in {1, len(epochs)}:
        broken, onward = smoke(name), smoke(name)
        training = broken.train(lit()[0])
        before = [next(training) for _ in range(cut)]
        onward.load_state_dict(through_disk(broken.state_dict()))
        assert np.array_equal(onward.predict_heads(lit()[0]), broken.predict_heads(lit()[0]))
        assert before + list(onward.train(lit()[0])) == epochs
        assert np.array_equal(onward.predict_heads(lit()[0]), method.predict_heads(lit()[0]))


@every_method
def test_maps_come_in_parts_that_make_the_whole(name: str) -> None:
    config = resolve(name, "coco-stuff-27", "smoke").config
    config |= {"kmeans": {**config["kmeans"], "batch": 5}} if "kmeans" in config else {"evaluation_batch": 5}
    method = methods.get(name)(2, **config)
    method.load_state_dict(first(name)[0].state_dict())
    parts = list(method.predict_batches(lit()[0]))
    assert [part.shape[1:] for part in parts] == [(5, 32, 32), (5, 32, 32), (2, 32, 32)]
    whole = method.predict_heads(lit()[0])
    assert whole.dtype == np.int64 and np.array_equal(np.concatenate(parts, axis=1), whole)
    assert np.array_equal(method.predict(lit()[0]), whole[method.chosen_head])


@every_method
def test_maps_of_a_window_have_its_size(name: str) -> None:
    method, pixels = first(name)[0], lit()[0].pixels
    assert next(method.predict_batches(Images(pixels, window=(20, 24)))).shape[1:] == (12, 20, 24)


def centres_of(method: Method) -> torch.Tensor:
    return method.state_dict()["clusters"]["centres"]


def test_kmeans_is_fitted_on_the_pixels_that_count_and_on_no_others() -> None:
    images, labels = lit()
    hidden = torch.from_numpy(labels < 0).unsqueeze(1)
    other = Images(torch.where(hidden, 255 - images.pixels, images.pixels), masks=images.masks)
    centres = [centres_of(smoke("kmeans-segmentation").fit(seen)) for seen in (images, other)]
    assert torch.equal(*centres)
    unmasked = smoke("kmeans-segmentation").set_params(kmeans={"pixels": 20_000, "use_masks": False})
    assert not torch.equal(centres_of(unmasked.fit(images)), centres_of(unmasked.fit(other)))


@every_method
def test_it_keeps_scikit_learns_habits(name: str) -> None:
    method = smoke(name, seed=3)
    twin: Any = clone(method)  # pyright: ignore[reportArgumentType]
    assert twin.get_params() == method.get_params()
    pixels = lit()[0].pixels.numpy().transpose(0, 2, 3, 1).copy()
    assert smoke(name).fit(pixels).labels_.shape == (12, 32, 32)


@every_method
def test_its_card_says_what_a_reader_needs(name: str) -> None:
    card = methods.card(name)
    for part in ("title", "summary", "task", "citation", "idea", "needs", "cost", "traps", "search_space", "presets"):
        assert card.get(part) is not None, part
    assert {"paper", "short", "smoke"} <= card["presets"].keys() and "default" in card["presets"]["smoke"]["datasets"]
    assert all(preset.get("changes") for preset in card["presets"].values())
    assert (methods.get(name).name, methods.get(name).task) == (name, "segmentation")


@every_method
def test_every_preset_is_a_configuration_that_the_method_takes(name: str) -> None:
    for preset, content in methods.card(name)["presets"].items():
        for dataset in content["datasets"]:
            resolved = resolve(name, "coco-stuff-27" if dataset == "default" else dataset, preset)
            assert methods.get(name)(3, **resolved.config).config.model_dump(mode="json") == resolved.config


def test_kmeans_refuses_fewer_pixels_than_clusters() -> None:
    images = Images(torch.zeros(1, 3, 12, 12, dtype=torch.uint8), masks=UnreadMasks(np.full((1, 12, 12), -1)))
    with pytest.raises(MethodError, match="a pixel for each of its 2 clusters, got 0 pixels"):
        next(smoke("kmeans-segmentation").train(images))


def test_kmeans_finds_the_colours_that_are_there() -> None:
    colours = torch.tensor([[250, 10, 20], [0, 200, 90], [40, 40, 240]], dtype=torch.uint8)
    labels = torch.randint(0, 3, (4, 15, 15), generator=torch.Generator().manual_seed(0))
    images = Images(colours[labels].permute(0, 3, 1, 2).contiguous())
    method = methods.get("kmeans-segmentation")(3).fit(images)
    assert scores(confusion(method.labels_, labels.numpy()))["acc"] == 1
    centres = centres_of(method)
    found = (centres[centres[:, 0].argsort()] * 255).round()
    assert torch.equal(found, colours[colours[:, 0].argsort()].float())


def test_an_untrained_network_is_that_of_iic_before_its_first_step() -> None:
    images = lit()[0]
    random = methods.get("random-segmentation")(3, seed=5).fit(images)
    iic = methods.get("iic-segmentation")(3, seed=5, passes=["main"])
    iic.build(images.shape, images.shape[1:])  # type: ignore[attr-defined]
    assert np.array_equal(random.predict_heads(images), iic.predict_heads(images))
