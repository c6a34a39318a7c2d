"""IMC-SwAV's training loop: against a plain loop of its own equations, its counters, its bank and both evaluations."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from state_tools import same
from torch.nn import functional

from clusterbench.bench.config import resolve
from clusterbench.datasets.base import Images
from clusterbench.methods.base import Diverged, MethodError
from clusterbench.methods.imc_swav import IMCSwAV
from clusterbench.methods.kit.batch_statistics import running_statistics
from clusterbench.methods.kit.imc_bank import FeatureBank
from clusterbench.methods.kit.imc_losses import logit_guard, multi_view_information_loss
from clusterbench.methods.kit.randomness import generator
from clusterbench.methods.kit.sinkhorn import sinkhorn_codes

VIEWS = {"large_size": 10, "small_size": 8, "flip_probability": 0.0, "mean": (0.3,), "std": (0.37,)}
TINY = {
    "network": "small", "widths": (4, 8), "prototypes": 12, "projection": 6, "hidden": 8, "batch": 20, "epochs": 1,
    "warm_up": 0, "prototype_freeze": 0, "statistics_batches": 4, "views": VIEWS,
}  # fmt: skip


def digits(count: int = 100, **roles: torch.Tensor) -> Images:
    pixels = torch.from_numpy((load_digits().images[:count] * 255 / 16).round().astype(np.uint8))[:, None]
    return Images(pixels, roles)


def built(**settings: Any) -> IMCSwAV:
    method = IMCSwAV(10, **{**TINY, **settings})
    method.build((1, 8, 8))
    return method


def step(method: IMCSwAV, number: int = 0, members: torch.Tensor | None = None, bank: FeatureBank | None = None) -> Any:
    bank = FeatureBank() if bank is None else bank
    return method.train_step(digits(20).pixels, members, bank, generator("cpu", 0, number))


def test_a_step_has_the_losses_and_gradients_of_the_equations() -> None:
    method, twin = built(), built()
    losses, has_classifier = step(method)
    network = twin.network.train()
    network.normalise_prototypes()
    crops = twin.views.crops(digits(20).pixels, generator("cpu", 0, 0))
    features = [network.trunk(crop) for crop in crops]
    similarities = [functional.normalize(network.projection(z)) @ network.prototypes.weight.T for z in features]
    codes = [sinkhorn_codes(u) for u in similarities[:2]]
    pairs = [(i, j) for i in range(2) for j in range(6) if i != j]
    swapped = torch.stack([functional.cross_entropy(similarities[j] / 0.1, codes[i]) for i, j in pairs]).mean()
    logits = torch.stack([network.classifier(z.detach()) for z in features])
    information = multi_view_information_loss(logits, torch.stack(similarities).detach())
    guard = logit_guard(logits)
    torch.testing.assert_close(losses, torch.stack([swapped, information, guard]).detach(), rtol=1e-4, atol=1e-5)
    (swapped + information + guard).backward()
    ours = dict(method.network.named_parameters())
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(ours[name].grad, parameter.grad, rtol=1e-3, atol=1e-5, msg=name)
    assert has_classifier


def test_without_classifier_images_the_classifier_learns_nothing_and_the_rest_the_same() -> None:
    method, twin = built(idle_head_updates=False), built(idle_head_updates=False)
    before = [parameter.clone() for parameter in method.network.classifier.parameters()]
    losses, has_classifier = step(method, members=torch.zeros(0, dtype=torch.int64))
    step(twin)
    assert not has_classifier and losses[1:].tolist() == [0, 0] and losses[0] > 0
    assert all(torch.equal(*pair) for pair in zip(before, method.network.classifier.parameters(), strict=True))
    for name in ("trunk", "projection", "prototypes"):
        pairs = zip(getattr(method.network, name).parameters(), getattr(twin.network, name).parameters(), strict=True)
        assert all(torch.equal(*pair) for pair in pairs), "the information loss must not reach it"


def test_the_bank_waits_for_a_batch_of_classifier_images() -> None:
    method, bank = built(), FeatureBank()
    stepped = [step(method, number, torch.arange(7), bank)[1] for number in range(6)]
    assert stepped == [False, False, True] * 2 and len(bank) == 0


def test_of_unlabelled_images_only_those_of_the_main_head_reach_the_classifier() -> None:
    seen = []
    method = built(epochs=2)
    take = method._classifier_losses
    method._classifier_losses = lambda *stored: seen.append(stored[0].shape[1]) or take(*stored)
    epochs = list(method.train(digits(105, main=torch.arange(50))))
    assert all(20 <= count < 40 for count in seen) and len(seen) in (2, 3, 4)  # 45 to 50 of them meet in an epoch
    assert [epoch.images for epoch in epochs] == [100 * 6 + 50] * 2
    everywhere = built(classifier_images="all")
    assert next(everywhere.train(digits(105, main=torch.arange(50)))).images == 100 * 6 + 80


def test_too_few_classifier_images_for_a_batch_are_refused() -> None:
    with pytest.raises(MethodError, match=r"the 24 images that train the classifier do not fill a batch of 20 in every epoch"):
        next(built().train(digits(105, main=torch.arange(24))))
    next(built().train(digits(105, main=torch.arange(25))))
    with pytest.raises(MethodError, match="one image makes no batch"):
        next(built().train(digits(1)))


@pytest.mark.parametrize("decays", [True, False])
def test_an_idle_classifier_forgets_only_if_gradients_are_zeroed(decays: bool) -> None:
    method, none = built(idle_head_updates=decays), torch.zeros(0, dtype=torch.int64)
    step(method)
    weight = method.network.classifier[0].weight
    moment, before = method.optimiser.state[weight]["exp_avg_sq"].clone(), weight.detach().clone()
    step(method, 1, none)
    after = method.optimiser.state[weight]["exp_avg_sq"]
    if decays:
        torch.testing.assert_close(after, 0.999 * moment, rtol=1e-3, atol=1e-10)
    assert torch.equal(after, moment) is torch.equal(weight, before) is not decays


def test_warm_up_and_freeze_count_iterations_across_epochs() -> None:
    method, rates, moved = built(warm_up=8, prototype_freeze=7, epochs=2, weight_decay=0.5), [], []
    train_step, weight = method.train_step, method.network.prototypes.weight

    def watched(*args: Any) -> Any:
        rates.append(method.optimiser.param_groups[0]["lr"])
        before = functional.normalize(weight.detach().clone(), dim=1)
        found = train_step(*args)
        moved.append(not torch.allclose(before, weight, atol=1e-7))
        return found

    method.train_step = watched
    list(method.train(digits()))
    assert rates == pytest.approx([5e-4 * n / 8 for n in range(1, 9)] + [5e-4] * 2)
    assert moved == [False] * 7 + [True] * 3


@pytest.mark.parametrize(("passed", "expected"), [(0, 1), (149.99, 1), (150, 0.4), (299.5, 0.4), (300, 0.16), (450, 0.064)])
def test_the_learning_rate_drops_after_the_published_epochs(passed: float, expected: float) -> None:
    method = built(epochs=500)
    method._set_learning_rate(passed)
    assert method.optimiser.param_groups[0]["lr"] == pytest.approx(5e-4 * expected)


def test_prototypes_leave_the_sphere_by_a_step_and_are_brought_back_before_the_next() -> None:
    method = built(lr=0.01)
    step(method)
    lengths = method.network.prototypes.weight.norm(dim=1)
    assert (lengths - 1).abs().max() > 1e-3
    method.network.normalise_prototypes()
    torch.testing.assert_close(method.network.prototypes.weight.norm(dim=1), torch.ones(12))


def test_an_epoch_leaves_out_what_does_not_fill_a_batch() -> None:
    order = built()._order(digits(105), generator("cpu", 0))
    assert [len(batch) for batch in order] == [20] * 5 and len(torch.cat(order).unique()) == 100
    assert [len(batch) for batch in built()._order(digits(15), generator("cpu", 0))] == [15], "unless it is all there is"


def test_both_evaluations_are_given_and_leave_the_method_as_it_was() -> None:
    images, others = digits(), Images(255 - digits(60).pixels)  # inverted: their statistics are others
    method = built(epochs=3, lr=3e-3)
    list(method.train(images))
    state = {name: tensor.clone() for name, tensor in method.network.state_dict().items()}
    ((name, predict),) = method.other_predictions.items()
    assert name == "batch-norm-from-scored" and predict(others).shape == (1, 60)
    assert not np.array_equal(predict(others), method.predict_heads(others))
    assert all(torch.equal(state[key], tensor) for key, tensor in method.network.state_dict().items())
    published = built(epochs=3, lr=3e-3, statistics_from="scored")
    list(published.train(images))
    assert np.array_equal(published.predict_heads(others), predict(others))
    assert np.array_equal(published.other_predictions["batch-norm-from-training"](others), method.predict_heads(others))


def test_the_published_evaluation_is_a_warm_up_in_training_mode_on_the_scored_images() -> None:
    images = digits(40)
    method = built(statistics_from="scored", statistics_batches=50)
    next(method.train(digits()))
    found = method.predict_proba(images)
    model = method.network
    model.load_state_dict({**model.state_dict(), **method.crop_statistics})
    shuffled = torch.randperm(40, generator=generator("cpu", 0, "statistics", 1))
    with torch.no_grad():
        model.train()
        for part in shuffled.split(20):
            model(method.views.test(images.pixels[part]))
        model.eval()
        expected = model(method.views.test(images.pixels)).softmax(-1)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)
    with pytest.raises(MethodError, match="at least 2 images"):
        method.predict(digits(1))


def test_averages_for_predictions_come_from_whole_training_images() -> None:
    method = built(statistics_batches=3)
    next(method.train(digits(100)))
    shuffled = torch.randperm(100, generator=generator("cpu", 0, "statistics", 1)).split(20)
    mean = method.crop_statistics["trunk.1.running_mean"].clone()
    for part in shuffled[:3]:
        with torch.no_grad():
            mean = 0.9 * mean + 0.1 * method.network.trunk[0](method.views.test(digits(100).pixels[part])).mean((0, 2, 3))
    torch.testing.assert_close(running_statistics(method.network)["trunk.1.running_mean"], mean)


def test_bfloat16_and_crops_together_learn_too() -> None:
    settings: dict[str, Any] = {"epochs": 4, "lr": 3e-3}
    plain, *others = (
        list(built(**settings, **more).train(digits()))[-1].losses["information"]
        for more in ({}, {"precision": "bfloat16"}, {"crops_together": True})
    )
    assert plain < -6.5 and all(other == pytest.approx(plain, abs=0.4) for other in others)


def test_a_nan_stops_training_with_one_clear_line() -> None:
    method = built()
    with torch.no_grad():
        method.network.projection[0].weight[0] = torch.nan
    with pytest.raises(Diverged, match=r"imc-swav: the loss is not finite in epoch 1\. Lower the learning rate"):
        next(method.train(digits()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prototype": 3}, r"unknown setting 'prototype'\. Did you mean 'prototypes'\?"),
        ({"views": {"large_crop": 1}}, r"unknown setting 'views.large_crop'\. Did you mean 'views.large_crops'\?"),
        ({"views": {"large_crops": 1, "small_crops": 0}}, "must come to at least 2"),
        ({"batch": 1}, "setting 'batch'"),
        ({"network": "vgg"}, "setting 'network'"),
        ({"statistics_from": "test"}, "setting 'statistics_from'"),
    ],
)
def test_impossible_settings_are_named(settings: dict, message: str) -> None:
    with pytest.raises(MethodError, match=message):
        IMCSwAV(10, **settings)


def test_it_learns_real_digits_without_labels() -> None:
    from sklearn.metrics import normalized_mutual_info_score

    config = resolve("imc-swav", "digits", "short", set_=["epochs=8", "warm_up=10", "lr_schedule=drops"]).config
    method, data = IMCSwAV(10, **config), load_digits()
    *_, last = method.train(digits(1797))
    information = normalized_mutual_info_score(data.target, method.predict(digits(1797)))
    assert information > 0.4  # after the first epoch it is about 0.25
    assert method.loss_floors["criterion"] < last.criterion < -6.95  # -3 ln 10 = -6.91: balanced clusters that tell nothing


def test_the_idle_classifier_goes_on_moving_after_an_interruption() -> None:
    undisturbed, resumed = (IMCSwAV(10, **(TINY | {"epochs": 2})) for _ in range(2))
    saved = [deepcopy(undisturbed.state_dict()) for _ in undisturbed.train(digits())]
    resumed.load_state_dict(saved[0])
    list(resumed.train(digits()))
    assert same(resumed.state_dict(), saved[1])
