"""The fully supervised reference: its schedule, what it learns from, resumption, real digits."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from state_tools import same

from clusterbench.bench.config import resolve
from clusterbench.datasets.base import Images, Labelled
from clusterbench.methods.base import Diverged, Epoch, MethodError
from clusterbench.methods.cutout import Cutout
from clusterbench.methods.kit.wide_resnet import WideResNet
from clusterbench.methods.registry import methods

TINY: dict[str, Any] = {
    "epochs": 3,
    "batch": 40,
    "lr": 0.05,
    "network": "wide-resnet",
    "blocks": 1,
    "widening": 1,
    "dropout": 0.3,
    "views": {"padding": 1, "cutout": 2, "flip_probability": 0},
}


@cache
def digits(count: int = 120) -> tuple[Images, torch.Tensor]:
    data = load_digits()
    return Images.of((data.images[:count] * 255 / 16).round().astype(np.uint8)), torch.from_numpy(data.target[:count])


def train(method: Cutout, labels: torch.Tensor | None = None) -> list[Epoch]:
    images, known = digits()
    return list(method.train_labelled(images, Labelled(images, known if labels is None else labels)))


def test_the_rate_falls_as_torchs_schedule_of_milestones() -> None:
    method = Cutout(10, **{**TINY, "lr_decay": "steps", "milestones": [2, 4, 5], "lr": 0.1})
    given = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    schedule = torch.optim.lr_scheduler.MultiStepLR(given, [2, 4, 5], 0.2)
    for epoch in range(7):
        assert method.learning_rate(epoch + 0.9) == pytest.approx(given.param_groups[0]["lr"])
        given.step()
        schedule.step()


def test_the_rate_falls_by_half_a_cosine_within_epochs_too() -> None:
    method = Cutout(10, **{**TINY, "lr": 0.2, "epochs": 4})
    assert [method.learning_rate(passed) for passed in (0, 2, 4)] == pytest.approx([0.2, 0.1, 0.0])
    images, labels = digits()
    training = method.train_labelled(images, Labelled(images, labels))
    next(training)
    assert method.optimiser.param_groups[0]["lr"] == pytest.approx(method.learning_rate(2 / 3))  # before the last of three steps


def test_it_learns_from_the_chosen_labels_and_from_no_other_image() -> None:
    images, labels = digits()
    parts = Images(images.pixels, {"fold 3": torch.arange(60)})
    learned = []
    for given in (labels, torch.cat([labels[:60], labels[60:].flip(0)]), labels.flip(0)):
        method = Cutout(10, **{**TINY, "fold": 3})
        epochs = list(method.train_labelled(Images(images.pixels.flip(0)), Labelled(parts, given)))
        assert [epoch.images for epoch in epochs] == [60] * 3 and [*epochs[0].losses] == ["classifier"]
        learned.append(method.state_dict()["model"])
    assert same(learned[0], learned[1]) and not same(learned[0], learned[2])


@pytest.mark.parametrize("cut", [1, 2])
def test_it_goes_on_after_any_epoch_as_if_nothing_had_happened(cut: int) -> None:
    images, labels = digits()
    whole, broken, onward = (Cutout(10, **TINY) for _ in range(3))
    epochs = train(whole)
    training = broken.train_labelled(images, Labelled(images, labels))
    before = [next(training) for _ in range(cut)]
    stored = io.BytesIO()
    torch.save(broken.state_dict(), stored)
    onward.load_state_dict(torch.load(io.BytesIO(stored.getvalue()), weights_only=True))
    assert before + train(onward) == epochs
    assert same(onward.state_dict(), whole.state_dict())
    assert np.array_equal(onward.predict_proba(images), whole.predict_proba(images))


def test_seeds_decide_the_weights_and_the_labels() -> None:
    first, again, other = (Cutout(10, seed=seed, **{**TINY, "epochs": 1, "label_fraction": 0.5}) for seed in (0, 0, 1))
    for method in (first, again, other):
        train(method)
    assert same(first.state_dict(), again.state_dict())
    assert not same(first.state_dict()["model"], other.state_dict()["model"])


def test_what_cannot_be_is_refused_in_one_line() -> None:
    images, labels = digits()
    with pytest.raises(MethodError, match="n_clusters=5 allows 0..4"):
        next(Cutout(5, **TINY).train_labelled(images, Labelled(images, labels)))
    with pytest.raises(MethodError, match="learns from labels"):
        Cutout(10, **TINY).train(images)
    with pytest.raises(Diverged, match="cutout: the loss is not finite in epoch 1"):
        train(Cutout(10, **{**TINY, "lr": 1e30}))


def test_the_published_settings_build_the_published_network() -> None:
    method = Cutout(10, **resolve("cutout", "stl10", "paper").config)
    method.build((3, 96, 96))
    assert isinstance(method.network[0], WideResNet) and method.network[0].features == 512
    assert round(sum(parameter.numel() for parameter in method.network.parameters()) / 1e6, 1) == 11.0
    (group,) = method.optimiser.param_groups
    assert (group["nesterov"], group["momentum"], group["weight_decay"]) == (True, 0.9, 5e-4)
    assert [round(method.learning_rate(epoch), 5) for epoch in (0, 300, 400, 600, 800)] == [0.1, 0.02, 0.004, 0.0008, 0.00016]


def test_every_preset_is_a_configuration_that_the_method_takes() -> None:
    card = methods.card("cutout")
    assert {"paper", "short", "smoke"} <= card["presets"].keys() and card["task"] == Cutout.task == "semi-supervised"
    for preset, content in card["presets"].items():
        assert content["changes"]
        for dataset in content["datasets"]:
            resolved = resolve("cutout", dataset, preset)
            assert Cutout(10, **resolved.config).config.model_dump(mode="json") == resolved.config


def test_it_learns_real_digits() -> None:
    images, labels = digits(1797)
    learned, judged = Images(images.pixels[:1000]), Images(images.pixels[1000:])
    method = Cutout(10, **resolve("cutout", "digits", "smoke").config)
    list(method.train_labelled(learned, Labelled(learned, labels[:1000])))
    assert (method.predict(judged) == labels[1000:].numpy()).mean() > 0.85
