"""The per-image contestant sees what ours sees."""

from __future__ import annotations

import pytest
import torch

from clusterbench.bench.profile.per_image import AS_THE_AUTHORS, OneByOne, compare, learn, main, ours, per_image, views_of
from clusterbench.datasets.base import Images
from clusterbench.datasets.catalogue import load
from clusterbench.methods.iic import IIC

SETTINGS = {"widths": (8, 16), "sub_heads": 2, "batch_pairs": 60, "repeats": 3,
            "views": {"size": 8, "crop": 8, "crops_transformed": [8], "central_share": 1.0, "rotation": 0,
                      "brightness": 0, "contrast": 0, "saturation": 0, "hue": 0}}  # fmt: skip


@pytest.fixture
def images() -> Images:
    return Images(load("digits").under("full").train.pixels[:200])


def test_views_without_randomness_are_those_of_the_batch(images: Images) -> None:
    method = IIC(10, **SETTINGS)
    method.build(images.shape)
    random = torch.Generator().manual_seed(0)
    expected = (method.views.original(images.pixels[:5], random), method.views.copies(images.pixels[:5], 1, random))
    for view, batch in zip(views_of(method.config.views), expected, strict=True):
        alone = torch.stack([OneByOne(images, view)[index] for index in range(5)])
        torch.testing.assert_close(alone, batch, atol=1e-6, rtol=0)


@pytest.mark.parametrize("times", [1, 3], ids=["originals once", "originals for each repeat"])
def test_step_on_the_same_views_learns_the_same(images: Images, times: int) -> None:
    one, other = IIC(10, **SETTINGS), IIC(10, **SETTINGS)
    for method in (one, other):
        method.build(images.shape)
        with torch.no_grad():
            method.network.heads["main"].linear.weight.mul_(100)  # outputs far from equal, so gradients above rounding
    random = torch.Generator().manual_seed(0)
    batch = images.pixels[:20]
    one.train_step(batch, "main", random)
    learn(other, other.views.original(batch, random).repeat(times, 1, 1, 1), other.views.copies(batch, 3, random))
    for left, right in zip(one.network.parameters(), other.network.parameters(), strict=True):
        assert left.grad is not None and right.grad is not None
        torch.testing.assert_close(left.grad, right.grad, atol=1e-4 * float(left.grad.abs().max()) + 1e-8, rtol=1e-4)
        if times == 1:
            torch.testing.assert_close(left, right)


def test_loaders_give_a_copy_for_each_repeat(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    method = IIC(10, **SETTINGS)
    method.build(images.shape)
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(
        "clusterbench.bench.profile.per_image.learn", lambda method, one, copies: seen.append((len(one), len(copies)))
    )
    steps = per_image(method, images, 0)
    for _ in range(11):  # more than one pass over 200 images
        next(steps)
    assert seen == [(20, 60)] * 11


def test_ours_goes_on_after_one_pass(images: Images) -> None:
    method = IIC(10, **SETTINGS)
    method.build(images.shape)
    steps = ours(method, images)
    for _ in range(11):
        next(steps)


def test_every_contestant_has_a_rate(images: Images) -> None:
    rates = compare(IIC(10, **SETTINGS), images, workers=1, steps=1, turns=1)
    ways = [f"{way}, {workers} workers" for way in ("image by image", AS_THE_AUTHORS) for workers in ("no", 1)]
    assert list(rates) == ["whole batches (ours)", *ways]
    assert all(rate > 0 for rate in rates.values())


def test_command_prints_rates_and_ratios(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--dataset", "digits", "--preset", "smoke", "--steps", "1", "--turns", "1", "--workers", "1", "--threads", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("ours / this = 1.00") and len(lines) == 6
