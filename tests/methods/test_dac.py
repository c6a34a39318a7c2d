"""DAC: what an epoch does, its thresholds, its presets, and that it learns real digits."""

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

from clusterbench.bench.config import resolve
from clusterbench.datasets.base import Images
from clusterbench.methods.base import Diverged, MethodError
from clusterbench.methods.dac import DAC
from clusterbench.methods.kit.randomness import generator

TINY: dict[str, Any] = {"block": 40, "passes": 2, "batch": 16, "widths": ((4,), (8,)), "padded": True, "judging_batch": 40}
VARIANTS: dict[str, dict[str, Any]] = {
    "one threshold": {},
    "two thresholds": {"threshold": (0.9, 0.8), "lower": (0.7, 0.8), "loss": "cross-entropy", "anchor": "probabilities",
                       "anchor_weight": 1.0, "repeats": 2, "keep_last": False},
    "running statistics": {"statistics": "running", "shuffle": False, "anchor": "features", "anchor_weight": 1.0,
                           "pool_norm": True},
}  # fmt: skip


def some_digits(count: int = 100) -> Images:
    pixels = (load_digits().images[:count] * 255 / 16).round().astype(np.uint8)
    return Images(torch.from_numpy(pixels[:, None]))


def made(epochs: int = 1, **settings: Any) -> DAC:
    return DAC(10, epochs=epochs, **{**TINY, **settings})


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_goes_on_from_a_saved_state_as_if_nothing_had_happened(variant: str) -> None:
    images, undisturbed = some_digits(), made(3, **VARIANTS[variant])
    epochs = list(undisturbed.train(images))
    broken, onward = (made(3, **VARIANTS[variant]) for _ in range(2))
    training = broken.train(images)
    before = [next(training)]
    broken.predict_heads(images)
    stored = io.BytesIO()
    torch.save(broken.state_dict(), stored)
    onward.load_state_dict(torch.load(io.BytesIO(stored.getvalue()), weights_only=True))
    np.testing.assert_array_equal(onward.predict_heads(images), broken.predict_heads(images))
    assert before + list(onward.train(images)) == epochs
    assert same(onward.state_dict(), undisturbed.state_dict())


def test_thresholds_approach_each_other_from_epoch_to_epoch() -> None:
    config = made(50, threshold=(0.99, 0.895), lower=(0.8, 0.895)).config
    assert config.thresholds(1) == (0.99, 0.8)
    step = (0.99 - 0.8) / 50 / 2  # the authors' eta
    for number in (2, 17, 50):
        assert config.thresholds(number) == pytest.approx((0.99 - step * (number - 1), 0.8 + step * (number - 1)))
    assert made(20).config.thresholds(20) == (pytest.approx(0.9 - 19 * 0.4 / 20), None)


def test_a_step_learns_the_answers_that_were_given_when_the_block_was_judged() -> None:
    images, method, steps = some_digits(80), made(), []
    step = method.train_step

    def recorded(pixels: torch.Tensor, judged: torch.Tensor, thresholds: Any, random: torch.Generator) -> torch.Tensor:
        steps.append((pixels.clone(), judged.clone(), thresholds))
        return step(pixels, judged, thresholds, random)

    method.train_step = recorded  # pyright: ignore[reportAttributeAccessIssue]
    (epoch,) = method.train(images)
    assert len(steps) == 2 * 2 * 3 and {thresholds for _, _, thresholds in steps} == {(0.9, None)}
    blocks = [steps[:6], steps[6:]]
    for block in blocks:
        answers: dict[bytes, torch.Tensor] = {}
        for pixels, judged, _ in block:
            for image, answer in zip(pixels, judged, strict=True):
                key = image.numpy().tobytes()
                assert torch.equal(answers.setdefault(key, answer), answer), "one answer for an image in all passes"
        assert len(answers) == 40
    assert epoch.images == 2 * 40 * (1 + 2)


def test_blocks_leave_out_what_does_not_fill_one_but_a_single_one_may_be_small() -> None:
    method = made()
    random = generator("cpu", 0)
    assert [len(block) for block in method._blocks(some_digits(95), random)] == [40, 40]
    assert [len(block) for block in method._blocks(some_digits(25), random)] == [25]
    assert [len(batch) for batch in method._batches(40, random)] == [16, 16, 8] * 2
    assert [len(batch) for batch in made(keep_last=False)._batches(40, random)] == [16, 16] * 2
    assert [len(batch) for batch in method._batches(33, random)] == [16, 17] * 2, "no image is alone"


