"""Wide residual networks against the sizes that their authors print."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from clusterbench.methods.kit.wide_resnet import WideBlock, WideResNet


@pytest.mark.parametrize(("depth", "widening", "millions"), [(16, 8, 11.0), (28, 10, 36.5), (40, 4, 8.9), (40, 1, 0.6)])
def test_it_has_the_parameters_and_layers_that_the_paper_prints(depth: int, widening: int, millions: float) -> None:
    with torch.device("meta"):
        network = WideResNet(3, depth, widening, 0.3)
        head = nn.Linear(network.features, 10)
    count = sum(parameter.numel() for part in (network, head) for parameter in part.parameters())
    assert round(count / 1e6, 1) == millions
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)]
    assert len(layers) + 3 == depth  # their count has the three 1x1 shortcuts too


def test_images_of_any_side_give_as_many_features() -> None:
    network = WideResNet(1, 10, 2, 0.0).eval()
    below, above = nn.Sequential(*list(network)[:-2]), nn.Sequential(*list(network)[-2:])
    maps = {side: below(torch.rand(2, 1, side, side)) for side in (12, 33)}
    assert {side: found.shape[1:] for side, found in maps.items()} == {12: (128, 3, 3), 33: (128, 9, 9)}
    assert network(torch.rand(2, 1, 20, 20)).shape == (2, network.features)
    assert torch.allclose(above(maps[12]), maps[12].mean((2, 3)))


def test_a_block_adds_its_input_to_what_it_bends() -> None:
    network = WideResNet(3, 16, 1, 0.5).eval()
    block = next(layer for layer in network if isinstance(layer, WideBlock) and layer.shortcut is None)
    nn.init.zeros_(block.convolution2.weight)
    maps = torch.rand(2, block.convolution1.in_channels, 5, 5)
    assert torch.equal(block(maps), maps)


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    network, images = WideResNet(1, 10, 1, 0.5), torch.rand(4, 1, 8, 8)
    assert not torch.equal(network(images), network(images))
    assert torch.equal(network.eval()(images), network(images))
