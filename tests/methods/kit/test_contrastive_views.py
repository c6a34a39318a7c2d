"""The views of SCAN and IMC-SwAV against torchvision, brute force and the published settings."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import BaseModel, ValidationError
from torchvision.transforms import functional

from clusterbench.methods.base import MethodError
from clusterbench.methods.kit import augment
from clusterbench.methods.kit.augment import to_float
from clusterbench.methods.kit.contrastive_views import (
    MultiCropSettings,
    MultiCropViews,
    SimCLRViews,
    SimCLRViewSettings,
    StandardViews,
    StandardViewSettings,
    StrongViews,
    StrongViewSettings,
)
from clusterbench.methods.kit.randomness import generator

CIFAR10 = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2023, 0.1994, 0.2010)}
WHOLE: dict[str, Any] = {"scale": (1, 1), "ratio": (1, 1), "flip_probability": 0}  # the crop is the image
COLOURLESS: dict[str, Any] = {"jitter_probability": 0, "grey_probability": 0}
UNCHANGED: dict[str, Any] = {"flip_probability": 0, "operations": 0, "cutout": 0}
RAW: dict[str, Any] = {"mean": (0,), "std": (1,)}


def some(n: int = 8, shape: tuple[int, int, int] = (3, 16, 16)) -> torch.Tensor:
    return torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def simclr(shape: tuple[int, int, int] = (3, 16, 16), **settings: Any) -> SimCLRViews:
    return SimCLRViews(SimCLRViewSettings(**settings), shape)


def strong(shape: tuple[int, int, int] = (3, 16, 16), **settings: Any) -> StrongViews:
    return StrongViews(StrongViewSettings(**{**UNCHANGED, **settings}), shape)


def all_views(shape: tuple[int, int, int]) -> dict[str, Any]:
    """Every function that draws a view."""
    multi = MultiCropViews(MultiCropSettings(large_size=14, small_size=9), shape)
    return {
        "simclr": simclr(shape).view,
        "standard": StandardViews(StandardViewSettings(), shape).view,
        "strong": StrongViews(StrongViewSettings(cutout=6), shape).view,
        "large": multi.large,
        "small": multi.small,
    }


def test_the_defaults_are_the_published_settings_for_cifar10() -> None:
    colours = {"jitter_probability": 0.8, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
    crop = {"ratio": (3 / 4, 4 / 3), "flip_probability": 0.5}
    published: list[tuple[BaseModel, dict]] = [
        (SimCLRViewSettings(), {**CIFAR10, **colours, **crop, "size": None, "scale": (0.2, 1.0), "grey_probability": 0.2}),
        (
            StrongViewSettings(),
            {**CIFAR10, "size": None, "padding": 0, "flip_probability": 0.5, "operations": 4, "cutout": 16},
        ),
        (
            MultiCropSettings(),
            {
                **CIFAR10, **colours, **crop, "large_size": 28, "large_scale": (0.2, 1.0),
                "small_size": 18, "small_scale": (0.08, 0.4), "grey_probability": 0.25,
            },
        ),
    ]  # fmt: skip
    for settings, expected in published:
        assert settings.model_dump() == expected


def test_a_view_of_the_whole_image_without_changes_is_torchvisions_normalised_image() -> None:
    batch = some()
    expected = functional.normalize(to_float(batch), list(CIFAR10["mean"]), list(CIFAR10["std"]))
    for made in (simclr(**WHOLE, **COLOURLESS), StandardViews(StandardViewSettings(**WHOLE), (3, 16, 16)), strong()):
        torch.testing.assert_close(made.view(batch, generator("cpu", 0)), expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(made.test(batch), expected, atol=1e-5, rtol=0)


def test_every_view_is_the_resized_crop_of_the_box_that_was_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, draw = [], augment.resized_crop_boxes
    monkeypatch.setattr(augment, "resized_crop_boxes", lambda *a, **k: drawn.append((k, draw(*a, **k))) or drawn[-1][1])
    batch, made = some(40, (3, 16, 20)), simclr((3, 16, 20), flip_probability=0, **COLOURLESS, **RAW)
    views = made.view(batch, generator("cpu", 0))
    (limits, boxes) = drawn[0]
    assert limits == {"scale": (0.2, 1.0), "ratio": (3 / 4, 4 / 3)} and views.shape == (40, 3, 16, 16)
    for view, image, box in zip(views, to_float(batch), torch.stack(boxes, 1).tolist(), strict=True):
        expected = functional.resized_crop(image, *box, [16, 16], antialias=True)
        torch.testing.assert_close(view, expected, atol=1e-5, rtol=0)


def test_published_shares_of_the_views_are_jittered_grey_and_mirrored() -> None:
    batch = some(1, (3, 8, 8)).expand(6000, 3, 8, 8)
    made = simclr((3, 8, 8), **{**WHOLE, **RAW, "flip_probability": 0.5})
    views, image = made.view(batch, generator("cpu", 0)), to_float(batch[0])
    grey = ((views[:, 0] - views[:, 1]).abs().flatten(1).amax(1) < 1e-4).float().mean()
    plain, mirrored = (((views - same).abs().flatten(1).amax(1) < 1e-4).float().mean() for same in (image, image.flip(-1)))
    assert abs(grey - 0.2) < 0.02
    assert abs(plain - 0.5 * 0.2 * 0.8) < 0.015 and abs(mirrored - 0.5 * 0.2 * 0.8) < 0.015


def test_jitter_is_torchvisions_with_published_ranges_and_leaves_out_a_fifth(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, jitter = [], augment.color_jitter
    monkeypatch.setattr(augment, "color_jitter", lambda images, *given: seen.append(given) or jitter(images, *given))
    batch = some(3000, (3, 4, 4))
    views = simclr((3, 4, 4), **{**WHOLE, **RAW, "grey_probability": 0}).view(batch, generator("cpu", 0))
    *factors, hue, order = seen[0]
    still = hue == 0
    assert abs(still.float().mean() - 0.2) < 0.03
    for factor in factors:
        assert (factor[still] == 1).all() and 0.6 <= factor.min() < 0.61 and 1.39 < factor.max() <= 1.4
    assert -0.1 <= hue.min() < -0.098 and 0.098 < hue.max() <= 0.1
    steps = [functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation, functional.adjust_hue]
    for place in range(20):
        expected = to_float(batch[place])
        for step in order[place].tolist():
            expected = steps[step](expected, [*factors, hue][step][place].item())
        torch.testing.assert_close(views[place], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("which", ["large", "small"])
def test_multi_crops_have_the_published_sizes_and_shares_of_the_image(which: str) -> None:
    made = MultiCropViews(MultiCropSettings(**COLOURLESS, **RAW, flip_probability=0), (1, 32, 32))
    ramp = torch.arange(0, 256, 8, dtype=torch.uint8).expand(500, 1, 32, 32)  # every pixel names its column
    across, down = (getattr(made, which)(batch, generator("cpu", 0)) for batch in (ramp, ramp.transpose(2, 3)))
    size, low, high = {"large": (28, 0.2, 1.0), "small": (18, 0.08, 0.4)}[which]
    assert across.shape == (500, 1, size, size)
    first, last = size // 4, size - 1 - size // 4  # away from the box's edges, where interpolation is cut off
    columns = (across[..., last] - across[..., first]).mean((1, 2)) / (8 / 255) * size / (last - first)
    rows = (down[..., last, :] - down[..., first, :]).mean((1, 2)) / (8 / 255) * size / (last - first)
    area = columns * rows / 32**2
    assert low - 0.015 < area.min() < low + 0.03 and high - 0.06 < area.max() < high + 0.015
    assert (columns / rows).min() > 0.65 and (columns / rows).max() < 1.55  # 3/4 to 4/3, rounded to whole pixels


def test_a_multi_crop_is_judged_by_the_whole_image() -> None:
    batch, made = some(4, (3, 20, 24)), MultiCropViews(MultiCropSettings(), (3, 20, 24))
    expected = functional.normalize(to_float(batch), list(CIFAR10["mean"]), list(CIFAR10["std"]))
    torch.testing.assert_close(made.test(batch), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("size", "padding"), [(12, 0), (16, 2), (16, 0)])
def test_a_strong_view_without_operations_is_a_window_of_the_padded_image(size: int, padding: int) -> None:
    batch, places = some(60), set()
    views = strong(size=size, padding=padding, **RAW).view(batch, generator("cpu", 0))
    assert views.shape == (60, 3, size, size)
    padded = functional.pad(to_float(batch), [padding])
    for view, image in zip(views, padded, strict=True):
        windows = image.unfold(1, size, 1).unfold(2, size, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)
        found = (windows == view).flatten(1).all(1).nonzero()
        assert len(found) == 1
        places.add(found.item())
    free = 17 - size + 2 * padding
    assert len(places) > 0.7 * free**2 and max(places) < free**2


def test_a_strong_view_is_rand_augment_before_normalising(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, draw = [], augment.random_operations
    monkeypatch.setattr(augment, "random_operations", lambda *given: steps.append(draw(*given)) or steps[-1])
    batch = some(100)
    views = strong(operations=4).view(batch, generator("cpu", 0))
    assert steps[0].operation.shape == (100, 4)
    expected = functional.normalize(augment.rand_augment(to_float(batch), *steps[0]), *map(list, CIFAR10.values()))
    torch.testing.assert_close(views, expected, atol=1e-4, rtol=0)


def test_cutout_erases_to_the_mean_as_often_and_as_much_as_brute_force_counts() -> None:
    white, side, largest = torch.full((20_000, 1, 16, 16), 255, dtype=torch.uint8), 16, 8
    views = strong((1, 16, 16), cutout=largest, mean=(0.3,), std=(0.7,)).view(white, generator("cpu", 0))
    assert set(views.unique().tolist()) == {0.0, 1.0}  # the mean, and white
    erased = (views == 0).flatten(1).sum(1)
    areas = []
    for length in range(1, largest + 1):
        inside = [min(side, c + length // 2) - max(0, c - length // 2) for c in range(side)]
        areas.append(torch.outer(torch.tensor(inside), torch.tensor(inside)).flatten())
    expected = torch.cat(areas)
    assert abs((erased == 0).float().mean() - 1 / 8) < 0.01
    assert set(erased.tolist()) == set(expected.tolist())
    assert abs(erased.float().mean() - expected.float().mean()) < 0.03 * expected.float().mean()
    by_pixel = (views == 0).float().mean((0, 1))
    assert by_pixel[8, 8] > by_pixel[0, 8] > by_pixel[0, 0] > 0  # boxes are cut at the border


def test_the_test_view_is_the_centre_and_needs_no_random_numbers() -> None:
    batch = some(3, (3, 20, 17))
    for made in (simclr((3, 20, 17), size=11, **RAW), strong((3, 20, 17), size=11, **RAW)):
        torch.testing.assert_close(made.test(batch), functional.center_crop(to_float(batch), [11, 11]))


def test_images_smaller_than_the_view_are_resized_for_the_test() -> None:
    batch, made = some(3, (1, 8, 8)), simclr((1, 8, 8), size=12, **RAW)
    expected = functional.resize(to_float(batch), [12, 12], antialias=True)
    torch.testing.assert_close(made.test(batch), expected, atol=1e-5, rtol=0)
    assert made.view(batch, generator("cpu", 0)).shape == (3, 1, 12, 12)


@pytest.mark.parametrize("name", ["simclr", "standard", "strong", "large", "small"])
@pytest.mark.parametrize("channels", [1, 3])
def test_views_repeat_with_the_generator_differ_without_and_leave_the_batch(name: str, channels: int) -> None:
    batch = some(12, (channels, 16, 16))
    before, view, random = batch.clone(), all_views((channels, 16, 16))[name], generator("cpu", 0)
    first, second = view(batch, random), view(batch, random)
    assert torch.equal(view(batch, generator("cpu", 0)), first) and not torch.equal(first, second)
    assert first.dtype == torch.float32 and first.shape[:2] == (12, channels) and first.isfinite().all()
    assert torch.equal(batch, before)
    assert view(batch[:0], random).shape[0] == 0


def test_equal_images_of_a_batch_get_views_of_their_own() -> None:
    batch = some(1).expand(20, 3, 16, 16)
    for view in all_views((3, 16, 16)).values():
        assert len(view(batch, generator("cpu", 0)).unique(dim=0)) > 15


def test_nothing_is_mirrored_at_probability_zero() -> None:
    ramp = torch.arange(0, 256, 16, dtype=torch.uint8).expand(200, 1, 16, 16)  # bright on the right
    for made in (simclr((1, 16, 16), flip_probability=0), strong((1, 16, 16))):
        views = made.view(ramp, generator("cpu", 0))
        assert (views[..., 8:].mean((1, 2, 3)) > views[..., :8].mean((1, 2, 3))).all()


def test_grey_images_take_the_average_of_three_means_and_one_value_serves_all_channels() -> None:
    black = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    average = -(0.4914 + 0.4822 + 0.4465) / (0.2023 + 0.1994 + 0.2010)
    torch.testing.assert_close(simclr((1, 8, 8)).test(black), torch.full((2, 1, 8, 8), average))
    made = simclr((3, 8, 8), mean=(0.5,), std=(0.25,))
    torch.testing.assert_close(made.test(black.expand(2, 3, 8, 8)), torch.full((2, 3, 8, 8), -2.0))


def test_infrared_and_crops_larger_than_the_image_are_refused() -> None:
    with pytest.raises(MethodError, match="grey or RGB images; got 4 channels"):
        simclr((4, 8, 8))
    with pytest.raises(MethodError, match="a crop of 9 pixels does not fit images of 8x8; choose at most 8"):
        strong((1, 8, 8), size=9)
    assert strong((1, 8, 8), size=9, padding=1).size == 9


@pytest.mark.parametrize(
    "given",
    [
        {"scale": (1.0, 0.2)},
        {"scale": (0.5, 1.5)},
        {"scale": (0, 1)},
        {"ratio": (2, 1)},
        {"mean": (0.5, 0.5)},
        {"std": (0.2, 0.0, 0.2)},
        {"hue": 0.6},
        {"gray_probability": 0.2},
    ],
)
def test_impossible_views_are_refused(given: dict) -> None:
    with pytest.raises(ValidationError):
        SimCLRViewSettings.model_validate(given)


@pytest.mark.parametrize("given", [{"large_scale": (0.5, 0.2)}, {"small_scale": (0.5, 1.2)}, {"ratio": (2, 1)}])
def test_impossible_crops_are_refused(given: dict) -> None:
    with pytest.raises(ValidationError):
        MultiCropSettings.model_validate(given)
