"""Deep InfoMax's networks: the shapes of the authors' encoders, and the critics against plain PyTorch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from clusterbench.methods.base import MethodError
from clusterbench.methods.kit.infomax_network import (
    ALEXNET,
    GlobalCritic,
    InfoMaxEncoder,
    LocalCritic,
    PlaceCritic,
    PriorDiscriminator,
    Tower,
    halving,
)
from clusterbench.methods.kit.randomness import generator


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator("cpu", 3, *shape))


def encoder(**settings: object) -> InfoMaxEncoder:
    given = {"code": 6, "place": 1, "units": 12, **settings}
    return InfoMaxEncoder(1, 8, halving((4, 8), 4), (10,), **given)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("channels", "side", "layers", "dense", "shapes", "features"),
    [
        (3, 32, halving((64, 128, 256), 4), (1024,), [(64, 16), (128, 8), (256, 4)], 1024),
        (1, 28, halving((64, 128), 5), (1024,), [(64, 14), (128, 7)], 1024),
        (3, 64, ALEXNET, (4096, 4096), [(96, 31), (192, 15), (384, 15), (384, 15), (192, 7)], 4096),
        (1, 9, halving((4, 5), 3), (), [(4, 5), (5, 3)], 45),
    ],
)
def test_the_maps_are_those_of_the_authors_networks(
    channels: int, side: int, layers: tuple, dense: tuple, shapes: list, features: int
) -> None:
    with torch.device("meta"):
        tower = Tower(channels, side, layers, dense)
        images = torch.zeros(2, channels, side, side)
        maps, found = tower.maps(images), tower(images)
    assert [tuple(one.shape) for one in maps] == [(2, width, length, length) for width, length in shapes]
    assert tower.shapes == shapes and found.shape == (2, features) and tower.features == features


def test_a_critics_shortcut_starts_as_a_noisy_copy() -> None:
    weight = PlaceCritic(3, 7).straight.weight.detach()[:, :, 0, 0]
    off = weight - torch.eye(7, 3)
    assert torch.equal(weight.diagonal(), torch.ones(3)) and 0 < off.abs().max() <= 0.01
    assert PlaceCritic(7, 3).straight.weight.shape == (3, 7, 1, 1), "more channels than units have no copy"


def test_a_place_is_mapped_by_itself_as_two_layers_and_a_shortcut_do_it() -> None:
    critic, maps = PlaceCritic(3, 5).eval(), drawn(2, 3, 4, 4)
    first, norm, _, second = critic.bent
    found = critic(maps)
    for image, row, column in ((0, 0, 0), (1, 2, 3)):
        place = maps[image, :, row, column]
        hidden = (first.weight[:, :, 0, 0] @ place) / torch.sqrt(1 + torch.tensor(norm.eps))  # fresh batch norm at rest
        whole = second.weight[:, :, 0, 0] @ hidden.relu() + second.bias + critic.straight.weight[:, :, 0, 0] @ place
        expected = (whole - whole.mean()) / torch.sqrt(whole.var(unbiased=False) + critic.norm.eps)
        assert torch.allclose(found[image, :, row, column], expected, atol=1e-5)


def test_the_local_critic_scores_each_code_with_each_place_of_each_image() -> None:
    critic = LocalCritic(6, 4, 8).eval()
    codes, maps = drawn(3, 6), drawn(3, 4, 2, 2)
    found = critic(codes, maps)
    sides = critic.of_code(codes[:, :, None, None])[:, :, 0, 0], critic.of_map(maps)
    assert found.shape == (3, 3, 4)
    for code, image, row, column in ((0, 0, 0, 0), (2, 1, 1, 0), (1, 2, 0, 1)):
        expected = sides[0][code] @ sides[1][image, :, row, column]
        assert found[code, image, 2 * row + column].item() == pytest.approx(expected.item(), abs=1e-5)


def test_the_global_critic_sums_a_map_up_by_a_copy_of_the_encoders_layers() -> None:
    layers = halving((4, 8), 4)
    critic = GlobalCritic(6, (4, 4), layers, (10,), 12).eval()
    codes, maps = drawn(3, 6), drawn(3, 4, 4, 4)
    hidden = maps
    for stage, width in zip(critic.tower.stages, (4, 8), strict=True):
        convolution = next(stage.children())
        assert isinstance(convolution, nn.Conv2d) and convolution.out_channels == width
        hidden = functional.conv2d(hidden, convolution.weight, stride=2, padding=1).div((1 + 1e-5) ** 0.5).relu()
    dense = critic.tower.dense[1]
    whole = critic.of_image((dense(hidden.flatten(1)) / (1 + 1e-5) ** 0.5).relu())
    expected = critic.of_code(codes) @ whole.T
    assert torch.allclose(critic(codes, maps)[:, :, 0], expected, atol=1e-5)


def test_an_encoder_has_the_critics_that_are_asked_for_and_scores_the_map_that_is_named() -> None:
    views = drawn(5, 1, 8, 8)
    both = encoder().eval()
    codes, local, whole = both(views)
    maps = both.trunk.maps(views)
    assert codes.shape == (5, 6) and local is not None and whole is not None
    assert local.shape == (5, 5, 16) and whole.shape == (5, 5, 1)
    assert both.local is not None and torch.equal(local, both.local(codes, maps[0]))
    assert torch.equal(codes, both.code(both.trunk(views)))
    assert encoder(place=2, critics=["local"])(views).local.shape == (5, 5, 4)
    assert encoder(critics=["local"])(views).whole is None and encoder(critics=["global"])(views).local is None


def test_networks_that_cannot_be_are_refused_in_one_line() -> None:
    with pytest.raises(MethodError, match=r"3 convolutions are too many for 4x4 pixels\. Use fewer widths"):
        Tower(1, 4, halving((4, 4, 4), 4), ())
    with pytest.raises(MethodError, match=r"local_map=3: the network has 2 convolutions\. Choose one of 1 to 2"):
        encoder(place=3)


def test_the_discriminator_gives_one_logit_for_each_code() -> None:
    network = PriorDiscriminator(4)
    assert [layer.out_features for layer in network if isinstance(layer, nn.Linear)] == [1000, 200, 1]
    assert network(drawn(1, 4)).shape == (1,) and network(drawn(7, 4)).shape == (7,)
