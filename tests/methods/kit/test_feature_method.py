import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from state_tools import same
from torch import nn

from clusterbench.datasets.base import Images
from clusterbench.methods.base import Diverged, MethodError
from clusterbench.methods.kit.feature_method import FeatureMethod

FAST: dict[str, Any] = {"epochs": 5, "batch": 16, "cluster_every": 2, "kmeans": {"restarts": 2}}


class Projection(FeatureMethod):
    """Four linear features with dropout, trained to give the image back; remembers what it was shown and at which rate."""

    name: ClassVar[str] = "projection"
    stretch: ClassVar[float] = 1.0

    def build(self, shape: tuple[int, int, int]) -> nn.Module:
        self.shown: list[tuple[int, float]] = []
        size = math.prod(shape)
        return nn.ModuleDict({"up": nn.Linear(size, 4), "down": nn.Sequential(nn.Dropout(0.1), nn.Linear(4, size))})

    def train_step(self, batch: torch.Tensor, random: torch.Generator) -> Mapping[str, torch.Tensor]:
        self.shown.append((len(batch), self.optimisers["network"].param_groups[0]["lr"]))
        inputs = batch.flatten(1) / 255 + 0.01 * torch.rand(len(batch), 1, generator=random)
        loss = (self.network["down"](self.network["up"](inputs)) - inputs).square().mean()
        return {"loss": self.descend(loss), "half": loss.detach() / 2}

    def features(self, batch: torch.Tensor) -> torch.Tensor:
        found = self.arithmetic(self.network["up"], batch.flatten(1) / 255)
        return torch.cat([found[:, :1] * self.stretch, found[:, 1:]], dim=1)


class Broken(Projection):
    def features(self, batch: torch.Tensor) -> torch.Tensor:
        return super().features(batch) / 0


def images(count: int = 65, **roles: torch.Tensor) -> Images:
    """Three patterns of 4x4 pixels with noise."""
    random = torch.Generator().manual_seed(0)
    patterns = torch.randint(0, 200, (3, 1, 4, 4), generator=random)
    noise = torch.randint(0, 40, (count, 1, 4, 4), generator=random)
    return Images((patterns[torch.arange(count) % 3] + noise).to(torch.uint8), roles=roles)


def test_every_image_is_at_the_nearest_of_the_means_of_the_clusters() -> None:
    method = Projection(3, **FAST).fit(images())
    features = method.features_of(images()).numpy()
    clusters = method.labels_
    assert sorted(set(clusters)) == [0, 1, 2] and len({tuple(clusters[start::3]) for start in range(3)}) == 3
    means = np.stack([features[clusters == k].mean(0) for k in range(3)])
    for row, cluster in zip(features, clusters, strict=True):
        assert cluster == min(range(3), key=lambda k: sum((row - means[k]) ** 2))


def test_the_first_the_last_and_every_second_epoch_are_clustered_and_only_they_may_be_chosen() -> None:
    epochs = list(Projection(3, **FAST).train(images()))
    assert [epoch.criterion is not None for epoch in epochs] == [True, True, False, True, True]
    assert [epoch.images for epoch in epochs] == [130, 130, 65, 130, 130]
    assert all(epoch.criterion in (None, epoch.losses["loss"]) for epoch in epochs)
    assert epochs[0].losses["half"] == pytest.approx(epochs[0].losses["loss"] / 2)


@pytest.mark.parametrize("cut", [1, 3, 5])
def test_an_interrupted_training_ends_as_an_undisturbed_one_bit_for_bit(cut: int) -> None:
    settings = {**FAST, "lr_decay": "cosine", "whiten": 3, "weight_decay": 1e-3}
    whole, begun, onward = (Projection(3, seed=1, **settings) for _ in range(3))
    epochs, training = list(whole.train(images())), begun.train(images())
    before = [next(training) for _ in range(cut)]
    onward.load_state_dict(begun.state_dict())
    assert np.array_equal(onward.predict(images()), begun.predict(images()))
    assert before + list(onward.train(images())) == epochs
    assert same(onward.state_dict(), whole.state_dict())
    assert np.array_equal(onward.predict(images()), whole.predict(images()))


def test_each_epoch_reads_every_image_once_and_none_alone() -> None:
    method = Projection(3, **FAST)
    method.build_for((1, 4, 4))
    order = method.order(images(), torch.Generator().manual_seed(0))
    assert [len(batch) for batch in order] == [16, 16, 16, 17]
    assert sorted(torch.cat(order).tolist()) == list(range(65))


@pytest.mark.parametrize("decay", ["none", "cosine"])
def test_the_learning_rate_follows_half_a_cosine_if_asked_to(decay: str) -> None:
    method = Projection(3, **{**FAST, "lr": 0.01, "lr_decay": decay}).fit(images())
    steps = 5 * 4
    wanted = [0.01 * (0.5 * (1 + math.cos(math.pi * step / steps)) if decay == "cosine" else 1) for step in range(steps)]
    assert [rate for _, rate in method.shown] == pytest.approx(wanted)


def test_other_images_than_the_main_ones_are_learned_from_unless_told_otherwise() -> None:
    main = torch.arange(40)
    split = images(main=main)
    everything, restricted = (Projection(3, **{**FAST, "epochs": 1, "images": role}) for role in ("all", "main"))
    assert [epoch.images for epoch in everything.train(split)] == [65 + 40]
    assert [epoch.images for epoch in restricted.train(split)] == [40 + 40]
    assert everything.predict(split).shape == (65,), "but all of them have a cluster"


def test_progress_is_told_after_each_step() -> None:
    method, told = Projection(3, **{**FAST, "epochs": 1}), []
    method.on_step = lambda done, total, seen: told.append((done, total, seen))
    list(method.train(images()))
    assert told == [(1, 4, 16), (2, 4, 32), (3, 4, 48), (4, 4, 65)]


def test_whitening_makes_the_scale_of_a_feature_immaterial(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Projection(3, whiten=4, **FAST).fit(images()).labels_
    monkeypatch.setattr(Projection, "stretch", 100.0)
    assert np.array_equal(Projection(3, whiten=4, **FAST).fit(images()).labels_, plain)


def test_features_that_are_not_finite_are_reported_as_such() -> None:
    with pytest.raises(Diverged, match="features are not finite in epoch 1.*lr"):
        Broken(3, **FAST).fit(images())


@pytest.mark.parametrize(
    "wrong", [{"batch": 1}, {"cluster_every": 0}, {"whiten": 0}, {"lr_decay": "step"}, {"kmeans": {"start": 1}}]
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(MethodError, match=next(iter(wrong))):
        Projection(3, **wrong)
