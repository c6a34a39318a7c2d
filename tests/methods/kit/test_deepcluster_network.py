"""DeepCluster's fixed filter, networks and views against the authors' definitions."""

import pytest
import torch
from torch.nn import functional

from clusterbench.methods.base import MethodError
from clusterbench.methods.kit.arithmetic import Arithmetic
from clusterbench.methods.kit.deepcluster_network import AnyTrunk, FeatureNetwork, SobelInput, top_layer, trunk_of
from clusterbench.methods.kit.deepcluster_views import DeepClusterViews, DeepClusterViewSettings
from clusterbench.methods.kit.randomness import generator

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def authors_filter(images: torch.Tensor) -> torch.Tensor:
    """Their two frozen convolutions: 1x1 with weights 1/3, then 3x3 with padding 1."""
    grey = functional.conv2d(images, torch.full((1, images.shape[1], 1, 1), 1 / images.shape[1], dtype=images.dtype))
    kernels = torch.tensor([[[1, 0, -1], [2, 0, -2], [1, 0, -1]], [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]], dtype=images.dtype)
    return functional.conv2d(grey, kernels.unsqueeze(1), padding=1)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_filter_is_the_authors_two_convolutions(channels: int) -> None:
    images = torch.rand(4, channels, 9, 9, dtype=torch.float64, generator=generator("cpu", 0))
    torch.testing.assert_close(SobelInput(True, False)(images), authors_filter(images))
    mean, std = (torch.tensor(values[:channels]).view(1, -1, 1, 1) for values in (MEAN, STD))
    found = SobelInput(True, False, MEAN[:channels], STD[:channels])(images)
    torch.testing.assert_close(found, authors_filter((images - mean) / std))


def test_colours_and_infrared_are_kept_as_asked() -> None:
    images = torch.rand(2, 4, 6, 6, generator=generator("cpu", 0))
    seen = SobelInput(True, True)(images)
    assert seen.shape == (2, 6, 6, 6)
    torch.testing.assert_close(torch.cat([seen[:, :3], seen[:, 5:]], 1), images)
    assert torch.equal(SobelInput(False, False)(images), images)


def test_the_filter_has_nothing_to_learn_and_nothing_to_save() -> None:
    entry = SobelInput(True, False, MEAN, STD)
    assert not list(entry.parameters()) and not entry.state_dict()


def weights(trunk: AnyTrunk) -> int:
    return sum(parameter.numel() for parameter in trunk.parameters())


def test_alexnet_and_vgg_are_the_authors_layer_by_layer() -> None:
    convolutions = {
        "alexnet": [(2, 96, 11), (96, 256, 5), (256, 384, 3), (384, 384, 3), (384, 256, 3)],
        "vgg16": [(2, 64, 3), (64, 64, 3), (64, 128, 3), (128, 128, 3), (128, 256, 3), (256, 256, 3), (256, 256, 3),
                  (256, 512, 3), *[(512, 512, 3)] * 5],
    }  # fmt: skip
    flat = {"alexnet": 9216, "vgg16": 25088}
    for name in ("alexnet", "vgg16"):
        with torch.device("meta"):
            trunk = trunk_of(name, 2, 224)
            features = trunk.eval()(torch.empty(2, 2, 224, 224))
        assert features.shape == (2, trunk.features) == (2, 4096)
        wanted = sum(before * width * side**2 + 3 * width for before, width, side in convolutions[name])  # bias and batch norm
        assert weights(trunk) == wanted + flat[name] * 4096 + 4096


def test_imagenets_trunks_refuse_small_images() -> None:
    with pytest.raises(MethodError, match=r"The alexnet trunk takes 224 pixels, got 32; --set views\.size=224"):
        trunk_of("alexnet", 2, 32)


def network(**given: object) -> FeatureNetwork:
    settings = {"norm": False, "dropout": 0.5, **given}
    torch.manual_seed(0)
    return FeatureNetwork(SobelInput(False, False), trunk_of("small", 1, 8, (4,), 3), 400, **settings).eval()  # pyright: ignore


def test_features_come_before_the_rectifier_and_the_top_layer_sees_them_after_it() -> None:
    images = torch.rand(20, 1, 8, 8, generator=generator("cpu", 0))
    features = network()(images, Arithmetic("cpu"))
    assert features.shape == (20, 400) and (features < 0).any()
    assert torch.equal(network().activated(features), features.relu())
    dropped = network(dropout=0.5).activated.train()(torch.ones(1, 4000))
    assert dropped.unique().tolist() == [0.0, 2.0] and 0.4 < (dropped == 0).float().mean() < 0.6


def test_a_linear_layer_adds_no_rank() -> None:
    found = network()(torch.rand(600, 1, 8, 8, generator=generator("cpu", 0)), Arithmetic("cpu")).double()
    assert torch.linalg.matrix_rank(found - found.mean(0), rtol=1e-5) <= network().rank == 256


def test_batch_norm_follows_the_linear_layer_where_asked() -> None:
    features = network(norm=True).train()(torch.rand(50, 1, 8, 8, generator=generator("cpu", 0)), Arithmetic("cpu"))
    torch.testing.assert_close(features.mean(0), torch.zeros(400), atol=1e-5, rtol=0)
    assert (features.var(0, unbiased=False) > 0.5).all()


def test_the_top_layer_starts_as_the_authors() -> None:
    torch.manual_seed(0)
    top = top_layer(500, 100)
    assert top.weight.std().item() == pytest.approx(0.01, rel=0.02) and not top.bias.any()


def test_training_crops_cover_the_asked_share_of_the_image() -> None:
    ramp = torch.arange(64, dtype=torch.uint8).mul(4).expand(1000, 1, 64, 64).contiguous()  # a crop's slope tells its width
    still = {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0}
    views = DeepClusterViews(DeepClusterViewSettings(size=64, crop=64, area=(0.25, 0.25), **still), (1, 64, 64))
    slope = (
        (views.training(ramp, generator("cpu", 0))[:, 0, 5, 50] - views.training(ramp, generator("cpu", 0))[:, 0, 5, 14])
        * 255
        / 4
    )
    widths = slope.abs() / 36 * 64
    assert 32 * (3 / 4) ** 0.5 - 1 < widths.min() < 30 and 34 < widths.max() < 32 * (4 / 3) ** 0.5 + 1


def test_mirrored_views_are_mirror_images() -> None:
    batch = torch.randint(0, 256, (8, 3, 10, 10), dtype=torch.uint8, generator=generator("cpu", 0))
    still = {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0, "size": 10, "crop": 10, "crops_transformed": (10,)}
    views = DeepClusterViews(DeepClusterViewSettings(**still, flip_probability=1), (3, 10, 10))
    torch.testing.assert_close(views.training(batch, generator("cpu", 0)), batch.flip(-1) / 255, atol=1e-6, rtol=0)
    torch.testing.assert_close(views.test(batch), batch / 255, atol=1e-6, rtol=0)


def test_normalisation_needs_a_value_for_each_channel() -> None:
    with pytest.raises(MethodError, match=r"views\.mean and views\.std need a value for each of 1 channels, got 3"):
        DeepClusterViews(DeepClusterViewSettings(mean=MEAN, std=STD), (1, 28, 28))