def test_only_the_main_images_are_learned_from_and_give_the_mean() -> None:
    pixels = some_digits(80).pixels.clone()
    pixels[40:] = 255
    method = made()
    (epoch,) = method.train(Images(pixels, {"main": torch.arange(40)}))
    assert epoch.images == 40 * 3
    assert method.views.mean.item() == pytest.approx(pixels[:40].float().mean().item() / 255, rel=1e-6)


def test_repeats_take_more_steps_and_progress_tells_all_of_them() -> None:
    method, told = made(repeats=2), []
    method.on_step = lambda done, total, images: told.append((done, total, images))
    (epoch,) = method.train(some_digits(40))
    assert [done for done, _, _ in told] == list(range(1, 13)) and {total for _, total, _ in told} == {12}
    assert told[-1][2] == epoch.images == 40 + 2 * 2 * 40


def test_what_is_told_adds_up_to_the_criterion() -> None:
    (epoch,) = made(anchor_weight=3.0, pair_weight=0.5).train(some_digits())
    losses = {name: float(value) for name, value in epoch.losses.items() if not isinstance(value, list)}
    assert epoch.criterion == pytest.approx(0.5 * losses["pairs"] + 3 * losses["anchor"])
    assert 1 / 16 <= losses["alike"] <= 1 and losses["used"] == 1, "an image is always alike with itself"
    (plain,) = made().train(some_digits())
    assert plain.losses.keys() == {"pairs", "alike", "used"}


def test_predictions_do_not_change_the_network_and_a_lone_image_gets_one_too() -> None:
    method, images = made(), some_digits()
    next(method.train(images))
    before = {name: tensor.clone() for name, tensor in method.network.state_dict().items()}
    chances = method.predict_proba(images)
    assert same(before, dict(method.network.state_dict()))
    np.testing.assert_array_equal(chances.argmax(1), method.predict(images))
    np.testing.assert_allclose(chances.sum(1), 1, rtol=1e-5)
    assert method.predict(Images(images.pixels[:1])).shape == (1,)


def test_batch_statistics_are_those_of_mixed_images() -> None:
    """Batches of one class each would be centred to the same mean, whatever the class."""
    data = load_digits()
    pixels = (data.images * 255 / 16).round().astype(np.uint8)[:, None]
    by_class = Images(torch.from_numpy(pixels[np.argsort(data.target, kind="stable")][:300]))
    method = made(evaluation_batch=100)
    next(method.train(by_class))
    mixed = method.predict_proba(by_class)
    in_order = torch.cat([method._judged(part) for part in by_class.pixels.split(100)]).numpy()
    whole = method._judged(by_class.pixels).numpy()
    assert np.abs(mixed - whole).mean() < np.abs(in_order - whole).mean()


def test_running_statistics_make_predictions_independent_of_company() -> None:
    method, images = made(statistics="running"), some_digits()
    next(method.train(images))
    alone = np.concatenate([method.predict_proba(Images(images.pixels[i : i + 1])) for i in range(10)])
    np.testing.assert_allclose(alone, method.predict_proba(images)[:10], atol=1e-5)


def test_bfloat16_gives_about_the_chances_of_float32() -> None:
    method, near, images = made(), made(precision="bfloat16"), some_digits()
    next(method.train(images))
    near.load_state_dict(method.state_dict())
    assert np.abs(near.predict_proba(images) - method.predict_proba(images)).max() < 0.1
    next(made(precision="bfloat16").train(images))


