"""IIC's training loop against the published facts, against the authors' way of batching, and on real digits."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from clusterbench.datasets.base import Images
from clusterbench.methods.base import Diverged, MethodError
from clusterbench.methods.iic import IIC
from clusterbench.methods.kit.information import information_loss, loss_floor
from clusterbench.methods.kit.randomness import generator
from clusterbench.methods.registry import methods

TINY = {
    "widths": (8, 16),
    "sub_heads": 2,
    "batch_pairs": 40,
    "repeats": 4,
    "views": {"size": 12, "crop": 8, "crops_transformed": [7, 8]},
}


def some_digits(count: int = 200) -> Images:
    return Images.of((load_digits().images[:count] * 255 / 16).round().astype(np.uint8))


def after_one_epoch(**settings: object) -> IIC:
    method = IIC(10, **{**TINY, "epochs": 1, **settings})
    next(method.train(some_digits()))
    return method


@pytest.mark.parametrize(
    ("images", "pairs", "repeats", "steps"),
    [
        (113_000, 700, 5, 808),
        (13_000, 700, 5, 93),
        (60_000, 660, 3, 273),
        (60_000, 1000, 5, 300),
        (70_000, 700, 5, 500),
        (13_000, 700, 1, 19),
    ],
)
def test_a_pass_has_the_published_number_of_steps(images: int, pairs: int, repeats: int, steps: int) -> None:
    method = IIC(10, batch_pairs=pairs, repeats=repeats, shuffle=False)
    pixels = Images(torch.empty(images, 1, 1, 1, dtype=torch.uint8))
    order = method._order(pixels, "main", generator("cpu", 0))
    assert len(order) == steps
    assert torch.equal(torch.cat(order), torch.arange(images))


def test_shuffled_passes_visit_every_image_once_in_a_new_order() -> None:
    method = IIC(10)
    pixels = Images(torch.empty(1000, 1, 1, 1, dtype=torch.uint8))
    first, second = (torch.cat(method._order(pixels, "main", generator("cpu", 0, epoch))) for epoch in (1, 2))
    assert not torch.equal(first, second)
    assert torch.equal(first.sort().values, torch.arange(1000))


def test_one_pass_of_the_originals_gives_the_loss_and_gradients_of_the_authors_repeated_passes() -> None:
    method = after_one_epoch()
    batch, random = some_digits(10).pixels, generator("cpu", 1)
    originals = method.views.original(batch, random)
    transformed = method.views.transformed(batch.repeat(4, 1, 1, 1), random)
    method.network.double().train()
    gradients = []
    for repeated in (False, True):
        method.network.zero_grad()
        p = method.network.trunk(originals.double().repeat(4, 1, 1, 1) if repeated else originals.double())
        p = method.network.heads["main"](p).softmax(-1)
        p = p if repeated else p.repeat(1, 4, 1)
        q = method.network.heads["main"](method.network.trunk(transformed.double())).softmax(-1)
        loss = information_loss(p, q).mean()
        loss.backward()
        gradients.append([loss.detach(), *(parameter.grad.clone() for parameter in method.network.parameters())])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-12)


def test_initial_loss_is_almost_zero_as_in_the_authors_logs() -> None:
    method = IIC(10, **TINY)
    method.build((1, 8, 8))
    loss = method.pair_losses(some_digits(40).pixels, "main", generator("cpu", 0))
    assert loss.shape == (2,)
    assert loss.abs().max() < 1e-3


@pytest.mark.parametrize(
    ("dataset", "shape", "channels", "features"),
    [
        ("mnist", (1, 28, 28), 1, 4608),
        ("cifar10", (3, 32, 32), 2, 512),
        ("cifar100-20", (3, 32, 32), 2, 512),
        ("stl10", (3, 96, 96), 2, 512),
    ],
)
def test_the_published_settings_build_the_published_networks_and_take_a_step(
    dataset: str, shape: tuple[int, int, int], channels: int, features: int
) -> None:
    settings = methods.card("iic")["presets"]["paper"]["datasets"][dataset]
    method = IIC(20 if dataset == "cifar100-20" else 10, **settings)
    images = Images(torch.randint(0, 256, (6, *shape), dtype=torch.uint8))
    method.build(shape)
    assert (method.views.channels, method.network.trunk.features) == (channels, features)
    assert set(method.network.heads) == set(settings["passes"])
    before = method.network.heads["main"].linear.weight.detach().clone()
    loss = method.train_step(images.batch(torch.arange(6)), "main", generator("cpu", 0))
    assert torch.isfinite(loss).all() and not torch.equal(before, method.network.heads["main"].linear.weight)
    assert method.predict_heads(images).shape == (5, 6)


def test_heads_are_trained_in_the_order_of_the_passes() -> None:
    method = IIC(10, **TINY, epochs=1, passes=["auxiliary", "main"], auxiliary_clusters=20)
    trained = []
    step = method.train_step
    method.train_step = lambda batch, group, random: trained.append(group) or step(batch, group, random)
    epoch = next(method.train(some_digits()))
    assert trained == ["auxiliary"] * 20 + ["main"] * 20
    assert {name: len(losses) for name, losses in epoch.losses.items()} == {"auxiliary": 2, "main": 2}
    assert epoch.images == 2 * 200 * (1 + 4)


def test_a_role_restricts_a_head_to_its_images() -> None:
    pixels = some_digits(100).pixels
    method = IIC(10, **TINY, epochs=1, passes=["auxiliary", "main"])
    epoch = next(method.train(Images(pixels, {"main": torch.arange(60)})))
    assert epoch.images == (100 + 60) * (1 + 4)


@pytest.mark.parametrize("moves", [True, False])
def test_an_idle_head_drifts_only_if_asked(moves: bool) -> None:
    method = IIC(10, **TINY, epochs=1, passes=["auxiliary", "main"], idle_head_updates=moves)
    method.build((1, 8, 8))
    batch, random = some_digits(10).pixels, generator("cpu", 0)
    method.train_step(batch, "auxiliary", random)
    idle = method.network.heads["auxiliary"].linear.weight
    before = idle.detach().clone()
    method.train_step(batch, "main", random)
    assert torch.equal(before, idle) is not moves


@pytest.mark.parametrize("choice", ["training", "pass"])
def test_the_chosen_sub_head_has_the_lowest_loss(choice: str) -> None:
    method = IIC(10, **{**TINY, "sub_heads": 4}, epochs=2, sub_head_loss=choice)
    passes = {"training": 1, "pass": 2}[choice]
    for epoch in method.train(some_digits()):
        assert epoch.images == passes * 200 * (1 + 4)
        assert epoch.criterion == pytest.approx(method.sub_head_losses.min().item())
        assert method.sub_head_losses[method.chosen_head] == method.sub_head_losses.min()
    if choice == "training":
        assert epoch.criterion == pytest.approx(min(epoch.losses["main"]))


def test_cosine_schedule_falls_from_the_full_rate_to_zero() -> None:
    method = IIC(10, **TINY, epochs=4, lr=1e-3, lr_schedule="cosine")
    method.build((1, 8, 8))
    rates = []
    for passed in (0.0, 2.0, 4.0):
        method._set_learning_rate(passed, "main")
        rates.append(method.optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-3, 5e-4, 0.0])


def test_bfloat16_learns_like_float32() -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        *_, last = IIC(10, **TINY, epochs=8, lr=2e-3, precision=precision).train(some_digits())
        losses[precision] = np.mean(last.losses["main"])
    assert losses["float32"] < -0.5
    assert losses["bfloat16"] == pytest.approx(losses["float32"], abs=0.15)


def test_probabilities_belong_to_the_predicted_clusters() -> None:
    method = after_one_epoch()
    probabilities, clusters = method.predict_proba(some_digits()), method.predict(some_digits())
    assert probabilities.shape == (200, 10)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(1), clusters)


def test_a_nan_loss_stops_training_with_one_clear_line() -> None:
    method = IIC(10, **TINY, epochs=1)
    method.build((1, 8, 8))
    with torch.no_grad():
        method.network.heads["main"].linear.weight[0] = math.nan
    with pytest.raises(Diverged, match=r"iic: the loss is not finite in epoch 1\. Lower the learning rate"):
        next(method.train(some_digits()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lrr": 1}, r"unknown setting 'lrr'\. Did you mean 'lr'\?"),
        ({"views": {"rotatoin": 1}}, r"unknown setting 'views.rotatoin'\. Did you mean 'views.rotation'\?"),
        ({"lr": -1}, "setting 'lr': Input should be greater than 0"),
        ({"batch_pairs": 7, "repeats": 5}, "batch_pairs must be a multiple of repeats"),
        ({"passes": ["auxiliary"]}, "passes must name 'main'"),
        ({"network": "resnet50"}, "setting 'network'"),
    ],
)
def test_impossible_settings_are_named(settings: dict, message: str) -> None:
    with pytest.raises(MethodError, match=message):
        IIC(10, **settings)


def test_a_crop_larger_than_the_image_is_refused() -> None:
    with pytest.raises(MethodError, match=r"views\.crop: a crop of 20 pixels does not fit images of 8x8; choose at most 8"):
        next(IIC(10).train(some_digits()))


def test_iic_learns_real_digits_without_labels() -> None:
    from sklearn.metrics import normalized_mutual_info_score

    data = load_digits()
    images = (data.images * 255 / 16).round().astype(np.uint8)
    settings = {"widths": (8, 16, 32), "epochs": 12, "batch_pairs": 200, "repeats": 4, "lr": 2e-3}
    views = {"size": 16, "crop": 8, "crops_transformed": [6, 7, 8], "rotation": 15}
    method = IIC(10, **settings, views=views)
    *_, last = method.train(Images.of(images))
    information = normalized_mutual_info_score(data.target, method.predict(images))
    assert information > 0.5  # an untrained network has about 0.1
    assert loss_floor(10) < last.criterion < -1.0
