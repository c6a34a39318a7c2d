"""DeepCluster: what an epoch does and in which order, its variants, and that it learns real digits."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import normalized_mutual_info_score
from state_tools import same
from torch.nn import functional

from clusterbench.datasets.base import Images
from clusterbench.methods.base import Diverged, Epoch, MethodError
from clusterbench.methods.deepcluster import DeepCluster
from clusterbench.methods.kit.randomness import generator

TINY: dict[str, Any] = {
    "widths": (4, 8),
    "features": 16,
    "clusters": 20,
    "whiten": 8,
    "batch": 40,
    "evaluation_whiten": 6,
    "kmeans": {"restarts": 1, "iterations": 10},
    "views": {"size": 8, "crop": 8, "crops_transformed": [6, 7, 8]},
}
# Every variant that keeps something from one epoch to the next, or draws in its own way.
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "two epochs a clustering": {"reassign": 2},
    "as IIC's authors": {
        "clustering_view": "training",
        "frozen_views": True,
        "reassign": 3,
        "kmeans_start": "same",
        "whiten": None,
    },
    "as upstream": {"sampling": "upstream", "optimiser": "sgd", "lr": 0.05, "weight_decay": 1e-5, "dropout": 0.0, "reassign": 2},
    "labelled images only": {"images": "main", "feature_norm": True, "evaluation_whiten": None},
}


def some_digits(count: int = 200) -> Images:
    pixels = (load_digits().images[:count] * 255 / 16).round().astype(np.uint8)
    return Images(torch.from_numpy(pixels[:, None]), {"main": torch.arange(0, count, 2)})


def made(epochs: int = 1, **settings: Any) -> DeepCluster:
    return DeepCluster(10, epochs=epochs, **{**TINY, **settings})


def spied(method: DeepCluster) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The views and labels of every step that `method` takes from now on."""
    shown: list[tuple[torch.Tensor, torch.Tensor]] = []
    step = method.train_step

    def recorded(view: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        shown.append((view.clone(), labels.clone()))
        return step(view, labels)

    method.train_step = recorded  # pyright: ignore[reportAttributeAccessIssue]
    return shown


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_goes_on_from_a_saved_state_as_if_nothing_had_happened(variant: str) -> None:
    images, undisturbed = some_digits(120), made(4, **VARIANTS[variant])
    epochs = list(undisturbed.train(images))
    for cut in (1, 2):
        broken, onward = (made(4, **VARIANTS[variant]) for _ in range(2))
        training = broken.train(images)
        before: list[Epoch] = [next(training) for _ in range(cut)]
        stored = io.BytesIO()
        torch.save(broken.state_dict(), stored)
        onward.load_state_dict(torch.load(io.BytesIO(stored.getvalue()), weights_only=True))
        np.testing.assert_array_equal(onward.predict_heads(images), broken.predict_heads(images))
        assert before + list(onward.train(images)) == epochs
        assert same(onward.state_dict(), undisturbed.state_dict())


def test_labels_belong_to_their_images() -> None:
    pixels = some_digits(100).pixels
    twice = Images(torch.cat([pixels, pixels.flip(0)]))  # image 199 - i is image i
    method = made(2)
    for _ in method.train(twice):
        assert torch.equal(method.labels, method.labels.flip(0))


def test_an_image_is_learned_with_the_label_of_its_own_cluster() -> None:
    still = {"size": 8, "crop": 8, "crops_transformed": [8], "brightness": 0, "contrast": 0, "saturation": 0, "hue": 0}
    images = some_digits(60)
    for sampling in ("uniform", "natural", "upstream"):
        method = made(sampling=sampling, views=still)
        shown = spied(method)
        next(method.train(images))
        originals = images.pixels.flatten(1).float() / 255
        for views, labels in shown:
            which = torch.cdist(views.flatten(1), originals).argmin(1)
            assert torch.equal(method.labels[which], labels)


@pytest.mark.parametrize(("reassign", "renewed"), [(1, [1, 2, 3, 4, 5]), (2, [1, 3, 5]), (9, [1])])
def test_clusters_and_top_layer_are_renewed_together(reassign: int, renewed: list[int]) -> None:
    method, seen, tops = made(5, reassign=reassign), [], set()
    for epoch in method.train(some_digits()):
        seen += [epoch.number] if method.assigned_in == epoch.number else []
        tops.add(id(method.top))
        assert method.top.weight.shape == (20, 16)
    assert seen == renewed


def test_the_new_top_layer_has_a_new_optimiser_and_the_networks_goes_on() -> None:
    method = made(2, optimiser="sgd", lr=0.05, momentum=0.9, weight_decay=1e-5, top_lr=0.2)
    training = method.train(some_digits())
    next(training)
    kept, renewed = method.optimiser, method.top_optimiser
    next(training)
    assert method.optimiser is kept and method.top_optimiser is not renewed
    told = [{key: group[key] for key in ("lr", "momentum", "weight_decay")} for group in
            (kept.param_groups[0], method.top_optimiser.param_groups[0])]  # fmt: skip
    assert told == [{"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-5}, {"lr": 0.2, "momentum": 0.0, "weight_decay": 1e-5}]
    learned = {id(parameter) for parameter in kept.param_groups[0]["params"]}
    assert learned == {id(parameter) for parameter in method.network.parameters()}


def test_a_step_is_gradient_descent_on_the_cross_entropy_of_the_pseudo_labels() -> None:
    method = made(optimiser="sgd", lr=0.1, momentum=0.0, dropout=0.0)
    next(method.train(some_digits()))
    view, labels = torch.rand(12, 1, 8, 8, generator=generator("cpu", 0)), torch.arange(12)
    method.network.eval()  # batch norm at rest, so that float64 can follow
    with torch.no_grad():
        seen = method.network(view, method.arithmetic).double().relu()
    weight, bias = (parameter.detach().double() for parameter in method.top.parameters())
    chances = (seen @ weight.T + bias).softmax(1)
    loss = method.train_step(view, labels)
    errors = (chances - functional.one_hot(labels, 20)) / 12
    assert loss.item() == pytest.approx(-chances[torch.arange(12), labels].log().mean().item(), rel=1e-5)
    torch.testing.assert_close(method.top.weight.detach().double(), weight - 0.1 * errors.T @ seen, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(method.top.bias.detach().double(), bias - 0.1 * errors.sum(0), rtol=1e-4, atol=1e-7)


def distinct_views(epochs: int, **settings: Any) -> int:
    """How many different views of 60 images are shown."""
    method = made(epochs, reassign=2, **settings)
    shown = spied(method)
    for _ in method.train(some_digits(60)):
        pass
    return len(torch.cat([view for view, _ in shown]).flatten(1).unique(dim=0))


def test_frozen_views_last_until_the_next_clustering_and_fresh_ones_never_return() -> None:
    assert distinct_views(2) == 2 * 60
    assert distinct_views(2, frozen_views=True) <= 60  # of those that the sampler chose
    assert 60 < distinct_views(4, frozen_views=True) <= 120


def test_the_agreement_is_with_the_clusters_before_and_the_criterion_its_opposite() -> None:
    method, assigned = made(4, reassign=2), []
    epochs = [(epoch, assigned.append(method.labels.numpy().copy()))[0] for epoch in method.train(some_digits())]
    assert [epoch.losses["assignment_nmi"] for epoch in epochs[:2]] == [0, 0] and epochs[0].criterion is None is epochs[
        1
    ].criterion
    expected = normalized_mutual_info_score(assigned[1], assigned[2])
    for epoch in epochs[2:]:
        assert epoch.losses["assignment_nmi"] == pytest.approx(expected)
        assert epoch.criterion == pytest.approx(1 - expected)


def test_empty_and_giant_clusters_are_told() -> None:
    pixels = some_digits(60).pixels
    crowd = torch.cat([pixels[:1].expand(140, -1, -1, -1), pixels])
    (epoch,) = made(clusters=60).train(Images(crowd))
    assert epoch.losses["largest_cluster"] >= 0.7
    assert 0 <= epoch.losses["empty_clusters"] < 30 and epoch.losses["empty_clusters"] % 1 == 0


def test_all_images_are_learned_from_and_the_main_ones_scored() -> None:
    images = some_digits()
    counts = {"all": 200, "main": 100}
    for which, count in counts.items():
        method = made(images=which)
        epoch = next(method.train(images))
        assert len(method.labels) == count
        learned, features = count, {"all": 2 * 200, "main": 2 * 100}[which]
        assert epoch.images == learned + features
        assert method.predict_heads(images).shape == (1, 200)


def test_known_clusters_are_those_that_a_new_pass_gives() -> None:
    images = Images(some_digits().pixels)
    method = made()
    next(method.train(images))
    np.testing.assert_array_equal(method.predict_heads(images), method.predict_heads(Images(images.pixels)))


def test_ten_clusters_are_learned_for_each_class_unless_said_otherwise() -> None:
    method = made(clusters=None)
    next(method.train(some_digits()))
    assert method.clusters == 100 == method.top.out_features


def test_progress_is_told_in_steps_and_images() -> None:
    method, told = made(), []
    method.on_step = lambda done, total, images: told.append((done, total, images))
    next(method.train(some_digits(81)))
    assert told == [(1, 2, 40), (2, 2, 81)]  # a lone last image joins the batch before


def test_bfloat16_gives_about_the_features_of_float32() -> None:
    method, images = made(), some_digits()
    next(method.train(images))
    exact, near = method._features(images, "all"), made(precision="bfloat16")
    near.load_state_dict(method.state_dict())
    assert functional.cosine_similarity(exact, near._features(images, "all")).min() > 0.999
    next(made(precision="bfloat16").train(images))


def test_a_nan_loss_stops_training_with_one_clear_line() -> None:
    method = made(whiten=None, evaluation_whiten=None)
    method.build((1, 8, 8))
    new_top = method._new_top

    def broken(number: int) -> None:
        new_top(number)
        torch.nn.init.constant_(method.top.weight, math.nan)

    method._new_top = broken  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(Diverged, match=r"deepcluster: the loss is not finite in epoch 1\. Lower the learning rate"):
        next(method.train(some_digits()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cluster": 5}, r"unknown setting 'cluster'\. Did you mean 'clusters'\?"),
        ({"views": {"central_share": 0.5}}, r"unknown setting 'views\.central_share'"),
        ({"views": {"area": (0.5, 0.1)}}, "area must rise"),
        ({"views": {"mean": (0.5,)}}, "mean and std must have as many values, got 1 and 0"),
        ({"clusters": 1}, "setting 'clusters'"),
        ({"batch": 1}, "setting 'batch'"),
        ({"sampling": "uniformly"}, "setting 'sampling'"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(MethodError, match=message):
        DeepCluster(10, **settings)


def test_more_training_clusters_than_images_are_refused() -> None:
    with pytest.raises(MethodError, match="60 images cannot fill 100 clusters"):
        next(made(clusters=100).train(some_digits(60)))


def test_it_learns_real_digits_without_labels() -> None:
    data = load_digits()
    images = (data.images * 255 / 16).round().astype(np.uint8)
    views = {"size": 8, "crop": 8, "crops_transformed": [6, 7, 8], "rotation": 15, "resampling": "once"}
    method = DeepCluster(10, epochs=8, clusters=100, widths=(16, 32), features=64, whiten=32, batch=64, views=views)
    information = normalized_mutual_info_score(data.target, method.fit_predict(images))
    assert information > 0.7  # chance has about 0.01, k-means on pixels 0.74