def test_a_nan_loss_stops_training_with_one_clear_line() -> None:
    method = made()
    method._begin(some_digits())
    torch.nn.init.constant_(next(method.network.parameters()), math.nan)
    with pytest.raises(Diverged, match=r"dac: the loss is not finite in epoch 1\."):
        next(method.train(some_digits()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"treshold": (0.9, 0.5)}, r"unknown setting 'treshold'\. Did you mean 'threshold'\?"),
        ({"threshold": (1.1, 0.5)}, "setting 'threshold.0'"),
        ({"threshold": (0.9, 0.5), "lower": (0.8, 0.8)}, "lower must not be above threshold"),
        ({"batch": 1}, "setting 'batch'"),
        ({"anchor": "both"}, "setting 'anchor'"),
        ({"views": {"zoom": (1.2, 1.0)}}, "zoom must rise"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(MethodError, match=message):
        DAC(10, **settings)


def test_one_image_has_no_pairs() -> None:
    with pytest.raises(MethodError, match="learns from pairs of images: give at least 2, got 1"):
        next(made().train(some_digits(1)))


# data set: epochs, passes, repeats, batch, thresholds at both ends, lower ones, anchor, its weight, loss, whether the last
# batch is dropped, and the transformations
PUBLISHED: dict[str, tuple[Any, ...]] = {
    "mnist": (20, 5, 1, 128, (0.9, 0.5), None, None, 0, "squared", False, (10, 0.1, 0.05, 0.0, 0.975, [0.95, 1.05])),
    "cifar10": (50, 10, 2, 32, (0.99, 0.895), (0.8, 0.895), "probabilities", 1, "cross-entropy", True,
                (10, 0.09, 0.05, 0.5, 0.975, [0.95, 1.05])),
    "cifar100-20": (50, 10, 2, 32, (0.99, 0.75), None, "sharpened", 10, "cross-entropy", True,
                    (20, 0.18, 0.1, 0.5, 0.95, [0.85, 1.15])),
    "stl10": (75, 10, 2, 32, (0.99, 0.5), None, "features", 10, "cross-entropy", True,
              (10, 0.1, 0.05, 0.5, 0.975, [0.95, 1.05])),
}  # fmt: skip


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_every_published_setting_is_the_authors_one(dataset: str) -> None:
    config = resolve("dac", dataset, "paper").config
    epochs, passes, repeats, batch, threshold, lower, anchor, weight, loss, drops_last, augmentation = PUBLISHED[dataset]
    assert (config["epochs"], config["passes"], config["repeats"], config["batch"]) == (epochs, passes, repeats, batch)
    assert config["block"] == 1000 and config["lr"] == 1e-3 and config["statistics"] == "batch"
    assert config["threshold"] == list(threshold) and config["lower"] == (lower and list(lower))
    assert config["anchor_weight"] == weight and (not weight or config["anchor"] == anchor)
    assert config["loss"] == loss and config["keep_last"] is not drops_last
    views = config["views"]
    names = ("rotation", "shift", "channel_shift", "flip_probability", "rescale", "zoom")
    assert tuple(views[name] for name in names) == augmentation and views["interpolation"] == "nearest"


def test_cifar10_takes_the_updates_of_the_authors_and_their_second_mean() -> None:
    config = resolve("dac", "cifar10", "paper").config
    steps = 60 * config["passes"] * config["repeats"] * (config["block"] // config["batch"])
    assert steps == 37_200 and steps * config["epochs"] == 1_860_000
    assert config["pair_weight"] == 1 / 32
    assert resolve("dac", "cifar10", "upstream-star").config["average_side"] == 4


@pytest.mark.parametrize(
    ("dataset", "shape", "window"),
    [("mnist", (1, 28, 28), 2), ("cifar10", (3, 32, 32), 3), ("cifar100-20", (3, 32, 32), 4), ("stl10", (3, 96, 96), 6)],
)
def test_published_networks_take_the_images_of_their_data_set(dataset: str, shape: tuple[int, int, int], window: int) -> None:
    method = DAC(10, **resolve("dac", dataset, "paper").config)
    method.build(shape)
    assert method.network.window == window
    assert method._judged(torch.randint(0, 256, (2, *shape), dtype=torch.uint8)).shape == (2, 10)


@pytest.mark.parametrize(
    ("dataset", "shape"),
    [("digits", (1, 8, 8)), ("usps", (1, 16, 16)), ("mnist", (1, 28, 28)), ("cifar10", (3, 32, 32)), ("stl10", (3, 96, 96))],
)
def test_every_data_set_of_short_fits_its_network(dataset: str, shape: tuple[int, int, int]) -> None:
    method = DAC(10, **resolve("dac", dataset, "short").config)
    method.build(shape)
    pixels = torch.randint(0, 256, (4, *shape), dtype=torch.uint8)
    told = method.train_step(pixels, torch.rand(4, 10).softmax(1), method.config.thresholds(1), generator("cpu", 0))
    assert torch.isfinite(told).all()


def test_it_learns_real_digits_without_labels() -> None:
    data = load_digits()
    images = (data.images * 255 / 16).round().astype(np.uint8)
    config = {**resolve("dac", "digits", "short").config, "epochs": 4}
    information = normalized_mutual_info_score(data.target, DAC(10, **config).fit_predict(images))
    assert information > 0.65  # chance has about 0.01
