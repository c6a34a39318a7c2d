"""Exemplar-CNN's network: its layers, that it gives a whole image what its patches get, and pooling by quadrants."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from clusterbench.methods.base import MethodError
from clusterbench.methods.kit.exemplar_network import ExemplarNetwork, ExemplarTrunk, quadrant_maxima
from clusterbench.methods.kit.randomness import generator


def trunk(**settings: object) -> ExemplarTrunk:
    given = {"channels": 1, "size": 8, "view": 12, "widths": (3, 4), "kernel": 3, "dense": 5, "norm": True, "dropout": 0.5}
    return ExemplarTrunk(**{**given, **settings})  # pyright: ignore[reportArgumentType]


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator("cpu", 4, *shape))


@pytest.mark.parametrize(
    ("widths", "dense", "view", "maps", "features"),
    [
        ((92, 256, 512), 1024, 96, [(92, 48), (256, 24), (512, 24), (1024, 17)], 4 * (92 + 256 + 512 + 1024)),
        ((64, 64), 128, 32, [(64, 16), (64, 8), (128, 1)], 4 * (64 + 64) + 128),
    ],
)
def test_the_maps_are_those_of_the_authors_networks(widths: tuple, dense: int, view: int, maps: list, features: int) -> None:
    with torch.device("meta"):
        network = trunk(channels=3, size=32, view=view, widths=widths, kernel=5, dense=dense, norm=False)
        images = torch.zeros(2, 3, view, view)
        found, pooled = network.maps(images), network(images)
    assert [tuple(one.shape[1:]) for one in found] == [(width, side, side) for width, side in maps]
    assert pooled.shape == (2, features) and network.features == features
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())


def test_the_dense_layer_over_an_image_is_that_of_its_patches() -> None:
    network = trunk(kernel=1).eval()  # 1x1, so that no padding tells an image from its patches
    image = drawn(1, 1, 12, 12)
    found = network.maps(image)[-1]
    assert found.shape == (1, 5, 2, 2)
    for row in range(2):
        for column in range(2):
            patch = image[:, :, 4 * row : 4 * row + 8, 4 * column : 4 * column + 8]
            assert torch.allclose(network.maps(patch)[-1][:, :, 0, 0], found[:, :, row, column], atol=1e-5)


@pytest.mark.parametrize("side", [1, 2, 4, 6])
def test_quadrants_are_pooled_by_their_largest_value(side: int) -> None:
    maps, half = drawn(2, 3, side, side), side // 2
    quadrants = [(slice(None), slice(None))] if side == 1 else [
        (rows, columns) for rows in (slice(half), slice(half, None)) for columns in (slice(half), slice(half, None))
    ]  # fmt: skip
    expected = torch.stack([maps[:, :, rows, columns].amax((2, 3)) for rows, columns in quadrants], 2).flatten(1)
    assert torch.equal(quadrant_maxima(maps), expected)


def test_an_odd_map_shares_its_middle_between_the_quadrants() -> None:
    maps = torch.zeros(1, 1, 3, 3)
    maps[0, 0, 1, 1] = 1
    assert quadrant_maxima(maps).tolist() == [[1, 1, 1, 1]]


def test_the_mean_is_taken_off_and_saved() -> None:
    network = trunk(channels=3).eval()
    network.mean.copy_(torch.tensor([0.1, 0.2, 0.3]).view(-1, 1, 1))
    plain = trunk(channels=3).eval()
    plain.load_state_dict({**network.state_dict(), "mean": torch.zeros(3, 1, 1)})
    images = drawn(2, 3, 12, 12)
    assert torch.allclose(network(images), plain(images - network.mean)) and not torch.allclose(network(images), plain(images))


def test_dropout_is_on_the_dense_layer_in_training_alone() -> None:
    network = ExemplarNetwork(trunk(view=8, norm=False, dropout=0.9), 5, 7)
    patches = drawn(6, 1, 8, 8)
    with torch.no_grad():
        torch.manual_seed(0)
        assert not torch.equal(network(patches), network(patches))
        rest = network.eval()(patches)
        assert rest.shape == (6, 7) and torch.allclose(rest, network.classes(network.trunk.maps(patches)[-1].flatten(1)))


@pytest.mark.parametrize("settings", [{"size": 3, "view": 12}, {"size": 8, "view": 6}])
def test_sizes_that_cannot_be_are_refused(settings: dict) -> None:
    with pytest.raises(MethodError, match=r"patches need 4 pixels at least, and views the size of a patch\. Change --set size"):
        trunk(**settings)
