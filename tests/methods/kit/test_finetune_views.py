"""The views of the fine-tuning against torchvision, image by image, and against the published ranges."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torchvision.transforms import functional
from torchvision.transforms.functional import InterpolationMode

from clusterbench.methods.kit.augment import sobel_input, to_float
from clusterbench.methods.kit.finetune_views import AugmentationSettings, LabelledViews
from clusterbench.methods.kit.randomness import generator
from clusterbench.methods.kit.views import TestViewSettings

OFF = {"affine_probability": 0, "cutout_probability": 0, "flip_probability": 0}
STILL = {**OFF, "brightness": 0, "contrast": 0, "saturation": 0, "hue": 0}


def some(n: int = 8, shape: tuple[int, int, int] = (3, 24, 24)) -> torch.Tensor:
    return torch.randint(1, 256, (n, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def views(crop: int = 16, size: int = 16, sobel: bool = False, **augmentation: object) -> LabelledViews:
    settings = TestViewSettings(crop=crop, size=size, sobel=sobel)
    return LabelledViews(settings, AugmentationSettings.model_validate({**STILL, **augmentation}), (3, 24, 24))


def test_the_published_cutout_takes_boxes_of_12_to_44_pixels_inside_the_crop() -> None:
    made = LabelledViews(TestViewSettings(crop=64, size=64), AugmentationSettings(), (1, 96, 96))
    cut = made._cut_out(torch.ones(4000, 1, 64, 64), generator("cpu", 0))
    erased = [box for box in (cut[:, 0] == 0) if box.any()]
    assert 0.46 < len(erased) / 4000 < 0.54
    sides, firsts = set(), set()
    for box in erased:
        rows, columns = box.any(1).nonzero().squeeze(1), box.any(0).nonzero().squeeze(1)
        assert len(rows) == len(columns) and box.sum() == len(rows) ** 2  # a whole square
        sides.add(len(rows))
        firsts.add(rows[0].item())
    assert sides == set(range(12, 45))
    assert min(firsts) == 0 and max(firsts) == 64 - 12


def test_an_affine_map_is_torchvisions_with_parameters_in_the_published_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    from clusterbench.methods.kit import augment

    made, seen = views(affine_probability=0.5), []
    affine = augment.affine
    monkeypatch.setattr(augment, "affine", lambda images, *parameters: seen.append(parameters) or affine(images, *parameters))
    images = torch.rand(400, 3, 16, 16)
    moved = made._moved(images, generator("cpu", 0))
    degrees, shift, scale, shear = seen[0]
    still = degrees == 0
    assert 0.4 < still.float().mean() < 0.6
    assert not shift[still].any() and (scale[still] == 1).all() and not shear[still].any()
    assert 17 < degrees.abs().max() <= 18 and 9 < shear[:, 0].abs().max() <= 10 and not shear[:, 1].any()
    assert 0.9 <= scale.min() < 0.91 and 1.09 < scale.max() <= 1.1
    assert set(shift.unique().tolist()) == {-2, -1, 0, 1, 2}  # 0.1 of 16 pixels, rounded as torchvision does
    torch.testing.assert_close(moved[still], images[still], atol=1e-5, rtol=0)
    for place in (~still).nonzero().squeeze(1)[:20].tolist():
        expected = functional.affine(
            images[place], degrees[place].item(), shift[place].int().tolist(), scale[place].item(), shear[place].tolist(),
            InterpolationMode.BILINEAR,
        )  # fmt: skip
        torch.testing.assert_close(moved[place], expected, atol=1e-4, rtol=0)


def test_without_variation_a_view_is_a_crop_of_the_image() -> None:
    batch = some()
    for view, image in zip(views().varied(batch, generator("cpu", 0)), to_float(batch), strict=True):
        windows = image.unfold(1, 16, 1).unfold(2, 16, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)  # (81, 3, 16, 16)
        assert ((windows - view).abs().flatten(1).amax(1) < 1e-5).any()


@pytest.mark.parametrize("size", [16, 20])
def test_a_flip_mirrors_about_half_of_the_views(size: int) -> None:
    batch = some(200)
    plain, mirrored = (views(size=size, flip_probability=share).varied(batch, generator("cpu", 0)) for share in (0, 0.5))
    flipped = [torch.allclose(b, a.flip(-1), atol=1e-5) for a, b in zip(plain, mirrored, strict=True)]
    assert 70 < sum(flipped) < 130
    assert all(turned or torch.allclose(a, b, atol=1e-5) for turned, a, b in zip(flipped, plain, mirrored, strict=True))


def test_ten_crops_are_torchvisions_resized_and_then_shown_as_edges() -> None:
    batch = some(3)
    crops = views(crop=16, size=20, sobel=True).crops(batch, 10)
    assert crops.shape == (3, 10, 2, 20, 20)
    for image, ours in zip(to_float(batch), crops, strict=True):
        expected = torch.stack([functional.resize(crop, [20, 20], antialias=True) for crop in functional.ten_crop(image, 16)])
        torch.testing.assert_close(ours, sobel_input(expected), atol=1e-4, rtol=0)


def test_one_crop_is_the_central_view_and_five_are_not_mirrored() -> None:
    made, batch = views(), some(3)
    assert torch.equal(made.crops(batch, 1)[:, 0], made.test(batch))
    assert torch.equal(made.crops(batch, 5), made.crops(batch, 10)[:, :5])
    torch.testing.assert_close(made.crops(batch, 5)[:, 4], made.test(batch))


def test_views_of_the_crops_size_are_not_resized() -> None:
    batch = some(3)
    assert torch.equal(views(crop=16, size=16).crops(batch, 10)[:, 0], to_float(batch)[..., :16, :16])


@pytest.mark.parametrize("given", [{"cutout": (0.7, 0.2)}, {"scale": (1.1, 0.9)}, {"scale": (0, 1)}, {"rotatoin": 3}])
def test_impossible_variations_are_refused(given: dict) -> None:
    with pytest.raises(ValidationError):
        AugmentationSettings.model_validate(given)
