"""IIC's views against the authors' Pillow pipelines, image by image."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torchvision.transforms import functional

from clusterbench.methods.base import MethodError
from clusterbench.methods.kit.randomness import generator
from clusterbench.methods.kit.views import PairedViews, ViewSettings

STILL = {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0, "rotation": 0}


def photographs(count: int, side: int) -> torch.Tensor:
    """Different windows of a real photograph: uint8 (count, 3, side, side)."""
    image = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)
    return torch.stack([image[:, 40 + 5 * n : 40 + 5 * n + side, 50 + 8 * n : 50 + 8 * n + side] for n in range(count)])


def test_the_test_view_is_the_authors_central_crop_resized_by_pillow() -> None:
    batch = photographs(4, 32)
    views = PairedViews(ViewSettings(size=32, crop=20, crops_transformed=(20,)), (3, 32, 32)).test(batch)
    for image, view in zip(batch, views, strict=True):
        pillow = Image.fromarray(image.permute(1, 2, 0).numpy())
        theirs = functional.to_tensor(functional.resize(functional.center_crop(pillow, [20, 20]), [32, 32]))
        assert (view - theirs).abs().max() <= 1.01 / 255  # Pillow rounds to 8 bits


def test_sobel_views_are_the_gradients_of_the_grey_image() -> None:
    batch = photographs(3, 32)
    settings = ViewSettings(size=20, crop=20, crops_transformed=(20,), sobel=True)
    gradients = PairedViews(settings, (3, 32, 32)).test(batch)
    across = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    for image, view in zip(batch, gradients, strict=True):
        grey = functional.rgb_to_grayscale(functional.center_crop(image.float() / 255, [20, 20]))[0]
        padded = np.pad(grey.numpy(), 1)
        for channel, kernel in enumerate((across, across.T)):
            expected = [[(padded[y : y + 3, x : x + 3] * kernel).sum() for x in range(20)] for y in range(20)]
            np.testing.assert_allclose(view[channel], expected, atol=1e-5)


@pytest.mark.parametrize(("sobel", "rgb", "channels"), [(False, False, 3), (True, False, 2), (True, True, 5)])
def test_the_network_gets_the_channels_that_were_promised(sobel: bool, rgb: bool, channels: int) -> None:
    views = PairedViews(ViewSettings(size=24, crop=20, sobel=sobel, include_rgb=rgb), (3, 32, 32))
    assert views.channels == channels
    for view in (
        views.original(photographs(2, 32), generator("cpu", 0)),
        views.transformed(photographs(2, 32), generator("cpu", 0)),
    ):
        assert view.shape == (2, channels, 24, 24)


def test_half_of_the_originals_are_central_crops() -> None:
    settings = ViewSettings(size=20, crop=20)
    views = PairedViews(settings, (1, 28, 28))
    batch = (torch.arange(28 * 28) % 251).to(torch.uint8).view(1, 1, 28, 28).repeat(4000, 1, 1, 1)
    central = (views.original(batch, generator("cpu", 3)) == views.test(batch)).flatten(1).all(1)
    # half by choice, and one in 81 of the rest by chance
    assert central.float().mean().item() == pytest.approx(0.5 + 0.5 / 81, abs=0.03)


def test_transformed_crops_take_every_size_and_every_place() -> None:
    views = PairedViews(ViewSettings(size=24, crops_transformed=(16, 20, 24), crop=20, **STILL), (1, 28, 28))
    ramp = torch.arange(28, dtype=torch.uint8).view(1, 1, 1, 28).expand(5000, 1, 28, 28)  # each pixel holds its column
    columns = views.transformed(ramp, generator("cpu", 4))[:, 0, 12] * 255
    side = (columns[:, 22] - columns[:, 1]) / 21 * 24
    left = columns[:, 12] - side / 24 * 12.5 + 0.5
    seen = {(round(s), round(start)) for s, start in zip(side.tolist(), left.tolist(), strict=True)}
    assert seen == {(s, start) for s in (16, 20, 24) for start in range(28 - s + 1)}


def test_the_views_of_a_seed_repeat_and_those_of_another_differ() -> None:
    views = PairedViews(ViewSettings(), (3, 32, 32))
    first, again, other = (views.transformed(photographs(3, 32), generator("cpu", seed)) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_transformations_change_what_they_should_and_nothing_else() -> None:
    batch = photographs(64, 24)
    still = ViewSettings(size=24, crop=24, crops_transformed=(24,), **STILL)
    plain = PairedViews(still, (3, 24, 24)).test(batch)
    torch.testing.assert_close(PairedViews(still, (3, 24, 24)).transformed(batch, generator("cpu", 0)), plain)
    flipped = PairedViews(still.model_copy(update={"flip_probability": 1.0}), (3, 24, 24)).transformed(batch, generator("cpu", 0))
    torch.testing.assert_close(flipped, plain.flip(-1))
    turned = still.model_copy(update={"rotation": 25.0, "rotation_probability": 0.5})
    views = PairedViews(turned, (3, 24, 24)).transformed(batch, generator("cpu", 0))
    moved = ((views - plain).abs() > 0.01).flatten(1).any(1).float().mean().item()
    assert 0.3 < moved < 0.7


def test_one_resampling_step_equals_a_crop_and_resize_where_nothing_turns() -> None:
    batch = photographs(6, 24)
    still = ViewSettings(size=30, crop=24, crops_transformed=(18, 20), **STILL)
    once = still.model_copy(update={"resampling": "once"})
    ours = PairedViews(once, (3, 24, 24)).transformed(batch, generator("cpu", 1))
    pillow = PairedViews(still, (3, 24, 24)).transformed(batch, generator("cpu", 1))
    # the rim differs: one interpolates with what lies beyond the crop, the other stops at it
    torch.testing.assert_close(ours[..., 2:-2, 2:-2], pillow[..., 2:-2, 2:-2], atol=1e-5, rtol=0)


def test_one_resampling_step_turns_the_way_pillow_does() -> None:
    image = photographs(1, 64)
    turning = ViewSettings(size=64, crop=64, crops_transformed=(64,), **{**STILL, "rotation": 25, "rotation_probability": 1.0})
    blurred = [
        functional.gaussian_blur(
            PairedViews(turning.model_copy(update={"resampling": way}), (3, 64, 64)).transformed(image, generator("cpu", 2)), 7
        )
        for way in ("pillow", "once")
    ]
    assert (blurred[0] - blurred[1]).abs().mean() < 0.01  # the wrong way round would be ten times as far
    still = functional.gaussian_blur(image / 255, 7)
    assert (blurred[0] - still).abs().mean() > 0.05


def test_a_crop_larger_than_the_image_and_its_padding_is_refused() -> None:
    views = PairedViews(ViewSettings(size=12, crop=8, crops_transformed=(10,), padding=1), (1, 8, 8))
    assert views.transformed(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), generator("cpu", 0)).shape == (3, 1, 12, 12)
    with pytest.raises(MethodError, match="at most 8"):
        PairedViews(ViewSettings(crop=8, crops_transformed=(9,)), (1, 8, 8))


def test_crops_in_percent_are_of_the_shorter_side() -> None:
    batch = photographs(2, 60)[:, :, :40]  # 40x60
    percent = ViewSettings(size=16, crop=75, crops_transformed=(50, 100), crop_unit="percent")
    pixels = ViewSettings(size=16, crop=30, crops_transformed=(20, 40))
    views = [PairedViews(settings, (3, 40, 60)) for settings in (percent, pixels)]
    for view in ("original", "transformed"):
        first, second = (getattr(each, view)(batch, generator("cpu", 0)) for each in views)
        torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close(views[0].test(batch), views[1].test(batch), rtol=0, atol=0)
    with pytest.raises(MethodError, match=r"views\.crop: a crop of 48 pixels does not fit images of 40x60"):
        PairedViews(ViewSettings(crop=120, crop_unit="percent"), (3, 40, 60))


@pytest.mark.parametrize(("sobel", "rgb", "channels"), [(False, False, 4), (True, False, 3), (True, True, 6)])
def test_infrared_is_moved_with_the_colours_but_never_jittered(sobel: bool, rgb: bool, channels: int) -> None:
    colours = photographs(3, 32)
    batch = torch.cat([colours, colours[:, :1]], dim=1)  # the infrared channel repeats the red one
    settings = {"size": 20, "crop": 20, "crops_transformed": (20,), "rotation": 0, "flip_probability": 0.5}
    views = PairedViews(ViewSettings(**settings, sobel=sobel, include_rgb=rgb), (4, 32, 32))
    still = PairedViews(ViewSettings(**{**settings, **STILL}), (3, 32, 32))
    seen = views.transformed(batch, generator("cpu", 4))
    assert views.channels == channels == seen.shape[1] == views.test(batch).shape[1]
    torch.testing.assert_close(seen[:, -1], still.transformed(colours, generator("cpu", 4))[:, 0])
